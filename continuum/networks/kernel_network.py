"""What networks with a kernel on a grid share: u = a - Bf."""

from dataclasses import dataclass, field
from functools import partial

from ..activations import Activation
from ..arrays import Array
from ..blocks import Block
from ..kernels import Dense, KernelFormat
from ..quadrature import Grid
from ..time_axes import TimeKind
from .network import Network, Values


@dataclass(frozen=True, eq=False)
class KernelNetwork(Network):
    """A vector field built from u = a - Bf on a grid of Y; blocks "bias" a and "kernel" b.

    grid : nodes and weights of Y
    activation : sigma
    kernel : the format of b, Dense() unless said otherwise
    """

    grid: Grid
    activation: Activation
    kernel: KernelFormat = field(default_factory=Dense)

    def __post_init__(self) -> None:
        for name, kind in (("grid", Grid), ("activation", Activation), ("kernel", KernelFormat)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")
        object.__setattr__(self, "kernel", self.kernel.bind(self.grid))

    @property
    def weights(self) -> Array:
        return self.grid.weights

    def weights_like(self, example: Array) -> Array:
        return self.grid.weights_like(example)

    def blocks(self, in_time: TimeKind = "layers") -> tuple[Block, ...]:
        grid, kernel = self.grid, self.kernel
        return (
            Block(
                "bias",
                (len(grid),),
                in_time,
                grid.weights,
                positions=1,
                evaluate=partial(grid.evaluate, name="bias"),
            ),
            Block(
                "kernel",
                kernel.shape(grid),
                in_time,
                kernel.weights(grid),
                positions=kernel.positions,
                evaluate=partial(kernel.evaluate, grid),
                prepare=None if kernel.stored else partial(kernel.prepare, grid),
                last=grid.weights if kernel.shape(grid) == (len(grid), len(grid)) else None,
            ),
        )

    def preactivation(self, f: Array, c: Values) -> Array:
        """u = a - Bf: (N, M)."""
        return c["bias"][..., None] - self.kernel.apply(c["kernel"], f, self.weights_like(f))

    def preactivation_derivative(self, f: Array, c: Values, df: Array, dc: Values) -> Array:
        """The derivative of u in a direction: (N, M)."""
        w = self.weights_like(f)
        du = -self.kernel.apply(c["kernel"], df, w)
        if "bias" in dc:
            du = du + dc["bias"][..., None]
        if "kernel" in dc:
            du = du - self.kernel.apply_derivative(c["kernel"], dc["kernel"], f, w)
        return du
