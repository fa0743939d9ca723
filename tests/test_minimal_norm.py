"""The control of least norm among those that reach a target, where Pontryagin's principle is
silent: closed forms, and the limit of vanishing penalties.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from continuum import (
    Affine,
    Ball,
    Box,
    CrossEntropy,
    FiniteSet,
    Interval,
    LearningProblem,
    SquaredError,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    gauss_legendre,
    identity,
    midpoint,
    tanh,
)
from solvers import (
    LBFGS,
    RK4,
    DormandPrince,
    SolveError,
    Status,
    discretize,
    minimal_norm,
    minimize,
    pontryagin_certificate,
    shoot,
)

ONE = gauss_legendre(Interval(0, 1), 1)


def scalar(layers=8, target=0.5, kernel=0.0, start=0.0, activation=identity, **more):
    """f' = psi(a - b f), spatially constant, b fixed; T = 1.  kernel=None trains it too."""
    network = WidthDepth(ONE, activation)
    fixed = {} if kernel is None else {"kernel": kernel}
    space = network.controls(TimeMesh(1.0, layers), fixed=fixed)
    return LearningProblem(network, np.full((1, 1), start), np.full((1, 1), target), space, **more)


def early(problem, height=1.0):
    """a = height for t < 1/2, else 0."""
    layers = problem.mesh.layers
    return problem.space.sample(bias=height * (np.arange(layers) < layers // 2)[:, None])


def test_LM56_has_the_constant_control_of_least_norm():
    """a = 1 for t < 1/2 reaches 1/2 with |a|^2 = 1/2; a = 1/2 has 1/4, and p = -2 a = -1."""
    problem = scalar()
    control = early(problem)
    silent = pontryagin_certificate(problem, control)
    assert not silent.applies
    assert "minimal_norm(problem, control)" in silent.reason
    boxed = shoot(replace(problem, admissible=Box(bias=(-2, 2))), initial=control)
    assert "minimal_norm(problem, control)" in boxed.status.value
    found = minimal_norm(problem, control)
    assert found.status is Status.MINIMUM
    np.testing.assert_allclose(found.control["bias"], 0.5, rtol=0, atol=1e-8)
    assert found.norm_before**2 == pytest.approx(0.5, abs=1e-14)
    assert found.norm**2 == pytest.approx(0.25, abs=1e-8)
    assert found.endpoint_error < 1e-8
    assert found.endpoint_error_before < 1e-14
    assert found.kkt_residual < 1e-8
    np.testing.assert_allclose(found.multiplier, -1.0, rtol=0, atol=1e-7)
    assert "before 0.7071067812" in str(found)
    again = pontryagin_certificate(problem, found.control)
    assert not again.applies  # the principle still says nothing: the norm was the choice


@pytest.mark.parametrize(("start", "target"), [(0.0, 0.5), (0.3, 2.0)])
def test_with_kernels_the_angle_is_linear_in_time(start, target):
    """|f'| <= (a^2 + b^2)^(1/2) (1 + f^2)^(1/2), so int a^2 + b^2 >= (asinh f_1 - asinh f_0)^2 / T,
    with equality where asinh f is linear: LM-50 (iii) as lambda -> 0.
    """
    angle = np.arcsinh(target) - np.arcsinh(start)
    errors = []
    for layers in (8, 16):
        problem = scalar(layers, target, None, start)
        found = minimal_norm(problem, problem.space.sample(bias=target - start))
        assert found.kkt_residual < 1e-7
        assert found.endpoint_error < 1e-7
        assert found.norm < found.norm_before
        errors.append(found.norm**2 - angle**2)
    # layers are controls held on them: an upper bound, of second order
    assert errors[0] > errors[1] > 0
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.05)
    assert abs(4 * errors[1] - errors[0]) / 3 < 2e-5 * angle**2
    middle = np.arcsinh(start) + angle * (np.arange(16) + 0.5) / 16
    np.testing.assert_allclose(
        found.control["bias"][:, 0], angle / np.cosh(middle), rtol=0, atol=3e-3 * angle
    )


def test_the_norm_in_the_plane_of_functions_is_that_of_the_space():
    """A ray f = sinh(theta) y / |y|: weights of the grid enter norm and state."""
    grid = gauss_legendre(Interval(0, 1), 3)
    network, start = WidthDepth(grid, identity), grid.sample(lambda y: y)
    size = (1 / 3) ** 0.5
    angle = np.arcsinh(3 * size) - np.arcsinh(size)
    errors = []
    for layers in (6, 12):
        problem = LearningProblem(network, start, 3 * start, TimeMesh(1.0, layers))
        control = problem.space.sample(bias=2 * start[:, 0])
        found = minimal_norm(problem, control)
        errors.append(found.norm**2 - angle**2)
    assert 0 < errors[1] < errors[0] < 1e-2 * angle**2
    assert abs(4 * errors[1] - errors[0]) / 3 < 3e-5 * angle**2


def test_bounds_are_respected():
    """f' = a + f, 0 <= a <= 0.35, f(1) = 1/2: a = min(0.35, c e^(1 - t)), c from the endpoint."""

    def corner(c):
        return max(0.0, 1.0 - np.log(0.35 / c))  # a = 0.35 before

    def reached(c):
        t = corner(c)
        return 0.35 * (np.e - np.exp(1 - t)) + 0.5 * c * (np.exp(2 * (1 - t)) - 1.0)

    c = brentq(lambda c: reached(c) - 0.5, 0.13, 0.3)
    t = corner(c)
    square = 0.35**2 * t + 0.5 * c * c * (np.exp(2 * (1 - t)) - 1.0)
    found = []
    for layers in (40, 80):
        problem = scalar(layers, kernel=-1.0, admissible=Box(bias=(0, 0.35)))
        start = problem.space.sample(bias=0.5 / (np.e - 1))
        answer = minimal_norm(problem, start)
        assert problem.admissible.contains(answer.control)
        assert answer.kkt_residual < 1e-7
        found.append(answer)
    assert 0.0 < t < 1.0
    assert np.sum(found[1].control["bias"] == 0.35) == pytest.approx(80 * t, abs=1.5)
    assert found[1].norm ** 2 == pytest.approx(square, rel=2e-4)
    assert abs(found[1].norm ** 2 - square) < abs(found[0].norm ** 2 - square)


def test_sets_that_couple_entries():
    """The disc of radius 0.6 around 0: theta' <= 0.6 is not met with equality by 0.48."""
    problem = scalar(8, 0.5, None, admissible=Ball(0.6))
    found = minimal_norm(problem, problem.space.sample(bias=0.5))
    free = minimal_norm(replace(problem, admissible=None), problem.space.sample(bias=0.5))
    assert found.norm == pytest.approx(free.norm, abs=1e-6)
    assert found.kkt_residual < 1e-6


def test_it_is_the_limit_of_vanishing_penalties():
    """|c_lambda|^2 -> least |c|^2 like lambda: tanh, three nodes, two samples."""
    grid = midpoint(Interval(0, 1), 3)
    start = np.stack([grid.evaluate(lambda y: y), grid.evaluate(lambda y: 1 - 2 * y)], axis=1)
    network, mesh = WidthDepth(grid, tanh), TimeMesh(1.0, 5)
    rng = np.random.default_rng(3)
    some = network.controls(mesh).random(rng, 0.5)
    problem = LearningProblem(network, start, start, mesh)
    reached = discretize(problem, RK4(), 4).run(some).states[-1]
    problem = replace(problem, target=reached)
    found = minimal_norm(problem, some)
    assert found.kkt_residual < 1e-7
    assert found.norm < found.norm_before
    gaps = []
    for strength in (1e-3, 1e-4, 1e-5):
        penalised = replace(problem, penalty=Tikhonov(strength))
        method = LBFGS(gtol=1e-9, max_iterations=2000)
        best = minimize(discretize(penalised, RK4(), 4), method, initial=found.control)
        gaps.append(found.norm**2 - problem.space.norm(best.control) ** 2)
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[1] / gaps[2] == pytest.approx(10.0, rel=0.05)


@pytest.mark.parametrize(
    ("in_time", "stepper"), [("nodes", None), ("layers", DormandPrince(rtol=1e-9, atol=1e-9))]
)
def test_controls_and_methods_without_a_second_order_model(in_time, stepper):
    """a = 1/2 has least norm among piecewise linear ones too, and whatever the steps are."""
    problem = scalar(4)
    space = problem.network.controls(problem.mesh, in_time=in_time, fixed={"kernel": 0.0})
    problem = replace(problem, controls=space)
    shapes = {"nodes": lambda y, t: t, "layers": lambda y, t: 1.0 * (t < 0.5)}
    control = space.sample(bias=shapes[in_time])
    found = minimal_norm(problem, control, stepper=stepper)
    assert found.norm**2 == pytest.approx(0.25, abs=1e-6)
    np.testing.assert_allclose(found.control["bias"], 0.5, rtol=0, atol=1e-5)
    assert found.kkt_residual < 1e-5


def test_what_it_refuses():
    problem = scalar()
    control, net, x = early(problem), problem.network, problem.initial
    for asked, given, error, words in (
        (problem, early(problem, 0.9), ValueError, "does not reach the target.*0.05"),
        (replace(problem, penalty=Tikhonov(0.1)), control, ValueError, "chooses among"),
        (
            replace(problem, running=Tracking(SquaredError())),
            control,
            ValueError,
            "running cost chooses",
        ),
        (
            replace(problem, terminal=None, endpoint=TerminalEquality()),
            control,
            TypeError,
            "minimal_norm does not know the endpoint",
        ),
        (
            replace(problem, admissible=Box(bias=(0, 0.9))),
            control,
            ValueError,
            "control lies outside Box",
        ),
        (
            replace(problem, admissible=FiniteSet(bias=(0, 1))),
            control,
            ValueError,
            "needs a convex set, which FiniteSet",
        ),
        (None, control, TypeError, "problem must be a LearningProblem"),
    ):
        with pytest.raises(error, match=words):
            minimal_norm(asked, given)
    labels = LearningProblem(
        net, x, np.array([0]), TimeMesh(1.0, 2), readout=Affine(2), terminal=CrossEntropy()
    )
    with pytest.raises(ValueError, match="CrossEntropy vanishes at no outputs"):
        minimal_norm(labels, labels.space.zeros())
    with pytest.raises(ValueError, match="steps_per_layer"):
        minimal_norm(problem, control, steps_per_layer=0)
    with pytest.raises(SolveError):
        minimal_norm(
            scalar(8, 0.5, None),
            early(scalar(8, 0.5, None)),
            minimizer=LBFGS(max_iterations=1, gtol=1e-12),
        )
