"""Are the derivatives of a network, or of a running cost, those of its velocity, or density?

Every derivative is compared, at a random point and in random directions, with the difference
quotient of what it is the derivative of,

    (4 D(h/2) - D(h)) / 3 = g'(0) + O(h^4),   D(h) = (g(h) - g(-h)) / (2h),

and adjoints by the identity <Jv, q> = <v, J*q> in the weights of units and blocks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .arrays import Array
from .blocks import Block
from .checks import check_count, check_positive
from .functional import RunningCost
from .networks import Network
from .readouts import State

_STEP = 1e-4
_TINY = 1e-300

Point = tuple[Array, dict[str, Array]]
"""A state and the values of blocks, or a direction."""


@dataclass(frozen=True)
class DerivativeCheck:
    """What `check_derivatives` found; `print` writes it line by line.

    errors : the relative error of each part, infinite where a shape is wrong
    rtol : above which a part is called wrong
    """

    errors: Mapping[str, float]
    rtol: float

    @property
    def failed(self) -> tuple[str, ...]:
        """The parts that are wrong."""
        return tuple(name for name, error in self.errors.items() if not error <= self.rtol)

    @property
    def ok(self) -> bool:
        """True if no part is."""
        return not self.failed

    def __str__(self) -> str:
        width = max(len(name) for name in self.errors)
        return "\n".join(
            f"{name:<{width}}  {error:8.1e}  {'WRONG' if name in self.failed else 'right'}"
            for name, error in self.errors.items()
        )


def check_derivatives(
    subject: Network | RunningCost,
    network: Network | None = None,
    *,
    samples: int = 3,
    t: float = 0.3,
    rtol: float = 1e-6,
    rng: np.random.Generator | None = None,
) -> DerivativeCheck:
    """Compares jvp, vjp and vjp_derivative of a network, or vjp, vjp_derivative and reads of a
    running cost, with difference quotients, at a normally distributed point and time t.

    A point where the velocity or the density has a kink within 1e-4 may be called wrong.

    network : of the states and controls that a running cost is asked for
    samples : columns of the state; those of the data that the cost holds
    raises TypeError for a subject of another kind, a running cost without a network, or a network
        with a block that is never stored; ValueError for samples < 1 or rtol <= 0
    """
    check_count("samples", samples)
    check_positive("rtol", rtol)
    rng = np.random.default_rng(0) if rng is None else rng
    if isinstance(subject, Network):
        checks = _OfNetwork(subject, subject.blocks(), samples, float(t), rng)
    elif not isinstance(subject, RunningCost):
        raise TypeError(f"subject must be a Network or a RunningCost, got {subject!r}")
    elif not isinstance(network, Network):
        raise TypeError(f"a running cost needs network, a Network, to be checked, got {network!r}")
    else:
        cost = subject.completed(network, State(), None, samples)
        blocks = {b.name: b for b in (*network.blocks(), *cost.blocks(network))}
        checks = _OfCost(network, tuple(blocks.values()), samples, float(t), rng, cost)
    return DerivativeCheck(checks.errors(), rtol)


class _Checks:
    """A random point, and comparisons there."""

    def __init__(
        self,
        network: Network,
        blocks: tuple[Block, ...],
        samples: int,
        t: float,
        rng: np.random.Generator,
    ) -> None:
        for block in blocks:
            if block.prepare is not None:
                raise TypeError(f"block {block.name!r} is never stored: it has no derivative")
        self.network, self.t, self.rng, self.samples = network, t, rng, samples
        self.blocks = {b.name: b for b in blocks}
        self.point = self.random()

    def random(self) -> Point:
        """A state and values of all blocks."""
        values = {n: self.rng.standard_normal(b.shape) for n, b in self.blocks.items()}
        return self.state(), values

    def state(self) -> Array:
        """A random state."""
        return self.rng.standard_normal((len(self.network.weights), self.samples))

    def directions(self) -> dict[str, Point]:
        """In the state alone, and in each block alone."""
        df, dc = self.random()
        found: dict[str, Point] = {"the state": (df, {})}
        return found | {n: (0.0 * df, {n: x}) for n, x in dc.items()}

    def moved(self, direction: Point, s: float) -> Point:
        """The point + s direction."""
        (f, c), (df, dc) = self.point, direction
        return f + s * df, {n: x + s * dc[n] if n in dc else x for n, x in c.items()}

    def product(self, x: Point, y: Point) -> float:
        """The inner product, over the blocks that both have."""
        total = np.sum(self.network.weights[:, None] * x[0] * y[0])
        for name in x[1].keys() & y[1].keys():
            total += np.sum(self.blocks[name].weights * x[1][name] * y[1][name])
        return float(total)

    def fits(self, found: Point) -> bool:
        """True if an adjoint has the shapes of state and blocks, and no others."""
        f, bars = found
        return np.shape(f) == self.point[0].shape and all(
            n in self.blocks and np.shape(x) == self.blocks[n].shape for n, x in bars.items()
        )

    def pairing(self, direction: Point, change: "_Quotient", q: Array, adjoint: Point) -> float:
        """The relative error of <Jv, q> = <v, J*q>; change is Jv, q has the weights of its
        space.
        """
        if not self.fits(adjoint):
            return float("inf")
        left, right = float(np.sum(change.value * q)), self.product(direction, adjoint)
        sizes = self.product(direction, direction) * self.product(adjoint, adjoint)
        scale = max(abs(left), abs(right), sizes**0.5, change.floor * float(np.sum(np.abs(q))))
        return abs(left - right) / max(scale, _TINY)

    def adjoint_change(self, ask: Callable[[float], Point], found: Point) -> float:
        """The relative error of the derivative of an adjoint along s."""
        if not self.fits(found):
            return float("inf")
        ends = {s: ask(s) for s in _NODES}
        names = set().union(*(bars for _, bars in ends.values()))
        worst = _Quotient(lambda s: ends[s][0]).error(found[0])
        for n in names | found[1].keys():
            none = np.zeros(self.blocks[n].shape)
            change = _Quotient(lambda s, n=n, none=none: {n: none, **ends[s][1]}[n])
            worst = max(worst, change.error({n: none, **found[1]}[n]))
        return worst


class _OfNetwork(_Checks):
    def errors(self) -> dict[str, float]:
        """Part by part."""
        network, (f, c), t = self.network, self.point, self.t
        p, dp = self.state(), self.state()
        if np.shape(network.velocity(f, c, t)) != f.shape:
            return {"velocity: its shape": float("inf")}
        weighted = network.weights[:, None] * p
        found, adjoint = {}, network.vjp(f, c, t, p)
        for name, way in self.directions().items():
            change = _Quotient(lambda s, way=way: network.velocity(*self.moved(way, s), t))
            found[f"jvp in {name}"] = change.error(network.jvp(f, c, t, *way))
            found[f"vjp in {name}"] = self.pairing(way, change, weighted, adjoint)
            found[f"vjp_derivative in {name}"] = self.adjoint_change(
                lambda s, way=way: network.vjp(*self.moved(way, s), t, p),
                network.vjp_derivative(f, c, t, p, *way, 0.0 * p),
            )
        found["vjp_derivative in p"] = self.adjoint_change(
            lambda s: network.vjp(f, c, t, p + s * dp),
            network.vjp_derivative(f, c, t, p, 0.0 * f, {}, dp),
        )
        return found


class _OfCost(_Checks):
    def __init__(
        self,
        network: Network,
        blocks: tuple[Block, ...],
        samples: int,
        t: float,
        rng: np.random.Generator,
        cost: RunningCost,
    ) -> None:
        super().__init__(network, blocks, samples, t, rng)
        self.cost = cost

    def errors(self) -> dict[str, float]:
        """Part by part."""
        cost, network, (f, c), t = self.cost, self.network, self.point, self.t
        q = self.rng.standard_normal(self.samples)
        if np.shape(cost.density(network, f, c, t)) != q.shape:
            return {"density: its shape": float("inf")}
        found, adjoint, reads = {}, cost.vjp(network, f, c, t, q), cost.reads(network)
        for name, way in self.directions().items():
            change = _Quotient(lambda s, way=way: cost.density(network, *self.moved(way, s), t))
            if name in self.blocks and reads is not None and name not in reads:
                found[f"reads without {name}"] = change.error(0.0 * q)
                continue
            found[f"vjp in {name}"] = self.pairing(way, change, q, adjoint)
            found[f"vjp_derivative in {name}"] = self.adjoint_change(
                lambda s, way=way: cost.vjp(network, *self.moved(way, s), t, q),
                cost.vjp_derivative(network, f, c, t, q, *way),
            )
        return found


_NODES = (_STEP, -_STEP, 0.5 * _STEP, -0.5 * _STEP)


class _Quotient:
    """g'(0), to fourth order, and a size below which it is rounding error of g."""

    def __init__(self, g: Callable[[float], Array]) -> None:
        ends = [np.asarray(g(s)) for s in _NODES]
        a, b, c, d = ends
        self.value = (8.0 * (c - d) - (a - b)) / (6.0 * _STEP)
        self.floor = _STEP * max(float(np.max(np.abs(x))) for x in ends)

    def error(self, found: Array) -> float:
        """The largest difference relative to the largest entry; infinite if shapes differ."""
        if np.shape(self.value) != np.shape(found):
            return float("inf")
        largest = max(float(np.max(np.abs(x))) for x in (self.value, found))
        return float(np.max(np.abs(self.value - found))) / max(largest, self.floor, _TINY)
