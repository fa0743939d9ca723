"""The cost of a learning problem: terminal cost, running cost, penalty density, and their exact
derivatives.

    J(c) = sum_m s_m [ ell(o_m(T), y_m) + int_0^T L_m(f(t), c(t), t) dt ] + R(c)

with sample weights s_m that sum to 1 and outputs o = readout(f).  `RunningCost` is what a user
writes for L, `Tracking` is the loss of a readout along the way, and `Functional`, which a problem
gives as `problem.functional`, is the one place that knows sample weights, readouts and measures:
adjoints, Hamiltonians and certificates ask it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias, TypeGuard

import numpy as np

from .arrays import Array, columns, is_array, like, namespace
from .blocks import Block, Coefficient
from .controls import Control, ControlSpace
from .doors import checked
from .losses import Loss
from .networks import Network
from .networks.network import Values
from .penalties import Penalty
from .pickling import check_importable
from .readouts import Readout
from .records import short
from .time_axes import Index

Times: TypeAlias = float | Array
"""One time, or those of L points: NumPy's (L,)."""

MovingTarget = Callable[[float], Array]
"""A target as a function of time, with values (P, M)."""

NO_VALUES: Values = MappingProxyType({})


class RunningCost(ABC):
    """L(f, c, t): a cost per unit of time and per sample, of the state, the control and the time.

    f is a state (N, M), c maps block names to their values at time t, blocks that are not trained
    and those of readouts too.  Adjoints are with respect to (f, g) = sum_m sum_i w_i f_im g_im on
    states and each block's weights on controls, as those of a Network.  See also `broadcasts`."""

    @property
    def broadcasts(self) -> bool:
        """True if density, vjp and vjp_derivative take many points at once; unless overridden,
        False: they are asked point by point.

        Points are states f, df (L, N, M), times t (L,), NumPy's, and values c, dc of each block
        (L, *block.shape), or (*block.shape) where it is constant; q stays (M,).  Answers are
        (L, M), (L, N, M) and cotangents of each point (L, *block.shape), not their sum.
        """
        return False

    @abstractmethod
    def density(self, network: Network, f: Array, c: Values, t: float) -> Array:
        """(M,): L of each sample."""

    @abstractmethod
    def vjp(
        self, network: Network, f: Array, c: Values, t: float, q: Array
    ) -> tuple[Array, dict[str, Array]]:
        """The derivative of sum_m q_m L_m, q (M,): in the state (N, M), represented in the weights
        of the units, and by block, represented in the block's weights.  A block on which L does not
        depend may be left out.
        """

    def density_and_vjp(
        self, network: Network, f: Array, c: Values, t: float, q: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """L of each sample, and what `vjp` returns, for a cost where they have parts in common."""
        return self.density(network, f, c, t), *self.vjp(network, f, c, t, q)

    @abstractmethod
    def vjp_derivative(
        self, network: Network, f: Array, c: Values, t: float, q: Array, df: Array, dc: Values
    ) -> tuple[Array, dict[str, Array]]:
        """The derivative of `vjp` at (f, c) in the direction (df, dc), t and q held.  Blocks
        missing from dc are not varied.
        """

    @abstractmethod
    def formula(self) -> str:
        """How `print(problem)` writes L."""

    def reads(self, network: Network) -> Collection[str] | None:
        """The names of the blocks on which L depends; None, unless overridden, for all of them.

        The others are then not evaluated, and a cost that reads no block which is constant on
        layers is evaluated once at the end that two layers share.
        """
        return None

    def blocks(self, network: Network) -> tuple[Block, ...]:
        """The blocks it adds to the control: those of a readout of its own."""
        return ()

    @property
    def fixed(self) -> Mapping[str, Coefficient]:
        """The values of those blocks that are not trained."""
        return {}

    def completed(
        self, network: Network, readout: Readout, target: Array | None, samples: int
    ) -> "RunningCost":
        """Itself, with what it takes from the problem put in; itself if it needs nothing.

        raises ValueError or TypeError for data that do not fit the network or the samples
        """
        return self

    def batch(self, indices: Array) -> "RunningCost":
        """The cost for some of the samples; itself if it holds no data per sample."""
        return self


@checked
@dataclass(frozen=True, eq=False)
class Tracking(RunningCost):
    """L = loss(readout(f), target): the distance of an output to what it should be on the way.

    loss : on the readout's outputs
    readout : the problem's unless given
    target : (P, M), or a function of time that returns it; the problem's unless given.
        CrossEntropy() takes labels (M,) too.  Functions are evaluated once at the times of a run,
        which are kept until others are asked for
    raises TypeError for a loss, readout or target of another kind
    """

    loss: Loss
    readout: Readout | None = None
    target: Array | MovingTarget | None = None
    shared: bool = field(default=False, init=False, repr=False)
    """True if the target is the problem's; set by `completed`."""
    _moved: dict[str, tuple[tuple[bytes, int, int], Array]] = field(
        default_factory=dict, init=False, repr=False
    )

    __repr__ = short

    def __post_init__(self) -> None:
        given = self.target
        if given is not None and not callable(given) and not is_array(given):
            object.__setattr__(self, "target", np.asarray(given))

    def __getstate__(self) -> dict[str, object]:
        if callable(self.target):
            check_importable("target of Tracking", self.target)
        return {**self.__dict__, "_moved": {}}

    def __deepcopy__(self, memo: object) -> "Tracking":
        return self

    @property
    def broadcasts(self) -> bool:
        return self.loss.broadcasts and self.readout is not None and self.readout.broadcasts

    def density(self, network: Network, f: Array, c: Values, t: Times) -> Array:
        readout, o = self._output(network, f, c)
        return self.loss.value(o, self._target(o, t), like(readout.measure(network), o))

    def vjp(
        self, network: Network, f: Array, c: Values, t: Times, q: Array
    ) -> tuple[Array, dict[str, Array]]:
        readout, o = self._output(network, f, c)
        slope = self.loss.gradient(o, self._target(o, t), like(readout.measure(network), o))
        return readout.vjp(network, f, c, q * slope)

    def density_and_vjp(
        self, network: Network, f: Array, c: Values, t: Times, q: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        readout, o = self._output(network, f, c)
        v = like(readout.measure(network), o)
        costs, slope = self.loss.value_and_gradient(o, self._target(o, t), v)
        return costs, *readout.vjp(network, f, c, q * slope)

    def vjp_derivative(
        self, network: Network, f: Array, c: Values, t: Times, q: Array, df: Array, dc: Values
    ) -> tuple[Array, dict[str, Array]]:
        readout, o = self._output(network, f, c)
        y, v = self._target(o, t), like(readout.measure(network), o)
        change = readout.jvp(network, f, c, df, dc)
        slope, bend = self.loss.gradient(o, y, v), self.loss.hvp(o, y, v, change)
        return readout.vjp_derivative(network, f, c, q * slope, df, dc, q * bend)

    def formula(self) -> str:
        output = "f" if self.readout is None else self.readout.formula()
        return self.loss.formula(f"{output}(t)", self._target_name)

    def reads(self, network: Network) -> Collection[str]:
        return [b.name for b in self.blocks(network)]

    def blocks(self, network: Network) -> tuple[Block, ...]:
        return () if self.readout is None else self.readout.blocks(network)

    @property
    def fixed(self) -> Mapping[str, Coefficient]:
        return {} if self.readout is None else self.readout.fixed

    def completed(
        self, network: Network, readout: Readout, target: Array | None, samples: int
    ) -> "Tracking":
        readout = readout if self.readout is None else self.readout
        given = target if self.target is None else self.target
        if given is None:
            raise ValueError(f"target is needed by {self.loss!r}, but it is None")
        outputs = len(readout.measure(network))
        if callable(given):
            self._at(given, 0.0, outputs, samples)
        else:
            given = self.loss.check_target(given, outputs, samples)
        found = Tracking(self.loss, readout, given)
        object.__setattr__(found, "shared", self.target is None)
        return found

    def batch(self, indices: Array) -> "Tracking":
        if self.target is None:
            return self
        if callable(self.target):
            return replace(self, target=_Columns(self.target, indices))
        return replace(self, target=columns(self.target, np.asarray(indices)))

    def _output(self, network: Network, f: Array, c: Values) -> tuple[Readout, Array]:
        if self.readout is None:
            raise ValueError("this Tracking has no readout: give it one, or put it into a problem")
        return self.readout, self.readout.output(network, f, c)

    def _target(self, o: Array, t: Times) -> Array:
        """(P, M) at time t, or (P, 1) where one sample's target holds for all states; (L, P, M) or
        (L, P, 1) at times t (L,) if it moves.
        """
        if self.target is None:
            raise ValueError("this Tracking has no target: give it one, or put it into a problem")
        if not callable(self.target):
            return like(self.target, o)
        outputs, samples = o.shape[-2], o.shape[-1]
        if not isinstance(t, np.ndarray):
            return like(self._at(self.target, t, outputs, samples), o)
        key, (known, stacked) = (t.tobytes(), outputs, samples), self._moved.get("last", (None, o))
        if known != key:
            found = [self._at(self.target, float(s), outputs, samples) for s in t]
            most = max(x.shape[1] for x in found)
            xp = namespace(found[0])
            stacked = xp.stack([xp.broadcast_to(x, (outputs, most)) for x in found])
            self._moved["last"] = key, stacked
        return like(stacked, o)

    def _at(self, target: MovingTarget, t: float, outputs: int, samples: int) -> Array:
        """The checked value of a moving target."""
        found = target(t)
        count = 1 if np.shape(found)[-1:] == (1,) else samples
        try:
            return self.loss.check_target(found, outputs, count)
        except (ValueError, TypeError) as error:
            raise type(error)(f"at t = {t:g}, {error}") from None

    @property
    def _target_name(self) -> str:
        if callable(self.target):
            return "target(t)"
        return "target" if self.shared or self.target is None else "own target"


def rests(cost: object) -> TypeGuard[Tracking]:
    """True for the loss of a readout whose target does not move."""
    return isinstance(cost, Tracking) and not callable(cost.target)


@dataclass(frozen=True, eq=False)
class _Columns:
    """A moving target of some of the samples."""

    target: MovingTarget
    indices: Array

    def __call__(self, t: float) -> Array:
        return np.asarray(self.target(t))[..., self.indices]


@checked
@dataclass(frozen=True, eq=False)
class Functional:
    """The cost of a problem as a function of states and control values; made by
    `LearningProblem.functional`.

    A state f is (N, M); its columns are the problem's samples, or, where the problem has one sample
    alone, any number of states of it.  c maps block names to values at the time in question; blocks
    that are not trained need not be in it.  Means are sum_m s_m of the problem's sample weights;
    derivatives are those of the mean unless other weights q (M,) of the samples are given: with
    q = 1 each column is the derivative of that sample's own cost.

    The methods of the running cost take many points at once too: states (L, N, M), times (L,),
    layers (L,) and values c of each block (L, *block.shape), or (*block.shape) where it is
    constant.  Costs are then (L, M), derivatives (L, N, M) and, by block, those of each point
    (L, *block.shape).  A cost that does not broadcast is asked point by point.

    terminal, running : completed costs (readout and target put in), None for none
    sample_weights : (M,), with sum 1
    """

    network: Network
    space: ControlSpace
    terminal: RunningCost | None
    running: RunningCost | None
    penalty: Penalty | None
    sample_weights: Array

    __repr__ = short

    # -- the terminal cost

    def terminal_costs(self, f: Array, c: Values = NO_VALUES) -> Array:
        """(M,): the terminal cost of each sample."""
        return self._costs(self.terminal, f, c, self.space.mesh.horizon)

    def terminal_cost(self, f: Array, c: Values = NO_VALUES) -> float:
        """Its mean over samples."""
        return float(self.mean(self.terminal_costs(f, c)))

    def terminal_vjp(
        self, f: Array, c: Values = NO_VALUES, q: Array | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """The derivatives of the mean terminal cost: in the state (N, M), and by block."""
        return self._vjp(self.terminal, f, c, self.space.mesh.horizon, q)

    def terminal_cost_and_vjp(
        self, f: Array, c: Values = NO_VALUES
    ) -> tuple[float, Array, dict[str, Array]]:
        """`terminal_cost`, and what `terminal_vjp` returns."""
        costs, p, bars = self._costs_and_vjp(self.terminal, f, c, self.space.mesh.horizon)
        return float(self.mean(costs)), p, bars

    def terminal_vjp_derivative(
        self, f: Array, c: Values, df: Array, dc: Values, q: Array | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """The derivative of `terminal_vjp` in the direction (df, dc)."""
        return self._vjp_derivative(self.terminal, f, c, self.space.mesh.horizon, df, dc, q)

    # -- the running cost

    def running_costs(self, f: Array, c: Values, t: Times) -> Array:
        """(M,): L of each sample; (L, M) at many points."""
        return self._costs(self.running, f, c, t)

    def running_cost(self, f: Array, c: Values, t: float) -> float:
        """Its mean over samples, at one point."""
        return float(self.mean(self.running_costs(f, c, t)))

    def running_vjp(
        self, f: Array, c: Values, t: Times, q: Array | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """The derivatives of the mean of L: in the state (N, M), and by block."""
        return self._vjp(self.running, f, c, t, q)

    def running_costs_and_vjp(
        self, f: Array, c: Values, t: Times
    ) -> tuple[Array, Array, dict[str, Array]]:
        """`running_costs`, and what `running_vjp` returns."""
        return self._costs_and_vjp(self.running, f, c, t)

    def running_vjp_derivative(
        self, f: Array, c: Values, t: Times, df: Array, dc: Values, q: Array | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """The derivative of `running_vjp` in the direction (df, dc)."""
        return self._vjp_derivative(self.running, f, c, t, df, dc, q)

    @cached_property
    def running_reads(self) -> tuple[str, ...]:
        """The names of the blocks on which the running cost depends, fixed ones too."""
        return self._reads(self.running)

    @cached_property
    def terminal_reads(self) -> tuple[str, ...]:
        """The same of the terminal cost: blocks of the readout."""
        return self._reads(self.terminal)

    @cached_property
    def running_jumps(self) -> bool:
        """True if the running cost depends on a block that may jump between layers."""
        return any(b.name in self.running_reads and b.time == "layers" for b in self.space.blocks)

    def running_values(self, control: Control, layer: Index, t: Times) -> dict[str, Array]:
        """The values at t of the blocks that the running cost reads, continued from inside the
        layer to its ends.
        """
        return self._values(self.running_reads, control, layer, t)

    def running_variation(self, direction: Control, layer: Index, t: Times) -> dict[str, Array]:
        """The same of a direction in the space: trained blocks alone."""
        trained = [name for name in self.running_reads if name in direction]
        return self._values(trained, direction, layer, t)

    def terminal_values(self, control: Control) -> dict[str, Array]:
        """The values at the horizon of the blocks that the terminal cost reads."""
        mesh = self.space.mesh
        return self._values(self.terminal_reads, control, mesh.layers - 1, mesh.horizon)

    def terminal_variation(self, direction: Control) -> dict[str, Array]:
        """The same of a direction in the space: trained blocks alone."""
        mesh = self.space.mesh
        trained = [name for name in self.terminal_reads if name in direction]
        return self._values(trained, direction, mesh.layers - 1, mesh.horizon)

    # -- the penalty, where it is the integral of a density

    @property
    def pointwise(self) -> bool:
        """True if the penalty is the integral over time of a density r(c(t)), or there is none."""
        return self.penalty is None or self.penalty.pointwise

    def penalty_density(self, values: Values) -> Array:
        """r at values of the control (..., *block.shape), one or many: an array (...), 0.0 without
        penalty.  Blocks that are constant in time are not part of it.  Raises TypeError if not
        `pointwise`.
        """
        return np.zeros(()) if self.penalty is None else self.penalty.density(self.space, values)

    def penalty_density_gradient(self, values: Values) -> dict[str, Array]:
        """Its derivative, by block, in the block's weights; blocks that do not count are left out.
        Raises TypeError if there is none.
        """
        return {} if self.penalty is None else self.penalty.density_gradient(self.space, values)

    @property
    def quadratic(self) -> dict[str, float] | None:
        """lambda_b by trained block if r(c) = sum_b lambda_b |c_b|^2 (0 without penalty), else
        None.
        """
        if self.penalty is None:
            return {b.name: 0.0 for b in self.space.trained}
        return self.penalty.quadratic(self.space)

    # -- parts of both costs

    def mean(self, costs: Array) -> Array:
        """sum_m s_m costs_m of costs (..., M): an array (...)."""
        return costs @ like(self.sample_weights, costs)

    def _costs(self, cost: RunningCost | None, f: Array, c: Values, t: Times) -> Array:
        if cost is None:
            return namespace(f).zeros_like(f[..., 0, :])
        given = self._completed(cost, c, t)
        if len(f.shape) == 2 or cost.broadcasts:
            return cost.density(self.network, f, given, t)  # type: ignore[arg-type]  # see broadcasts
        return namespace(f).stack(
            [
                cost.density(self.network, f[n, ...], self._point(given, n), float(s))
                for n, s in enumerate(np.asarray(t))
            ]
        )

    def _vjp(
        self, cost: RunningCost | None, f: Array, c: Values, t: Times, q: Array | None
    ) -> tuple[Array, dict[str, Array]]:
        if cost is None:
            return namespace(f).zeros_like(f), {}
        given, weights = self._completed(cost, c, t), self._weights(q, f)
        if len(f.shape) == 2 or cost.broadcasts:
            return cost.vjp(self.network, f, given, t, weights)  # type: ignore[arg-type]
        return _stacked(
            [
                cost.vjp(self.network, f[n, ...], self._point(given, n), float(s), weights)
                for n, s in enumerate(np.asarray(t))
            ]
        )

    def _costs_and_vjp(
        self, cost: RunningCost | None, f: Array, c: Values, t: Times
    ) -> tuple[Array, Array, dict[str, Array]]:
        if cost is None:
            return self._costs(cost, f, c, t), namespace(f).zeros_like(f), {}
        given, weights = self._completed(cost, c, t), self._weights(None, f)
        if len(f.shape) == 2 or cost.broadcasts:
            return cost.density_and_vjp(self.network, f, given, t, weights)  # type: ignore[arg-type]
        found = [
            cost.density_and_vjp(self.network, f[n, ...], self._point(given, n), float(s), weights)
            for n, s in enumerate(np.asarray(t))
        ]
        costs = namespace(f).stack([costs for costs, *_ in found])
        return costs, *_stacked([(p, bars) for _, p, bars in found])

    def _vjp_derivative(
        self,
        cost: RunningCost | None,
        f: Array,
        c: Values,
        t: Times,
        df: Array,
        dc: Values,
        q: Array | None,
    ) -> tuple[Array, dict[str, Array]]:
        if cost is None:
            return namespace(f).zeros_like(f), {}
        given, weights = self._completed(cost, c, t), self._weights(q, f)
        if len(f.shape) == 2 or cost.broadcasts:
            return cost.vjp_derivative(self.network, f, given, t, weights, df, dc)  # type: ignore[arg-type]

        def one(n: int, s: float) -> tuple[Array, dict[str, Array]]:
            here, along = self._point(given, n), self._point(dc, n)
            return cost.vjp_derivative(self.network, f[n, ...], here, s, weights, df[n, ...], along)

        return _stacked([one(n, float(s)) for n, s in enumerate(np.asarray(t))])

    def _point(self, c: Values, n: int) -> dict[str, Array]:
        """The values at the n-th of many points."""
        many = {name for name, x in c.items() if len(x.shape) > self._dimensions[name]}
        return {name: x[n, ...] if name in many else x for name, x in c.items()}

    @cached_property
    def _dimensions(self) -> dict[str, int]:
        """How many axes one value of each block has."""
        return {b.name: len(b.shape) for b in self.space.blocks}

    def _completed(self, cost: RunningCost, c: Values, t: Times) -> Values:
        """c with the blocks that the cost reads and that are not trained, from the right at the
        ends of layers.
        """
        space = self.space
        names = self.running_reads if cost is self.running else self.terminal_reads
        if not names or all(n in c or n not in names for n in space.fixed):
            return c
        mesh = space.mesh
        layer = mesh.layers_of(t) if isinstance(t, np.ndarray) else mesh.layer_of(t)
        return {**{n: x for n, x in space.held(layer, t).items() if n in names}, **c}

    def _weights(self, q: Array | None, f: Array) -> Array:
        return like(self.sample_weights if q is None else q, f)

    def _reads(self, cost: RunningCost | None) -> tuple[str, ...]:
        names = () if cost is None else cost.reads(self.network)
        return tuple(b.name for b in self.space.blocks if names is None or b.name in names)

    def _values(
        self, names: Collection[str], control: Control, layer: Index, t: Times
    ) -> dict[str, Array]:
        if not names:
            return {}
        theta, axes = self.space.local_time(layer, t), self.space.axes
        return {name: axes[name].at(control[name], layer, theta) for name in names}


def _stacked(found: Sequence[tuple[Array, dict[str, Array]]]) -> tuple[Array, dict[str, Array]]:
    """What points gave one by one; a block that a point leaves out is 0 there."""
    xp, names = namespace(found[0][0]), {n: x for _, bars in found for n, x in bars.items()}
    return xp.stack([p for p, _ in found]), {
        name: xp.stack([bars.get(name, xp.zeros_like(x)) for _, bars in found])
        for name, x in names.items()
    }
