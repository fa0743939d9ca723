"""A problem on a Staged network as a sequence of problems, one for each stage."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from .arrays import Array, like, namespace
from .blocks import Block, Coefficient
from .doors import checked
from .functional import RunningCost, Times, Tracking, rests
from .losses import Loss
from .networks import Network, Staged, Switched
from .networks.network import Values
from .networks.switched import TIMES, Paced
from .problem import LearningProblem
from .readouts import Readout, State


class StageProblem(LearningProblem):
    """What one stage adds to the costs of a problem, which may be nothing; without the penalty."""

    def _check_kinds(self) -> None:
        """Nothing: the problem whose stage it is was checked, and a stage needs no cost."""


@checked
@dataclass(frozen=True)
class Stagewise(Readout):
    """A readout of its own for each stage of a Staged network, all with as many outputs: what a
    cost on the way needs where the readout depends on the width.

    parts : one for each stage
    raises ValueError for readouts of several numbers of outputs
    """

    parts: tuple[Readout, ...]

    @property
    def fixed(self) -> Mapping[str, Coefficient]:  # type: ignore[override]
        return self._last.fixed

    def blocks(self, network: Network) -> tuple[Block, ...]:
        if isinstance(network, Staged):
            pairs = list(zip(self.parts, network.stages, strict=True))
            found = {len(part.measure(stage)) for part, stage in pairs}
            if len(found) > 1:
                raise ValueError(f"readouts must have as many outputs, got {sorted(found)}")
        return self._last.blocks(network)

    def measure(self, network: Network) -> Array:
        return self._last.measure(network)

    def output(self, network: Network, f: Array, c: Values) -> Array:
        return self._last.output(network, f, c)

    def jvp(self, network: Network, f: Array, c: Values, df: Array, dc: Values) -> Array:
        return self._last.jvp(network, f, c, df, dc)

    def vjp(
        self, network: Network, f: Array, c: Values, q: Array
    ) -> tuple[Array, dict[str, Array]]:
        return self._last.vjp(network, f, c, q)

    def vjp_derivative(
        self, network: Network, f: Array, c: Values, q: Array, df: Array, dc: Values, dq: Array
    ) -> tuple[Array, dict[str, Array]]:
        return self._last.vjp_derivative(network, f, c, q, df, dc, dq)

    def formula(self) -> str:
        return self._last.formula()

    @property
    def _last(self) -> Readout:
        return self.parts[-1]


def stage_problems(problem: LearningProblem) -> tuple[LearningProblem, ...]:
    """The stages of a problem whose network is Staged, each on its own mesh, which starts at 0.

    Their costs add up to that of the problem without its penalty, if each starts at the transfer of
    the last state before it; `initial` here has the shape of that state.
    raises TypeError for a network that is not staged, and for an endpoint; ValueError if the
        running cost does not fit a stage
    """
    network = problem.network
    if not isinstance(network, Staged):
        raise TypeError(f"problem.network must be Staged, got {network!r}")
    if problem.endpoint is not None:
        raise TypeError("an endpoint is not known for a Staged network: take a terminal cost")
    squares = _squares(problem, network) if isinstance(network, Switched) else None
    found, f, xp = [], problem.initial, namespace(problem.initial)
    last, start = len(network.stages) - 1, 0.0
    for s, stage in enumerate(network.stages):
        f = network.transfer(s, xp.zeros_like(f)) if s else f
        running = _later(problem.running, start)
        if isinstance(stage, Paced):
            prefix = network.name(s, "")
            own = {
                n.removeprefix(prefix): x
                for n, x in (squares or {}).items()
                if n.startswith(prefix)
            }
            running = PacedCost(_timeless(problem.running), own) if own or problem.running else None
        costs = s == last or problem.running is not None
        readout = problem.readout
        if isinstance(readout, Stagewise):
            readout = readout.parts[s]
        space = network.space(problem.space, s)
        found.append(
            StageProblem(
                stage,
                f,
                problem.target if costs else None,
                space,
                readout=readout if costs else State(),
                terminal=_later(problem.terminal, start) if s == last else None,
                running=running,
                sample_weights=problem.sample_weights,
            )
        )
        start += space.mesh.horizon
    return tuple(found)


def _squares(problem: LearningProblem, network: Switched) -> dict[str, float]:
    """lambda_b by block of the penalty of a Switched network, integrals over its time."""
    space, penalty = problem.space, problem.penalty
    squares = {} if penalty is None else penalty.quadratic(space)
    if squares is None:
        raise TypeError(f"the penalty of a Switched network must be quadratic, got {penalty!r}")
    found = {name: x for name, x in squares.items() if x and name not in network.shared}
    for block in space.blocks:
        if block.name in found and block.time != "layers":
            raise ValueError(
                f"the penalty of a Switched network must count blocks that are constant on layers: "
                f"{block.name!r} is not, name those that shall count"
            )
    return found


def _timeless(cost: RunningCost | Loss | None) -> RunningCost | None:
    """A running cost that does not read the time.  Raises TypeError for others."""
    if cost is None:
        return None
    found = Tracking(cost) if isinstance(cost, Loss) else cost
    if not rests(found):
        raise TypeError(
            f"the running cost of a Switched network must be a loss, or a Tracking of a target "
            f"that does not move, got {cost!r}"
        )
    return found


def _later(cost: RunningCost | Loss | None, start: float) -> RunningCost | Loss | None:
    return Later(cost, start) if isinstance(cost, RunningCost) and start > 0.0 else cost


@dataclass(frozen=True, eq=False)
class Later(RunningCost):
    """L(f, c, t + start): a cost on a stage that begins at `start`, t counted from there."""

    cost: RunningCost
    start: float

    @property
    def broadcasts(self) -> bool:
        return self.cost.broadcasts

    def density(self, network: Network, f: Array, c: Values, t: Times) -> Array:
        return self.cost.density(network, f, c, t + self.start)  # type: ignore[arg-type]

    def vjp(
        self, network: Network, f: Array, c: Values, t: Times, q: Array
    ) -> tuple[Array, dict[str, Array]]:
        return self.cost.vjp(network, f, c, t + self.start, q)  # type: ignore[arg-type]

    def density_and_vjp(
        self, network: Network, f: Array, c: Values, t: Times, q: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        return self.cost.density_and_vjp(network, f, c, t + self.start, q)  # type: ignore[arg-type]

    def vjp_derivative(
        self, network: Network, f: Array, c: Values, t: Times, q: Array, df: Array, dc: Values
    ) -> tuple[Array, dict[str, Array]]:
        return self.cost.vjp_derivative(network, f, c, t + self.start, q, df, dc)  # type: ignore[arg-type]

    def formula(self) -> str:
        return self.cost.formula()

    def reads(self, network: Network) -> Collection[str] | None:
        return self.cost.reads(network)

    def blocks(self, network: Network) -> tuple[Block, ...]:
        return self.cost.blocks(network)

    @property
    def fixed(self) -> Mapping[str, Coefficient]:
        return self.cost.fixed

    def completed(
        self, network: Network, readout: Readout, target: Array | None, samples: int
    ) -> "Later":
        return replace(self, cost=self.cost.completed(network, readout, target, samples))

    def batch(self, indices: Array) -> "Later":
        return replace(self, cost=self.cost.batch(indices))


@dataclass(frozen=True, eq=False)
class PacedCost(RunningCost):
    """s (L(f, c) + sum_b lambda_b |c_b|^2) on a stage of a Switched network, s its pace: the
    integral of L and of the penalty over the time that the switching times mean.

    cost : L, which does not read the time; None for 0
    squares : lambda_b by block of the stage
    """

    cost: RunningCost | None
    squares: Mapping[str, float]

    @property
    def broadcasts(self) -> bool:
        return self.cost is None or self.cost.broadcasts

    def density(self, network: Network, f: Array, c: Values, t: Times) -> Array:
        paced = _paced(network)
        costs = self._losses(paced, f, c, t) + self._square(paced, c, c, f)[..., None]
        return _times(paced.pace(c), costs, 1)

    def vjp(
        self, network: Network, f: Array, c: Values, t: Times, q: Array
    ) -> tuple[Array, dict[str, Array]]:
        return self.density_and_vjp(network, f, c, t, q)[1:]

    def density_and_vjp(
        self, network: Network, f: Array, c: Values, t: Times, q: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        paced, xp = _paced(network), namespace(q)
        s, whole, ranks = paced.pace(c), xp.sum(q), self._ranks(paced)
        losses, p, bars = self._inner(paced, f, c, t, q)
        square = self._square(paced, c, c, f)
        found = {name: _times(s, bar, ranks[name]) for name, bar in bars.items()}
        for name, strength in self.squares.items():
            found[name] = 2.0 * strength * whole * _times(s, c[name], ranks[name])
        cost = xp.sum(q * losses, axis=-1) + whole * square
        found[TIMES] = like(paced.pace_gradient, f) * cost[..., None]
        return _times(s, losses + square[..., None], 1), _times(s, p, 2), found

    def vjp_derivative(
        self, network: Network, f: Array, c: Values, t: Times, q: Array, df: Array, dc: Values
    ) -> tuple[Array, dict[str, Array]]:
        paced, xp = _paced(network), namespace(q)
        s, ds, whole, ranks = paced.pace(c), paced.pace_change(dc), xp.sum(q), self._ranks(paced)
        _, p, bars = self._inner(paced, f, c, t, q)
        dp, dbars = xp.zeros_like(f), {}
        if self.cost is not None:
            dp, dbars = self.cost.vjp_derivative(paced.network, f, c, t, q, df, dc)  # type: ignore[arg-type]
        found = {
            name: _times(ds, bar, ranks[name]) + _times(s, dbars[name], ranks[name])
            for name, bar in bars.items()
        }
        for name, strength in self.squares.items():
            change = _times(ds, c[name], ranks[name])
            if name in dc:
                change = change + _times(s, dc[name], ranks[name])
            found[name] = 2.0 * strength * whole * change
        slope = xp.sum(paced.weights_like(f)[:, None] * p * df, axis=(-2, -1))
        slope = slope + 2.0 * whole * self._square(paced, c, dc, f)
        blocks = {} if self.cost is None else {b.name: b for b in self.cost.blocks(paced.network)}
        for name, bar in bars.items():
            if name in dc:
                slope = slope + _products(blocks[name], bar, dc[name])
        found[TIMES] = like(paced.pace_gradient, f) * slope[..., None]
        return _times(ds, p, 2) + _times(s, dp, 2), found

    def formula(self) -> str:
        terms = [] if self.cost is None else [self.cost.formula()]
        return " + ".join([*terms, *(f"{x:g} |{name}|^2" for name, x in self.squares.items())])

    def reads(self, network: Network) -> Collection[str] | None:
        inner = () if self.cost is None else self.cost.reads(network)
        return None if inner is None else {*inner, *self.squares, TIMES}

    def blocks(self, network: Network) -> tuple[Block, ...]:
        return () if self.cost is None else self.cost.blocks(network)

    @property
    def fixed(self) -> Mapping[str, Coefficient]:
        return {} if self.cost is None else self.cost.fixed

    def completed(
        self, network: Network, readout: Readout, target: Array | None, samples: int
    ) -> "PacedCost":
        if self.cost is None:
            return self
        return replace(self, cost=self.cost.completed(network, readout, target, samples))

    def batch(self, indices: Array) -> "PacedCost":
        return self if self.cost is None else replace(self, cost=self.cost.batch(indices))

    def _losses(self, paced: Paced, f: Array, c: Values, t: Times) -> Array:
        if self.cost is None:
            return namespace(f).zeros_like(f[..., 0, :])
        return self.cost.density(paced.network, f, c, t)  # type: ignore[arg-type]

    def _inner(
        self, paced: Paced, f: Array, c: Values, t: Times, q: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """L of each sample, and its vjp, without the pace."""
        if self.cost is None:
            return self._losses(paced, f, c, t), namespace(f).zeros_like(f), {}
        return self.cost.density_and_vjp(paced.network, f, c, t, q)  # type: ignore[arg-type]

    def _ranks(self, paced: Paced) -> dict[str, int]:
        """How many axes one value of each block has."""
        further = () if self.cost is None else self.cost.blocks(paced.network)
        return {b.name: len(b.shape) for b in (*paced.network.blocks(), *further)}

    def _square(self, paced: Paced, c: Values, d: Values, f: Array) -> Array:
        """sum_b lambda_b (c_b, d_b), blocks missing from d left out: (...), as many as states f."""
        total, blocks = namespace(f).zeros_like(f[..., 0, 0]), paced.network.blocks()
        for block in blocks:
            if block.name in self.squares and block.name in d:
                products = _products(block, c[block.name], d[block.name])
                total = total + self.squares[block.name] * products
        return total


def _times(s: Array, x: Array, rank: int) -> Array:
    """s x, of a number or of one for each of many points, x having `rank` axes at each point."""
    return like(s.reshape(s.shape + (1,) * rank), x) * x


def _products(block: Block, x: Array, y: Array) -> Array:
    """(...): sum_i w_i x_i y_i over the entries of a block, of one value or many."""
    axes = tuple(range(-len(block.shape), 0))
    return namespace(x).sum(like(block.weights, x) * x * y, axis=axes)


def _paced(network: Network) -> Paced:
    if not isinstance(network, Paced):
        raise TypeError(f"this cost is for the stages of a Switched network, got {network!r}")
    return network
