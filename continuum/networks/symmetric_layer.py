"""The contractive layer: f_t = B* sigma(a - B f)."""

from dataclasses import dataclass

from ..arrays import Array, namespace
from ..kernels import Dense
from .kernel_network import KernelNetwork
from .network import Values


@dataclass(frozen=True, eq=False)
class SymmetricLayer(KernelNetwork):
    """d/dt f = B* sigma(u), u = a - Bf, with the L^2(Y) adjoint B*; blocks "bias" a and "kernel" b,
    as in WidthDepth.

    Contractive if sigma' >= 0: 1/2 d/dt |f - g|^2 = -(sigma(u) - sigma(v), u - v) <= 0 (Liu and
    Markowich section
    3.5 as corrected by E20).  With q = Bp and r = sigma'(u) q:
    (D_f F)* p = -B*r,  (D_a F)* p = r,  (D_b F)* p = sigma(u) p - r f, as functions of (y, z).
    """

    @property
    def broadcasts(self) -> bool:
        return isinstance(self.kernel, Dense)

    def formula(self) -> str:
        return f"f_t = B* {self.activation}(bias - B f), B f = sum_j w_j kernel_ij f_j"

    def velocity(self, f: Array, c: Values, t: float) -> Array:
        s = self.activation.value(self.preactivation(f, c))
        return self.kernel.adjoint(c["kernel"], s, self.weights_like(f))

    def jvp(self, f: Array, c: Values, t: float, df: Array, dc: Values) -> Array:
        b, w = c["kernel"], self.weights_like(f)
        u = self.preactivation(f, c)
        ds = self.activation.derivative(u) * self.preactivation_derivative(f, c, df, dc)
        result = self.kernel.adjoint(b, ds, w)
        if "kernel" in dc:
            result = result + self.kernel.adjoint_derivative(
                b, dc["kernel"], self.activation.value(u), w
            )
        return result

    def vjp(self, f: Array, c: Values, t: float, p: Array) -> tuple[Array, dict[str, Array]]:
        b, w, kernel = c["kernel"], self.weights_like(f), self.kernel
        u = self.preactivation(f, c)
        r = self.activation.derivative(u) * kernel.apply(b, p, w)
        return -kernel.adjoint(b, r, w), {
            "bias": namespace(r).sum(r, axis=-1),
            "kernel": kernel.outer(b, self.activation.value(u), p, w) - kernel.outer(b, r, f, w),
        }

    def vjp_derivative(
        self, f: Array, c: Values, t: float, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        b, w, kernel = c["kernel"], self.weights_like(f), self.kernel
        u = self.preactivation(f, c)
        du = self.preactivation_derivative(f, c, df, dc)
        s, slope = self.activation.value(u), self.activation.derivative(u)
        q, dq = kernel.apply(b, p, w), kernel.apply(b, dp, w)
        if "kernel" in dc:
            dq = dq + kernel.apply_derivative(b, dc["kernel"], p, w)
        r, dr = slope * q, slope * dq + self.activation.second(u) * du * q
        df_bar = -kernel.adjoint(b, dr, w)
        db_bar = kernel.outer(b, slope * du, p, w) + kernel.outer(b, s, dp, w)
        db_bar = db_bar - kernel.outer(b, dr, f, w) - kernel.outer(b, r, df, w)
        if "kernel" in dc:
            df_bar = df_bar - kernel.adjoint_derivative(b, dc["kernel"], r, w)
            bent = [kernel.outer_derivative(b, dc["kernel"], *pair, w) for pair in ((s, p), (r, f))]
            if bent[0] is not None and bent[1] is not None:
                db_bar = db_bar + bent[0] - bent[1]
        return df_bar, {"bias": namespace(dr).sum(dr, axis=-1), "kernel": db_bar}
