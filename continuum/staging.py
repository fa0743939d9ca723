"""A problem on a Staged network as a sequence of problems, one for each stage."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from .arrays import Array, namespace
from .blocks import Block, Coefficient
from .functional import RunningCost, Times
from .losses import Loss
from .networks import Network, Staged
from .networks.network import Values
from .problem import LearningProblem
from .readouts import Readout, State


class StageProblem(LearningProblem):
    """What one stage adds to the costs of a problem, which may be nothing; without the penalty."""

    def _check_kinds(self) -> None:
        """Nothing: the problem whose stage it is was checked, and a stage needs no cost."""


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
        raise TypeError(f"the network must be Staged, got {network!r}")
    if problem.endpoint is not None:
        raise TypeError("an endpoint is not known for a Staged network: take a terminal cost")
    found, f, xp = [], problem.initial, namespace(problem.initial)
    last, start = len(network.stages) - 1, 0.0
    for s, stage in enumerate(network.stages):
        f = network.transfer(s, xp.zeros_like(f)) if s else f
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
                running=_later(problem.running, start),
                sample_weights=problem.sample_weights,
            )
        )
        start += space.mesh.horizon
    return tuple(found)


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
