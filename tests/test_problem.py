"""Problems say what they are, refuse what does not fit, and their parts are what they claim."""

from dataclasses import replace

import array_api_strict
import numpy as np
import pytest

from continuum import (
    Box,
    Control,
    Interval,
    LearningProblem,
    NeuralODE2,
    Projection,
    ResNet,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    tanh,
)
from continuum.arrays import to_host
from solvers import Euler, discretize, integrate

GRID = gauss_legendre(Interval(0, 1), 4)
NETWORK = WidthDepth(GRID, tanh)
MESH = TimeMesh(2.0, 5)
PROBLEM = LearningProblem(NETWORK, np.ones((4, 3)), np.zeros((4, 3)), MESH)


def test_print_writes_the_functional():
    space = NETWORK.controls(MESH, fixed={"kernel": 1.0})
    text = str(
        replace(
            PROBLEM,
            controls=space,
            running=SquaredError(0.7),
            penalty=Tikhonov(1e-3),
            admissible=Box(bias=(-1, 2)),
        )
    )
    assert text.splitlines() == [
        "minimise  J = 1/3 sum_m 0.5 |f(T) - target|^2",
        "            + 1/3 sum_m int_0^T 0.7 |f(t) - target|^2 dt   (trapezoid on the 6 ends of "
        "layers)",
        "            + 0.001 (int_0^T |bias|^2 dt (piecewise constant))",
        "over      bias (4,) constant on layers, kernel (4, 4) fixed",
        "in        Box(bias=(-1, 2))",
        "where     f_t = tanh(bias - kernel f), (kernel g)_i = sum_j w_j kernel_ij g_j, "
        "f(0) = initial,",
        "          T = 2, 5 layers, 4 units, 3 samples",
        "norms     |g|^2 = sum_i w_i g_i^2 over units, the same with w_i w_j over pairs of "
        "units; L2 in time",
    ]


def test_value_is_what_is_printed(rng):
    problem = replace(
        PROBLEM,
        initial=rng.standard_normal((4, 3)),
        target=rng.standard_normal((4, 3)),
        running=SquaredError(0.7),
        penalty=Tikhonov(0.2),
        sample_weights=np.array([1.0, 1.0, 2.0]),
    )
    control = problem.space.random(rng)
    flow = integrate(NETWORK, control, problem.initial, Euler(), save="layers").trajectory.states
    squares = np.sum(GRID.weights[:, None] * (flow - problem.target) ** 2, axis=1)
    per_sample = 0.5 * squares[-1] + 0.7 * np.trapezoid(squares, MESH.nodes, axis=0)
    w = GRID.weights
    penalty = (
        0.2
        * 0.4
        * (np.sum(w * control["bias"] ** 2) + np.sum(w[:, None] * w * control["kernel"] ** 2))
    )
    expected = per_sample @ [0.25, 0.25, 0.5] + penalty
    assert discretize(problem).value(control) == pytest.approx(expected, rel=1e-13)


def test_projection_reads_integrals(rng):
    matrix, f, q = (
        rng.standard_normal((2, 4)),
        rng.standard_normal((4, 3)),
        rng.standard_normal((2, 3)),
    )
    readout = Projection(matrix)
    np.testing.assert_allclose(
        readout.output(NETWORK, f, {}), matrix @ (GRID.weights[:, None] * f), rtol=1e-14
    )
    pairing = np.sum(GRID.weights[:, None] * readout.vjp(NETWORK, f, {}, q)[0] * f)
    assert pairing == pytest.approx(np.sum(q * readout.output(NETWORK, f, {})), rel=1e-13)


def test_squared_error_is_half_the_squared_norm(rng):
    o, y = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    loss, w = SquaredError(), GRID.weights
    np.testing.assert_allclose(
        loss.value(o, y, w), 0.5 * np.sum(w[:, None] * (o - y) ** 2, axis=0), rtol=1e-14
    )
    d, h = rng.standard_normal((4, 3)), 1e-6
    slope = (loss.value(o + h * d, y, w) - loss.value(o - h * d, y, w)) / (2 * h)
    np.testing.assert_allclose(
        np.sum(w[:, None] * loss.gradient(o, y, w) * d, axis=0), slope, rtol=1e-8
    )
    np.testing.assert_array_equal(loss.hvp(o, y, w, d), d)


@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
def test_tikhonov_is_the_integral_and_its_gradient_has_the_factor_two(in_time, rng):
    space = NETWORK.controls(MESH, in_time=in_time)
    x, d = space.random(rng), space.random(rng)
    penalty = Tikhonov(0.3, blocks=["kernel"])
    only = space.sample(kernel=x["kernel"])
    assert penalty.value(x) == pytest.approx(0.3 * space.inner(only, only), rel=1e-13)
    gradient = penalty.gradient(x)
    np.testing.assert_allclose(gradient["kernel"], 0.6 * x["kernel"], rtol=0, atol=1e-13)
    assert "bias" not in gradient
    bend = penalty.hvp(x, d)
    np.testing.assert_allclose(bend["kernel"], 0.6 * d["kernel"], rtol=0, atol=1e-13)


def test_box(rng):
    box = Box(bias=(-0.5, 0.25))
    space = NETWORK.controls(MESH)
    x, g = space.random(rng), space.random(rng)
    nearest = box.project(x)
    np.testing.assert_array_equal(nearest["bias"], np.clip(x["bias"], -0.5, 0.25))
    np.testing.assert_array_equal(nearest["kernel"], x["kernel"])
    assert box.contains(nearest)
    assert not box.contains(x)
    vertex = x.replaced(**box.support(g, x, space))
    np.testing.assert_array_equal(vertex["bias"], np.where(g["bias"] > 0, 0.25, -0.5))
    bounded = space.inner(g, space.sample(bias=vertex["bias"]))
    for _ in range(20):
        point = box.project(space.random(rng))
        assert space.inner(g, space.sample(bias=point["bias"])) <= bounded
    still = nearest.replaced(**box.support(space.zeros(), nearest, space))
    np.testing.assert_array_equal(still["bias"], nearest["bias"])


def test_euclidean_problem_prints_its_own_norm():
    problem = LearningProblem(NeuralODE2(2, tanh), np.ones((2, 1)), np.ones((2, 1)), MESH)
    assert "|g|^2 = sum_i g_i^2 over units" in str(problem)
    assert str(problem).startswith("minimise  J = 0.5 |f(T) - target|^2\n")
    assert "f_t = weight tanh(f) + bias" in str(problem)


def change(**changes):
    return lambda: replace(PROBLEM, **changes)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (change(initial=np.ones((3, 4))), "initial has shape .* its transpose would fit"),
        (
            change(target=np.zeros((3, 4))),
            r"target has shape \(3, 4\), expected \(4, 3\); its transpose would fit",
        ),
        (change(target=np.zeros((4, 2))), r"target has shape \(4, 2\), expected \(4, 3\)"),
        (change(target=np.full((4, 3), np.nan)), "target has entries that are NaN"),
        (change(controls=3), "controls must be a ControlSpace or a TimeMesh"),
        (
            change(controls=NeuralODE2(4, tanh).controls(MESH)),
            "controls was made for another network",
        ),
        (
            change(readout=Projection(np.ones((2, 5)))),
            r"matrix of the Projection has shape \(2, 5\)",
        ),
        (change(sample_weights=np.ones(2)), "sample_weights has shape"),
        (change(sample_weights=np.array([1.0, -1.0, 1.0])), "sample_weights must be >= 0"),
        (change(admissible=Box(bais=(0, 1))), "Did you mean 'bias'"),
        (
            change(admissible=Box(bias=(0, 1)), controls=NETWORK.controls(MESH, in_time="nodes")),
            "in_time='layers'",
        ),
        (change(penalty=Tikhonov(1.0, blocks=["kernal"])), "Did you mean 'kernel'"),
        (lambda: Tikhonov(-1.0), "strength must be finite and >= 0"),
        (lambda: Tikhonov(np.nan), "strength must be finite and >= 0"),
        (lambda: SquaredError(0.0), "weight must be finite and positive"),
        (lambda: Box(bias=(1, 0)), "bounds of bias"),
        (lambda: Box(bias=1.0), "bounds of bias must be a pair"),
        (lambda: Projection(np.ones(3)), "matrix has shape"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_another_array_library(rng):
    """What the adjoint tests do not reach: ResNets, penalties on every axis, boxes, norms."""

    def strict(control):
        return Control(control.space, {n: array_api_strict.asarray(x) for n, x in control.items()})

    for in_time in ("layers", "nodes", "static"):
        space = NETWORK.controls(MESH, in_time=in_time)
        x, y = space.random(rng), space.random(rng)
        assert space.inner(strict(x), strict(y)) == pytest.approx(space.inner(x, y), rel=1e-13)
        assert Tikhonov(0.3).value(strict(x)) == pytest.approx(Tikhonov(0.3).value(x), rel=1e-13)
        back = space.unflatten(space.flatten(strict(x)))
        for name in x:
            np.testing.assert_allclose(to_host(back[name]), x[name], rtol=0, atol=1e-13)
    space = NETWORK.controls(MESH)
    x, g = space.random(rng), space.random(rng)
    box = Box(bias=(-0.5, 0.25))
    for got, want in (
        (box.project(strict(x)), box.project(x)),
        (
            strict(x).replaced(**box.support(strict(g), strict(x), space)),
            x.replaced(**box.support(g, x, space)),
        ),
    ):
        for name in want:
            np.testing.assert_array_equal(to_host(got[name]), want[name])
    initial = rng.standard_normal((4, 2))
    outputs = ResNet.from_control(NETWORK, strict(x))(array_api_strict.asarray(initial))
    np.testing.assert_allclose(
        to_host(outputs), ResNet.from_control(NETWORK, x)(initial), rtol=0, atol=1e-14
    )
