"""Quadrature rules: a domain becomes a Grid, int_Y g(y) dy ~ sum_i w_i g(y_i)."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from .arrays import Array, like, namespace, to_host
from .checks import check_array, check_call, check_count, check_number, check_positive, check_type
from .domains import Circle, Domain, Interval, Line, factors, outside
from .doors import checked
from .records import short


@checked
@dataclass(frozen=True, eq=False)
class Grid:
    """Nodes and weights on a domain.

    nodes : (N, n), the points y_i
    weights : (N,), w_i >= 0; nodes of weight zero act on no other (see `observed_at`)
    raises ValueError for shapes that do not fit, nodes outside the domain, or negative weights
    """

    domain: Domain
    nodes: Array
    weights: Array
    _carried: dict[object, Array] = field(default_factory=dict, repr=False)

    __repr__ = short

    def __post_init__(self) -> None:
        nodes = check_array("nodes", self.nodes, ("N", self.domain.dimension))
        weights = check_array("weights", self.weights, (nodes.shape[0],))
        if np.any(weights < 0):
            raise ValueError(f"weights must be >= 0, the least given is {weights.min()}")
        beyond = outside(self.domain, to_host(nodes))
        if np.any(beyond):
            first = to_host(nodes)[beyond][0].tolist()
            raise ValueError(
                f"nodes must lie in {self.domain}, {beyond.sum()} do not, such as {first}"
            )
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "weights", weights)

    def __getstate__(self) -> dict[str, object]:
        """Without what was carried to other libraries, which pickle does not know."""
        return {**self.__dict__, "_carried": {}}

    def __len__(self) -> int:
        return self.weights.shape[0]

    def __mul__(self, other: "Grid") -> "Grid":
        """The product rule on the product domain; the nodes of `self` vary slowest."""
        nodes = np.hstack(
            [np.repeat(self.nodes, len(other), axis=0), np.tile(other.nodes, (len(self), 1))]
        )
        return Grid(self.domain * other.domain, nodes, np.kron(self.weights, other.weights))

    @property
    def dimension(self) -> int:
        """The number n of coordinates."""
        return self.nodes.shape[1]

    @property
    def coordinates(self) -> Array:
        """What a function of position receives: y of shape (N,) in one dimension, else (n, N)."""
        return self.nodes[:, 0] if self.dimension == 1 else self.nodes.T

    def weights_like(self, example: Array) -> Array:
        """The weights in the library and on the device of `example`, carried over once."""
        if type(example) is np.ndarray:
            return self.weights
        key = (namespace(example), str(example.device))  # CuPy's devices cannot be hashed
        if key not in self._carried:
            self._carried[key] = like(self.weights, example)
        return self._carried[key]

    @checked
    def evaluate(
        self, function: Callable[..., Array], *time: float, name: str = "function"
    ) -> Array:
        """function(y[, t]) at the nodes: (N,).

        raises ValueError if it does not broadcast or is not finite
        """
        return self._broadcast(name, function(self.coordinates, *time), (len(self),))

    @checked
    def evaluate_kernel(
        self, function: Callable[..., Array], *time: float, name: str = "kernel"
    ) -> Array:
        """function(y, z[, t]) at all pairs of nodes: (N, N), row i for y = y_i."""
        y, z = self.coordinates[..., :, None], self.coordinates[..., None, :]
        return self._broadcast(name, function(y, z, *time), (len(self), len(self)))

    def _broadcast(self, name: str, values: Array, shape: tuple[int, ...]) -> Array:
        try:
            values = np.broadcast_to(np.asarray(values, dtype=np.float64), shape)
        except (TypeError, ValueError):
            given = getattr(values, "shape", type(values).__name__)
            raise ValueError(
                f"{name} gave values of shape {given}, which do not broadcast to {shape}"
            ) from None
        return np.ascontiguousarray(check_array(f"{name} at the nodes", values, shape))

    def sample(self, *functions: Callable[[Array], Array] | float) -> Array:
        """States from functions: column m is function m (or the constant) at the nodes.

        returns (N, number of functions); raises ValueError for no functions or values that do not
        fit.
        """
        if not functions:
            raise ValueError("sample needs at least one function of position")
        columns = [
            self.evaluate(f, name=f"function {m}")
            if callable(f)
            else np.full(len(self), check_number(f"function {m}", f))
            for m, f in enumerate(functions)
        ]
        return np.stack(columns, axis=1)

    @checked
    def integrate(self, values: Array) -> Array:
        """sum_i w_i values_i for values (N,) or (N, M)."""
        if values.shape[:1] != (len(self),):
            raise ValueError(f"values have shape {values.shape}, expected ({len(self)}, ...)")
        w = self.weights_like(values)
        return namespace(values).tensordot(w, values, axes=1)

    def observed_at(self, nodes: Array) -> "Grid":
        """The same rule with further nodes of weight zero appended.

        The state is computed there too but acts on nothing, so the states at two unrelated sets of
        nodes can be compared without interpolation (Nystrom).  nodes : (P, n).
        """
        extra = check_array("nodes", nodes, ("P", self.dimension))
        return Grid(
            self.domain,
            np.concatenate([self.nodes, extra]),
            np.concatenate([self.weights, np.zeros(extra.shape[0])]),
        )


Points = int | Sequence[int]


@checked
def gauss_legendre(domain: Domain, points: Points, panels: Points = 1) -> Grid:
    """Gauss-Legendre quadrature on an interval or a product of intervals.

    int_Y g(y) dy ~ sum_i w_i g(y_i), exact for polynomials of degree 2*points - 1 in each variable
    on each of `panels` equal panels per dimension (kinks of g belong on panel ends).

    domain : Interval, or a product of n of them
    points : nodes per panel and dimension, an int or n ints
    panels : panels per dimension, an int or n ints
    returns Grid with nodes (N, n), weights (N,), N = prod(points * panels)
    raises ValueError if points < 1, panels < 1, or a factor is a Circle
    """

    def rule(left: float, right: float, count: int, split: int) -> tuple[Array, Array]:
        x, w = np.polynomial.legendre.leggauss(count)
        half = (right - left) / (2 * split)
        centres = left + half * (2 * np.arange(split) + 1)
        return (centres[:, None] + half * x).ravel(), np.tile(half * w, split)

    return _on_intervals("gauss_legendre", domain, rule, points, panels)


@checked
def midpoint(domain: Domain, points: Points) -> Grid:
    """Midpoint rule: `points` equal cells per dimension, nodes at their centres; order 2.

    raises ValueError if points < 1 or a factor is a Circle
    """

    def rule(left: float, right: float, count: int) -> tuple[Array, Array]:
        h = (right - left) / count
        return left + h * (np.arange(count) + 0.5), np.full(count, h)

    return _on_intervals("midpoint", domain, rule, points)


@checked
def trapezoid(domain: Domain, points: Points) -> Grid:
    """Trapezoid rule: `points` >= 2 equispaced nodes per dimension, both ends included; order 2.

    raises ValueError if points < 2 or a factor is a Circle
    """

    def rule(left: float, right: float, count: int) -> tuple[Array, Array]:
        w = np.full(count, (right - left) / (count - 1))
        w[[0, -1]] /= 2
        return np.linspace(left, right, count), w

    return _on_intervals("trapezoid", domain, rule, points, least=2)


@checked
def simpson(domain: Domain, points: Points) -> Grid:
    """Simpson's rule of order 4: equispaced nodes, ends included.

    `points` per dimension, odd and >= 3.

    raises ValueError if points is even or < 3, or a factor is not an Interval
    """

    def rule(left: float, right: float, count: int) -> tuple[Array, Array]:
        if count % 2 == 0:
            raise ValueError(f"points must be odd for Simpson's rule, got {count}")
        w = np.full(count, 2.0)
        w[1::2] = 4.0
        w[[0, -1]] = 1.0
        return np.linspace(left, right, count), w * (right - left) / (3 * (count - 1))

    return _on_intervals("simpson", domain, rule, points, least=3)


@checked
def clenshaw_curtis(domain: Domain, points: Points) -> Grid:
    """Clenshaw-Curtis rule: nodes cos(j pi / (points - 1)) per dimension, points >= 2.

    Exact for polynomials of degree points - 1 in each variable; nodes of 2 points - 1 contain those
    of points.
    raises ValueError if points < 2 or a factor is not an Interval
    """

    def rule(left: float, right: float, count: int) -> tuple[Array, Array]:
        n = count - 1
        angles = np.pi * np.arange(count) / n
        even = np.arange(2, n + 1, 2)  # int_-1^1 T_k = 2 / (1 - k^2) for even k, 0 for odd k
        halved = np.where(even == n, 0.5, 1.0)
        w = 2.0 / n * (1.0 + np.cos(np.outer(angles, even)) @ (2.0 * halved / (1.0 - even**2)))
        w[[0, -1]] /= 2
        x = np.sin(np.pi * (np.arange(count) - n / 2) / n)  # -cos, symmetric to rounding
        return left + (right - left) * (1 + x) / 2, w * (right - left) / 2

    return _on_intervals("clenshaw_curtis", domain, rule, points, least=2)


@checked
def gauss_hermite(points: int, scale: float = 1.0) -> Grid:
    """Gauss-Hermite quadrature on the real line, int_R g(y) dy ~ sum_i w_i g(y_i).

    Exact for g = exp(-(y / scale)^2) times a polynomial of degree 2 points - 1: choose the scale at
    which g decays.
    raises ValueError unless 1 <= points <= 300 and scale > 0
    """
    scale = check_positive("scale", scale)
    if check_count("points", points) > 300:
        raise ValueError(
            f"points must be at most 300, beyond which the weights underflow, got {points}"
        )
    x, w = np.polynomial.hermite.hermgauss(points)
    return Grid(Line(), (scale * x)[:, None], scale * np.exp(np.log(w) + x * x))


@checked
def split(domain: Interval, at: Sequence[float], rule: Callable[[Interval], Grid]) -> Grid:
    """A rule on each panel between given points, where data have kinks or jumps.

    split(Interval(0, 1), [0.3], lambda panel: gauss_legendre(panel, 8)) has 16 nodes.

    at : increasing points inside the interval
    raises ValueError if they are not
    """
    edges = [domain.left, *map(float, at), domain.right]
    if any(not low < high for low, high in itertools.pairwise(edges)):
        raise ValueError(
            f"at must be increasing points inside ({domain.left}, {domain.right}), got {list(at)}"
        )
    parts = [Interval(low, high) for low, high in itertools.pairwise(edges)]
    grids = [check_type("what `rule` returns", check_call("rule", rule, p), Grid) for p in parts]
    return Grid(
        domain, np.concatenate([g.nodes for g in grids]), np.concatenate([g.weights for g in grids])
    )


@checked
def partition(edges: Sequence[float] | Array) -> Grid:
    """The cells between increasing edges, each a node at its centre with its length as weight.

    Data constant on cells are represented exactly: f_t = sigma(a - Bf) is then the ODE of Liu and
    Markowich's Jordan partition (2.4), cells of unequal length included.
    raises ValueError for fewer than two edges, or edges that do not increase
    """
    e = check_array("edges", np.asarray(edges, dtype=np.float64), ("E",))
    if len(e) < 2 or np.any(np.diff(e) <= 0):
        raise ValueError(f"edges must be at least two and increase, got {e}")
    return Grid(Interval(float(e[0]), float(e[-1])), ((e[:-1] + e[1:]) / 2)[:, None], np.diff(e))


@checked
def point_cloud(domain: Domain, nodes: Array, masses: Array) -> Grid:
    """Any points (N, n) of a domain with masses (N,) >= 0: a finite measure in place of a rule.

    raises ValueError for shapes that do not fit, or masses that are negative, complex or not finite
    """
    nodes = check_array("nodes", nodes, ("N", domain.dimension))
    return Grid(domain, nodes, check_array("masses", masses, (len(nodes),)))


@checked
def periodic(domain: Domain, points: Points) -> Grid:
    """Periodic trapezoid rule on circles: equispaced nodes, equal weights; spectral for smooth g.

    raises ValueError if points < 1 or a factor is an Interval
    """
    parts = factors(domain)
    grids = []
    for part, count in zip(parts, _per_dimension("points", points, len(parts)), strict=True):
        if not isinstance(part, Circle):
            raise ValueError(f"domain: periodic is a rule for circles, got {part}")
        h = part.length / count
        grids.append(Grid(part, (h * np.arange(count))[:, None], np.full(count, h)))
    return reduce(Grid.__mul__, grids)


def _per_dimension(name: str, value: Points, dimension: int, least: int = 1) -> list[int]:
    values = list(value) if isinstance(value, Sequence) else [value] * dimension
    if len(values) != dimension:
        raise ValueError(f"{name} must be an int or {dimension} ints, got {value!r}")
    return [check_count(name, v, least) for v in values]


def _on_intervals(
    name: str,
    domain: Domain,
    rule: Callable[..., tuple[Array, Array]],
    points: Points,
    *further: Points,
    least: int = 1,
) -> Grid:
    """The product over the factors of a one-dimensional rule(left, right, points, *further)."""
    parts = factors(domain)
    counts = [_per_dimension("points", points, len(parts), least)]
    counts += [_per_dimension("panels", f, len(parts)) for f in further]
    grids = []
    for part, *numbers in zip(parts, *counts, strict=True):
        if not isinstance(part, Interval):
            instead = "periodic" if isinstance(part, Circle) else "gauss_hermite"
            raise ValueError(
                f"domain: {name} is a rule for bounded intervals, got {part}; use {instead} there"
            )
        nodes, weights = rule(part.left, part.right, *numbers)
        grids.append(Grid(part, nodes[:, None], weights))
    return reduce(Grid.__mul__, grids)
