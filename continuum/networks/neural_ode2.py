"""The network whose velocity is affine in the control: x' = w sigma(x) + b."""

from dataclasses import dataclass

from ..arrays import Array, namespace
from ..blocks import Block
from ..time_axes import TimeKind
from .network import EuclideanNetwork, Values, square_blocks, transpose


@dataclass(frozen=True, eq=False)
class NeuralODE2(EuclideanNetwork):
    """d/dt x = w sigma(x) + b for x in R^d; blocks "weight" w (d, d) and "bias" b (d,), both
    Euclidean.

    (D_x F)* p = sigma'(x) w^T p,  (D_w F)* p = p sigma(x)^T,  (D_b F)* p = p, summed over samples.
    Source: Geshkovski, Large-time asymptotics in deep learning, the second of its two networks.

    units : d >= 1
    """

    def blocks(self, in_time: TimeKind = "layers") -> tuple[Block, ...]:
        return square_blocks(self.units, in_time)

    @property
    def affine_in_control(self) -> bool:
        return True

    @property
    def broadcasts(self) -> bool:
        return True

    def formula(self) -> str:
        return f"f_t = weight {self.activation}(f) + bias"

    def velocity(self, f: Array, c: Values, t: float) -> Array:
        return c["weight"] @ self.activation.value(f) + c["bias"][..., None]

    def jvp(self, f: Array, c: Values, t: float, df: Array, dc: Values) -> Array:
        result = c["weight"] @ (self.activation.derivative(f) * df)
        if "weight" in dc:
            result = result + dc["weight"] @ self.activation.value(f)
        if "bias" in dc:
            result = result + dc["bias"][..., None]
        return result

    def vjp(self, f: Array, c: Values, t: float, p: Array) -> tuple[Array, dict[str, Array]]:
        return self.activation.derivative(f) * (transpose(c["weight"]) @ p), {
            "bias": namespace(p).sum(p, axis=-1),
            "weight": p @ transpose(self.activation.value(f)),
        }

    def vjp_derivative(
        self, f: Array, c: Values, t: float, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        slope = self.activation.derivative(f)
        back = transpose(c["weight"]) @ dp
        if "weight" in dc:
            back = back + transpose(dc["weight"]) @ p
        df_bar = slope * back + self.activation.second(f) * df * (transpose(c["weight"]) @ p)
        return df_bar, {
            "bias": namespace(dp).sum(dp, axis=-1),
            "weight": dp @ transpose(self.activation.value(f)) + p @ transpose(slope * df),
        }
