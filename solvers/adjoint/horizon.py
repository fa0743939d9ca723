"""How the gradient of the discretized problem changes with the horizon, the coefficients held.

With Euler's layers x_{k+1} = x_k + tau_k F_k, F_k = F(x_k, c_k), and tau_k = T s_k, the derivatives
delta_k in T of the states and dp_k of the costates p_k are

    delta_{k+1} = delta_k + tau_k D_f F_k delta_k + s_k F_k,
    dp_k = dp_{k+1} + tau_k [(D_f F_k)* dp_{k+1} + (D_f F_k)*' p_{k+1}] + s_k (D_f F_k)* p_{k+1}
           + dseed_k,

the prime the derivative along delta_k.  Layer k's part of the gradient is tau_k (D_c F_k)* p_{k+1};
its derivative is the last line with D_c in place of D_f.  The seeds of a running cost and the
penalty are proportional to T, besides what delta_k does.
"""

from dataclasses import replace

from continuum.arrays import Array, namespace
from continuum.controls import Control
from continuum.functional import Tracking
from continuum.networks import Chain
from continuum.networks.maps import Inputs
from continuum.penalties import Tikhonov
from continuum.problem import LearningProblem

from ..flow.advance import Steps
from .discrete_cost import DiscreteCost, Rule, States
from .discretize import discretize


def check_horizon(problem: LearningProblem) -> None:
    """Raises TypeError for what does not scale with the horizon in a known way: networks and costs
    that may depend on time, other penalties than Tikhonov, and the norm "H1".
    """
    network, running = problem.network, problem.functional.running
    first = network.maps[0] if isinstance(network, Chain) else None
    timed = isinstance(first, Inputs) and first.time
    if timed or not (network.broadcasts or isinstance(network, Chain)):
        raise TypeError(f"the derivative in the horizon needs a network without time: {network!r}")
    if running is not None and (not isinstance(running, Tracking) or callable(running.target)):
        raise TypeError(
            f"the derivative in the horizon needs a running cost without time, a loss of a fixed "
            f"target: {running!r}"
        )
    for term in () if problem.penalty is None else problem.penalty.terms:
        if not isinstance(term, Tikhonov):
            raise TypeError(f"the derivative in the horizon is known for Tikhonov, not {term!r}")
    if problem.space.time_norm != "L2":
        raise TypeError('the derivative in the horizon needs the norm "L2" in time')


def horizon_derivative(problem: LearningProblem, control: Control) -> Control:
    """d/dT of the derivative of J in the coefficients, represented in the product of the space at
    this T; J discretized by Euler, one step per layer.

    raises TypeError as `check_horizon`; SolveError if the state does not stay finite
    """
    check_horizon(problem)
    network, space, horizon = problem.network, problem.space, problem.mesh.horizon
    control = space.check("control", control)
    path = discretize(problem).run(control)
    x, p = path.states, path.costates * problem.sample_weights
    cost, still = _costs(problem, control), space.zeros()
    total = space.cotangents(problem.initial)
    delta = [namespace(x).zeros_like(x[0, ...])]
    layers = [(k, float(path.times[k]), float(tau)) for k, tau in enumerate(problem.mesh.steps)]
    for k, t, tau in layers:
        change = network.jvp(x[k, ...], control.at_layer(k, t), t, delta[k], {})
        delta.append(delta[k] + tau * change + (x[k + 1, ...] - x[k, ...]) / horizon)
    dx = namespace(x).stack(delta)
    dseeds = _explicit(problem, cost, x, total, horizon)
    states = cost.rule.states
    dseeds[states, ...] += cost.seed_derivatives(states, _of(x), _of(dx), still, total)
    dp = dseeds[-1, ...]
    for k, t, tau in reversed(layers):
        at = x[k, ...], control.at_layer(k, t), t, p[k + 1, ...]
        back, bars = network.vjp(*at)
        dback, dbars = network.vjp_derivative(*at, dx[k, ...], {}, dp)
        for found, factor in ((bars, tau / horizon), (dbars, tau)):
            space.scatter(total, k, t, found, factor)
        dp = dp + tau * dback + (tau / horizon) * back + dseeds[k, ...]
    further = {}
    if problem.penalty is not None:
        timed = [b.name for b in space.trained if b.time != "static"]
        gradient = problem.penalty.gradient(control)
        further = {name: g / horizon for name, g in gradient.items() if name in timed}
    return space.riesz(total, further)


def _costs(problem: LearningProblem, control: Control) -> DiscreteCost:
    rule = Rule.of(problem, Steps.equal(problem.mesh, 1), "layers")
    return DiscreteCost(problem.functional, control, rule)


def _explicit(
    problem: LearningProblem, cost: DiscreteCost, x: Array, total: dict[str, Array], horizon: float
) -> Array:
    """(K + 1, N, M): the seeds of the running cost, divided by T; their cotangents likewise are
    added to `total`.
    """
    found = namespace(x).zeros_like(x)
    if problem.running is None:
        return found
    alone = replace(cost, functional=replace(cost.functional, terminal=None))
    own = problem.space.cotangents(problem.initial)
    found[cost.rule.states, ...] += alone.seeds(cost.rule.states, _of(x), own) / horizon
    for name, c in own.items():
        total[name] += c / horizon
    return found


def _of(states: Array) -> States:
    return lambda numbers: states[numbers, ...]
