"""Section D of the ledger, nonlinear: ReLU, growth, contraction."""

from math import e, exp, pi, sqrt

import numpy as np

from continuum import (
    Activation,
    Circle,
    Interval,
    SymmetricLayer,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    periodic,
    relu,
    tanh,
    user_activation,
)
from continuum.arrays import Array
from solvers import (
    RK4,
    Euler,
    growth_class,
    integrate,
    l1_bound,
)
from solvers.steps.tableaux import Stepper

from ...bench.registry import claim
from .common import PAPER, TIGHT, UNIT


@claim(
    "LM-33",
    statement="ReLU, rank one and symmetric: f = f_I + 2 c_0 (1 - e^(-t/2)) phi^+, with a limit "
    "that depends on f_I.",
    paper=PAPER,
    references={
        "f(0, 3)": 2.164608741251639,
        "|f(3)|^2": 1.4913827506757513,
        "c_0 = 1.5: f(0, 80)": (0.7 + 1.5) * sqrt(2.0),
        "c_0 = 0.5: f(0, 80)": (0.7 + 0.5) * sqrt(2.0),
    },
    tolerance=1e-11,
    reason="panels end at the kink y = 1/2, where u vanishes at all times; steps have a "
    "tolerance of 1e-13",
)
def relu_rank_one() -> dict[str, float]:
    """phi = sqrt 2 cos pi y, a = 0.7 phi, f_I = (0.7 - c_0) phi."""
    grid = gauss_legendre(UNIT, 16, panels=2).observed_at(np.array([[0.0]]))
    network = WidthDepth(grid, relu)
    control = network.control(
        TimeMesh(80.0, 1),
        bias=lambda y: 0.7 * sqrt(2.0) * np.cos(pi * y),
        kernel=lambda y, z: 2 * np.cos(pi * y) * np.cos(pi * z),
    )
    initial = grid.sample(
        *(lambda y, c=c: (0.7 - c) * sqrt(2.0) * np.cos(pi * y) for c in (1.5, 0.5))
    )
    early, late = integrate(network, control, initial, TIGHT, save=[3.0, 80.0]).trajectory.states
    return {
        "f(0, 3)": float(early[-1, 0]),
        "|f(3)|^2": float(grid.integrate(early**2)[0]),
        "c_0 = 1.5: f(0, 80)": float(late[-1, 0]),
        "c_0 = 0.5: f(0, 80)": float(late[-1, 1]),
    }


@claim(
    "LM-34",
    statement="ReLU: u = 0 is stable but does not attract: b = 1, a = 0: f_I = 1 stays, f_I = -1 "
    "gives -e^-t.",
    paper=PAPER,
    references={"f_I = 1: f(3)": 1.0, "f_I = -1: f(3)": -exp(-3.0)},
    tolerance=1e-12,
    reason="an exponential integrated with a tolerance of 1e-13 per step",
)
def relu_at_rest() -> dict[str, float]:
    """f' = (-f)^+."""
    network = WidthDepth(gauss_legendre(UNIT, 1), relu)
    control = network.control(TimeMesh(3.0, 1), kernel=1.0)
    final = integrate(network, control, np.array([[1.0, -1.0]]), TIGHT).trajectory.final
    return {"f_I = 1: f(3)": float(final[0, 0]), "f_I = -1: f(3)": float(final[0, 1])}


@claim(
    "LM-36",
    statement="ReLU in L^1: sharp for |Y| = 1; on (0, 2) the printed bound 2e is exceeded, the "
    "corrected one attained.",
    paper=PAPER,
    references={
        "|Y| = 1: int f(1)": e,
        "|Y| = 1: corrected bound": e,
        "|Y| = 2: int f(1)": 2 * e**2,
        "|Y| = 2: corrected bound": 2 * e**2,
        "|Y| = 2: printed bound": 5.43656365691809,
        "|Y| = 2: rate of the L^2 bound": 2.0,
    },
    tolerance=1e-11,
    reason="an exponential integrated with a tolerance of 1e-13 per step",
)
def l1_growth() -> dict[str, float]:
    """b = -1, a = 0, f_I = 1: f' = int f."""
    computed = {}
    for size in (1, 2):
        network = WidthDepth(gauss_legendre(Interval(0, size), 2), relu)
        control = network.control(TimeMesh(1.0, 1), kernel=-1.0)
        final = integrate(network, control, np.ones((2, 1)), TIGHT).trajectory.final
        computed[f"|Y| = {size}: int f(1)"] = float(network.grid.integrate(final)[0])
        computed[f"|Y| = {size}: corrected bound"] = l1_bound(
            network, control, np.ones((2, 1)), 1.0
        )
        rate = growth_class(network, control, np.ones((2, 1))).rate
        printed = float(
            network.grid.integrate(np.ones(2)) * np.exp(np.abs(control.at(0.0)["kernel"]).max())
        )
    return {**computed, "|Y| = 2: printed bound": printed, "|Y| = 2: rate of the L^2 bound": rate}


@claim(
    "LM-37",
    statement="Proposition 3.5: |f| <= |f_I| + t |u_I^+| for ReLU, B_s >= 0; linear growth is "
    "attained, B_s = 0.",
    paper=PAPER,
    references={
        "|f(4 pi)|": 10.181972184624312,
        "bound at t = 4 pi": 17.522063796627936,
        "slope |u_I^+|": sqrt(pi / 2),
        "largest |f(4 pi) - cos y - 4|": 0.0,
    },
    tolerance=2e-6,
    reason="the kink of u^+ moves over nodes and steps, whose numbers have no common factor so "
    "that errors average out",
)
def antisymmetric_relu() -> dict[str, float]:
    """b = sin(y - z) / pi on the circle, f_I = cos y: u = -sin(y + t/2)."""
    grid = periodic(Circle(), 128)
    network = WidthDepth(grid, relu)
    control = network.control(TimeMesh(4 * pi, 2003), kernel=lambda y, z: np.sin(y - z) / pi)
    initial = grid.sample(np.cos)
    final = integrate(network, control, initial, RK4()).trajectory.final
    bound = growth_class(network, control, initial)
    return {
        "|f(4 pi)|": float(np.sqrt(grid.integrate(final**2)[0])),
        "bound at t = 4 pi": bound.bound(4 * pi),
        "slope |u_I^+|": bound.slope,
        "largest |f(4 pi) - cos y - 4|": float(np.abs(final - initial - 4.0).max()),
    }


CONTRACTED = {
    "from 0: f(0.5)": 0.4208084121904276,
    "from 1: f(0.5)": 0.5791915878095724,
    "-tanh: distance at 0.5": 2.857885587594284,
    "Euler, tau = 0.5: factor": 1.0,
    "Euler, tau = 0.6: factor": 1.4,
}


@claim(
    "LM-42",
    statement="f_t = B* sigma(a - Bf) contracts if sigma' >= 0 and expands if not; Euler up to "
    "tau = 2 / (Lip |B|^2).",
    paper=PAPER,
    references=CONTRACTED,
    tolerance=1e-11,
    reason="scalar equations integrated with a tolerance of 1e-13 per step; the Euler step is "
    "linear here",
)
def contraction() -> dict[str, float]:
    """b = 2, a = 1, tanh: f' = 2 tanh(1 - 2f), starts 0 and 1; one Euler step of the linear
    layer.
    """
    grid = gauss_legendre(UNIT, 1)
    starts = np.array([[0.0, 1.0]])
    against = user_activation(
        "-tanh",
        lambda s: -tanh.value(s),
        lambda s: -tanh.derivative(s),
        lambda s: -tanh.second(s),
        lambda s: -tanh.antiderivative(s),
        lipschitz=1.0,
        bounded=True,
    )

    def final(sigma: Activation, horizon: float, stepper: Stepper) -> Array:
        network = SymmetricLayer(grid, sigma)
        control = network.control(TimeMesh(horizon, 1), bias=1.0, kernel=2.0)
        return integrate(network, control, starts, stepper).trajectory.final[0]

    together, apart = final(tanh, 0.5, TIGHT), final(against, 0.5, TIGHT)
    return {
        "from 0: f(0.5)": float(together[0]),
        "from 1: f(0.5)": float(together[1]),
        "-tanh: distance at 0.5": float(apart[1] - apart[0]),
        "Euler, tau = 0.5: factor": float(abs(np.diff(final(identity, 0.5, Euler()))[0])),
        "Euler, tau = 0.6: factor": float(abs(np.diff(final(identity, 0.6, Euler()))[0])),
    }
