"""ProximalNewton, and the switching time as an unknown, against closed forms of the turnpike."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    L1,
    AbsoluteError,
    Affine,
    Amplitude,
    Box,
    Control,
    ControlSpace,
    FiniteSet,
    Interval,
    L1Ball,
    LearningProblem,
    NeuralODE,
    NeuralODE2,
    Projection,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    tanh,
)
from continuum.blocks import joint_norm
from solvers import (
    RK4,
    Nesterov,
    ProximalNewton,
    discretize,
    free_switch,
    minimize,
)
from solvers.descent.layer_terms import Entries, Joint

JOINT = L1(0.5, groups="joint")


def line(horizon, layers, target=(1.0,), **changes):
    """x' = u from 0: the weight of the network is fixed at 0."""
    d = len(target)
    network = NeuralODE2(d, identity)
    given = {"terminal": None, "running": SquaredError(1.0), "penalty": JOINT}
    given |= {"admissible": Amplitude(2.0), **changes}
    space = network.controls(TimeMesh(horizon, layers), fixed={"weight": np.zeros((d, d))})
    return LearningProblem(network, np.zeros((d, 1)), np.array(target)[:, None], space, **given)


def affine(horizon, layers):
    """x' = w x + b from 0 to 2, |(w, b)| <= 1."""
    return LearningProblem(
        NeuralODE2(1, identity),
        np.zeros((1, 1)),
        np.full((1, 1), 2.0),
        TimeMesh(horizon, layers),
        terminal=None,
        running=SquaredError(1.0),
        penalty=JOINT,
        admissible=Amplitude(1.0),
    )


def xor(layers=80, horizon=8.0, units=3):
    """TP-33: four points of the plane, their product as the target of the first unit."""
    points = np.zeros((units, 4))
    points[:2] = [[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]]
    return LearningProblem(
        NeuralODE2(units, tanh),
        points,
        (points[0] * points[1])[None],
        TimeMesh(horizon, layers),
        readout=Projection(np.eye(units)[:1]),
        terminal=None,
        running=SquaredError(1.0),
        penalty=L1(0.05, groups="joint"),
        admissible=Amplitude(4.0),
    )


def uneven(rng, **changes):
    """A network on a grid with uneven weights, two samples."""
    grid = gauss_legendre(Interval(0, 2), 3)
    given = {"penalty": L1(0.1, groups="joint") + Tikhonov(0.05), "admissible": Amplitude(0.7)}
    given |= changes
    return LearningProblem(
        WidthDepth(grid, tanh),
        rng.standard_normal((3, 2)),
        2.0 * rng.standard_normal((3, 2)),
        TimeMesh(2.0, 10, grading=1.3),
        running=SquaredError(0.3),
        **given,
    )


# -- the same control as proximal gradients

TERMS = {
    "both": {},
    "L1": {"admissible": None},
    "bound": {"penalty": Tikhonov(0.05)},
    "bound alone": {"penalty": None, "admissible": Amplitude(0.2)},
    "neither": {"penalty": Tikhonov(0.05), "admissible": None},
    "bang-off": {"penalty": L1(0.3, groups="joint")},
    "entries": {
        "penalty": L1(0.2, ["kernel"]) + L1(0.1) + Tikhonov(0.05),
        "admissible": Box(bias=(-0.3, 0.4), kernel=(-0.5, np.inf)),
    },
    "box": {"penalty": None, "admissible": Box(bias=(-0.3, 0.4), kernel=(-0.2, 0.3))},
}


@pytest.mark.parametrize("changes", TERMS.values(), ids=TERMS.keys())
@pytest.mark.parametrize("stepper", [None, RK4()], ids=["Euler", "RK4"])
def test_as_proximal_gradients_find_it(changes, stepper, rng):
    """From near what they find, the same point; far fewer iterations; to rounding."""
    objective = discretize(uneven(rng, **changes), stepper)
    slow = minimize(objective, Nesterov(gtol=1e-7, max_iterations=20_000))
    space = objective.space
    start = slow.control + space.random(rng, 0.02)
    best = minimize(objective, ProximalNewton(gtol=1e-11, max_iterations=60), initial=start)
    assert best.objective == pytest.approx(slow.objective, rel=1e-10)
    assert space.norm(best.control - slow.control) < 1e-4
    if objective.problem.admissible is not None:
        assert objective.problem.admissible.contains(best.control, 1e-12)
    again = minimize(objective, ProximalNewton(gtol=1e-11, max_iterations=60))
    assert again.objective <= best.objective + 1e-9


def test_the_last_steps_square_the_residual(rng):
    best = minimize(uneven(rng), ProximalNewton(gtol=1e-12))
    before, last = best.history["gradient_norm"][-2:]
    assert last < 1e-12
    assert last < max(10.0 * before**1.5, 1e-14)


@pytest.mark.parametrize("horizon", [2.0, 8.0, 32.0])
def test_TP13_a_terminal_cost_does_not_see_the_horizon(horizon):
    """(1 - z)^2 + z / 2 at z = 3/4, whenever the way is made."""
    problem = line(horizon, 16, terminal=SquaredError(1.0), running=None)
    best = minimize(problem, ProximalNewton(gtol=1e-9))
    assert best.objective == pytest.approx(0.4375, abs=1e-12)


def test_a_saddle_of_the_smooth_part_is_left():
    """From 0, where half of the gradient vanishes by symmetry, the objective falls anyway."""
    best = minimize(xor(units=2, layers=24, horizon=3.0), ProximalNewton(gtol=1e-8))
    assert np.all(np.diff(best.history["objective"]) <= 1e-12)
    assert best.history["gradient_norm"][-1] <= 1e-8


def test_twenty_points_as_the_user_writes_it():
    """A long horizon: some 30 steps, where accelerated proximal gradients take some 800."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((20, 2))
    target = np.outer(np.sign(points[:, 0]), [1.0, 1.0]) + 0.1 * rng.standard_normal((20, 2))
    smooth = LearningProblem(
        NeuralODE2(2, tanh),
        points.T,
        target.T,
        TimeMesh(10.0, 100),
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(0.1),
    )
    problem = replace(smooth, penalty=L1(0.5, groups="joint"), admissible=Amplitude(1.0))
    best = minimize(problem, ProximalNewton(gtol=1e-12))
    assert best.objective == pytest.approx(6.397331807587, abs=1e-10)
    assert best.statistics["iterations"] < 60
    assert 2.7 <= best.statistics["switching_time"] <= 2.8
    found = free_switch(problem, best.control)
    assert found.time == pytest.approx(best.statistics["switching_time"], abs=0.02)
    assert found.objective == pytest.approx(best.objective, abs=0.01)  # of Euler, layers of 0.1


# -- switching times

CLOSED = {
    "TP-29 T=2": (lambda k: line(2.0, k), 0.4208438024, 0.6264272755, 40),
    "TP-29 T=10": (lambda k: line(10.0, k), 0.4868602792, 0.6600937815, 100),
    "TP-30 T=5": (lambda k: affine(5.0, k), 1.4293621231, 3.0627876553, 60),
    "TP-30 T=20": (lambda k: affine(20.0, k), 1.4409315867, None, 160),
    "TP-32": (lambda k: line(5.0, k, (3.0, 1.0)), 1.5449598, 6.8334489, 50),
}


@pytest.mark.parametrize("case", CLOSED.values(), ids=CLOSED.keys())
def test_switching_times_to_1e_8(case):
    make, time, value, layers = case
    problem = make(layers)
    best = minimize(problem, ProximalNewton(gtol=1e-8))
    found = free_switch(problem, best.control)
    digits = 1e-8 if len(f"{time}") > 10 else 5e-8
    assert found.time == pytest.approx(time, abs=digits)
    assert abs(found.time - time) <= max(found.error, digits)
    assert found.error < 2e-8
    if value is not None:
        assert found.objective == pytest.approx(value, abs=digits)
    size = joint_norm(found.problem.space.trained, found.control)
    np.testing.assert_allclose(size[:-1], found.problem.admissible.bound, rtol=1e-13)
    assert size[-1] == 0.0
    assert found.problem.mesh.nodes[-2] == pytest.approx(found.times[-1], rel=1e-15)


def test_TP32_box_and_L1_by_entries():
    """Each component is a problem of its own, with its own switching time."""
    parts = []
    for target, time in ((3.0, 1.4646429), (1.0, 0.4723916)):
        problem = line(5.0, 50, (target,))
        parts.append(free_switch(problem, minimize(problem, ProximalNewton(gtol=1e-8)).control))
        assert parts[-1].time == pytest.approx(time, abs=5e-8)
    assert sum(part.objective for part in parts) == pytest.approx(6.6350969, abs=5e-8)
    both = line(5.0, 50, (3.0, 1.0), penalty=L1(0.5), admissible=Box(bias=(-2, 2)))
    best = minimize(both, ProximalNewton(gtol=1e-9))
    times = both.mesh.steps @ best.control["bias"] / 2.0
    np.testing.assert_allclose(times, [part.time for part in parts], rtol=0, atol=0.1**2)


@pytest.mark.parametrize("layers", [40, 80, 160])
def test_the_integral_of_the_amplitude_is_of_second_order(layers):
    """TP-29: h sum |u| / M, though T* lies inside a layer."""
    best = minimize(line(2.0, layers), ProximalNewton(gtol=1e-10))
    found, step = best.statistics, 2.0 / layers
    assert abs(found["switching_time"] - 0.4208438024) < step**2
    assert found["on_until"] <= 0.4208438024 <= found["off_from"]
    assert found["off_from"] - found["on_until"] <= 1.01 * step


def test_J_is_stationary_in_the_switching_time():
    """At the directions found, with the mesh moved: (J(T* + d) - J(T* - d)) / 2d = O(d^2)."""
    problem = affine(5.0, 60)
    best = minimize(problem, ProximalNewton(gtol=1e-8))
    found = free_switch(problem, best.control, layers=8)

    def value(shift):
        nodes = found.problem.mesh.nodes.copy()
        nodes[:-1] *= 1.0 + shift / nodes[-2]
        space = problem.space
        there = ControlSpace(TimeMesh.through(nodes), space.blocks, space.fixed, space.time_norm)
        objective = discretize(replace(problem, controls=there), RK4())
        return objective.value(Control(there, dict(found.control.items())))

    for shift in (1e-2, 1e-3):
        slope = (value(shift) - value(-shift)) / (2.0 * shift)
        assert abs(slope) < 10.0 * shift**2
    assert value(1e-2) > value(0.0) < value(-1e-2)


def test_TP31_where_the_target_is_too_far():
    """T = 0.6 with |x - 1| as cost: the integral of 1 - 2t to T*, then at rest: T* = T - lambda."""
    problem = line(0.6, 30, running=AbsoluteError(1.0))
    best = minimize(problem, ProximalNewton(gtol=1e-9))
    assert best.statistics["switching_time"] == pytest.approx(0.1, abs=1e-10)
    found = free_switch(problem, best.control)
    assert found.time == pytest.approx(0.1, abs=1e-11)
    assert found.objective == pytest.approx(0.59, abs=1e-11)


def test_TP33_best_known():
    """XOR with three units: the value of the continuum from 80 Euler layers; two of two starts."""
    problem = xor()
    for seed in (0, 1):
        start = problem.space.random(np.random.default_rng(seed), 0.5)
        best = minimize(problem, ProximalNewton(gtol=1e-7), initial=start)
        found = free_switch(problem, best.control, layers=8, gtol=1e-8)
        assert found.objective == pytest.approx(1.029102, abs=1.5e-6)
        assert found.time == pytest.approx(0.938354, abs=2e-6)


def test_rest_is_the_optimum_where_time_is_short():
    """TP-29: u = 0 for T <= lambda / (2 D) = 1/4."""
    best = minimize(
        line(0.24, 12), ProximalNewton(gtol=1e-10), initial=line(0.24, 12).space.sample(bias=1.0)
    )
    assert not np.any(best.control["bias"])
    assert "switching_time" not in best.statistics


# -- refusals


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: minimize(
                line(2.0, 4, admissible=L1Ball(bias=1.0), penalty=None), ProximalNewton()
            ),
            "ProximalNewton cannot treat L1Ball.*Amplitude",
        ),
        (
            lambda: minimize(line(2.0, 4, penalty=L1(0.1)), ProximalNewton()),
            r"ProximalNewton cannot treat L1\(.* with Amplitude\(2\), but L1\(groups='joint'\)",
        ),
        (
            lambda: minimize(
                line(2.0, 4, admissible=FiniteSet(bias=(-1, 1)), penalty=None), ProximalNewton()
            ),
            "ProximalNewton cannot treat FiniteSet",
        ),
        (
            lambda: minimize(affine(2.0, 4), ProximalNewton(initial_step=0.0)),
            "initial_step must be",
        ),
        (
            lambda: minimize(
                replace(affine(2.0, 4), penalty=L1(0.1, ["bias"], "joint"), admissible=None),
                ProximalNewton(),
            ),
            "cannot treat L1.*of all blocks",
        ),
        (
            lambda: minimize(readout_trained(), ProximalNewton()),
            r"ProximalNewton cannot treat 'blocks constant in time \(readout.W, readout.mu\)'",
        ),
        (
            lambda: free_switch(
                line(2.0, 4, penalty=JOINT + Tikhonov(0.1)), line(2.0, 4).space.zeros()
            ),
            r"problem must have the penalty L1\(a, groups='joint'\) alone",
        ),
        (
            lambda: free_switch(line(2.0, 4), line(2.0, 4).space.zeros()),
            "control must be on",
        ),
        (
            lambda: free_switch(line(2.0, 4), line(2.0, 4).space.sample(bias=2.0)),
            "control must be on",
        ),
        (lambda: free_switch(line(2.0, 4), line(2.0, 4).space.zeros(), layers=0), "layers must be"),
        (lambda: free_switch(line(2.0, 4), line(2.0, 4).space.zeros(), gtol=-1.0), "gtol must be"),
        (
            lambda: free_switch(nonlinear(), nonlinear().space.zeros()),
            "not homogeneous in the trained blocks",
        ),
    ],
)
def test_refusals(make, words):
    with pytest.raises((TypeError, ValueError, AttributeError), match=words):
        make()


def readout_trained():
    problem = affine(2.0, 4)
    return LearningProblem(
        problem.network, problem.initial, problem.target, TimeMesh(2.0, 4), readout=Affine(1)
    )


def nonlinear():
    return LearningProblem(
        NeuralODE(1, tanh),
        np.zeros((1, 1)),
        np.ones((1, 1)),
        TimeMesh(1.0, 4),
        terminal=None,
        running=SquaredError(1.0),
        penalty=JOINT,
        admissible=Amplitude(1.0),
    )


# -- the maps of a layer


@pytest.mark.parametrize(
    "terms",
    [
        Joint(0.7, 1.1),
        Joint(0.7, np.inf),
        Joint(0.0, 1.1),
        Entries(
            np.array([0.2, 0.0, 0.9]), np.array([-0.4, -np.inf, -1.0]), np.array([0.3, 0.5, 2])
        ),
    ],
)
def test_the_derivative_of_the_proximal_map(terms, rng):
    """Central differences at random points, on all its pieces; symmetric, between 0 and 1."""
    y, d, h = 1.5 * rng.standard_normal((400, 3)), rng.standard_normal((400, 3)), 1e-6
    found = terms.derivative(y, 0.8)
    slope = np.where(found.pinned, 0.0, found.slope)
    turned = d if found.turn is None else np.einsum("kij,kj->ki", found.turn, d)
    product = slope * turned
    if found.turn is not None:
        product = np.einsum("kij,kj->ki", found.turn, product)
    wanted = (terms.prox(y + h * d, 0.8) - terms.prox(y - h * d, 0.8)) / (2.0 * h)
    np.testing.assert_allclose(product, wanted, rtol=0, atol=1e-8)
    assert np.all((slope >= 0.0) & (slope <= 1.0))
    assert 0.01 < np.mean(found.pinned) < 0.9
