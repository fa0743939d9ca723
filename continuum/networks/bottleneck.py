"""The network with a hidden layer in its velocity: x' = W2 sigma(W1 x + b1) + b2."""

from dataclasses import dataclass

from ..arrays import Array, namespace
from ..blocks import Block
from ..checks import check_count
from ..time_axes import TimeKind
from .network import EuclideanNetwork, Values, euclidean, transpose


@dataclass(frozen=True, eq=False)
class Bottleneck(EuclideanNetwork):
    """d/dt x = W2 s + b2, s = sigma(u), u = W1 x + b1, for x in R^d and u in R^h.

    Blocks, all Euclidean: "weight1" (h, d), "bias1" (h,), "weight2" (d, h), "bias2" (d,).
    With q = W2^T p, r = sigma'(u) q: (D_x F)* p = W1^T r; the blocks' cotangents are r x^T, r, p
    s^T, p.

    units : d >= 1; hidden : h >= 1
    """

    hidden: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("hidden", self.hidden)

    def blocks(self, in_time: TimeKind = "layers") -> tuple[Block, ...]:
        d, h = self.units, self.hidden
        return (
            Block("weight1", (h, d), in_time, euclidean(1, 1), last=euclidean(d)),
            Block("bias1", (h,), in_time, euclidean(1)),
            Block("weight2", (d, h), in_time, euclidean(1, 1), last=euclidean(h)),
            Block("bias2", (d,), in_time, euclidean(1)),
        )

    @property
    def broadcasts(self) -> bool:
        return True

    def formula(self) -> str:
        return f"f_t = weight2 {self.activation}(weight1 f + bias1) + bias2"

    def _preactivation(self, f: Array, c: Values) -> Array:
        return c["weight1"] @ f + c["bias1"][..., None]

    def _preactivation_derivative(self, f: Array, c: Values, df: Array, dc: Values) -> Array:
        du = c["weight1"] @ df
        if "weight1" in dc:
            du = du + dc["weight1"] @ f
        if "bias1" in dc:
            du = du + dc["bias1"][..., None]
        return du

    def velocity(self, f: Array, c: Values, t: float) -> Array:
        return (
            c["weight2"] @ self.activation.value(self._preactivation(f, c)) + c["bias2"][..., None]
        )

    def jvp(self, f: Array, c: Values, t: float, df: Array, dc: Values) -> Array:
        u = self._preactivation(f, c)
        ds = self.activation.derivative(u) * self._preactivation_derivative(f, c, df, dc)
        result = c["weight2"] @ ds
        if "weight2" in dc:
            result = result + dc["weight2"] @ self.activation.value(u)
        if "bias2" in dc:
            result = result + dc["bias2"][..., None]
        return result

    def vjp(self, f: Array, c: Values, t: float, p: Array) -> tuple[Array, dict[str, Array]]:
        u = self._preactivation(f, c)
        r = self.activation.derivative(u) * (transpose(c["weight2"]) @ p)
        sums = namespace(p).sum
        return transpose(c["weight1"]) @ r, {
            "weight1": r @ transpose(f),
            "bias1": sums(r, axis=-1),
            "weight2": p @ transpose(self.activation.value(u)),
            "bias2": sums(p, axis=-1),
        }

    def vjp_derivative(
        self, f: Array, c: Values, t: float, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        u = self._preactivation(f, c)
        du = self._preactivation_derivative(f, c, df, dc)
        s, slope = self.activation.value(u), self.activation.derivative(u)
        q, dq = transpose(c["weight2"]) @ p, transpose(c["weight2"]) @ dp
        if "weight2" in dc:
            dq = dq + transpose(dc["weight2"]) @ p
        r, dr = slope * q, slope * dq + self.activation.second(u) * du * q
        df_bar = transpose(c["weight1"]) @ dr
        if "weight1" in dc:
            df_bar = df_bar + transpose(dc["weight1"]) @ r
        sums = namespace(p).sum
        return df_bar, {
            "weight1": dr @ transpose(f) + r @ transpose(df),
            "bias1": sums(dr, axis=-1),
            "weight2": dp @ transpose(s) + p @ transpose(slope * du),
            "bias2": sums(dp, axis=-1),
        }
