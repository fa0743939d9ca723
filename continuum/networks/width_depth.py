"""The network of Liu and Markowich: f_t(y, t) = sigma(a(y, t) - int_Y b(y, z, t) f(z, t) dz)."""

from dataclasses import dataclass

from ..activations import identity
from ..arrays import Array, namespace
from ..kernels import Dense
from .kernel_network import KernelNetwork
from .network import Values


@dataclass(frozen=True, eq=False)
class WidthDepth(KernelNetwork):
    """d/dt f = sigma(u), u = a - Bf, on a grid of Y; blocks "bias" a and "kernel" b.

    With r = sigma'(u) p:  (D_f F)* p = -B*r,  (D_a F)* p = r,  (D_b F)* p = -r f  (Liu and
    Markowich section 4.1, as corrected: sigma' where the paper prints sigma).

    grid : nodes and weights of Y
    activation : sigma
    kernel : the format of b, Dense() unless said otherwise
    """

    @property
    def affine_in_control(self) -> bool:
        return self.activation is identity and self.kernel.linear

    @property
    def broadcasts(self) -> bool:
        return isinstance(self.kernel, Dense)

    def formula(self) -> str:
        return f"f_t = {self.activation}(bias - sum_j w_j kernel_ij f_j)"

    def velocity(self, f: Array, c: Values, t: float) -> Array:
        return self.activation.value(self.preactivation(f, c))

    def jvp(self, f: Array, c: Values, t: float, df: Array, dc: Values) -> Array:
        du = self.preactivation_derivative(f, c, df, dc)
        return self.activation.derivative(self.preactivation(f, c)) * du

    def vjp(self, f: Array, c: Values, t: float, p: Array) -> tuple[Array, dict[str, Array]]:
        b, w = c["kernel"], self.weights_like(f)
        r = self.activation.derivative(self.preactivation(f, c)) * p
        return -self.kernel.adjoint(b, r, w), {
            "bias": namespace(r).sum(r, axis=-1),
            "kernel": -self.kernel.outer(b, r, f, w),
        }

    def vjp_derivative(
        self, f: Array, c: Values, t: float, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        b, w, kernel = c["kernel"], self.weights_like(f), self.kernel
        u = self.preactivation(f, c)
        slope = self.activation.derivative(u)
        r = slope * p
        dr = slope * dp + self.activation.second(u) * p * self.preactivation_derivative(
            f, c, df, dc
        )
        df_bar = -kernel.adjoint(b, dr, w)
        db_bar = -kernel.outer(b, dr, f, w) - kernel.outer(b, r, df, w)
        if "kernel" in dc:
            df_bar = df_bar - kernel.adjoint_derivative(b, dc["kernel"], r, w)
            bent = kernel.outer_derivative(b, dc["kernel"], r, f, w)
            db_bar = db_bar if bent is None else db_bar - bent
        return df_bar, {"bias": namespace(dr).sum(dr, axis=-1), "kernel": db_bar}
