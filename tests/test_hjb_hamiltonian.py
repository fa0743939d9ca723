"""The Hamiltonian on grids of states is the Hamiltonian of Pontryagin's principle."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    L1,
    Affine,
    Amplitude,
    Ball,
    Box,
    LearningProblem,
    NeuralODE2,
    SobolevPenalty,
    SquaredError,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    gelu,
    identity,
    relu,
    tanh,
)
from solvers.hjb.grids import StateGrid
from solvers.hjb.separable import separable
from solvers.pontryagin.hamiltonian import Hamiltonian
from studies.liu_markowich.paper import boxed
from studies.shared import UNIT

SETS = {"box": Box(bias=(-1, 0.5), kernel=(-0.3, 1)), "ball": Ball(), "free": None}


def problems(units: int) -> list[LearningProblem]:
    grid = gauss_legendre(UNIT, units)
    found = []
    for psi in (identity, tanh, relu):
        base = boxed([0.0] * units, [1.0] * units, grid=grid, activation=psi)
        found += [replace(base, admissible=SETS["box"]), replace(base, admissible=SETS["ball"])]
        found += [replace(base, admissible=None, penalty=Tikhonov(0.3))]
        found += [replace(base, admissible=SETS["box"], running=SquaredError(0.7))]
    found += [replace(found[0], penalty=Tikhonov(0.3))]
    mesh, zero = TimeMesh(1.0, 4), np.zeros((units, 1))
    two = NeuralODE2(units, tanh)
    found += [LearningProblem(two, zero, zero, mesh, penalty=Tikhonov(0.1))]
    for psi in (identity, tanh):
        network = WidthDepth(grid, psi)
        whole = LearningProblem(network, zero, zero, mesh, penalty=Tikhonov(0.2))
        moving = whole.space.sample(kernel=lambda y, z, t: np.cos(t + y + 3.0 * z))
        rest = whole.holding(moving, ["kernel"])[0]
        box = Box(bias=(-1.0, 0.5))
        found += [rest, replace(rest, penalty=None, admissible=box)]
    return found


@pytest.mark.parametrize("units", [1, 2, 3, 4])
def test_it_is_pontryagins_where_that_is_exact(units: int, rng: np.random.Generator) -> None:
    """To 1e-12 at random states and costates, and its derivative is the minimiser's velocity."""
    time, kinds = 0.6, set()
    for problem in problems(units):
        h = separable(problem)
        kinds.add(h.kind)
        f, p = rng.standard_normal((2, units, 40))
        given = Hamiltonian(problem, time, f.T[:, :, None], p.T[:, :, None])
        zero = {b.name: np.zeros((40, *b.shape)) for b in problem.space.trained}
        least = given.minimiser(zero)
        assert least.exact
        q = h.weights[:, None] * p
        value = h.value(f, q, time)
        assert np.max(np.abs(value - least.value)) <= 1e-12 * (1 + np.max(np.abs(value)))
        v = h.velocity(f, q, time)
        assert np.max(np.abs(v - given.velocity(least.values)[..., 0].T)) < 1e-11
    assert kinds == {"interval", "entries", "scalar"}


def test_states_move_between_its_bounds(rng: np.random.Generator) -> None:
    """Brute force: no admissible control moves a unit faster, and the bounds are attained."""
    problem = replace(
        boxed([0.0, 0.0], [1.0, 1.0], activation=tanh), admissible=SETS["box"], running=None
    )
    h, f = separable(problem), rng.standard_normal((2, 30))
    low, high = h.velocity_bounds(f, 0.0)
    seen = []
    for corner in np.ndindex(2, 2, 2):
        a = (-1, 0.5)[corner[0]]
        b = np.array([(-0.3, 1)[corner[1]], (-0.3, 1)[corner[2]]])
        seen.append(np.tanh(a - b @ f / 2))
    assert np.max(np.abs(np.min(seen, axis=0) - low)) < 1e-15
    assert np.max(np.abs(np.max(seen, axis=0) - high)) < 1e-15


def test_what_has_no_separable_hamiltonian_is_named() -> None:
    base = boxed([0.0, 0.0], [1.0, 1.0])
    free = replace(base, admissible=None)
    two = np.zeros((2, 2))
    cases = {
        "2 samples": replace(base, initial=two, target=two, sample_weights=None),
        "cannot be chosen at every time": replace(base, readout=Affine(1), target=np.ones((1, 1))),
        "no integral over time": LearningProblem(
            base.network,
            base.initial,
            base.target,
            base.network.controls(TimeMesh(1.0, 4), in_time="nodes", norm="H1"),
            penalty=SobolevPenalty(0.1),
        ),
        "L1": replace(base, penalty=L1(0.1)),
        "bias, kernel": free,
        "couples the rows": replace(base, admissible=Amplitude(1.0)),
        "falls somewhere": boxed([0.0, 0.0], [1.0, 1.0], activation=gelu),
        "before tanh": replace(
            boxed([0.0, 0.0], [1.0, 1.0], activation=tanh), penalty=Tikhonov(0.1)
        ),
        "couples entries": replace(base, admissible=Ball(), penalty=Tikhonov(0.1)),
    }
    for words, problem in cases.items():
        with pytest.raises(ValueError, match=words):
            separable(problem)
    with pytest.raises(TypeError, match="endpoint"):
        separable(replace(base, endpoint=TerminalEquality()))


def test_grids_of_states() -> None:
    grid = StateGrid([(-1, 2), (0, 1)], (16, 10), walls=("open", "periodic"))
    assert grid.shape == (16, 10)
    assert grid.size == 160
    assert np.allclose(grid.spacings, [0.2, 0.1], rtol=1e-14)
    assert np.allclose(grid.states()[:, 11], [-0.8, 0.1], rtol=1e-14)
    assert grid.contains(np.array([-1.0, -5.0]), np.array([2.0, 5.0]))
    assert not grid.contains(np.array([-1.1, 0.0]), np.array([2.0, 1.0]))
    with pytest.raises(ValueError, match="box needs low < high"):
        StateGrid([(1, 0)], 16)
    with pytest.raises(ValueError, match="nodes must be one, or 2"):
        StateGrid([(0, 1), (0, 1)], (16,))
    with pytest.raises(ValueError, match="nodes must be at least 8"):
        StateGrid([(0, 1)], 4)
    with pytest.raises(ValueError, match="unknown walls 'shut'"):
        StateGrid([(0, 1)], 16, "shut")  # type: ignore[arg-type]
