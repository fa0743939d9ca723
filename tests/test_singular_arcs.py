"""Where controls rest between their bounds, and one notion of switching for certificates and
extremals.
"""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    L1,
    Ball,
    Box,
    FiniteSet,
    LearningProblem,
    NeuralODE2,
    SquaredError,
    Tikhonov,
    TimeMesh,
    Tracking,
    identity,
    tanh,
)
from solvers import (
    LBFGS,
    RK4,
    SolveError,
    discretize,
    minimize,
    pontryagin_certificate,
    shoot,
)
from studies.liu_markowich.paper import boxed

START = np.array([[0.5], [-0.2]])
BOX = Box(weight=(-1, 1), bias=(-1, 1))


def planar(target, layers=40, **given):
    """x' = w tanh(x) + b, 1/2 |x - target|^2 at the end and, halved, along the way."""
    goal = np.array(target)[:, None]
    changes = {"admissible": BOX, "running": SquaredError(weight=0.5), **given}
    return LearningProblem(NeuralODE2(2, tanh), START, goal, TimeMesh(1.0, layers), **changes)


def trained(problem, gtol=1e-6, steps=1):
    """By RK4, with so many steps per layer, at whose ends running costs count."""
    return minimize(
        discretize(problem, RK4(), steps, "steps"),
        LBFGS(gtol=gtol, max_iterations=3000),
        raise_on_failure=False,
    ).control


@pytest.mark.parametrize(("layers", "gtol"), [(20, 1e-4), (40, 1e-3), (40, 1e-8), (80, 1e-5)])
def test_an_arc_is_seen_in_the_control(layers, gtol):
    """Unit 0 reaches its target 2.5 at t = 0.8 and can stay: p_0 = 0 from there on, to the length
    of layers, and its bias rests between its bounds.
    """
    problem = planar([2.5, -3.0], layers)
    control = trained(problem, gtol)
    found = pontryagin_certificate(problem, control, eigenvalues=0)
    arcs = {(a.block, a.index): a for a in found.singular_arcs}
    assert {("bias", (0,)), ("weight", (0, 0))} <= set(arcs)
    assert all(index[0] == 0 for _, index in arcs)  # the other unit is at its bounds throughout
    arc = arcs["bias", (0,)]
    assert arc.start == pytest.approx(0.775, abs=0.03)
    assert arc.end == 1.0
    assert "singular arcs" in str(found)
    assert "bias[0]" in str(found).split("singular arcs")[1]


def test_controls_without_arcs():
    """At its bounds but for the layers of switches; strictly convex; between its bounds, but not
    stationary; and unit 1 alone.
    """
    for layers in (20, 40):
        problem = planar([4.0, 3.0], layers)
        control = trained(problem)
        assert pontryagin_certificate(problem, control, eigenvalues=0).singular_arcs == ()
        averaged = shoot(problem, initial=control).control
        assert pontryagin_certificate(problem, averaged, eigenvalues=0).singular_arcs == ()
    convex = planar([2.5, -3.0], penalty=Tikhonov(0.02))
    judged = pontryagin_certificate(convex, trained(convex), eigenvalues=0)
    assert judged.singular_arcs == judged.switches == ()
    problem = planar([2.5, -3.0])
    for value in (0.0, 0.5):
        inside = problem.space.sample(bias=np.full(2, value), weight=np.full((2, 2), value))
        assert pontryagin_certificate(problem, inside, eigenvalues=0).singular_arcs == ()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_whole_horizon_can_be_an_arc(weight):
    """x' = w tanh(x) + u, |u| <= 1, follows sin(t) / 2: u = cos(t) / 2 - w tanh(sin(t) / 2) is
    between its bounds throughout, and p, of which no value is large, crosses zero on the layers.
    """
    network = NeuralODE2(1, tanh)
    problem = LearningProblem(
        network,
        np.zeros((1, 1)),
        None,
        network.controls(TimeMesh(1.0, 20), fixed={"weight": weight}),
        terminal=None,
        running=Tracking(SquaredError(), target=lambda t: np.full((1, 1), np.sin(t) / 2)),
        admissible=Box(bias=(-1, 1)),
    )
    found = pontryagin_certificate(problem, trained(problem, 1e-9, 4), eigenvalues=0)
    assert [(a.block, a.index) for a in found.singular_arcs] == [("bias", (0,))]
    assert found.singular_arcs[0].start <= 0.05
    assert found.singular_arcs[0].end >= 0.85


def test_a_steep_function_makes_no_arc():
    """x' = 5 x + u at u = 0: p = -e^(5 (1 - t)), which changes by 69 on the first layer, and is
    below a tenth of that, but not near 0, on the last four.
    """
    network = NeuralODE2(1, identity)
    problem = LearningProblem(
        network,
        np.zeros((1, 1)),
        np.ones((1, 1)),
        network.controls(TimeMesh(1.0, 8), fixed={"weight": 5.0}),
        admissible=Box(bias=(-1, 1)),
    )
    found = pontryagin_certificate(problem, problem.space.zeros(), eigenvalues=0)
    assert found.hamiltonian.max() == 0.0
    assert found.singular_arcs == ()


@pytest.mark.parametrize("layers", [400, 401, 410])
def test_a_crossing_on_fine_layers_makes_no_arc(layers):
    """LM-54, with block 2 between its bounds on seven layers about its switch, as a descent may
    leave it: its function is small on all of them, but crosses zero on one.
    """
    problem = boxed([0.5, 0.5], [4.0, 0.0], layers=layers)
    late = (np.arange(layers) - int(0.5364562503929055 * layers)) / 4
    side = -np.clip(late, -1.0, 1.0)
    bias = np.stack([np.ones(layers), side], axis=1)
    kernel = -np.ones((layers, 2, 2))
    kernel[:, 1] *= side[:, None]
    control = problem.space.sample(bias=bias, kernel=kernel)
    found = pontryagin_certificate(problem, control, eigenvalues=0)
    assert found.singular_arcs == ()
    assert len(found.switches) == 3


@pytest.mark.parametrize("start", ["none", "Euler", "RK4"])
def test_shooting_says_what_it_saw_of_the_start(start):
    problem = planar([2.5, -3.0])
    control = {
        "none": lambda: None,
        "Euler": lambda: minimize(problem, LBFGS(gtol=1e-6)).control,
        "RK4": lambda: trained(problem),
    }[start]()
    with pytest.raises(SolveError, match="did not converge") as caught:
        shoot(problem, initial=control)
    said = str(caught.value)
    assert "of 240 entries of the start rest between their bounds on (0." in said
    assert ", 1): perhaps a singular arc, which shooting does not follow" in said
    assert "a Tikhonov term makes the minimiser unique" in said
    assert "better control" not in said


def test_a_start_that_is_not_stationary_is_no_arc():
    problem = planar([2.5, -3.0])
    for value in (0.0, 0.5):
        inside = problem.space.sample(bias=np.full(2, value), weight=np.full((2, 2), value))
        with pytest.raises(SolveError, match="from a better control") as caught:
            shoot(problem, initial=inside, max_iterations=1)
        assert "rest between" not in str(caught.value)


def test_certificate_and_extremal_switch_alike():
    """Weights switch where p_i tanh(x_j) = 0, not only where p_i = 0."""
    problem = planar([4.0, 3.0])
    found = shoot(problem, initial=trained(problem))
    judged = pontryagin_certificate(problem, found.control, eigenvalues=0)
    mine, theirs = (sorted((s.block, s.index, s.time) for s in x.switches) for x in (found, judged))
    assert mine
    assert [x[:2] for x in theirs] == [x[:2] for x in mine]
    np.testing.assert_allclose([x[2] for x in theirs], [x[2] for x in mine], atol=1e-3)
    np.testing.assert_array_equal(
        judged.switching_times("weight"), sorted(t for n, _, t in theirs if n == "weight")
    )
    assert "weight[0, 1]" in str(judged)


@pytest.mark.parametrize("activation", [identity, tanh])
def test_a_block_that_is_penalised_alone_does_not_switch(activation):
    """LM-54 with Tikhonov on the kernel: only the bias has a switching function, in both; its
    crossing is located, so that H is constant to the tolerance of the steps.
    """
    problem = boxed([0.5, 0.5], [4.0, 0.0], activation=activation, layers=40)
    problem = replace(problem, penalty=Tikhonov(0.02, ["kernel"]))
    found = shoot(problem)
    assert set(found.at([0.5]).switching) == {"bias"}
    assert [(s.block, s.index) for s in found.switches] == [("bias", (1,))]
    assert np.ptp(found.hamiltonian) < 1e-9
    (time,) = found.switching_times()
    before, after = found.at([time - 1e-7, time + 1e-7]).control["bias"][:, 1]
    assert (before, after) == (1.0, -1.0)
    judged = pontryagin_certificate(problem, found.control, eigenvalues=0)
    assert [(s.block, s.index) for s in judged.switches] == [("bias", (1,))]
    assert judged.switching_times()[0] == pytest.approx(time, abs=0.5 / 40)


def test_which_sets_and_terms_switch():
    """A disc: the control turns; L1: it is off in between; a finite set: it jumps."""
    problem = boxed([0.5, 0.5], [4.0, 0.0], layers=10)
    control = shoot(problem).control

    def blocks(**changes):
        changed = replace(problem, **changes)
        nearest = changed.admissible.project(control)
        judged = pontryagin_certificate(changed, nearest, eigenvalues=0)
        assert judged.applies
        assert judged.gap_exact
        return {s.block for s in judged.switches}

    assert blocks() == {"bias", "kernel"}
    assert blocks(admissible=FiniteSet(bias=(-1, 1), kernel=(-1, 1))) == {"bias", "kernel"}
    assert blocks(admissible=Ball(1.4)) == set()
    assert blocks(penalty=L1(0.01, ["kernel"])) == {"bias"}


@pytest.mark.parametrize(("penalty", "order"), [(None, 1), (Tikhonov(0.02), 2)], ids=str)
def test_euler_layers_are_named(penalty, order):
    """Stationary for the ResNet: of the differential equation H drifts by the order of the length
    of layers, and the gap is of that order where H is affine, of its square where it is convex.
    """
    drifts, gaps = [], []
    for layers in (40, 80):
        problem = planar([2.5, -3.0], layers, penalty=penalty)
        euler = minimize(problem, LBFGS(gtol=1e-6)).control
        found = pontryagin_certificate(problem, euler, eigenvalues=0)
        assert found.layer_gradient < 1e-6 < 1e-3 < found.projected_gradient
        assert "on Euler's layers, but this is of the differential equation" in str(found)
        assert "train discretize(problem, RK4())" in str(found)
        drifts.append(found.drift)
        gaps.append(found.total_gap)
    assert drifts[0] / drifts[1] == pytest.approx(2.0, abs=0.2)
    assert np.log2(gaps[0] / gaps[1]) == pytest.approx(order, abs=0.3)
    better = pontryagin_certificate(problem, trained(problem), eigenvalues=0)
    assert "Euler's layers" not in str(better)
    assert better.total_gap < 0.1 * gaps[1]
