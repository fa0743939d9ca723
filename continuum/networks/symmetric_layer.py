"""The contractive layer: f_t = B* sigma(a - B f)."""

from ..activations import Activation
from ..checks import check_type
from ..doors import checked
from ..kernels import Dense, Kernel
from ..quadrature import Grid
from .chain import Chain
from .maps import Adjoint, Linear, Offset, Pointwise


@checked
class SymmetricLayer(Chain):
    """d/dt f = B* sigma(u), u = a - Bf, with the L^2(Y) adjoint B*; blocks "bias" a and "kernel" b,
    and arguments, as in WidthDepth.

    Contractive if sigma' >= 0: 1/2 d/dt |f - g|^2 = -(sigma(u) - sigma(v), u - v) <= 0 (Liu and
    Markowich section 3.5 as corrected by E20).  With q = Bp and r = sigma'(u) q:
    (D_f F)* p = -B*r,  (D_a F)* p = r,  (D_b F)* p = sigma(u) p - r f, as functions of (y, z).
    """

    grid: Grid  # type: ignore[assignment]

    def __init__(
        self,
        grid: Grid,
        activation: Activation,
        kernel: Kernel = Dense(),  # noqa: B008 - it has no state
    ) -> None:
        linear = Linear("kernel", check_type("kernel", kernel, Kernel), sign=-1)
        maps = (linear, Offset("bias"), Pointwise(activation), Adjoint("kernel"))
        super().__init__(check_type("grid", grid, Grid), maps, order=("bias", "kernel"))
