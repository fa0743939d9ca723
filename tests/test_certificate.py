"""The certificate of Pontryagin's principle on extremals known in closed form, and where it must
say nothing.
"""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    Affine,
    Ball,
    Bottleneck,
    Box,
    CrossEntropy,
    Interval,
    LearningProblem,
    NeuralODE2,
    SobolevPenalty,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    midpoint,
    relu,
    tanh,
)
from solvers import LBFGS, RK4, Euler, discretize, minimize, pontryagin_certificate
from solvers.pontryagin.certificate import _lowest

UNIT = Interval(0, 1)
BOX = Box(bias=(-1, 1), kernel=(-1, 1))


def constant(activation, target, layers, admissible, start=0.5, units=2):
    grid = gauss_legendre(UNIT, units)
    return LearningProblem(
        WidthDepth(grid, activation),
        np.full((units, 1), start),
        np.full((units, 1), target),
        TimeMesh(1.0, layers),
        admissible=admissible,
    )


def switched(initial, target, horizon, switch):
    """Two layers, the first as long as `switch`: block 1 up, block 2 up and then down."""
    network = WidthDepth(midpoint(UNIT, 2), identity)
    mesh = TimeMesh(horizon, 2, grading=np.log(switch / horizon) / np.log(0.5))
    problem = LearningProblem(
        network, np.full((2, 1), initial), np.array([[target], [0.0]]), mesh, admissible=BOX
    )
    down = np.array([[1.0, 1.0], [1.0, -1.0]])
    return problem, problem.space.sample(
        bias=down, kernel=np.stack([-np.ones((2, 2)), [[-1.0, -1.0], [1.0, 1.0]]])
    )


SWITCHED = {
    "LM-54": ((0.5, 4.0, 1.0, 0.5364562503929055), 0.4235585550392474, 2.080277357719554),
    "LM-55 (b)": ((0.0, 6.0, 2.0, 1.343774624663928), 0.1311701244888148, 1.856822178326791),
}


@pytest.mark.parametrize(("data", "objective", "energy"), SWITCHED.values(), ids=SWITCHED.keys())
def test_an_extremal_that_switches(data, objective, energy):
    """RK4 with 100 steps per layer is good to 1e-8; H of the paper is -H here."""
    problem, control = switched(*data)
    found = pontryagin_certificate(problem, control, steps_per_layer=100)
    assert found.applies
    assert found.gap_exact
    assert found.objective == pytest.approx(objective, abs=2e-9)
    np.testing.assert_allclose(found.hamiltonian, -energy, rtol=0, atol=1e-8)
    assert found.drift < 1e-8
    assert 0 <= found.total_gap < 1e-9
    assert [(s.block, s.index) for s in found.switches] == [
        ("bias", (1,)),
        ("kernel", (1, 0)),
        ("kernel", (1, 1)),
    ]
    assert [s.time for s in found.switches] == pytest.approx([data[3]] * 3, abs=1e-8)
    assert f"{data[3]:.6g}: bias[1], kernel[1, 0], kernel[1, 1]" in str(found)
    assert found.singular_arcs == ()
    assert found.state_residual < 2e-9
    assert found.costate_residual < 1e-8
    assert found.projected_gradient == 0.0
    assert found.curvature is None
    assert "every unknown is at a bound" in str(found)


def test_switching_at_the_wrong_time_is_seen():
    """0.05 late: the gap is that of the layer on which the sign is wrong, and the sign changes
    elsewhere.
    """
    problem, control = switched(0.5, 4.0, 1.0, 0.5864562503929055)
    found = pontryagin_certificate(problem, control, steps_per_layer=50)
    assert found.total_gap > 1e-3
    assert found.drift > 0.01
    assert abs(found.switching_times()[0] - 0.5864562503929055) > 0.01


def test_switching_times_between_the_ends_of_steps():
    """Of the Euler ResNet's own optimum: where p_2 crosses zero, good to the length of a layer."""
    problem, _ = switched(0.5, 4.0, 1.0, 0.5)
    problem = LearningProblem(
        problem.network,
        problem.initial,
        problem.target,
        TimeMesh(1.0, 40),
        admissible=problem.admissible,
    )
    start = problem.space.sample(
        bias=lambda y, t: np.where((y > 0.5) & (t > 0.5), -1.0, 1.0), kernel=-1.0
    )
    kernel = start["kernel"].copy()
    kernel[20:, 1, :] = 1.0
    start = problem.space.sample(bias=start["bias"], kernel=kernel)
    (time,) = pontryagin_certificate(problem, start, steps_per_layer=2).switching_times()
    (finer,) = pontryagin_certificate(problem, start, steps_per_layer=32).switching_times()
    assert time == pytest.approx(finer, abs=1e-4)


@pytest.mark.parametrize(
    ("activation", "objective", "energy"),
    [
        (identity, 0.4255743978541422, 3.761737490848876),
        (tanh, 3.235176438354173, 2.506553489041917),
    ],
    ids=["identity", "tanh"],
)
def test_a_target_out_of_reach(activation, objective, energy):
    """LM-53."""
    problem = constant(activation, 4.0, 10, BOX)
    found = pontryagin_certificate(
        problem, problem.space.sample(bias=1.0, kernel=-1.0), steps_per_layer=8
    )
    assert found.objective == pytest.approx(objective, abs=3e-9)
    np.testing.assert_allclose(found.hamiltonian, -energy, rtol=0, atol=2e-8)
    assert found.total_gap == 0.0
    assert found.drift < 1e-10


def test_the_disc():
    """LM-52: the control varies with time, so on layers everything is good to tau^2: J, H, its
    drift, the gap.
    """
    shift = np.arcsinh(0.5)
    rows = []
    for layers in (20, 40):
        problem = constant(identity, 3.0, layers, Ball())
        control = problem.space.sample(
            bias=lambda y, t: 1 / np.cosh(t + shift) + 0 * y,
            kernel=lambda y, z, t: -np.tanh(t + shift) + 0 * y * z,
        )
        found = pontryagin_certificate(problem, control)
        rows.append(
            [
                found.objective - 0.4181960996999136,
                found.drift,
                found.total_gap,
                float(np.max(np.abs(found.hamiltonian + 2.115174948416109))),
            ]
        )
    assert np.all(np.array(rows[1]) > 0)
    assert np.max(rows[1]) < 5e-5
    np.testing.assert_allclose(np.array(rows[0]) / rows[1], 4.0, rtol=0, atol=0.15)


def singular():
    """LM-55 (a): block 2 rests at 0."""
    problem = LearningProblem(
        WidthDepth(midpoint(UNIT, 2), identity),
        np.zeros((2, 1)),
        np.array([[6.0], [0.0]]),
        TimeMesh(2.0, 8),
        admissible=BOX,
    )
    return problem, problem.space.sample(
        bias=np.array([1.0, 0.0]), kernel=np.array([[-1.0, 0.0], [0.0, 0.0]])
    )


def test_a_singular_arc_that_is_a_saddle():
    problem, control = singular()
    found = pontryagin_certificate(problem, control, steps_per_layer=16)
    assert found.objective == pytest.approx(1.642801471258288, abs=1e-9)
    assert found.total_gap == pytest.approx(0.0, abs=1e-12)
    assert found.drift < 1e-8
    still = ("bias", (1,)), ("kernel", (0, 1)), ("kernel", (1, 0)), ("kernel", (1, 1))
    assert found.singular_arcs == tuple((*entry, 0.0, 2.0) for entry in still)
    assert found.curvature.morse_index == 3
    assert not found.curvature.complete
    assert found.curvature.variables == 32
    assert found.curvature.tolerance < 1e-4 * -found.curvature.eigenvalues[0]
    assert "Morse index at least 3, counted below -" in str(found)
    assert "in the 32 of 48 unknowns between their bounds" in str(found)
    assert "bias[1], kernel[0, 1], kernel[1, 0], kernel[1, 1] on (0, 2)" in str(found)


def test_the_eigenvalues_are_those_of_the_hessian(rng):
    """Few unknowns: a dense matrix; more: Lanczos.  Both against the matrix of all Hessian-vector
    products.
    """
    for layers in (3, 6):
        problem = LearningProblem(
            NeuralODE2(2, tanh),
            rng.standard_normal((2, 7)),
            rng.standard_normal((2, 7)),
            TimeMesh(1.0, layers, 1.4),
            penalty=Tikhonov(0.01),
        )
        control = problem.space.random(rng)
        found = pontryagin_certificate(
            problem, control, eigenvalues=4, stepper=Euler(), steps_per_layer=1
        ).curvature
        space, objective = problem.space, discretize(problem)
        matrix = np.stack(
            [space.flatten(objective.hvp(control, space.unflatten(e))) for e in np.eye(space.size)]
        )
        expected = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))
        np.testing.assert_allclose(found.eigenvalues, expected[:4], rtol=0, atol=1e-7)
        assert found.variables == space.size == 6 * layers
        assert found.morse_index == min(4, np.count_nonzero(expected < -1e-9))


def test_a_minimum_with_a_penalty_and_a_running_cost(rng):
    """Affine, so exact: on a fine mesh gap and drift vanish with tau; the running cost belongs to
    H.
    """
    start, target = rng.standard_normal((2, 2, 4))
    rows = []
    for layers in (20, 40):
        problem = LearningProblem(
            NeuralODE2(2, tanh),
            start,
            target,
            TimeMesh(1.0, layers),
            running=SquaredError(0.3),
            penalty=Tikhonov(0.3),
        )
        best = minimize(problem, LBFGS(gtol=1e-7))
        found = pontryagin_certificate(problem, best.control, eigenvalues=1)
        assert found.gap_exact
        assert found.curvature.morse_index == 0
        rows.append([found.drift, found.projected_gradient])
    assert rows[1][0] < 0.03
    np.testing.assert_allclose(np.array(rows[0]) / rows[1], 2.0, rtol=0, atol=0.3)


def test_the_hamiltonian_is_conserved_for_a_constant_control(rng):
    """E29: true for constant controls too; with a running cost to h^2, that of the trapezoid
    rule.
    """
    start, target = rng.standard_normal((2, 2, 3))
    problem = LearningProblem(
        NeuralODE2(2, tanh),
        start,
        target,
        TimeMesh(1.0, 4),
        running=SquaredError(0.5),
        penalty=Tikhonov(0.1),
    )
    control = problem.space.sample(
        bias=np.array([0.3, -0.4]), weight=np.array([[0.5, -1.0], [1.0, 0.2]])
    )
    drifts = [
        pontryagin_certificate(problem, control, steps_per_layer=n, eigenvalues=0).drift
        for n in (4, 8)
    ]
    assert drifts[1] < 2e-3
    assert drifts[0] / drifts[1] == pytest.approx(4, abs=0.5)


def test_an_inexact_gap_is_called_a_lower_bound(rng):
    problem = LearningProblem(
        Bottleneck(2, tanh, hidden=2),
        rng.standard_normal((2, 3)),
        np.ones((2, 3)),
        TimeMesh(1.0, 2),
        penalty=Tikhonov(0.1),
    )
    found = pontryagin_certificate(problem, problem.space.random(rng), eigenvalues=0)
    assert not found.gap_exact
    assert "a lower bound of the true gap" in str(found)
    assert found.switches == ()
    assert np.all(found.gap >= 0)


@pytest.mark.parametrize(
    "bias", [0.5, lambda y, t: y * 0 + (t < 0.5)], ids=["constant", "on and off"]
)
def test_nothing_is_certified_once_the_target_is_reached(bias):
    """LM-56."""
    network = WidthDepth(gauss_legendre(UNIT, 1), identity)
    space = network.controls(TimeMesh(1.0, 4), fixed={"kernel": 0.0})
    problem = LearningProblem(network, np.zeros((1, 1)), np.full((1, 1), 0.5), space)
    found = pontryagin_certificate(problem, space.sample(bias=bias))
    assert not found.applies
    assert str(found).startswith("no certificate: the costate vanishes at every time")
    assert "the target is reached" in found.reason
    assert "H is constant in the control, every control is extremal" in found.reason
    assert found.objective == pytest.approx(0.0, abs=1e-30)
    elsewhere = pontryagin_certificate(problem, space.sample(bias=0.2))
    assert "bias is neither bounded" in elsewhere.reason


def test_a_costate_that_vanishes_where_the_loss_does_not():
    """A readout relu(f - 1) of states below 1 does not see them: loss 1/2 |0 - 2|^2, costate 0."""
    fixed = {"readout.W": np.eye(1), "readout.mu": -np.ones(1)}
    problem = replace(
        constant(identity, 2.0, 4, BOX, units=1), readout=Affine(1, link=relu, fixed=fixed)
    )
    found = pontryagin_certificate(problem, problem.space.zeros())
    assert not found.applies
    assert found.objective == pytest.approx(2.0)
    assert "the costate vanishes at every time" in found.reason
    assert "but the loss does not: it is 2" in found.reason
    assert "target" not in found.reason
    penalised = replace(problem, penalty=Tikhonov(0.5))  # H = |c|^2 / 2 decides: c = 0
    assert pontryagin_certificate(penalised, problem.space.zeros()).total_gap == 0.0
    off = pontryagin_certificate(penalised, problem.space.sample(bias=0.5), eigenvalues=0)
    assert off.total_gap == pytest.approx(0.125, rel=1e-12)


def test_relu_at_rest_is_no_extremal_and_its_hessian_is_zero():
    """LM-54's data, relu, control 0: u = 0 and relu'(0) = 0, so that the gradient vanishes, but
    a = 1, b_i. = -1 in block 1 and a = -1, b_i. = 1 in block 2 have H = -p_1 / 2 (1 + int |f|)
    + 0 with p_1 = -3.5: 3.5 / 2 * 1.5 below.
    """
    network = WidthDepth(midpoint(UNIT, 2), relu)
    problem = LearningProblem(
        network,
        np.full((2, 1), 0.5),
        np.array([[4.0], [0.0]]),
        TimeMesh(1.0, 20),
        admissible=BOX,
    )
    found = pontryagin_certificate(problem, problem.space.zeros(), steps_per_layer=1)
    assert found.objective == 3.125
    assert found.projected_gradient == 0.0
    assert found.total_gap == pytest.approx(3.5 / 2 * 1.5, rel=1e-13)
    np.testing.assert_array_equal(found.curvature.eigenvalues, 0.0)
    assert found.curvature.morse_index == 0


def test_the_morse_index_counts_below_a_stated_tolerance():
    """More unknowns than data: the Hessian at a minimum has many eigenvalues 0, which a gradient of
    1e-5 turns into numbers of both signs, the lowest -4e-9 here; two were counted once.
    """
    rng = np.random.default_rng(3)
    network, mesh = WidthDepth(gauss_legendre(UNIT, 3), tanh), TimeMesh(1.0, 6)
    problem = LearningProblem(
        network,
        rng.standard_normal((3, 1)),
        0.3 * rng.standard_normal((3, 1)),
        mesh,
        running=SquaredError(0.5),
        admissible=Box(bias=(-30, 30), kernel=(-30, 30)),
    )
    run = minimize(
        discretize(problem, RK4(), 4, "steps"),
        LBFGS(gtol=1e-5, max_iterations=3000),
        raise_on_failure=False,
    )
    found = pontryagin_certificate(problem, run.control, eigenvalues=6).curvature
    assert 1e-8 < found.tolerance < 1e-4
    assert found.eigenvalues[0] < -1e-9
    assert np.all(np.abs(found.eigenvalues) < found.tolerance)
    assert found.morse_index == 0


def test_the_hessian_is_not_asked_for_more_than_its_products_know(rng):
    """A matrix whose products err by 1e-3: eigenvalues of that size are no sign."""
    size = 50
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    values = np.linspace(0.0, 1.0, size)
    matrix = basis * values @ basis.T
    wrong = matrix + 1e-3 * rng.standard_normal((size, size))
    _, largest, defect = _lowest(lambda x: wrong @ x, size, 3, rng)
    assert largest == pytest.approx(1.0, abs=0.05)
    assert 1e-5 < defect < 1e-1
    found, largest, defect = _lowest(lambda x: matrix @ x, size, 3, rng)
    np.testing.assert_allclose(found, values[:3], atol=1e-9)
    assert defect < 1e-14


def test_where_the_principle_cannot_be_asked():
    network = NeuralODE2(2, tanh)
    data = np.ones((2, 1)), np.zeros((2, 1))
    static = network.controls(TimeMesh(1.0, 3), in_time="static")
    found = pontryagin_certificate(LearningProblem(network, *data, static), static.zeros())
    assert not found.applies
    assert "bias, weight cannot be chosen at every time" in str(found)
    smooth = network.controls(TimeMesh(1.0, 3), in_time="nodes")
    found = pontryagin_certificate(
        LearningProblem(network, *data, smooth, penalty=SobolevPenalty(1.0)), smooth.zeros()
    )
    assert "SobolevPenalty is no integral over time of a density" in found.reason
    problem = constant(tanh, 4.0, 2, BOX)
    with pytest.raises(ValueError, match=r"control is not admissible: it exceeds Box.* by 1"):
        pontryagin_certificate(problem, problem.space.sample(bias=2.0))


def test_a_trained_readout_is_held(rng):
    network = WidthDepth(midpoint(Interval(0, 1), 3), tanh)
    problem = LearningProblem(
        network,
        rng.standard_normal((3, 20)),
        rng.integers(0, 3, 20),
        TimeMesh(1.0, 4),
        readout=Affine(3),
        terminal=CrossEntropy(),
        penalty=Tikhonov(0.01, ["kernel", "readout.W"]),
        admissible=Box(bias=(-1, 1)),
    )
    control = minimize(discretize(problem, RK4(), 2), LBFGS(gtol=1e-6)).control
    rest, part = problem.holding(control, ["readout.W", "readout.mu"])
    assert [b.name for b in rest.space.trained] == ["bias", "kernel"]
    found = pontryagin_certificate(problem, control, steps_per_layer=2, eigenvalues=0)
    alone = pontryagin_certificate(rest, part, steps_per_layer=2, eigenvalues=0)
    assert found.held == ("readout.W", "readout.mu")
    assert "with readout.W, readout.mu" in str(found)
    assert found.total_gap == alone.total_gap
    assert found.projected_gradient < 2e-6
    far = control + problem.space.sample(**{"readout.mu": np.ones(3) * [1.0, 0.0, 0.0]})
    assert (
        pontryagin_certificate(problem, far, eigenvalues=0).projected_gradient > 0.01
    )  # the readout counts there
    assert rest.penalty.value(part) == pytest.approx(Tikhonov(0.01, ["kernel"]).value(control))
