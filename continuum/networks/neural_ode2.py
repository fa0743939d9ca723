"""The network whose velocity is affine in the control: x' = w sigma(x) + b."""

from dataclasses import dataclass

from ..arrays import Array, namespace
from ..controls import Block
from ..time_axes import TimeKind
from .network import EuclideanNetwork, Values, square_blocks


@dataclass(frozen=True, eq=False)
class NeuralODE2(EuclideanNetwork):
    """d/dt x = w sigma(x) + b for x in R^d; blocks "weight" w (d, d) and "bias" b (d,), both Euclidean.

    (D_x F)* p = sigma'(x) w^T p,  (D_w F)* p = p sigma(x)^T,  (D_b F)* p = p, summed over samples.
    Source: Geshkovski, Large-time asymptotics in deep learning, the second of its two networks.

    units : d >= 1
    """

    def blocks(self, in_time: TimeKind = "layers") -> tuple[Block, ...]:
        return square_blocks(self.units, in_time)

    def formula(self) -> str:
        return f"f_t = weight {self.activation}(f) + bias"

    def velocity(self, f: Array, c: Values, t: float) -> Array:
        return c["weight"] @ self.activation.value(f) + c["bias"][:, None]

    def jvp(self, f: Array, c: Values, t: float, df: Array, dc: Values) -> Array:
        result = c["weight"] @ (self.activation.derivative(f) * df)
        if "weight" in dc:
            result = result + dc["weight"] @ self.activation.value(f)
        if "bias" in dc:
            result = result + dc["bias"][:, None]
        return result

    def vjp(self, f: Array, c: Values, t: float, p: Array) -> tuple[Array, dict[str, Array]]:
        return self.activation.derivative(f) * (c["weight"].T @ p), {
            "bias": namespace(p).sum(p, axis=1),
            "weight": p @ self.activation.value(f).T,
        }

    def vjp_derivative(
        self, f: Array, c: Values, t: float, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        slope = self.activation.derivative(f)
        back = c["weight"].T @ dp
        if "weight" in dc:
            back = back + dc["weight"].T @ p
        df_bar = slope * back + self.activation.second(f) * df * (c["weight"].T @ p)
        return df_bar, {
            "bias": namespace(dp).sum(dp, axis=1),
            "weight": dp @ self.activation.value(f).T + p @ (slope * df).T,
        }
