"""Gradients of the Monte Carlo and the path loss, on the ledger's fixture (LY-14 to LY-16)."""

import numpy as np

from continuum import Affine, CrossEntropy, LearningProblem, State, TimeMesh
from continuum.arrays import Array
from solvers.lyapunov import Given, MonteCarloLyapunov, PathLyapunov

from ...bench.registry import claim
from ..fixture import LABELS, STATES, TIMES, WIDTH, Fixture, det, norm
from .common import PAPER

MESH = TimeMesh(1.0, 5)
REASON = "twelve printed digits of exact derivatives"


def at_given_states(
    fixture: Fixture, kappa: float, linear: bool
) -> tuple[MonteCarloLyapunov, dict[str, Array]]:
    """The loss at the 5 states and times, and the values of its blocks; linear : with the readout
    W eta + b to four classes.
    """
    x, values = fixture.inputs, fixture.values()
    if linear:
        values |= {"readout.W": det((WIDTH, STATES), 0.9), "readout.mu": det((WIDTH,), 0.2)}
    problem = LearningProblem(
        fixture.field.at(x),
        np.zeros((STATES, 3)),
        np.array([3, 0, 1]) if linear else LABELS,
        MESH,
        terminal=CrossEntropy(),
        readout=Affine(4) if linear else State(),
    )
    sampler = Given(fixture.states.T, np.array(TIMES))
    return MonteCarloLyapunov(problem, kappa, sampler), values


@claim(
    "LY-14",
    statement="The Monte Carlo loss and its gradient with all 15 pairs active, kappa = 2: the state"
    " read off as it is, or by W eta + b, whose gradient needs the second derivative of V.",
    paper=PAPER,
    references={
        "1 layer: loss": 3.437791466645,
        "1 layer: |G|": 0.673063074271,
        "1 layer: dWo_00": 0.238083403109,
        "1 layer: dWx_00": 0.020984465221,
        "1 layer, linear: loss": 5.141394020779,
        "1 layer, linear: |G|": 2.224594441925,
        "1 layer, linear: dW_00": 0.629650409466,
        "2 layers: loss": 3.581889232213,
        "2 layers: |G|": 0.467239919957,
        "2 layers, linear: loss": 5.203161296735,
        "2 layers, linear: |G|": 2.230976179988,
    },
    tolerance=1e-11,
    reason=REASON,
)
def monte_carlo() -> dict[str, float]:
    """Values, norms and three derivatives."""
    found = {}
    for layers, words in ((1, "1 layer"), (2, "2 layers")):
        for linear, also in ((False, ""), (True, ", linear")):
            loss, values = at_given_states(Fixture(layers, amp=0.6), 2.0, linear)
            control = loss.space.sample(**values)
            if loss.active_share(control) < 1.0:
                raise ArithmeticError("a pair is not active")
            value, gradient = loss.value_and_gradient(control)
            found |= {f"{words}{also}: loss": value, f"{words}{also}: |G|": norm(gradient)}
            if layers == 1 and linear:
                found["1 layer, linear: dW_00"] = float(gradient["readout.W"][0, 0])
            elif layers == 1:
                found["1 layer: dWo_00"] = float(gradient["weight2"][0, 0])
                found["1 layer: dWx_00"] = float(gradient["weight1"][0, STATES])
    return found


@claim(
    "LY-15",
    statement="The same where 6 and 7 of the 15 pairs are active: amplitude 1.5, kappa = 0.25.",
    paper=PAPER,
    references={
        "1 layer: loss": 0.494962917306,
        "1 layer: |G|": 0.283459366835,
        "1 layer: active": 6.0,
        "2 layers: loss": 0.942976422904,
        "2 layers: |G|": 0.426712414102,
        "2 layers: active": 7.0,
    },
    tolerance=1e-11,
    reason=REASON,
)
def hinge() -> dict[str, float]:
    """Values, norms and counts."""
    found = {}
    for layers, words in ((1, "1 layer"), (2, "2 layers")):
        loss, values = at_given_states(Fixture(layers, amp=1.5), 0.25, linear=False)
        control = loss.space.sample(**values)
        value, gradient = loss.value_and_gradient(control)
        found |= {f"{words}: loss": value, f"{words}: |G|": norm(gradient)}
        found[f"{words}: active"] = 15.0 * loss.active_share(control)
    return found


@claim(
    "LY-16",
    statement="The path losses by RK4 with 5 steps from 0, kappa = 2, amplitude 0.6, and their full"
    " and semi-gradients, which differ materially.",
    paper=PAPER,
    references={
        "1 layer, continuous: loss": 2.350225038886,
        "1 layer, continuous, full: |G|": 0.643680232792,
        "1 layer, continuous, semi: |G|": 0.333812458482,
        "1 layer, discrete: loss": 1.936305269509,
        "1 layer, discrete, full: |G|": 0.532555582646,
        "1 layer, discrete, semi: |G|": 0.942415598576,
        "2 layers, continuous: loss": 2.679348097100,
        "2 layers, continuous, full: |G|": 0.987879846838,
        "2 layers, continuous, semi: |G|": 0.340623301431,
        "2 layers, discrete: loss": 2.206794066553,
        "2 layers, discrete, full: |G|": 0.813507204150,
        "2 layers, discrete, semi: |G|": 1.331006622090,
    },
    tolerance=1e-11,
    reason=REASON,
)
def path() -> dict[str, float]:
    """Values and norms."""
    found = {}
    for layers, words in ((1, "1 layer"), (2, "2 layers")):
        fixture = Fixture(layers, amp=0.6)
        problem = at_given_states(fixture, 2.0, linear=False)[0].problem
        control = fixture.control(problem.space)
        for form in ("continuous", "discrete"):
            for semi, kind in ((False, "full"), (True, "semi")):
                loss = PathLyapunov(problem, 2.0, form=form, semi=semi)
                value, gradient = loss.value_and_gradient(control)
                found[f"{words}, {form}: loss"] = value
                found[f"{words}, {form}, {kind}: |G|"] = norm(gradient)
    return found
