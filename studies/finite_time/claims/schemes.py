"""Steps of the laws, and what disturbs them (FT-14 to FT-21)."""

import numpy as np

from solvers import EverySteps, Monitor, Record
from solvers.finite_time import (
    Law,
    PowerLaw,
    PseudoinverseLaw,
    Scheme,
    SignLaw,
    neuron,
    settling_bound,
    train_in_time,
)

from ...bench.registry import claim
from .common import PAPER, one_weight, start, weights
from .one_neuron import GAINS, INPUTS


def after(law: Law, error: float, step: float, steps: int, scheme: Scheme = "explicit") -> float:
    """The error of one weight after so many steps."""
    problem, begin = one_weight(error)
    run = train_in_time(problem, law, steps * step, step, scheme, begin, atol=1e-300)
    return float(weights(run.control)[0])


@claim(
    "FT-14",
    statement="Explicit Euler on e' = -c spow(e, nu) ends in the 2-cycle |e| = (c h / 2)^(1 / (1 - "
    "nu)), which attracts with the multiplier (1 - 2 nu)^2.",
    paper=PAPER,
    references={
        "|e|, nu = 0.5, c h = 0.01": 2.5e-5,
        "|e|, nu = 0.25, c h = 0.01": 8.549879733e-4,
        "|e|, nu = 0.625, c h = 0.1": 3.393022021e-4,
        "multiplier, nu = 0.5": 0.0,
        "multiplier, nu = 0.25": 0.25,
        "multiplier, nu = 0.625": 0.0625,
    },
    tolerance={
        "|e|, nu = 0.5, c h = 0.01": 1e-17,
        "|e|, nu = 0.25, c h = 0.01": 5e-14,
        "|e|, nu = 0.625, c h = 0.1": 5e-14,
        "multiplier, nu = 0.5": 1e-3,
        "multiplier, nu = 0.25": 1e-3,
        "multiplier, nu = 0.625": 1e-3,
    },
    reason="half a unit of the last digit printed, rounding for 2.5e-5; multipliers from two steps "
    "of a cycle that is off by 1e-4 of itself",
)
def two_cycles() -> dict[str, float]:
    """From e = 0.7 for 400 steps; and from 1 + 1e-4 times the cycle for two steps."""
    found = {}
    for nu, speed in ((0.5, 0.01), (0.25, 0.01), (0.625, 0.1)):
        law = PseudoinverseLaw(nu)
        cycle = abs(after(law, 0.7, speed, 400))
        found[f"|e|, nu = {nu:g}, c h = {speed:g}"] = cycle
        away = abs(after(law, cycle * (1.0 + 1e-4), speed, 2)) / cycle - 1.0
        found[f"multiplier, nu = {nu:g}"] = away / 1e-4
    return found


@claim(
    "FT-15",
    statement="For nu = 0 the 2-cycle is r, r - c h with r = |e_0| mod c h: the step chatters.",
    paper=PAPER,
    references={"one": 0.0037, "other": -0.0063},
    tolerance=1e-15,
    reason="rounding of 72 steps",
)
def chatter() -> dict[str, float]:
    """e_0 = 0.7137, c h = 0.01, after 100 and 101 steps."""
    law = PseudoinverseLaw(0.0)
    low, high = sorted(after(law, 0.7137, 0.01, steps) for steps in (100, 101))
    return {"one": high, "other": low}


@claim(
    "FT-16",
    statement="Explicit steps of law (13) end in the band (C h / 2)^(1 / (1 - nu)).",
    paper=PAPER,
    references={"|e|": 2.5893604216e-4},
    tolerance=5e-15,
    reason="half a unit of the last digit printed",
)
def band_of_power_law() -> dict[str, float]:
    """alpha = 0.5, beta = 0.25, k = x = 1, h = 0.1."""
    return {"|e|": abs(after(PowerLaw(0.5, 0.25), 0.7, 0.1, 400))}


@claim(
    "FT-17",
    statement="Exact, implicit and semi-implicit steps settle without chattering; near 0 one step "
    "takes e to e^(1 / nu) and e^(2 - nu).",
    paper=PAPER,
    references={
        "exact steps to 1e-12": 168.0,
        "implicit steps": 173.0,
        "semi-implicit steps": 180.0,
        "changes of sign": 0.0,
        "order, implicit": 2.0,
        "order, semi-implicit": 1.5,
    },
    tolerance={
        "exact steps to 1e-12": 0.0,
        "implicit steps": 0.0,
        "semi-implicit steps": 0.0,
        "changes of sign": 0.0,
        "order, implicit": 2e-6,
        "order, semi-implicit": 5e-4,
    },
    reason="whole numbers; orders from e = 1e-10 and 1e-11, where the next terms of "
    "the steps are e / h^2 and e^0.5 / h of the first",
)
def steps_to_settle() -> dict[str, float]:
    """nu = 0.5, c = 1, h = 0.01, e_0 = 0.7; T = 1.6733200531 is 167.3 steps.  e is the weight."""
    problem, begin = one_weight(0.7)
    law, found, changes = PseudoinverseLaw(0.5), {}, 0
    names = ("exact steps to 1e-12", "implicit steps", "semi-implicit steps")
    for scheme, name in zip(("exact", "implicit", "semi-implicit"), names, strict=True):
        weight = Record("weight", lambda at: float(at.state[1]))
        monitors = [Monitor(weight, EverySteps(1))]
        run = train_in_time(problem, law, 2.0, 0.01, scheme, begin, monitors=monitors)
        found[name] = float(len(run.history["error"]) - 1)
        changes += int(np.sum(np.array(weight.values) < 0.0))
        if scheme != "exact":
            near = [after(law, e, 0.01, 1, scheme) for e in (1e-10, 1e-11)]
            found[f"order, {scheme}"] = float(np.log10(near[0] / near[1]))
    return {**found, "changes of sign": float(changes)}


@claim(
    "FT-18",
    statement="A boundary layer sat(e / phi) in place of sign(e) destroys the finite time.",
    paper=PAPER,
    references={"e(1)": 4.5594098e-5, "e(1), semi-implicit": 4.5594098e-5, "has a time": 0.0},
    tolerance={"e(1)": 5e-13, "e(1), semi-implicit": 6e-7, "has a time": 0.0},
    reason="half a unit of the last digit printed; steps of h = 1e-4 have the relative error "
    "(log(0.7 / phi) / phi + 0.35 / (2 phi^2)) h = 1.2e-2",
)
def boundary_layer() -> dict[str, float]:
    """phi = 0.05, c = 1, e_0 = 0.7."""
    problem, begin = one_weight(0.7)
    law = SignLaw(1.0, layer=0.05)
    exact = train_in_time(problem, law, 1.0, 1.0, "exact", begin)
    steps = train_in_time(problem, law, 1.0, 1e-4, "semi-implicit", begin)
    bound = settling_bound(problem, begin, law)
    return {
        "e(1)": float(exact.history["error"][-1]),
        "e(1), semi-implicit": float(steps.history["error"][-1]),
        "has a time": float(bound.time is not None),
    }


@claim(
    "FT-19",
    statement="A disturbance d leaves |e| = (|d| / c)^(1 / nu); nu = 0 rejects |d| < c.",
    paper=PAPER,
    references={"explicit": 0.04, "semi-implicit": 0.04, "implicit": 0.04, "nu = 0, implicit": 0.0},
    tolerance=1e-14,
    reason="the rest points of the three schemes are that of the equation; rounding",
)
def disturbed() -> dict[str, float]:
    """nu = 0.5, c = 1, d = 0.2, for pseudo-time 20."""
    problem, begin = one_weight(0.7)
    drift, found = start(problem, [0.2]), {}
    for scheme in ("explicit", "semi-implicit", "implicit"):
        law = PseudoinverseLaw(0.5)
        run = train_in_time(problem, law, 20.0, 0.01, scheme, begin, disturbance=drift)
        found[scheme] = float(run.history["error"][-1])
    law = PseudoinverseLaw(0.0)
    run = train_in_time(problem, law, 20.0, 0.01, "implicit", begin, disturbance=drift)
    return {**found, "nu = 0, implicit": float(run.history["error"][-1])}


@claim(
    "FT-20",
    statement="Theorem 3 fails with k much larger than M: law (3) with the unperturbed sign makes "
    "the error grow at the rate k (M x^alpha - x).",
    paper=PAPER,
    references={"rate": 0.0255943216, "rate, explicit steps": 0.0255943216, "has a time": 0.0},
    tolerance={"rate": 5e-11, "rate, explicit steps": 1e-7, "has a time": 0.0},
    reason="half a unit of the last digit printed; explicit steps of 1e-4",
)
def growing_error() -> dict[str, float]:
    """x = 0.01, alpha = 0.8, M = 0.5, Delta = -M x^alpha, k = 10, w_0 = 0, y* = 0.4."""
    given, shift = 0.01, -0.5 * 0.01**0.8
    model = neuron(np.array([[given]]), [0.4], bias=0.0)
    plant = neuron(np.array([[given + shift]]), [0.4], bias=0.0)
    law, begin, found = SignLaw(10.0), plant.space.zeros(), {}
    cases: list[tuple[str, Scheme, float]] = [
        ("rate", "exact", 1.0),
        ("rate, explicit steps", "explicit", 1e-4),
    ]
    for name, scheme, step in cases:
        run = train_in_time(plant, law, 1.0, step, scheme, begin, model=model)
        found[name] = float(run.history["error"][-1] - run.history["error"][0])
    bound = settling_bound(plant, begin, law, model=model)
    return {**found, "has a time": float(bound.time is not None)}


@claim(
    "FT-21",
    statement="Inputs perturbed by |Delta_i| <= M |x_i|, M < 1: T <= |e_0| / ((1 - M) sum k_i "
    "|x_i|), attained by Delta = -M x.",
    paper=PAPER,
    references={
        "|e_0|": 0.2378234991,
        "T": 0.8648127241,
        "(1 - M) c T": 0.2378234991,
        "T by exact steps": 0.8648127241,
    },
    tolerance={"|e_0|": 5e-11, "T": 5e-11, "(1 - M) c T": 5e-11, "T by exact steps": 1e-3},
    reason="half a unit of the last digit printed; steps of 1e-3 settle in the one that contains T",
)
def perturbed_inputs() -> dict[str, float]:
    """The neuron of FT-01 with M = 0.5, the law reads the signs of x."""
    model, plant = neuron(INPUTS, [0.8], bias=0.05), neuron(0.5 * INPUTS, [0.8], bias=0.05)
    law, begin = SignLaw(GAINS), start(plant, [0.3, -0.1, 0.2])
    time = settling_bound(plant, begin, law, model=model).time or np.nan
    run = train_in_time(plant, law, 1.0, 1e-3, "exact", begin, model=model)
    return {
        "|e_0|": float(run.history["error"][0]),
        "T": time,
        "(1 - M) c T": 0.5 * 0.55 * time,
        "T by exact steps": float(run.history["pseudo_time"][-1]),
    }
