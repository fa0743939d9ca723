"""Readouts: outputs by hand, adjoints by the dot-product test, second derivatives by differences of
the first.
"""

import re
import textwrap

import array_api_strict
import numpy as np
import pytest

from continuum import (
    Affine,
    Box,
    Integral,
    Interval,
    LearningProblem,
    NeuralODE2,
    Projection,
    Readout,
    SignedReadout,
    Softmax,
    SquaredError,
    State,
    TimeMesh,
    Tracking,
    WidthDepth,
    check_derivatives,
    gauss_legendre,
    identity,
    sigmoid,
    tanh,
)
from continuum.arrays import to_host
from solvers import LBFGS, minimize

GRID = gauss_legendre(Interval(0, 2), 4)
NETWORK = WidthDepth(GRID, tanh)
W = GRID.weights
SIGNS = np.array([[1, -1, 0, 1], [0, 0, -1, 1], [0, 0, 0, 0]])
READOUTS = {
    "state": State(),
    "projection": Projection(np.arange(8.0).reshape(2, 4)),
    "integral": Integral(),
    "integral, linked": Integral(link=sigmoid),
    "affine": Affine(3),
    "affine, linked": Affine(3, link=tanh),
    "softmax": Softmax(3),
    "signed": SignedReadout(SIGNS),
    "signed, linked": SignedReadout(SIGNS, link=tanh),
}
EVERY = pytest.mark.parametrize("readout", READOUTS.values(), ids=READOUTS.keys())


def parameters(readout, rng):
    return {b.name: rng.standard_normal(b.shape) for b in readout.blocks(NETWORK)}


def block_product(readout, x, y):
    return sum(np.sum(b.weights * x[b.name] * y[b.name]) for b in readout.blocks(NETWORK))


@EVERY
def test_derivative_and_adjoint(readout, rng):
    """(q, D o (df, dc))_v = (p, df)_w + (bars, dc), and D o by central differences."""
    f, df = rng.standard_normal((4, 5)), rng.standard_normal((4, 5))
    c, dc = parameters(readout, rng), parameters(readout, rng)
    v = readout.measure(NETWORK)
    q = rng.standard_normal((len(v), 5))

    def output(s):
        return readout.output(NETWORK, f + s * df, {n: c[n] + s * dc[n] for n in c})

    change, h = readout.jvp(NETWORK, f, c, df, dc), 1e-3
    by_differences = (8 * (output(h) - output(-h)) - (output(2 * h) - output(-2 * h))) / (12 * h)
    np.testing.assert_allclose(change, by_differences, rtol=0, atol=1e-9)
    p, bars = readout.vjp(NETWORK, f, c, q)
    assert set(bars) == set(c)
    adjoint = np.sum(W[:, None] * p * df) + block_product(readout, bars, dc)
    assert np.sum(v[:, None] * q * change) == pytest.approx(adjoint, rel=1e-12)
    alone = readout.jvp(NETWORK, f, c, df, {})
    np.testing.assert_allclose(
        alone, readout.jvp(NETWORK, f, c, df, {n: 0 * x for n, x in c.items()}), rtol=1e-14
    )


@EVERY
def test_second_derivative(readout, rng):
    f, df = rng.standard_normal((4, 5)), rng.standard_normal((4, 5))
    c, dc = parameters(readout, rng), parameters(readout, rng)
    rows = len(readout.measure(NETWORK))
    q, dq = rng.standard_normal((rows, 5)), rng.standard_normal((rows, 5))

    def back(s):
        return readout.vjp(NETWORK, f + s * df, {n: c[n] + s * dc[n] for n in c}, q + s * dq)

    h = 1e-3
    near, mirrored, far, opposite = back(h), back(-h), back(2 * h), back(-2 * h)

    def slope(pick):
        return (8 * (pick(near) - pick(mirrored)) - (pick(far) - pick(opposite))) / (12 * h)

    p, bars = readout.vjp_derivative(NETWORK, f, c, q, df, dc, dq)
    np.testing.assert_allclose(p, slope(lambda r: r[0]), rtol=0, atol=1e-8)
    for name in c:
        np.testing.assert_allclose(
            bars[name], slope(lambda r, name=name: r[1][name]), rtol=0, atol=1e-8
        )


def test_outputs_by_hand(rng):
    f = rng.standard_normal((4, 5))
    matrix, offset = rng.standard_normal((4, 4)), rng.standard_normal(4)
    c = {"readout.W": matrix, "readout.mu": offset}
    want = np.einsum("ij,j,jm->im", matrix, W, f) + offset[:, None]
    np.testing.assert_allclose(Integral().output(NETWORK, f, c), want, rtol=1e-13)
    np.testing.assert_allclose(Integral(link=tanh).output(NETWORK, f, c), np.tanh(want), rtol=1e-13)
    np.testing.assert_allclose(Integral().measure(NETWORK), W)
    c = {"readout.W": matrix[:3], "readout.mu": offset[:3]}
    np.testing.assert_allclose(Affine(3).output(NETWORK, f, c), want[:3], rtol=1e-13)
    np.testing.assert_array_equal(Affine(3).measure(NETWORK), np.ones(3))
    p = np.exp(want[:3]) / np.exp(want[:3]).sum(axis=0)
    np.testing.assert_allclose(Softmax(3).output(NETWORK, f, c), p, rtol=1e-13)
    far = {"readout.W": 0 * matrix[:3], "readout.mu": np.array([1e4, -1e4, 0.0])}
    np.testing.assert_array_equal(Softmax(3).output(NETWORK, f, far)[:, 0], [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(State().output(NETWORK, f, {}), f)
    want = np.einsum("ij,ij,j,jm->im", SIGNS, matrix[:3], W, f) + offset[:3, None]
    c = {"readout.W": matrix[:3], "readout.mu": offset[:3]}
    np.testing.assert_allclose(SignedReadout(SIGNS).output(NETWORK, f, c), want, rtol=1e-13)
    np.testing.assert_array_equal(SignedReadout(SIGNS).measure(NETWORK), np.ones(3))


def test_entries_without_a_sign_do_not_matter(rng):
    f, q = rng.standard_normal((4, 5)), rng.standard_normal((3, 5))
    readout, c = SignedReadout(SIGNS), parameters(SignedReadout(SIGNS), rng)
    other = {**c, "readout.W": np.where(SIGNS == 0, rng.standard_normal((3, 4)), c["readout.W"])}
    one, two = (readout.output(NETWORK, f, x) for x in (c, other))
    np.testing.assert_array_equal(one, two)
    found = [readout.vjp(NETWORK, f, x, q) for x in (c, other)]
    np.testing.assert_array_equal(found[0][0], found[1][0])
    for _, bars in found:
        np.testing.assert_array_equal(bars["readout.W"] == 0, SIGNS == 0)


def test_sizes_in_a_box(rng):
    """A problem keeps W >= 1e-3 and finds the sizes of a difference, f_1 - f_2."""
    f = rng.standard_normal((2, 6))
    problem = LearningProblem(
        NeuralODE2(2, identity),
        f,
        np.array([[2.0, -0.5]]) @ f,
        NeuralODE2(2, identity).controls(TimeMesh(1.0, 1), fixed={"weight": 0.0, "bias": 0.0}),
        readout=SignedReadout([[1, -1]], fixed={"readout.mu": 0.0}),
        admissible=Box({"readout.W": (1e-3, np.inf)}),
    )
    start = problem.space.zeros().replaced(**{"readout.W": np.ones((1, 2))})
    run = minimize(problem, LBFGS(gtol=1e-10), initial=start)
    np.testing.assert_allclose(run.control["readout.W"], [[2.0, 0.5]], rtol=1e-8)


def test_LM47_orientation_of_W():
    """O(y) = int W(y, z) f(z) dz + mu(y): f = y, W = y e^z, mu = y - 1/2 give y int z e^z dz + y -
    1/2 = 2 y - 1/2.
    """
    grid = gauss_legendre(Interval(0, 1), 12)
    network = WidthDepth(grid, tanh)
    blocks = {b.name: b for b in Integral().blocks(network)}
    c = {
        "readout.W": blocks["readout.W"].function(lambda y, z: y * np.exp(z))[1](0.0),
        "readout.mu": blocks["readout.mu"].function(lambda y: y - 0.5)[1](0.0),
    }
    y = grid.nodes
    np.testing.assert_allclose(Integral().output(network, y, c), 2 * y - 0.5, rtol=0, atol=1e-14)
    p, _ = Integral().vjp(network, y, c, np.ones((12, 1)))  # int y e^z dy = e^z / 2
    np.testing.assert_allclose(p, np.exp(y) / 2, rtol=1e-14)


def test_their_blocks_join_the_control(rng):
    mesh = TimeMesh(1.0, 2)
    problem = LearningProblem(NETWORK, np.ones((4, 2)), np.zeros((3, 2)), mesh, readout=Affine(3))
    assert {b.name: problem.space.shape(b) for b in problem.space.trained} == {
        "bias": (2, 4),
        "kernel": (2, 4, 4),
        "readout.W": (3, 4),
        "readout.mu": (3,),
    }
    fixed = Affine(3, fixed={"readout.mu": 0.5})
    problem = LearningProblem(NETWORK, np.ones((4, 2)), np.zeros((3, 2)), mesh, readout=fixed)
    assert [b.name for b in problem.space.trained] == ["bias", "kernel", "readout.W"]
    np.testing.assert_array_equal(problem.space.zeros()["readout.mu"], 0.5)
    assert "readout.mu (3,) fixed" in str(problem)
    assert "|mu + sum_j w_j W_j f_j(T) - target|^2" in str(problem)


def test_formulas():
    assert State().formula() == "f"
    assert Projection(np.ones((1, 4))).formula() == "sum_j w_j P_j f_j"
    assert Softmax(3).formula() == "softmax(mu + sum_j w_j W_j f_j)"
    assert SignedReadout(SIGNS).formula() == "mu + sum_j w_j S_j W_j f_j"
    assert Integral(link=sigmoid).formula() == "sigmoid(mu + sum_j w_j W_j f_j)"


@EVERY
def test_another_array_library(readout, rng):
    strict = array_api_strict.asarray
    f, df, c, dc = (
        rng.standard_normal((4, 5)),
        rng.standard_normal((4, 5)),
        parameters(readout, rng),
        {},
    )
    q = rng.standard_normal((len(readout.measure(NETWORK)), 5))
    there = {n: strict(x) for n, x in c.items()}
    got = readout.output(NETWORK, strict(f), there)
    np.testing.assert_allclose(to_host(got), readout.output(NETWORK, f, c), rtol=0, atol=1e-13)
    p, bars = readout.vjp_derivative(
        NETWORK, strict(f), there, strict(q), strict(df), dc, strict(q)
    )
    want, expected = readout.vjp_derivative(NETWORK, f, c, q, df, dc, q)
    np.testing.assert_allclose(to_host(p), want, rtol=0, atol=1e-12)
    for name in expected:
        np.testing.assert_allclose(to_host(bars[name]), expected[name], rtol=0, atol=1e-12)


def problem(readout, target, network=NETWORK):
    return LearningProblem(network, np.ones((4, 2)), target, TimeMesh(1.0, 2), readout=readout)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Affine(0), "classes must be at least 1"),
        (lambda: Affine(2.5), "classes must be an integer"),
        (lambda: Softmax(2, link=tanh), "Softmax takes no link, it is one, got tanh"),
        (lambda: Affine(2, link="tanh"), "link must be an Activation such as tanh, got 'tanh'"),
        (lambda: Integral(fixed={"W": 1.0}), "unknown block of the readout 'W'"),
        (
            lambda: problem(Affine(3), np.ones((2, 2))),
            r"target has shape \(2, 2\), expected \(3, 2\)",
        ),
        (
            lambda: problem(Affine(3, fixed={"readout.mu": np.ones(2)}), np.ones((3, 2))),
            "readout.mu has shape",
        ),
        (
            lambda: problem(Integral(), np.ones((4, 2)), NeuralODE2(4, tanh)),
            "an Integral readout needs a network on",
        ),
        (
            lambda: problem(Projection(np.ones((2, 5))), np.ones((2, 2))),
            "matrix of the Projection has shape",
        ),
        (lambda: SignedReadout([[1.0, 0.5]]), "signs must have entries -1, 0 or 1, got"),
        (lambda: SignedReadout([1, -1]), r"signs has shape \(2,\), expected \(P, N\)"),
        (lambda: SignedReadout([[np.nan]]), "signs has entries that are NaN or infinite"),
        (
            lambda: problem(SignedReadout([[1, -1]]), np.ones((1, 2))),
            r"signs of the SignedReadout has shape \(1, 2\), expected \(P, 4\)",
        ),
        (
            lambda: SignedReadout(SIGNS, fixed={"readout.w": 0.0}),
            "unknown block of the readout 'readout.w'. Did you mean 'readout.W'",
        ),
        (lambda: Readout(), "abstract"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


@EVERY
@pytest.mark.parametrize("one", [True, False], ids=["one control", "a control for each"])
def test_many_points_at_once(readout, one, rng):
    """States (4, N, M), with one value of the blocks or one of each, give what each gives alone."""
    assert readout.broadcasts
    assert not Readout.broadcasts
    points = 4
    f, df = rng.standard_normal((2, points, 4, 5))
    several = [[parameters(readout, rng) for _ in range(points)] for _ in range(2)]
    each = [[found[0]] * points if one else found for found in several]
    c, dc = (
        found[0] if one else {n: np.stack([x[n] for x in found]) for n in found[0]}
        for found in each
    )
    outputs = len(readout.measure(NETWORK))
    q, dq = rng.standard_normal((2, points, outputs, 5))
    together = [
        (readout.output(NETWORK, f, c), {}),
        (readout.jvp(NETWORK, f, c, df, dc), {}),
        readout.vjp(NETWORK, f, c, q),
        readout.vjp_derivative(NETWORK, f, c, q, df, dc, dq),
    ]
    for n in range(points):
        here, along = each[0][n], each[1][n]
        alone = [
            (readout.output(NETWORK, f[n], here), {}),
            (readout.jvp(NETWORK, f[n], here, df[n], along), {}),
            readout.vjp(NETWORK, f[n], here, q[n]),
            readout.vjp_derivative(NETWORK, f[n], here, q[n], df[n], along, dq[n]),
        ]
        for found, expected in zip(together, alone, strict=True):
            np.testing.assert_allclose(found[0][n], expected[0], rtol=1e-13, atol=1e-13)
            assert found[1].keys() == expected[1].keys()
            for name, bar in expected[1].items():
                np.testing.assert_allclose(found[1][name][n], bar, rtol=1e-13, atol=1e-13)


def test_a_readout_of_ones_own_as_the_docstring_has_it(rng):
    code = re.search(r"( +class Mean.*?)\n\n", Readout.__doc__ or "", re.DOTALL)
    assert code is not None
    names = {"Readout": Readout, "np": np}
    exec(textwrap.dedent(code[1]), names)
    network, target = NeuralODE2(3, tanh), rng.standard_normal((1, 3))
    mean = names["Mean"]()
    assert check_derivatives(Tracking(SquaredError(), mean, target), network).ok
    problem = LearningProblem(
        network, rng.standard_normal((3, 3)), target, TimeMesh(1.0, 3), readout=mean
    )
    start = problem.space.random(rng, 0.1)
    best = minimize(problem, LBFGS(gtol=1e-4), initial=start)
    assert best.objective < 1e-6
