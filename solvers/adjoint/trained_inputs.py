"""Problems whose initial states are a function of blocks that are trained with the control."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from continuum.arrays import Array, is_numpy
from continuum.checks import check_count, check_type, store
from continuum.controls import Control, ControlSpace
from continuum.doors import checked
from continuum.endpoints import no_endpoint
from continuum.input_maps import InputMap
from continuum.networks import Staged
from continuum.penalties import restricted
from continuum.problem import LearningProblem
from continuum.records import short

from ..flow.integrate import integrate
from ..run.workspace import Spares
from ..steps.tableaux import Euler, Stepper
from .discretize import ReducedObjective


@checked
def trained_inputs(
    problem: LearningProblem,
    input_map: InputMap,
    stepper: Stepper | None = None,
    steps_per_layer: int = 1,
) -> "TrainedInputs":
    """J(c, phi) = J(c; f(0) = input_map.state(phi)): the discretized problem with its initial
    states made of further static blocks phi, as an objective of `minimize`, with mini-batches.

        objective = trained_inputs(problem, FilterBank(images, copies=20))
        both = problem.admissible & Box({"initial.filters": (-1, 1)})
        minimize(Composite(objective, admissible=both), ...)

    problem : its own `initial` says how many units and samples there are, its values are not read;
        its penalty and admissible set are those of its own blocks and are met as always. A penalty
        or a set on the blocks of the map goes into a Composite, with those of the problem
    stepper, steps_per_layer : as in `discretize`
    raises TypeError for other arguments, Staged networks, endpoints, penalties that do not say
        which blocks they count and arrays that are not NumPy's; ValueError for a map with other
        numbers of units or samples, or whose blocks are not static or have names of the problem's
    """
    problem = check_type("problem", problem, LearningProblem)
    no_endpoint(problem.endpoint, "trained_inputs")
    own = [b.name for b in problem.space.trained]
    penalty = restricted(problem.penalty, own, problem.space)  # by name: phi is not counted
    stated = replace(problem, penalty=penalty)
    return TrainedInputs(
        stated, input_map, Euler() if stepper is None else stepper, steps_per_layer
    )


@checked
@dataclass(frozen=True, eq=False)
class TrainedInputs:
    """What `trained_inputs` returns: J, its gradient and its Hessian in (c, phi).

    With p the costate at t = 0, representing dJ in the weights w of the units, the gradient in phi
    is (D state)* (w p).
    """

    problem: LearningProblem
    input_map: InputMap
    stepper: Stepper
    steps_per_layer: int = 1

    __repr__ = short

    def __post_init__(self) -> None:
        check_type("input_map", self.input_map, InputMap)
        problem, samples = self.problem, self.problem.initial.shape[1]
        if isinstance(problem.network, Staged):
            raise TypeError("the network of a problem with trained inputs must not be Staged")
        if not is_numpy(problem.initial):
            raise TypeError("initial must be a NumPy array: input maps are computed on the host")
        if self.input_map.samples != samples:
            raise ValueError(
                f"input_map has {self.input_map.samples} samples, the problem {samples}"
            )
        taken = [b.name for b in problem.space.blocks]
        for block in self.input_map.blocks():
            if block.time != "static":
                raise ValueError(f"block {block.name!r} of input_map must be static")
            if block.name in taken:
                raise ValueError(f"the problem has a block {block.name!r} already")
        store(self, check_count, "steps_per_layer")
        state = problem.network.check_state(
            "the state of input_map", self._state(self.space.zeros())
        )
        self._reduced(problem.starting_from(state))

    @cached_property
    def space(self) -> ControlSpace:
        """The space of (c, phi)."""
        return self.problem.space.joined(self.input_map.blocks(), {})

    @property
    def samples(self) -> int:
        """How many samples J is a mean over."""
        return self.input_map.samples

    def batch(
        self, indices: Sequence[int] | Array, rng: np.random.Generator | None = None
    ) -> "TrainedInputs":
        """The objective on some of the samples; nothing is drawn from `rng`."""
        some = copy(self)  # what was checked of the whole holds for it
        object.__setattr__(some, "problem", self.problem.batch(indices))
        object.__setattr__(some, "input_map", self.input_map.batch(indices))
        return some

    def at(self, control: Control) -> tuple[ReducedObjective, Control]:
        """The objective with phi held, and c: what all that knows nothing of input maps takes."""
        control = self.space.check("control", control)
        held = self._reduced(self.problem.starting_from(self._state(control)))
        return held, self._own(control)

    def value(self, control: Control) -> float:
        """J; infinite if the state does not stay finite, or an implicit step has no solution."""
        objective, own = self.at(control)
        return objective.value(own)

    def gradient(self, control: Control) -> Control:
        """The gradient of J in the product of the space."""
        return self.value_and_gradient(control)[1]

    def value_and_gradient(self, control: Control) -> tuple[float, Control]:
        """J and its gradient.  raises SolveError if the state does not stay finite, or an implicit
        step has no solution
        """
        objective, own = self.at(control)
        value, gradient, p = objective.value_and_gradients(own)
        bars = self.input_map.vjp(self._phi(control), self._units * p)
        return value, self._joined(gradient, bars)

    def hvp(self, control: Control, direction: Control) -> Control:
        """The Hessian of J at `control` applied to `direction`, in the product of the space.
        raises as `value_and_gradient`
        """
        direction = self.space.check("direction", direction)
        objective, own = self.at(control)
        phi, dphi, maps = self._phi(control), self._phi(direction), self.input_map
        weights = self.problem.sample_weights
        p = objective.value_and_gradients(own)[2]
        moved = objective.tangent(own, self._own(direction), maps.jvp(phi, dphi))
        dq = self._units * weights * moved.costates[0]
        return self._joined(moved.gradient, maps.vjp_derivative(phi, self._units * p, dphi, dq))

    def outputs(self, control: Control, input_map: InputMap | None = None) -> Array:
        """(P, M): the readout of the last states.

        input_map : of the same kind, for other samples, such as those of a test; that of the
            objective unless given
        raises ValueError for a map with other blocks or units; SolveError if a state does not stay
            finite
        """
        control, given = self.space.check("control", control), self.input_map
        if input_map is not None:
            given = check_type("input_map", input_map, InputMap)
            own = {b.name: b.shape for b in self.input_map.blocks()}
            if {b.name: b.shape for b in given.blocks()} != own:
                raise ValueError(f"input_map must have the blocks {own}, got {input_map!r}")
        problem, own = self.problem, self._own(control)
        run = integrate(
            problem.network,
            own,
            given.state(self._phi(control)),
            self.stepper,
            steps_per_layer=self.steps_per_layer,
        )
        values = own.at_layer(problem.mesh.layers - 1, problem.mesh.horizon)
        return problem.readout.output(problem.network, run.trajectory.final, values)

    @cached_property
    def _units(self) -> Array:
        """(N, 1): the weights of the units."""
        return self.problem.network.weights[:, None]

    def _reduced(self, problem: LearningProblem) -> ReducedObjective:
        found = ReducedObjective(problem, self.stepper, self.steps_per_layer)
        return found.sharing(self._spares)

    @cached_property
    def _spares(self) -> Spares:
        return Spares()

    def _state(self, control: Control) -> Array:
        return self.input_map.state(self._phi(control))

    def _phi(self, control: Control) -> dict[str, Array]:
        return {b.name: control[b.name] for b in self.input_map.blocks()}

    def _own(self, control: Control) -> Control:
        """c, a point of the problem's space."""
        space = self.problem.space
        return Control(space, {b.name: control[b.name] for b in space.trained}, trusted=True)

    def _joined(self, own: Control, bars: dict[str, Array]) -> Control:
        """A point of the space; the product of static blocks has no integral over time."""
        return Control(self.space, {**own, **bars}, trusted=True)
