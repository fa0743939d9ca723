"""The gradient flow of an objective: weights as a state, training as a differential equation."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from continuum import Block, Network
from continuum.arrays import Array, namespace
from continuum.checks import check_array
from continuum.controls import Control
from continuum.doors import checked
from continuum.networks.network import Values
from continuum.problem import LearningProblem
from continuum.time_axes import TimeKind

from ..run.solution import SolveError
from .augmented import has_endpoint
from .objective import Objective, semi_gradient
from .run import composite


@checked
@dataclass(frozen=True, eq=False)
class GradientFlow(Network):
    """w' = -grad J(w),  w the flat coordinates of a control, in which the product of its space is
    Euclidean; made by `gradient_flow`.

    A state (P, M) holds M weight vectors, which do not see each other: each costs a gradient.
    There is nothing to train: `blocks` is empty, and `flow.control(mesh)` says how long the run is.
    D_w of the velocity is -Hess J, which is symmetric, so `jvp` and `vjp` are the Hessian-vector
    product.
    """

    objective: Objective = field(repr=False)

    @property
    def weights(self) -> Array:
        return np.ones(self.objective.space.size)

    def blocks(self, in_time: TimeKind = "layers") -> tuple[Block, ...]:
        return ()

    def formula(self) -> str:
        return "w_t = -grad J(w)"

    def state(self, *controls: Control) -> Array:
        """(P, M): these controls, one in each column.  Raises ValueError for one of another
        space.
        """
        space = self.objective.space
        columns = [space.flatten(space.check("control", c)) for c in controls]
        return namespace(columns[0]).stack(columns, axis=1)

    def control_of(self, state: Array) -> Control:
        """The control of a state (P,) or (P, 1)."""
        size = self.objective.space.size
        column = check_array("state", state, (size,) if np.ndim(state) == 1 else (size, 1))
        return self.objective.space.unflatten(namespace(column).reshape(column, (size,)))

    def values(self, states: Array) -> Array:
        """(M,): J of each column of a state; infinite where it is not finite."""
        space = self.objective.space
        found = [
            self.objective.value(space.unflatten(states[:, m])) for m in range(states.shape[1])
        ]
        return namespace(states).asarray(found)

    def velocity(self, f: Array, c: Values, t: float) -> Array:
        """-grad J of each column; NaN where it is not finite."""

        def gradient(control: Control, _: Control) -> Control:
            return self.objective.value_and_gradient(control)[1]

        return self._each(gradient, f, f)

    def jvp(self, f: Array, c: Values, t: float, df: Array, dc: Values) -> Array:
        """-Hess J(f) df, column by column; NaN where it is not finite."""
        return self._each(self.objective.hvp, f, df)

    def vjp(self, f: Array, c: Values, t: float, p: Array) -> tuple[Array, dict[str, Array]]:
        """The same as `jvp`: the Hessian is symmetric."""
        return self._each(self.objective.hvp, f, p), {}

    def vjp_derivative(
        self, f: Array, c: Values, t: float, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        """Raises NotImplementedError: it contains third derivatives of J, which no objective
        gives.
        """
        raise NotImplementedError(
            "the second derivative of a gradient flow contains third derivatives of its objective, "
            "which are not known: gradients and Hessian-vector products of runs of this flow end "
            "at first order"
        )

    def _each(
        self, function: Callable[[Control, Control], Control], f: Array, along: Array
    ) -> Array:
        """-function(control, direction), flat, for every column of f and `along`."""
        space, columns = self.objective.space, []
        for m in range(f.shape[1]):
            x, direction = f[:, m], space.unflatten(along[:, m])
            nothing = namespace(x).full_like(x, np.nan)
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    found = -space.flatten(function(space.unflatten(x), direction))
            except SolveError:
                found = nothing
            finite = bool(namespace(x).all(namespace(x).isfinite(found)))
            columns.append(found if finite else nothing)
        return namespace(f).stack(columns, axis=1)


@checked
def gradient_flow(objective: LearningProblem | Objective) -> GradientFlow:
    """w' = -grad J(w), the limit of gradient descent for short steps, as a network without blocks.

        flow = gradient_flow(problem)
        run = integrate(flow, flow.control(TimeMesh(T, 1)), flow.state(start), DOP853(rtol, atol))
        flow.control_of(run.trajectory.final)

    objective : a problem, which is discretized by Euler (the ResNet), or any Objective; the
        derivative in the weights needs its `hvp`
    raises TypeError for an admissible set, a penalty without a gradient, an endpoint, or an
        objective that gives a semi-gradient
    """
    whole = composite(objective)
    for what, found in (
        ("an admissible set", whole.admissible is not None),
        ("a penalty without a gradient", whole.penalty is not None),
        ("an endpoint", has_endpoint(whole)),
        ("a semi-gradient", semi_gradient(whole.objective)),
    ):
        if found:
            raise TypeError(
                f"objective: gradient_flow needs all of its gradient, but there is {what}"
            )
    return GradientFlow(whole.objective)
