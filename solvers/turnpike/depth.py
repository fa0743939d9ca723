"""How deep a network must be for a given training error: two laws.

Cost at the end alone, phi(x(T)) + sum_b lambda_b int_0^T |u_b|^2 dt.  Let the velocity be
homogeneous of degree 1 in the control, and v a control on (0, 1) with phi(x(1)) = phi_v and the
price lambda V = sum_b lambda_b int_0^1 |v_b|^2 dt.  Then v(t/T) / T leads to the same state on
(0, T), at 1/T of the price, so that whatever does not cost more has

    phi(x(T)) <= phi_v + lambda V / T <= eps   for   T >= lambda V / (eps - phi_v).

With phi_v = 0 this is lambda V / eps.  It holds for the ResNet with any number of layers, if v is
one of as many; that number need not grow with T.  In regular cases the bound is far from sharp: phi
falls like 1/T^2 there in the end.

Cost along the way alone, int_0^T phi(x) + sum_b lambda_b |u_b|^2 dt, of a network without drift.
Let kappa be the least rate of the linearised system at the state that the run comes near, and phi_0
the error at the end T0 of a minimiser's run, less that of the static optimum.  Each mode of the
linearised problem is a cosh(kappa_j (T - t)) / cosh(kappa_j T), so that

    phi(x(T)) <= phi_0 (cosh(kappa T0) / cosh(kappa T))^2 <= C exp(-2 kappa T),  T >= T0,
    C = phi_0 (exp(kappa T0) + exp(-kappa T0))^2,

hence phi <= eps for T >= log(C / eps) / (2 kappa).  Source: Geshkovski, Large-time asymptotics in
deep learning, with the errata E1 and E8; the constants are derived here.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_positive, check_type
from continuum.controls import Control, ControlSpace
from continuum.doors import checked
from continuum.endpoints import TerminalEquality
from continuum.functional import Tracking
from continuum.losses import AbsoluteError, SquaredError
from continuum.meshes import TimeMesh
from continuum.problem import LearningProblem
from continuum.records import short
from continuum.rescaling import degree_in_control

from ..adjoint.discretize import discretize
from ..descent.minimize import minimize
from ..descent.riccati_newton import RiccatiNewton
from ..descent.run import Minimizer
from .arcs import turnpike
from .spectra import spectrum
from .stage import Stage

_TERMINAL = (
    "the velocity is homogeneous of degree 1 in the control (checked), and lambda V is the price "
    "of a control that was computed and leads to the error given (an upper bound of the least "
    "price): phi <= eps then holds for every control that costs no more than `control`, the least "
    "minimisers among them"
)
_RUNNING = (
    "a spectral gap (checked) and no drift (at sampled states); local: the run is close enough to "
    "the static optimum for the linearised system to hold from its end on, and longer horizons "
    "have minimisers of the same branch; it is no bound for others"
)


@dataclass(frozen=True, eq=False)
class Depth:
    """A horizon that is long enough for a training error.

    law : "terminal", T >= constant / (eps - error); "running", T >= log(constant / eps) / rate and
        T >= T0
    eps : the training error asked for
    horizon, layers : of the ResNet that has it, by the law
    constant : lambda V, or C (infinite where it overflows)
    rate : 2 kappa, of phi; nan for "terminal", where it falls like a power
    error : phi at the end of the control that was computed, less its least value
    hypothesis : what the law assumes, and what was checked of it
    guaranteed : whether it is a bound, for what `hypothesis` says, and not an extrapolation
    problem, control : the problem on that horizon, and the control computed, brought there:
        slower, or followed by 0.  Where `guaranteed`, a method that starts from it and never raises
        J ends with phi <= eps
    """

    law: Literal["terminal", "running"]
    eps: float
    horizon: float
    layers: int
    constant: float
    rate: float
    error: float
    hypothesis: str
    guaranteed: bool
    problem: LearningProblem
    control: Control

    __repr__ = short

    def __str__(self) -> str:
        if self.law == "terminal":
            law = f"lambda V / (eps - {self.error:.3g}), lambda V = {self.constant:.6g}"
        else:
            law = f"log(C / eps) / rate, C = {self.constant:.6g}, rate = {self.rate:.6g}"
        return (
            f"phi(x(T)) <= {self.eps:g} from T = {self.horizon:.6g} on, {self.layers} layers: "
            f"{law}.\nassumed: {self.hypothesis}"
        )


@checked
def depth_for(
    problem: LearningProblem,
    eps: float,
    *,
    minimizer: Minimizer | None = None,
    initial: Control | None = None,
) -> Depth:
    """The horizon from which on the training error phi(x(T)) is at most eps.

        cost at the end alone     T >= lambda V / (eps - phi_v)       a bound
        cost along the way alone  T >= log(C / eps) / (2 kappa)       local

    phi is the terminal or the running cost of the problem, the mean over samples with the weight of
    its loss.  The first law needs a velocity that is homogeneous in the control and a loss that is
    0 at the target; its V is that of a control on (0, 1) with as many layers as the problem, which
    meets the targets as an endpoint (if it is 0 any horizon will do, and the problem's is kept).
    The second one needs a network without drift and a spectral gap; it goes on from a minimiser on
    the problem's own horizon T0, which is never shortened, by layers as long as its last one.  The
    rate is that of the ResNet where all layers are alike.

    eps : > 0
    minimizer : for the endpoint, or for the minimiser on T0; RiccatiNewton() unless given
    initial : a control of the problem, from which it starts; zero unless given
    returns Depth; its `hypothesis` says what is assumed
    raises ValueError for problems with both costs, or an endpoint; for lambda <= 0; where no
        control was found with phi < eps; for networks with drift, or an eps below the running cost
        of the static optimum (second law); TypeError for velocities that are not homogeneous of
        degree 1, other losses than SquaredError and AbsoluteError, other penalties than Tikhonov,
        admissible sets, trained blocks that are constant in time (first law); NoSpectralGap with
        the number, NoStaticOptimum, and what else `turnpike` raises (second law); SolveError where
        there is no minimiser on T0
    """
    check_type("problem", problem, LearningProblem)
    check_positive("eps", eps)
    if minimizer is not None:
        check_type("minimizer", minimizer, Minimizer)
    if initial is not None:
        problem.space.check("initial", initial)
    if problem.endpoint is not None:
        raise ValueError("problem has an endpoint: its training error is 0 on every horizon")
    if (problem.terminal is None) == (problem.running is None):
        raise ValueError(
            "problem has a terminal and a running cost; each law is for one of them alone: leave "
            "out the other with replace(problem, terminal=None) or running=None"
        )
    if problem.running is None:
        return _terminal(problem, eps, minimizer, initial)
    return _running(problem, eps, minimizer, initial)


def _terminal(
    problem: LearningProblem, eps: float, minimizer: Minimizer | None, initial: Control | None
) -> Depth:
    """T >= lambda V / (eps - phi_v)."""
    _check_homogeneous(problem)
    cost = problem.functional.terminal
    if not (
        isinstance(cost, Tracking)
        and isinstance(cost.loss, SquaredError | AbsoluteError)
        and not callable(cost.target)
    ):
        raise TypeError(
            "terminal: the law lambda V / eps needs a loss that is 0 at a target at rest, "
            f"SquaredError or AbsoluteError, got {problem.terminal!r}"
        )
    unit, first = _stretched(problem, 1.0), None
    if initial is not None:
        first = _brought(initial, unit, problem.mesh.horizon)
    posed = replace(unit, terminal=None, endpoint=TerminalEquality(cost.target, cost.readout))
    method = RiccatiNewton(gtol=1e-7, relative=True) if minimizer is None else minimizer
    found = minimize(posed, method, initial=first, raise_on_failure=False)
    control = unit.space.check("control", found.control)
    states, last = discretize(unit).run(control).states, _last_values(control)
    error, price = unit.functional.terminal_cost(states[-1], last), _price(unit, control)
    if not error < eps:
        raise ValueError(
            f"eps = {eps:g}: no control was found that interpolates; the search ended with phi = "
            f"{error:.3g} ({found.status.name}), on {problem.mesh.layers} layers. Start from "
            "another control with initial="
        )
    horizon = price / (eps - error) if price > 0.0 else problem.mesh.horizon
    posed = _stretched(problem, horizon)
    return Depth(
        "terminal",
        eps,
        horizon,
        problem.mesh.layers,
        price,
        float("nan"),
        error,
        _TERMINAL,
        True,
        posed,
        _brought(control, posed, 1.0),
    )


def _check_homogeneous(problem: LearningProblem) -> None:
    """Raises TypeError and ValueError where the first law does not hold."""
    degree = degree_in_control(problem)
    if degree != 1:
        raise TypeError(
            f"problem.network: the velocity {problem.network.formula()} is homogeneous of degree "
            f"{degree} in its trained blocks, not 1: longer horizons are not cheaper by 1/T"
        )
    held = [b.name for b in problem.space.trained if b.time == "static"]
    if held:
        raise TypeError(
            f"problem: blocks {', '.join(held)} are trained and constant in time, so their price "
            f"does not fall with T: hold them with problem.holding(control, {held})"
        )
    if problem.admissible is not None:
        raise TypeError(
            f"problem.admissible must be None for the law lambda V / eps, got "
            f"{problem.admissible!r}"
        )
    strengths = problem.functional.quadratic
    if strengths is None:
        raise TypeError(
            "problem.penalty must be lambda_b |c_b|^2 at each time (Tikhonov) for the law lambda V "
            f"/ eps, got {problem.penalty!r}: the price of others does not fall like 1/T"
        )
    for name, strength in strengths.items():
        if strength <= 0.0:
            raise ValueError(
                f"problem.penalty has strength {strength:g} on block {name!r}: with lambda <= 0 "
                "the training error does not depend on the horizon, as soon as it can be made 0"
            )


def _running(
    problem: LearningProblem, eps: float, minimizer: Minimizer | None, initial: Control | None
) -> Depth:
    """T >= log(C / eps) / (2 kappa)."""
    drift = Stage(problem).drift(np.random.default_rng(0))
    if drift > 0.0:
        raise ValueError(
            f"network has a drift: its velocity without control is up to {drift:.3g} at sampled "
            "states, so minimisers leave the static optimum towards T and the error at T does not "
            "tend to that of the static optimum"
        )
    method = RiccatiNewton() if minimizer is None else minimizer
    found = minimize(problem, method, initial=initial)
    pike = turnpike(problem, found.control)
    gap = spectrum(problem, pike.static).gap if pike.scheme is None else pike.scheme.gap
    if pike.spectrum.neutral:
        spectrum(problem, pike.static)  # raises NoSpectralGap, with the number
    functional, mesh = problem.functional, problem.mesh
    states, last = discretize(problem).run(found.control).states, _last_values(found.control)
    floor = pike.static.value
    allowed = eps - floor
    if allowed <= 0.0:
        raise ValueError(
            f"eps = {eps:g}: the running cost of the static optimum is {floor:.6g}, so no horizon "
            "brings it that low"
        )
    error = max(functional.running_cost(states[-1], last, mesh.horizon) - floor, 0.0)
    ahead = gap * mesh.horizon
    spread = 2.0 * float(np.logaddexp(ahead, -ahead))
    longer, constant = problem, 0.0
    if error > 0.0:
        with np.errstate(over="ignore"):
            constant = error * float(np.exp(spread))
        wanted = (np.log(error / allowed) + spread) / (2.0 * gap)
        longer = _extended(problem, float(wanted))
    return Depth(
        "running",
        eps,
        longer.mesh.horizon,
        longer.mesh.layers,
        constant,
        2.0 * gap,
        error,
        _RUNNING,
        False,
        longer,
        _followed(found.control, longer),
    )


def _last_values(control: Control) -> dict[str, Array]:
    """The values of all blocks at the end of the last layer."""
    mesh = control.space.mesh
    return dict(control.at_layer(mesh.layers - 1, mesh.horizon))


def _price(problem: LearningProblem, control: Control) -> float:
    """sum_b lambda_b int |c_b|^2 dt."""
    return 0.0 if problem.penalty is None else float(problem.penalty.value(control))


def _on(problem: LearningProblem, mesh: TimeMesh) -> LearningProblem:
    """The problem on a mesh of as many layers or more; blocks that are not trained keep their last
    value on further ones.
    """
    space, more = problem.space, mesh.layers - problem.mesh.layers
    times = {b.name: b.time for b in space.blocks}
    fixed = {n: x if times[n] == "static" else _padded(x, more) for n, x in space.fixed.items()}
    return replace(problem, controls=ControlSpace(mesh, space.blocks, fixed, space.time_norm))


def _padded(x: Array, more: int) -> Array:
    """x with its last entry repeated."""
    return np.concatenate([x, np.repeat(x[-1:], more, axis=0)])


def _stretched(problem: LearningProblem, horizon: float) -> LearningProblem:
    """The same costs on another horizon, the layers keeping their shares of it."""
    return _on(problem, problem.mesh.stretched(horizon))


def _brought(control: Control, problem: LearningProblem, horizon: float) -> Control:
    """A control on (0, horizon) at another speed, on the horizon of `problem`: T0/T u(t T0/T)."""
    factor = horizon / problem.mesh.horizon
    blocks = {b.name: factor * control[b.name] for b in problem.space.trained}
    return Control(problem.space, blocks, trusted=True)


def _extended(problem: LearningProblem, horizon: float) -> LearningProblem:
    """The problem with further layers, as long as its last one, up to the horizon or beyond."""
    mesh = problem.mesh
    h = float(mesh.steps[-1])
    more = int(np.ceil((horizon - mesh.horizon) / h - 1e-9))
    if more <= 0:
        return problem
    if not mesh.given and mesh.grading == 1.0:
        return _on(problem, TimeMesh(mesh.horizon + more * h, mesh.layers + more))
    further = mesh.horizon + h * np.arange(1, more + 1)
    return _on(problem, TimeMesh.through(np.concatenate([mesh.nodes, further])))


def _followed(control: Control, problem: LearningProblem) -> Control:
    """The control, and 0 afterwards."""
    more = problem.mesh.layers - control.space.mesh.layers
    blocks = {
        b.name: np.concatenate([control[b.name], np.zeros((more, *b.shape))])
        for b in problem.space.trained
    }
    return Control(problem.space, blocks, trusted=True)
