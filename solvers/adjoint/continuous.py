"""The gradient by the equations of the continuum, optimise then discretise, to compare with the
exact discrete one.

    p' = -(D_f F)* p - D_f L,    p(T) = D terminal,    dJ/dc = (D_c F)* p + D_c L,

L the mean running cost, p backwards in time by the same method as f, on its own.  The two gradients
differ by the order of the method.
"""

import numpy as np

from continuum.arrays import Array, namespace
from continuum.checks import check_count
from continuum.controls import Control
from continuum.doors import checked
from continuum.problem import LearningProblem

from ..flow.advance import GenericAdvance, Steps, velocity
from ..run.solution import Solution, SolveError, Trajectory
from ..run.status import Status
from ..steps.implicit import ImplicitRungeKutta
from ..steps.tableaux import StepFailed, Stepper

_NODES = 0.5 + 0.5 * np.array([-np.sqrt(0.6), 0.0, np.sqrt(0.6)])
_WEIGHTS = np.array([5.0, 8.0, 5.0]) / 18.0


@checked
def continuous_adjoint(
    problem: LearningProblem, control: Control, stepper: Stepper, steps_per_layer: int = 1
) -> Control:
    """The gradient of J, discretized after differentiation; in the product of the space.

    Between its steps the state, and the costate in the integral over time, are cubic Hermite
    interpolants, O(tau^4); the integrals use Gauss's rule of three points on every step.  So it
    differs from `discretize`'s gradient by O(tau^min(p, 4)), p the order of the method, and by
    O(tau^2) if there is a running cost, whose trapezoid rule only the discrete objective has.  It
    is the gradient of no function: do not give it to line searches.

    stepper : of equal steps; raises TypeError for others, and for an adaptive method
    raises ValueError for steps_per_layer < 1, SolveError if the state or an implicit step fails
    """
    if not isinstance(stepper, Stepper) or stepper.adaptive:
        raise TypeError(
            f"stepper must be a method with equal steps, such as RK4(), got {stepper!r}"
        )
    steps_per_layer = check_count("steps_per_layer", steps_per_layer)
    control = problem.space.check("control", control)
    steps = Steps.equal(problem.mesh, steps_per_layer)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            advance = GenericAdvance(problem.network, control, stepper, steps)
            _, failed, states = advance(problem.initial, 0, len(steps), True)
        if failed >= 0:
            raise _failure(states[-2], float(steps.start[failed]), Status.NON_FINITE)
        return _Backward(problem, control, stepper, steps).gradient(list(states))
    except StepFailed as error:
        raise _failure(problem.initial, 0.0, Status.NEWTON_FAILED, str(error)) from error


def _failure(f: Array, t: float, status: Status, detail: str = "") -> SolveError:
    return SolveError(
        Solution(
            Trajectory(np.array([t]), f[None, ...]), status, detail or f"in the step at t = {t:.6g}"
        )
    )


class _Backward:
    def __init__(
        self, problem: LearningProblem, control: Control, stepper: Stepper, steps: Steps
    ) -> None:
        self.problem, self.control, self.stepper, self.steps = problem, control, stepper, steps
        self.functional = problem.functional

    def gradient(self, states: list[Array]) -> Control:
        """From the states at the ends of the steps."""
        problem, network, space = self.problem, self.problem.network, self.problem.space
        total = space.cotangents(states[0])
        values = self.functional.terminal_values(self.control)
        p, bars = self.functional.terminal_vjp(states[-1], values)
        space.scatter(total, space.mesh.layers - 1, space.mesh.horizon, bars, 1.0)
        for n in range(len(self.steps) - 1, -1, -1):
            layer, t, h = (
                int(self.steps.layer[n]),
                float(self.steps.start[n]),
                float(self.steps.size[n]),
            )
            speeds = (
                velocity(network, self.control, layer, t + s * h, states[n + s]) for s in (0, 1)
            )
            state = _Cubic(h, states[n], states[n + 1], *speeds)
            after, p = p, self._step(layer, t, h, state, p)
            costate = _Cubic(
                h,
                p,
                after,
                *(
                    -1.0 * self._rate(layer, t + s * h, state(s), x)
                    for s, x in ((0.0, p), (1.0, after))
                ),
            )
            for s, weight in zip(_NODES, _WEIGHTS, strict=True):
                at = t + s * h
                _, bars = network.vjp(state(s), self.control.at_layer(layer, at), at, costate(s))
                space.scatter(total, layer, at, bars, weight * h)
                space.scatter(total, layer, at, self._running(layer, at, state(s))[1], weight * h)
        gradient = space.riesz(total)
        if problem.penalty is not None:
            problem.penalty.add_to(self.control, gradient)
        return gradient

    def _step(self, layer: int, t: float, h: float, state: "_Cubic", p: Array) -> Array:
        """p at t from p at t + h, in the time s = t + h - t' that runs backwards."""
        if not isinstance(self.stepper, ImplicitRungeKutta):
            return self.stepper.step(
                lambda s, x: self._rate(layer, t + h - s, state(1.0 - s / h), x), _none, 0.0, h, p
            )
        # Newton's iteration asks for derivatives of some samples, or of copies of them, where the
        # state is not known to it: so it is given one sample at a time
        xp = namespace(p)
        return xp.concat(
            [self._implicit(layer, t, h, state, p, m) for m in range(p.shape[1])], axis=1
        )

    def _implicit(self, layer: int, t: float, h: float, state: "_Cubic", p: Array, m: int) -> Array:
        """The same of sample m alone."""
        network, control = self.problem.network, self.control

        def rate(s: float, x: Array) -> Array:
            at, f = t + h - s, state(1.0 - s / h)
            moved, _ = network.vjp(f[:, m : m + 1], control.at_layer(layer, at), at, x)
            return moved + self._running(layer, at, f)[0][:, m : m + 1]

        def tangent(s: float, x: Array, dx: Array) -> Array:
            at = t + h - s
            f = namespace(x).repeat(state(1.0 - s / h)[:, m : m + 1], dx.shape[1], axis=1)
            return network.vjp(f, control.at_layer(layer, at), at, dx)[0]

        return self.stepper.step(rate, tangent, 0.0, h, p[:, m : m + 1])

    def _rate(self, layer: int, t: float, f: Array, p: Array) -> Array:
        """(D_f F)* p + grad running."""
        rate, _ = self.problem.network.vjp(f, self.control.at_layer(layer, t), t, p)
        return rate + self._running(layer, t, f)[0]

    def _running(self, layer: int, t: float, f: Array) -> tuple[Array, dict[str, Array]]:
        """The derivatives of the mean running cost in the state and, by block, in the control."""
        values = self.functional.running_values(self.control, layer, t)
        return self.functional.running_vjp(f, values, t)


def _none(t: float, x: Array, dx: Array) -> Array:
    """The derivative that an explicit method does not ask for."""
    raise TypeError("an explicit method asks for no derivative")


class _Cubic:
    """The cubic x(s), 0 <= s <= 1, with these values and derivatives in time at both ends of a step
    of length h.
    """

    def __init__(self, h: float, x0: Array, x1: Array, v0: Array, v1: Array) -> None:
        self.h, self.ends, self.slopes = h, (x0, x1), (v0, v1)

    def __call__(self, s: float) -> Array:
        share, bump = s * s * (3.0 - 2.0 * s), self.h * s * (s - 1.0)
        (x0, x1), (v0, v1) = self.ends, self.slopes
        return (1.0 - share) * x0 + share * x1 + bump * ((s - 1.0) * v0 + s * v1)
