"""A saddle that looks solved: the minimisers of XOR over the strength of the penalty."""

from continuum import TimeMesh
from solvers import LBFGS, NewtonCG, continue_minimizers, equal_values, minimize

from ...bench.registry import claim
from ..bifurcation import over_horizon
from ..paper import xor
from .common import PAPER


@claim(
    "TP-XOR-1",
    statement="XOR, T = 1, 8 Euler layers: the branch of strong penalties loses stability at a "
    "subcritical pitchfork, the branch through it turns at a fold; between them two minimisers "
    "have equal J.",
    paper=PAPER,
    references={
        "pitchfork: lambda": 0.045435789848547524,
        "pitchfork: J": 1.155753093190364967,
        "pitchfork: subcritical": 1.0,
        "fold: lambda": 0.1229467404956055,
        "fold: J": 1.343645123966108474,
        "equal: lambda": 0.104149844841278314,
        "equal: J": 1.255577413545264323,
    },
    relative_tolerance=1e-11,
    reason="the references come from Newton's method in 40 digits on formulas written out for "
    "this problem; the events are located to the residuals of their equations, some 1e-13",
)
def events_of_xor() -> dict[str, float]:
    """lambda from 0.15 to 0.04, along both branches."""
    problem = xor(1.0, TimeMesh(1.0, 8))
    main = continue_minimizers(problem, "penalty", start=0.15, stop=0.04)
    (pitchfork,) = main.events
    other = continue_minimizers(problem, "penalty", start=0.15, stop=0.04, initial=pitchfork)
    (fold,) = other.events
    (equal,) = equal_values(main, other)
    return {
        "pitchfork: lambda": pitchfork.parameter,
        "pitchfork: J": pitchfork.objective,
        "pitchfork: subcritical": float(pitchfork.kind == "subcritical pitchfork"),
        "fold: lambda": fold.parameter,
        "fold: J": fold.objective,
        "equal: lambda": equal.parameter,
        "equal: J": equal.objective,
    }


@claim(
    "TP-XOR-2",
    statement="At lambda = 0.02 descents from zero end at a saddle of Morse index 1 unless they "
    "look for negative curvature; a minimiser of a third of its J exists.",
    paper=PAPER,
    references={
        "LBFGS: J": 1.0907906963,
        "LBFGS: Morse index": 1.0,
        "NewtonCG, products=0: J": 1.0907906963,
        "NewtonCG: J": 0.3763250084,
        "NewtonCG: Morse index": 0.0,
    },
    tolerance=1e-9,
    reason="gradients below 1e-6, so J to some 1e-11; references to ten digits",
)
def saddle_of_xor() -> dict[str, float]:
    """From the zero control, which keeps the symmetry."""
    problem, found = xor(0.02, TimeMesh(1.0, 8)), {}
    methods = {
        "LBFGS": LBFGS(),
        "NewtonCG, products=0": NewtonCG(products=0),
        "NewtonCG": NewtonCG(),
    }
    for name, method in methods.items():
        end = minimize(problem, method)
        found[f"{name}: J"] = end.objective
        if name != "NewtonCG, products=0":
            branch = continue_minimizers(
                problem, "penalty", start=0.02, stop=0.021, initial=end.control
            )
            found[f"{name}: Morse index"] = float(branch.negative[0])
    return found


@claim(
    "TP-XOR-3",
    statement="XOR with the running cost, lambda = 0.1, 16 Euler layers: three branches of "
    "minimisers begin at folds over the horizon.",
    paper=PAPER,
    references={
        "first: T": 1.7123607928790226491,
        "first: J": 2.3331657568872655250,
        "second: T": 2.4109093388552407784,
        "second: J": 3.5186460233359895635,
        "third: T": 2.4613561317288367737,
        "third: J": 2.6642516979859520650,
        "minimisers on one side of each": 3.0,
    },
    relative_tolerance=1e-11,
    reason="the references come from Newton's method with numbers of 80 bits on the equations of "
    "a fold, by formulas written out for this problem (tests/test_folds_in_the_horizon.py); the "
    "events are located to some 1e-13",
    slow=True,
)
def folds_in_the_horizon() -> dict[str, float]:
    """The branches on which descents from 12 random controls of seed 0 end at T = 8, followed to
    shorter horizons.  There are other folds, between saddles among them; these three end branches
    that are minimisers on the side of long horizons.
    """
    branches, _ = over_horizon(12, 0, 8.0)
    folds = [e for branch in branches for e in branch.events if e.kind == "fold"]
    found, sides = {}, 0
    for name, place in (("first", 1.71), ("second", 2.41), ("third", 2.46)):
        event = min(folds, key=lambda e: abs(e.parameter - place))
        found[f"{name}: T"], found[f"{name}: J"] = event.parameter, event.objective
        sides += event.null == 1 and event.negative == (0, 1)
    return {**found, "minimisers on one side of each": float(sides)}
