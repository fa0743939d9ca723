"""Section F of the ledger, further: controls that switch, and several extremals of one problem."""

from collections.abc import Sequence

import numpy as np
import scipy.optimize

from continuum import LearningProblem, midpoint
from solvers import LBFGS, RK4, Multistart, discretize, minimize, multistart, shoot

from ...bench.registry import claim
from ..paper import boxed, pushed
from .common import PAPER, UNIT, extrapolated
from .pontryagin import EXTREMAL, extremal

DIRECT = (
    "ends of descents agree to 1e-9, and to the seven digits given; the ledger has values 1e-7 to "
    "6e-7 higher, which cannot be least, as these controls cost less"
)


def ends_of_descents(problem: LearningProblem, starts: int) -> Multistart:
    """Of L-BFGS on controls constant on layers, four steps of RK4 on each, from random starts."""
    return multistart(
        discretize(problem, RK4(), steps_per_layer=4),
        LBFGS(gtol=1e-7, max_iterations=1000),
        starts,
        np.random.default_rng(0),
        rtol=1e-2,
    )


SWITCHED = {
    "t_s": 0.5364562503929055,
    "f_1(T)": 2.753850371773439,
    "f_2(T)": 0.3759592055367086,
    "J": 0.4235585550392474,
    "H": 2.080277357719554,
    "drift of H": 0.0,
    "r_1(0)": 2.197905988694671,
    "r_2(0)": 0.575797154931401,
    "r_2(t_s)": 0.0,
    "four nodes: J": 0.4235585550392474,
    "closed form: J": 0.4235585550392474,
    "closed form: t_s": 0.5364562503929055,
}


@claim(
    "LM-54",
    statement="The full switching problem: block 1 up, block 2 up, then down from t_s on.",
    paper=PAPER,
    references={
        **SWITCHED,
        "switching times": 1.0,
    },
    tolerance={
        **dict.fromkeys(SWITCHED, 1e-13),
        "switching times": 0.0,
    },
    reason=f"{EXTREMAL}; the closed form's t_s is a root of its derivative",
)
def switching() -> dict[str, float]:
    """From the zero control; then in closed form, m = 3/2 e^t_s - 1 and f(T) = m +- (1 + m) (1 -
    t_s).
    """
    problem = boxed([0.5, 0.5], [4.0, 0.0])
    found, four = extremal(problem), extremal(_four([0.5] * 4, 4.0, 1.0))
    times = found.switching_times()
    final, costate = found.state.final[:, 0], found.costate.states[:, :, 0]
    at_switch = int(np.argmin(np.abs(found.costate.times - times[0])))

    def reached(t: float) -> tuple[float, float]:
        middle = 1.5 * np.exp(t) - 1
        return middle + (1 + middle) * (1 - t), middle - (1 + middle) * (1 - t)

    def slope(t: float) -> float:
        """d/dt of J; dm/dt = 1 + m, and 1 + m falls out."""
        up, down = reached(t)
        return (up - 4) * (1 - t) + down * (1 + t)

    t_s = scipy.optimize.root_scalar(slope, bracket=(0.0, 1.0), xtol=1e-15).root
    up, down = reached(t_s)
    # the costate represents the derivative in L2(Y): blocks are functions, so it needs no weight
    return {
        "t_s": float(times[0]),
        "f_1(T)": float(final[0]),
        "f_2(T)": float(final[1]),
        "J": found.objective,
        "H": -float(found.hamiltonian[0]),
        "drift of H": float(np.ptp(found.hamiltonian)),
        "r_1(0)": -float(costate[0, 0]),
        "r_2(0)": -float(costate[0, 1]),
        "r_2(t_s)": -float(costate[at_switch, 1]),
        "four nodes: J": four.objective,
        "closed form: J": ((up - 4) ** 2 + down**2) / 4,
        "closed form: t_s": t_s,
        "switching times": float(len(times)),
    }


@claim(
    "LM-54-DIRECT",
    statement="LM-54 on 60 layers: descents from many random starts all end at one value; r(0) is "
    "minus the derivative of the least cost in the initial state (LM-61).",
    paper=PAPER,
    references={
        "60 layers: lowest J of many starts": 0.4235954,
        "60 layers: starts that end higher": 0.0,
        "r_1(0)": 2.197905988694671,
        "r_2(0)": 0.575797154931401,
    },
    tolerance={
        "60 layers: lowest J of many starts": 5e-8,
        "60 layers: starts that end higher": 0.0,
        "r_1(0)": 1e-9,
        "r_2(0)": 1e-9,
    },
    reason=f"{DIRECT}; differences of J, by shooting at rtol 1e-11, are extrapolated to order 6",
    slow=True,
)
def descents_and_differences() -> dict[str, float]:
    """Ten starts; -D_v F has the partial derivatives of F over the weights 1/2."""
    ends = ends_of_descents(boxed([0.5, 0.5], [4.0, 0.0]), 10)
    lowest = ends.best.objective
    higher = sum(c.count for c in ends.clusters if c.best.objective > lowest + 1e-8)
    found = {
        "60 layers: lowest J of many starts": lowest,
        "60 layers: starts that end higher": float(higher + len(ends.failed)),
    }

    def least(start: np.ndarray) -> float:
        return shoot(boxed(start.tolist(), [4.0, 0.0]), initial=ends.best.control).objective

    for block in range(2):
        unit = 1.0 * (np.arange(2) == block)
        steps = (0.08, 0.04, 0.02)
        quotients = [(least(0.5 - h * unit) - least(0.5 + h * unit)) / (2 * h) for h in steps]
        found[f"r_{block + 1}(0)"] = float(extrapolated([1 / h for h in steps], quotients)) / 0.5
    return found


SEVERAL = {
    "singular arc: J": 1.642801471258288,
    "singular arc: f_1(T)": 2 * (np.e - 1),
    "singular arc: largest |f_2|": 0.0,
    "singular arc: largest |b(1, 2)|": 0.0,
    "switching: J": 0.1311701244888148,
    "switching: t_s": 1.343774624663928,
    "switching: f_1(T)": 5.349117123596675,
    "switching: f_2(T)": 0.31785528021443,
    "switching: H": 1.856822178326791,
    "mirror image: J": 0.1311701244888148,
    "mirror image: f_2(T)": -0.31785528021443,
}


@claim(
    "LM-55",
    statement="Several extremals of one problem: one along a singular arc, which descents from "
    "zero never leave, and two mirror images that are better.",
    paper=PAPER,
    references={
        **SEVERAL,
        "descent from zero: J": 1.642801471258288,
        "descent from zero: largest |a_2|, |b(1, 2)|, |b(2, 1)|": 0.0,
    },
    tolerance={
        **dict.fromkeys(SEVERAL, 2e-13),
        "descent from zero: J": 1e-9,
        "descent from zero: largest |a_2|, |b(1, 2)|, |b(2, 1)|": 0.0,
    },
    reason=f"{EXTREMAL}, where f has a kink across f_2 = 0; the ledger prints up to 15 digits; RK4 "
    "with 240 steps for the descent",
)
def several_extremals() -> dict[str, float]:
    """f(0) = 0, target (6, 0), T = 2: from the zero control, and from controls that push block 2
    either way.
    """
    problem = boxed([0.0, 0.0], [6.0, 0.0], horizon=2.0)
    arc = extremal(problem, problem.space.zeros())
    up, down = (extremal(problem, pushed(problem, [1, s])) for s in (1, -1))
    descent = minimize(
        discretize(problem, RK4(), steps_per_layer=4), LBFGS(gtol=1e-8), initial=None
    ).control
    still = descent["bias"][:, 1], descent["kernel"][:, 0, 1], descent["kernel"][:, 1, 0]
    return {
        "singular arc: J": arc.objective,
        "singular arc: f_1(T)": float(arc.state.final[0, 0]),
        "singular arc: largest |f_2|": float(np.max(np.abs(arc.state.states[:, 1]))),
        "singular arc: largest |b(1, 2)|": float(np.max(np.abs(arc.control["kernel"][:, 0, 1]))),
        "switching: J": up.objective,
        "switching: t_s": float(up.switching_times()[0]),
        "switching: f_1(T)": float(up.state.final[0, 0]),
        "switching: f_2(T)": float(up.state.final[1, 0]),
        "switching: H": -float(up.hamiltonian[0]),
        "mirror image: J": down.objective,
        "mirror image: f_2(T)": float(down.state.final[1, 0]),
        "descent from zero: J": discretize(problem, RK4(), steps_per_layer=4).value(descent),
        "descent from zero: largest |a_2|, |b(1, 2)|, |b(2, 1)|": float(np.max(np.abs(still))),
    }


@claim(
    "LM-55-DIRECT",
    statement="LM-55 on 40, 80 and 160 layers: the lowest end of descents from many starts, none "
    "of which lies below the extremal; on four nodes another pattern of signs costs the same.",
    paper=PAPER,
    references={
        "40 layers": 0.1313843,
        "80 layers": 0.1312738,
        "160 layers": 0.1312062,
        "ends below the extremal": 0.0,
        "four nodes, signs + -: J": 0.1311701244888148,
        "four nodes, signs + -: f_3(T) + f_4(T)": 0.0,
    },
    tolerance={
        "40 layers": 5e-8,
        "80 layers": 5e-8,
        "160 layers": 1e-7,
        "ends below the extremal": 0.0,
        "four nodes, signs + -: J": 2e-13,
        "four nodes, signs + -: f_3(T) + f_4(T)": 2e-13,
    },
    reason=f"{DIRECT}; on 160 layers ends differ by 1e-7; {EXTREMAL}",
    slow=True,
)
def direct_on_three_meshes() -> dict[str, float]:
    """Six starts each."""
    found, below = {}, 0
    for layers in (40, 80, 160):
        problem = boxed([0.0, 0.0], [6.0, 0.0], horizon=2.0, layers=layers)
        ends = ends_of_descents(problem, 6)
        found[f"{layers} layers"] = ends.best.objective
        below += sum(c.best.objective < 0.1311701244888148 for c in ends.clusters)
    four = _four([0.0] * 4, 6.0, 2.0)
    mixed = extremal(four, pushed(four, [1, 1, 1, -1]))
    return {
        **found,
        "ends below the extremal": float(below),
        "four nodes, signs + -: J": mixed.objective,
        "four nodes, signs + -: f_3(T) + f_4(T)": float(np.sum(mixed.state.final[2:, 0])),
    }


def _four(initial: Sequence[float], target: float, horizon: float) -> LearningProblem:
    """Two nodes on each half, the first two with the target."""
    grid = midpoint(UNIT, 4)
    return boxed(initial, [target, target, 0.0, 0.0], grid=grid, horizon=horizon)
