"""Powers of -d_yy on a circle or an interval: an operator that is not bounded on L^2(Y)."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import scipy

from ..arrays import Array, like, namespace
from ..checks import check_name, check_positive, check_type
from ..domains import Circle, Interval
from ..doors import checked
from ..quadrature import Grid
from .format import KernelFormat, KernelFunction, weighted

Boundary = Literal["dirichlet", "neumann"]


@checked
@dataclass(frozen=True)
class FractionalLaplacian(KernelFormat):
    """B = c (-d_yy)^s, 0 < s <= 1: one number c, trained or given, constant or a function of t.

        grid = periodic(Circle(), 256)
        network = WidthDepth(grid, tanh, FractionalLaplacian(0.5))
        control = network.control(TimeMesh(1.0, 50), kernel=0.1)  # or kernel=lambda t: 0.1 + t
        initial = grid.sample(lambda y: np.exp(np.sin(y)))
        final = integrate(network, control, initial, RadauIIA5()).trajectory.final

    On a circle of length L the modes are cos and sin of 2 pi k y / L, on an interval of length L
    cos(k pi y / L), k >= 0 ("neumann"), or sin(k pi y / L), k >= 1 ("dirichlet"), y from its left
    end.  With their squared frequencies lambda_k

        (-d_yy)^s f = sum_k lambda_k^s (phi_k, f) phi_k,

    the power of the operator with these boundary values.  N nodes carry N of the modes, to which
    FFT, cosine or sine transforms apply it without error, in O(N log N).  The nodes must be those
    of `periodic` on a circle and of `midpoint` on an interval.

    f_t = sigma(a - Bf) needs c sigma' >= 0: for c < 0 fine modes grow without bound as N does.
    For sigma(s) = s a mode decays like e^(-int c dt lambda_k^s).  The equation is stiff: explicit
    steps are limited to about 2 / (sup sigma' c lambda_N^s), of order N^(-2 s)
    (`explicit_step_limit`), so use implicit methods.

    boundary : "dirichlet" or "neumann" on an interval, None on a circle
    raises ValueError for s outside (0, 1], a boundary or a grid that does not fit
    Source: Liu and Markowich, the remark on differential and pseudodifferential operators before
    Theorem 3.1, whose theorems it leaves.
    """

    positions: ClassVar[int] = 0
    bounded: ClassVar[bool] = False
    s: float
    boundary: Boundary | None = None
    modes: "Modes | None" = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if check_positive("s", self.s) > 1.0:
            raise ValueError(f"s must be in (0, 1], got {self.s!r}")
        object.__setattr__(self, "s", float(self.s))
        if self.boundary is not None:
            check_name("boundary", self.boundary, ("dirichlet", "neumann"))
        if self.modes is not None:
            check_type("modes", self.modes, Modes)

    def bind(self, grid: Grid) -> "FractionalLaplacian":
        check_type("grid", grid, Grid)
        if self.modes is not None and self.modes.grid is grid:
            return self
        return FractionalLaplacian(self.s, self.boundary, Modes(grid, self.s, self.boundary))

    @property
    def bound_modes(self) -> "Modes":
        """`modes`; raises ValueError for a kernel that was not bound to a grid."""
        if self.modes is None:
            raise ValueError(f"{self!r} knows no grid yet: use its bind(grid), as WidthDepth does")
        return self.modes

    def shape(self, grid: Grid) -> tuple[int, ...]:
        return (1,)

    def weights(self, grid: Grid) -> Array:
        return np.ones(1)

    def evaluate(self, grid: Grid, function: KernelFunction, *time: float) -> Array:
        return np.reshape(np.asarray(function(*time), dtype=np.float64), (1,))

    def apply(self, b: Array, f: Array, w: Array | None) -> Array:
        return b * self.bound_modes.multiply(weighted(w, f), self.bound_modes.symbol)

    def adjoint(self, b: Array, r: Array, w: Array | None) -> Array:
        return self.apply(b, r, w)

    def outer(self, b: Array, r: Array, f: Array, w: Array | None) -> Array:
        product = self.bound_modes.multiply(weighted(w, f), self.bound_modes.symbol)
        return namespace(r).reshape(namespace(r).sum(weighted(w, r) * product), (1,))

    def matrix(self, b: Array) -> Array:
        eye = like(np.eye(len(self.bound_modes.grid)), b)
        return b * self.bound_modes.multiply(eye, self.bound_modes.symbol)

    def norm(self, b: Array, grid: Grid) -> float:
        """|c| lambda_N^s, that of the N modes of this grid: it grows like N^(2 s)."""
        return float(abs(b[0])) * float(self.bind(grid).bound_modes.eigenvalues[-1])

    def formula(self, name: str) -> str:
        where = "" if self.boundary is None else f", {self.boundary}"
        return f"{name} g = {name} (-d_yy)^{self.s:g} g{where}"

    def transfer(self, b: Array, carried: Array) -> Array:
        """The same c: the operator is the same on every grid."""
        return b


class Modes:
    """The modes of -d_yy on N equispaced nodes, of weight h each, and the transform to them.

    powers : lambda_k^s, in the order of the transform
    symbol : lambda_k^s / h, which makes apply(w f) what (-d_yy)^s f is
    """

    def __init__(self, grid: Grid, s: float, boundary: Boundary | None) -> None:
        domain, count = grid.domain, len(grid)
        if not isinstance(domain, Circle | Interval):
            raise ValueError(
                f"a FractionalLaplacian needs a grid of a Circle or an Interval, got {domain}"
            )
        self.grid, self.boundary = grid, boundary
        step = domain.measure / count
        if isinstance(domain, Circle):
            if boundary is not None:
                raise ValueError(f"boundary must be None on a Circle, got {boundary!r}")
            first = float(grid.nodes[0, 0])
            order, unit, rule = np.arange(count // 2 + 1), 2 * np.pi / domain.length, "periodic"
        else:
            if boundary is None:
                raise ValueError('boundary must be "dirichlet" or "neumann" on an Interval')
            first = domain.left + 0.5 * step
            order, unit, rule = np.arange(count), np.pi / domain.measure, "midpoint"
            order = order + int(boundary == "dirichlet")
        even = np.allclose(
            grid.nodes[:, 0], first + step * np.arange(count), rtol=0, atol=1e-9 * step
        )
        if not even or not np.allclose(grid.weights, step, rtol=1e-12, atol=0):
            raise ValueError(
                f"a FractionalLaplacian on {domain} needs the nodes and weights of "
                f"{rule}(domain, points)"
            )
        self.powers = (unit * order) ** (2 * s)
        self.symbol = self.powers / step

    @cached_property
    def eigenvalues(self) -> Array:
        """(N,): lambda_k^s with their multiplicity, ascending."""
        if self.boundary is not None:
            return self.powers
        count = len(self.grid)
        return np.sort(np.concatenate([self.powers, self.powers[1 : (count + 1) // 2]]))

    def multiply(self, x: Array, factor: Array) -> Array:
        """sum_k factor_k phi_k sum_i phi_k(y_i) x_i over orthonormal columns phi_k: (N, M)."""
        xp, count = namespace(x), len(self.grid)
        by = like(factor, x)[:, None]
        if self.boundary is None:
            if xp is np:
                return np.asarray(scipy.fft.irfft(by * scipy.fft.rfft(x, axis=0), count, axis=0))
            spectrum = by * xp.fft.rfftn(x, s=(count,), axes=(0,))
            return xp.fft.irfftn(spectrum, s=(count,), axes=(0,))
        if xp is np:
            forth, back = (
                (scipy.fft.dct, scipy.fft.idct)
                if self.boundary == "neumann"
                else (scipy.fft.dst, scipy.fft.idst)
            )
            return np.asarray(back(by * forth(x, axis=0, norm="ortho"), axis=0, norm="ortho"))
        return self._by_extension(x, by)

    def _by_extension(self, x: Array, by: Array) -> Array:
        """The same by an FFT of x continued as an even or odd function of period 2 L, for libraries
        without cosine and sine transforms.
        """
        xp, count = namespace(x), len(self.grid)
        mirrored = x[::-1, :]
        absent = xp.zeros_like(by[:1, :])  # modes k = N of cos and k = 0 of sin
        odd = self.boundary == "dirichlet"
        whole = xp.concat([absent, by]) if odd else xp.concat([by, absent])
        continued, size = xp.concat([x, -mirrored if odd else mirrored]), (2 * count,)
        spectrum = whole * xp.fft.rfftn(continued, s=size, axes=(0,))
        return xp.fft.irfftn(spectrum, s=size, axes=(0,))[:count, :]
