"""The network of Liu and Markowich: f_t(y, t) = sigma(a(y, t) - int_Y b(y, z, t) f(z, t) dz)."""

from ..activations import Activation
from ..checks import check_type
from ..doors import checked
from ..kernels import Dense, Kernel
from ..quadrature import Grid
from .chain import Chain
from .maps import Linear, Offset, Pointwise


@checked
class WidthDepth(Chain):
    """d/dt f = sigma(u), u = a - Bf, on a grid of Y; blocks "bias" a and "kernel" b.

    With r = sigma'(u) p:  (D_f F)* p = -B*r,  (D_a F)* p = r,  (D_b F)* p = -r f  (Liu and
    Markowich section 4.1, as corrected: sigma' where the paper prints sigma).

    grid : nodes and weights of Y
    activation : sigma
    kernel : the format of b, Dense() unless said otherwise
    """

    grid: Grid  # type: ignore[assignment]

    def __init__(
        self,
        grid: Grid,
        activation: Activation,
        kernel: Kernel = Dense(),  # noqa: B008 - it has no state
    ) -> None:
        kernel = check_type("kernel", kernel, Kernel)
        maps = (Linear("kernel", kernel, sign=-1), Offset("bias"), Pointwise(activation))
        super().__init__(check_type("grid", grid, Grid), maps, order=("bias", "kernel"))
