"""The network x' = sigma(w x + b)."""

from dataclasses import dataclass

from ..activations import identity
from ..arrays import Array, namespace
from ..blocks import Block
from ..time_axes import TimeKind
from .network import EuclideanNetwork, Values, square_blocks, transpose


@dataclass(frozen=True, eq=False)
class NeuralODE(EuclideanNetwork):
    """d/dt x = sigma(u), u = w x + b, for x in R^d; blocks "weight" w (d, d) and "bias" b (d,),
    both Euclidean.

    With r = sigma'(u) p: (D_x F)* p = w^T r,  (D_w F)* p = r x^T,  (D_b F)* p = r, summed over
    samples. Source: Geshkovski, Large-time asymptotics in deep learning, the first of its two
    networks.

    units : d >= 1
    """

    def blocks(self, in_time: TimeKind = "layers") -> tuple[Block, ...]:
        return square_blocks(self.units, in_time)

    @property
    def affine_in_control(self) -> bool:
        return self.activation is identity

    @property
    def broadcasts(self) -> bool:
        return True

    def formula(self) -> str:
        return f"f_t = {self.activation}(weight f + bias)"

    def _preactivation(self, f: Array, c: Values) -> Array:
        return c["weight"] @ f + c["bias"][..., None]

    def _preactivation_derivative(self, f: Array, c: Values, df: Array, dc: Values) -> Array:
        du = c["weight"] @ df
        if "weight" in dc:
            du = du + dc["weight"] @ f
        if "bias" in dc:
            du = du + dc["bias"][..., None]
        return du

    def velocity(self, f: Array, c: Values, t: float) -> Array:
        return self.activation.value(self._preactivation(f, c))

    def jvp(self, f: Array, c: Values, t: float, df: Array, dc: Values) -> Array:
        du = self._preactivation_derivative(f, c, df, dc)
        return self.activation.derivative(self._preactivation(f, c)) * du

    def vjp(self, f: Array, c: Values, t: float, p: Array) -> tuple[Array, dict[str, Array]]:
        r = self.activation.derivative(self._preactivation(f, c)) * p
        return transpose(c["weight"]) @ r, {
            "bias": namespace(r).sum(r, axis=-1),
            "weight": r @ transpose(f),
        }

    def vjp_derivative(
        self, f: Array, c: Values, t: float, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        u = self._preactivation(f, c)
        slope = self.activation.derivative(u)
        r = slope * p
        dr = (
            slope * dp
            + self.activation.second(u) * self._preactivation_derivative(f, c, df, dc) * p
        )
        df_bar = transpose(c["weight"]) @ dr
        if "weight" in dc:
            df_bar = df_bar + transpose(dc["weight"]) @ r
        return df_bar, {
            "bias": namespace(dr).sum(dr, axis=-1),
            "weight": dr @ transpose(f) + r @ transpose(df),
        }
