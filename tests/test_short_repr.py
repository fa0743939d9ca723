"""repr of results, problems and controls: a line, not a screen of arrays."""

import importlib
import pkgutil
import re
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from halving import halving

import continuum
import solvers
from continuum import (
    Affine,
    ConvexNetwork,
    CrossEntropy,
    Interval,
    LearningProblem,
    NeuralODE2,
    Projection,
    Staged,
    Stagewise,
    State,
    Tikhonov,
    TimeMesh,
    gauss_legendre,
    tanh,
)
from continuum.records import plain, short
from solvers import (
    LBFGS,
    RK4,
    DormandPrince,
    Euler,
    Status,
    architecture,
    compare,
    discretize,
    evaluate,
    explain,
    integrate,
    layer_hamiltonian,
    linearized_spectrum,
    minimize,
    multistart,
    pontryagin_certificate,
    refine,
    shoot,
)
from solvers.hjb import StateGrid, closed_loop, optimality_gap, solve_hjb
from solvers.linear_networks import step_report
from solvers.lyapunov import ScalarCertificate
from studies.liu_markowich.paper import boxed

GRID = gauss_legendre(Interval(0, 1), 30)
INITIAL = np.linspace(0.0, 1.0, 30 * 50).reshape(30, 50)
PROBLEM = halving(GRID, INITIAL, layers=20)


@dataclass(frozen=True, eq=False)
class Sample:
    """A record with everything in it."""

    times: np.ndarray
    few: np.ndarray
    status: Status
    number: float
    missing: float = float("nan")
    nothing: str = ""
    inner: "Sample | None" = None
    _hidden: int = 3

    __repr__ = short
    to_dict = plain


def test_one_line():
    inner = Sample(np.ones(7), np.array([1.0, 0.5]), Status.FINISHED, np.inf)
    record = Sample(np.ones((2, 3)), np.array(2.5), Status.CONVERGED, 1.0 / 3.0, inner=inner)
    assert repr(record) == (
        "Sample(times=array(2, 3), few=2.5, status=CONVERGED, number=0.333333, "
        "inner=Sample(times=array(7,), few=[1. , 0.5], status=FINISHED, number=inf))"
    )
    assert record.to_dict() == {
        "times": [[1.0] * 3] * 2,
        "few": 2.5,
        "status": "CONVERGED",
        "number": 1.0 / 3.0,
        "missing": None,
        "nothing": "",
        "inner": {
            "times": [1.0] * 7,
            "few": [1.0, 0.5],
            "status": "FINISHED",
            "number": "inf",
            "missing": None,
            "nothing": "",
            "inner": None,
        },
    }


def problems() -> list[object]:
    space = PROBLEM.space
    control = space.random(np.random.default_rng(0))
    moving = PROBLEM.network.control(PROBLEM.mesh, bias=lambda y, t: y * t)
    stage = NeuralODE2(30, tanh)
    staged = Staged((stage, stage), (0.5,), (np.eye(30),))
    weight = np.ones((5, 30))
    network = ConvexNetwork(
        np.ones((3, 5, 30)), -np.ones((3, 5)), np.ones((3, 30, 5)), np.ones(30), 0.0
    )
    return [
        PROBLEM, PROBLEM.functional, space, space.blocks[0], space.blocks, control, moving, GRID,
        staged, Projection(weight), Affine(3), Stagewise((State(), State())), network,
        PROBLEM.network, CrossEntropy(), discretize(PROBLEM, Euler()),
    ]  # fmt: skip


def results() -> list[object]:
    found: list[object] = []
    space = PROBLEM.space
    control = 0.1 * space.random(np.random.default_rng(0))
    objective = discretize(PROBLEM, Euler())
    run = integrate(PROBLEM.network, control, INITIAL, DormandPrince(rtol=1e-4, atol=1e-6))
    trained = minimize(objective, LBFGS(max_iterations=3), raise_on_failure=False)
    path = objective.run(control)
    found += [run, run.trajectory, trained, trained.control, path]
    found += [objective.value_and_factors(control)[1], layer_hamiltonian(objective, control)]
    found += [architecture(Euler(), PROBLEM.network, control)]

    small = boxed([0.5, 0.5], [4.0, 0.0], layers=8)
    extremal = shoot(small)
    found += [extremal, extremal.state, extremal.switches, extremal.at([0.1, 0.2])]
    found += [pontryagin_certificate(small, extremal.control), evaluate(small, extremal.control)]
    one = boxed([0.5], [2.0], grid=gauss_legendre(Interval(0, 1), 1), layers=8)
    value = solve_hjb(one, StateGrid([(-1.0, 4.0)], 41))
    loop = closed_loop(one, value)
    found += [value, loop, optimality_gap(one, loop.control, 0.0), value.grid, value.hamiltonian]
    few = LearningProblem(
        NeuralODE2(2, tanh), np.ones((2, 2)), np.zeros((2, 2)), TimeMesh(1.0, 3),
        penalty=Tikhonov(0.1),
    )  # fmt: skip
    found += [multistart(discretize(few, RK4()), LBFGS(gtol=1e-4), 2)]
    found += [compare(few, {"L-BFGS": LBFGS(gtol=1e-4)})]
    found += [explain(PROBLEM.network, control), step_report(2.0, 3, 0.01)]
    found += [
        ScalarCertificate("sharp", 1.0, 2.0),
        refine(lambda n: 1.0 + 1.0 / n, [2, 4, 8], exact=1.0),
    ]
    held = PROBLEM.network.control(PROBLEM.mesh, kernel=1.0)
    found += [linearized_spectrum(PROBLEM.network, held)]
    return found


@pytest.mark.parametrize("made", [problems, results])
def test_no_repr_is_a_screen(made):
    for record in made():
        text = repr(record)
        assert len(text) <= 1000, (type(record), len(text), text[:300])
        assert "\n" not in text, text
        assert "array([" not in text, text


def public_records() -> list[type]:
    """The dataclasses that continuum, solvers and their rooms export."""
    packages = [continuum, solvers] + [
        importlib.import_module(f"solvers.{room.name}")
        for room in pkgutil.iter_modules(solvers.__path__)
        if room.ispkg
    ]
    named = [getattr(p, name) for p in packages for name in getattr(p, "__all__", ())]
    return list({one: None for one in named if isinstance(one, type) and is_dataclass(one)})


def kind(field) -> str:
    """The type of a field that does not hold a function, in words."""
    return "" if "Callable" in str(field.type) else str(field.type)


def test_records_of_arrays_tell_shapes():
    """No public record leaves the repr of a field of arrays to dataclasses."""
    assert len(public_records()) > 90
    long = re.compile(r"Array|ndarray|Mapping|Control\b|Problem|Trajectory|Coefficient")
    for one in public_records():
        shown = [f.name for f in fields(one) if f.repr and long.search(kind(f))]
        made = Path(one.__repr__.__code__.co_filename).name in ("dataclasses.py", "<string>")
        assert not (shown and made), (one, shown)
