"""Formats of the kernel against Dense, their adjoints, spectra and norms, and exact flows (LM-07 to
LM-25).
"""

import threading

import array_api_strict
import numba
import numpy as np
import pytest
import scipy.optimize
import scipy.special

from continuum import (
    Circle,
    Convolution,
    Dense,
    Interval,
    LowRank,
    OnTheFly,
    TimeMesh,
    WidthDepth,
    eigenvalues,
    gauss_legendre,
    hilbert_schmidt_norm,
    identity,
    jump_kernel,
    midpoint,
    operator_norm,
    periodic,
    singular_values,
    tanh,
    trapezoid,
)
from continuum.arrays import to_host
from continuum.transfers import prolongation
from solvers import RK4, DormandPrince, ImplicitMidpoint, integrate, observed_orders

GRIDS = {
    "circle": periodic(Circle(3.0), 8),
    "circle, odd": periodic(Circle(), 7),
    "torus": periodic(Circle() * Circle(1.5), (4, 5)),
    "midpoint": midpoint(Interval(-1, 2), 7),
    "trapezoid": trapezoid(Interval(0, 1), 6),
    "square": trapezoid(Interval(0, 1) * Interval(0, 2), (4, 3)),
    "interval x circle": trapezoid(Interval(0, 1), 4) * periodic(Circle(), 5),
    "circle x interval": periodic(Circle(), 3) * midpoint(Interval(0, 1), 4),
    "one node": midpoint(Interval(0, 1), 1),
}
EVERY = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())


def difference(grid):
    """k of the difference, neither even nor odd, and periodic where the domain is."""
    periods = [
        getattr(part, "length", None) for part in getattr(grid.domain, "parts", (grid.domain,))
    ]

    def one(s, period):
        return np.exp(0.7 * s) if period is None else np.exp(np.sin(2 * np.pi * s / period) + 0.2)

    if len(periods) == 1:
        return lambda s: one(s, periods[0])
    return lambda s: one(s[0], periods[0]) * one(s[1], periods[1]) + one(s[1], periods[1])


def general(grid):
    """b(y, z, t) that is no convolution, for arrays and for numbers."""
    if grid.dimension == 1:
        return lambda y, z, t: np.exp(-t * (y - 2 * z) ** 2)
    return lambda y, z, t: np.cos(y[0] - t * z[1]) + y[1] * z[0]


def draw(grid, rng, samples=3):
    return rng.standard_normal((2, len(grid), samples))


@EVERY
def test_convolution_is_the_dense_kernel_of_the_difference(grid, rng):
    k, dense = difference(grid), Dense()
    convolution = Convolution().bind(grid)
    b = convolution.evaluate(grid, k)

    def of_difference(y, z):
        return k(y - z)

    matrix = dense.evaluate(grid, of_difference)
    np.testing.assert_allclose(convolution.matrix(b), matrix, rtol=1e-13)
    for samples in (1, 3):
        f, r = draw(grid, rng, samples)
        for name, x in (("apply", f), ("adjoint", r)):
            ours, theirs = (
                getattr(a, name)(v, x, grid.weights) for a, v in ((convolution, b), (dense, matrix))
            )
            assert ours.shape == (len(grid), samples)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13 * np.abs(matrix).max())


@EVERY
def test_convolution_outer_is_the_adjoint_and_the_average_of_the_dense_one(grid, rng):
    convolution, dense, w = Convolution().bind(grid), Dense(), grid.weights
    b, c = rng.standard_normal((2, *convolution.shape(grid)))
    f, r = draw(grid, rng)
    measure, outer = convolution.weights(grid), convolution.outer(b, r, f, w)
    derivative = convolution.apply_derivative(b, c, f, w)
    np.testing.assert_allclose(
        np.sum(w[:, None] * r * derivative), np.sum(measure * outer * c), rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(
        np.sum(w[:, None] * r * derivative),
        np.sum(w[:, None] * convolution.adjoint_derivative(b, c, r, w) * f),
        atol=1e-12,
    )
    assert convolution.outer_derivative(b, c, r, f, w) is None
    pairs = np.argsort(
        convolution.matrix(np.arange(len(measure), dtype=float)), axis=None, kind="stable"
    )
    which = convolution.matrix(np.arange(len(measure), dtype=float)).ravel()[pairs].astype(int)
    total = np.bincount(which, dense.weights(grid).ravel()[pairs], len(measure))
    np.testing.assert_allclose(measure, total, rtol=1e-12)
    weighted = np.bincount(
        which, (dense.weights(grid) * dense.outer(b, r, f, w)).ravel()[pairs], len(measure)
    )
    np.testing.assert_allclose(outer, weighted / total, rtol=0, atol=1e-12)


@EVERY
def test_convolution_on_another_array_library(grid, rng):
    convolution = Convolution().bind(grid)
    b = rng.standard_normal(convolution.shape(grid))
    f, r = draw(grid, rng)
    strict = array_api_strict.asarray
    w = grid.weights_like(strict(f))
    for name, arguments in (("apply", (f,)), ("adjoint", (r,)), ("outer", (r, f))):
        ours = getattr(convolution, name)(strict(b), *map(strict, arguments), w)
        assert isinstance(ours, type(w))
        np.testing.assert_allclose(
            to_host(ours),
            getattr(convolution, name)(b, *arguments, grid.weights),
            rtol=0,
            atol=1e-12,
        )
    np.testing.assert_array_equal(to_host(convolution.matrix(strict(b))), convolution.matrix(b))


def test_convolution_gives_k_the_representative_nearest_to_zero():
    seen = []
    for grid in (periodic(Circle(8.0), 8), trapezoid(Interval(0, 3), 4)):
        Convolution().evaluate(grid, lambda s: seen.append(s.copy()) or s)
    np.testing.assert_array_equal(seen[0], [0, 1, 2, 3, -4, -3, -2, -1])
    np.testing.assert_array_equal(seen[1], [-3, -2, -1, 0, 1, 2, 3])


def test_the_transform_that_is_kept_follows_the_values(rng):
    grid = periodic(Circle(), 16)
    convolution, (f, _) = Convolution().bind(grid), draw(grid, rng)
    b = rng.standard_normal(16)
    before = convolution.apply(b, f, grid.weights)
    np.testing.assert_array_equal(convolution.apply(b.copy(), f, grid.weights), before)
    b *= 2.0
    np.testing.assert_allclose(convolution.apply(b, f, grid.weights), 2 * before, rtol=1e-14)
    evaluated = convolution.evaluate(grid, np.cos)
    with pytest.raises(ValueError, match="read-only"):
        evaluated[0] = 1.0
    calls = []
    lattice = convolution.lattice
    lattice._fft = lambda xp, x, fft=lattice._fft: calls.append(x.shape) or fft(xp, x)
    for _ in range(3):
        convolution.apply(evaluated, f, grid.weights)
    assert calls.count((16, 1)) == 1


def test_convolution_in_many_threads(rng):
    grid = periodic(Circle(), 64)
    convolution, (f, _) = Convolution().bind(grid), draw(grid, rng)
    kernels = rng.standard_normal((6, 64))
    expected = [convolution.apply(b, f, grid.weights) for b in kernels]
    wrong = []

    def work(mine):
        for n in range(60):
            i = (n + mine) % 6
            if not np.array_equal(convolution.apply(kernels[i], f, grid.weights), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


LAWS = {
    "compiled": OnTheFly(threads=1),
    "two threads": OnTheFly(threads=2),
    "reference": OnTheFly(compiled=False, threads=1),
}


@pytest.mark.parametrize("form", LAWS.values(), ids=LAWS.keys())
@pytest.mark.parametrize(
    "grid", [trapezoid(Interval(0, 1), 300), trapezoid(Interval(0, 1) * Interval(0, 2), (17, 18))]
)
def test_on_the_fly_agrees_with_dense(form, grid, rng):
    k, dense, w = general(grid), Dense(), grid.weights
    b, matrix = form.evaluate(grid, k, 0.7), dense.evaluate(grid, k, 0.7)
    np.testing.assert_allclose(form.matrix(b), matrix, rtol=0, atol=1e-14)
    for samples in (1, 3):
        f, r = draw(grid, rng, samples)
        np.testing.assert_allclose(
            form.apply(b, f, w), dense.apply(matrix, f, w), rtol=0, atol=1e-13
        )
        np.testing.assert_allclose(
            form.adjoint(b, r, w), dense.adjoint(matrix, r, w), rtol=0, atol=1e-13
        )
        np.testing.assert_allclose(
            np.sum(w[:, None] * r * form.apply(b, f, w)),
            np.sum(w[:, None] * form.adjoint(b, r, w) * f),
            rtol=1e-11,
        )


@pytest.mark.parametrize("form", [OnTheFly(), OnTheFly(compiled=False)])
def test_on_the_fly_in_a_network(form):
    grid, mesh = trapezoid(Interval(0, 1), 20), TimeMesh(1.0, 8)
    for k in (lambda y, z: y - z * z, lambda y, z, t: np.exp(-((y - z) ** 2)) * np.cos(t)):
        runs = []
        for kernel in (form, Dense()):
            network = WidthDepth(grid, tanh, kernel)
            control = network.control(mesh, bias=lambda y: y, kernel=k)
            runs.append(integrate(network, control, grid.sample(np.cos), RK4()).trajectory.final)
        np.testing.assert_allclose(*runs, rtol=0, atol=1e-14)


def test_on_the_fly_takes_a_function_that_is_compiled_already(rng):
    @numba.njit
    def k(y, z):
        return 1.0 if z < y else 0.0

    grid = midpoint(Interval(0, 1), 9)
    form = OnTheFly()
    np.testing.assert_array_equal(form.matrix(form.evaluate(grid, k)), np.tri(9, k=-1))


def test_on_the_fly_cannot_be_trained():
    grid, mesh = midpoint(Interval(0, 1), 4), TimeMesh(1.0, 2)
    network = WidthDepth(grid, tanh, OnTheFly(compiled=False))
    with pytest.raises(TypeError, match=r"never stored.*simulate with network.control"):
        network.controls(mesh)
    with pytest.raises(
        ValueError, match="kernel is never stored: it must be a function, got float"
    ):
        network.control(mesh)
    c = network.control(mesh, kernel=lambda y, z: y * z).at(0.0)
    f = grid.sample(1.0)
    back, cotangents = network.vjp(f, c, 0.0, f)
    assert set(cotangents) == {"bias"}
    dense = {**c, "kernel": network.kernel.matrix(c["kernel"])}
    np.testing.assert_allclose(
        back, WidthDepth(grid, tanh).vjp(f, dense, 0.0, f)[0], rtol=0, atol=1e-15
    )
    with pytest.raises(TypeError, match="without numbers to train"):
        network.jvp(f, c, 0.0, f, {"kernel": c["kernel"]})
    with pytest.raises(TypeError, match="without numbers to train"):
        network.vjp_derivative(f, c, 0.0, f, f, {"kernel": c["kernel"]}, f)
    form = network.kernel
    with pytest.raises(TypeError, match="acts on arrays of float64, got float32"):
        form.apply(c["kernel"], f.astype(np.float32), np.ones(4, dtype=np.float32))


class Opaque:
    def __call__(self, y, z):
        return y * z


opaque = Opaque()


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda y, z: opaque(y, z), "Untyped global name 'opaque'"),
        (lambda y, z: not_there(y, z), "name 'not_there' is not defined"),  # noqa: F821
        (lambda y, z: np.ones_like(y * z), "gives array.* not one real number"),
        (lambda y, z: y + 1j * z, "gives complex128, not one real number"),
        (lambda y, z: y[0] + z[0], "getitem"),
        (opaque, "Numba takes Python functions"),
    ],
)
def test_a_kernel_that_does_not_compile_says_why_in_one_line(function, reason):
    with pytest.raises(ValueError, match=f"kernel cannot be compiled: .*{reason}") as caught:
        OnTheFly().evaluate(midpoint(Interval(0, 1), 3), function)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 350


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (gauss_legendre(Interval(0, 1), 5), "equispaced"),
        (trapezoid(Interval(0, 1), 5).observed_at([[0.3]]), "equispaced"),
        (trapezoid(Interval(0, 1) * Interval(0, 1), 3).observed_at([[0.3, 0.3]]), "product"),
        (periodic(Circle(), 4) * gauss_legendre(Interval(0, 1), 4), "dimension 1"),
    ],
)
def test_convolution_needs_equispaced_nodes(grid, words):
    with pytest.raises(ValueError, match=words):
        WidthDepth(grid, tanh, Convolution())


def test_convolution_needs_a_grid(rng):
    with pytest.raises(ValueError, match="knows no grid"):
        Convolution().apply(np.ones(3), np.ones((3, 1)), np.ones(3))
    with pytest.raises(ValueError, match="threads must be at least 1"):
        OnTheFly(threads=0)


def trigonometric(s):
    return np.sin(s) / np.pi


def test_lm_13_poisson_kernel_on_the_circle():
    def poisson(s, rho=0.5):
        return (1 - rho**2) / (1 - 2 * rho * np.cos(s) + rho**2) / (2 * np.pi)

    grid = periodic(Circle(), 128)
    network = WidthDepth(grid, identity, Convolution())
    control = network.control(TimeMesh(5.0, 1), kernel=poisson)
    start = grid.sample(lambda y: np.exp(np.cos(y)))
    final = integrate(
        network, control, start, DormandPrince(rtol=1e-13, atol=1e-14)
    ).trajectory.final[:, 0]
    reference = [0.207343685357224869, -0.0652903948672724391, -0.0266192155983136507]
    np.testing.assert_allclose(final[[0, 32, 64]], reference, rtol=0, atol=1e-12)
    b = control.at(0.0)["kernel"]
    modes = 0.5 ** np.abs(np.fft.fftfreq(128, 1 / 128))
    np.testing.assert_allclose(
        eigenvalues(network.kernel, b, grid), np.sort(modes)[::-1], atol=1e-14
    )


def test_lm_14_antisymmetric_kernel_turns_the_state():
    grid, mesh = periodic(Circle(), 16), TimeMesh(10.0, 100)
    network = WidthDepth(grid, identity, Convolution())
    control = network.control(mesh, kernel=trigonometric)
    start = grid.sample(np.cos)
    final = integrate(
        network, control, start, DormandPrince(rtol=1e-12, atol=1e-13)
    ).trajectory.final[:, 0]
    np.testing.assert_allclose(final, np.cos(grid.coordinates + 10.0), rtol=0, atol=1e-10)
    middle = integrate(network, control, start, ImplicitMidpoint()).trajectory.final
    assert grid.integrate(middle**2)[0] ** 0.5 == pytest.approx(np.pi**0.5, abs=1e-12)


@pytest.mark.parametrize("points", [64, 128, 600])
def test_lm_07_norms_of_the_smaller_one_converge(points):
    grid = midpoint(Interval(0, 1), points)
    b = Dense().evaluate(grid, np.minimum)
    assert operator_norm(Dense(), b, grid) == pytest.approx(4 / np.pi**2, abs=0.2 / points**2)
    assert hilbert_schmidt_norm(Dense(), b, grid) == pytest.approx(6**-0.5, abs=0.2 / points**2)
    assert operator_norm(Dense(), b, grid) <= hilbert_schmidt_norm(Dense(), b, grid)


SINES = (
    (lambda y: 2 * np.sin(np.pi * y), lambda y: 2 * np.sin(2 * np.pi * y)),
    (lambda z: np.sin(np.pi * z), lambda z: np.sin(2 * np.pi * z)),
)


def sines(y, z):
    return 2 * np.sin(np.pi * y) * np.sin(np.pi * z) + 2 * np.sin(2 * np.pi * y) * np.sin(
        2 * np.pi * z
    )


@pytest.mark.parametrize("points", [40, 700])
@pytest.mark.parametrize("form", [Dense(), LowRank(2), OnTheFly(), OnTheFly(compiled=False)])
def test_lm_07_norms_of_the_sines_are_exact(form, points):
    for grid in (trapezoid(Interval(0, 1), points), gauss_legendre(Interval(0, 1), 40)):
        b = form.evaluate(grid, SINES if isinstance(form, LowRank) else sines)
        assert operator_norm(form, b, grid) == pytest.approx(1.0, abs=1e-12)
        assert hilbert_schmidt_norm(form, b, grid) == pytest.approx(2**0.5, abs=1e-12)
        np.testing.assert_allclose(np.abs(eigenvalues(form, b, grid, 2)), [1.0, 1.0], atol=1e-12)


@EVERY
def test_norms_by_structure_are_those_of_the_matrix(grid, rng):
    convolution = Convolution().bind(grid)
    for form in (convolution, LowRank(2), Dense()):
        b = rng.standard_normal(form.shape(grid))
        matrix = form.matrix(b)
        assert form.norm(b, grid) == pytest.approx(Dense().norm(matrix, grid), rel=1e-13)
        assert form.norm(b, grid) == pytest.approx(
            np.linalg.svd(np.sqrt(np.outer(grid.weights, grid.weights)) * matrix)[1][0], rel=1e-13
        )


def test_norm_of_a_convolution_on_a_large_circle():
    """exp(cos): the largest Fourier coefficient, 2 pi I_0(1); nothing of size N^2 is made."""
    grid = periodic(Circle(2 * np.pi), 2**15)
    kernel = Convolution().bind(grid)
    b = kernel.evaluate(grid, lambda s: np.exp(np.cos(s)))
    assert kernel.norm(b, grid) == pytest.approx(2 * np.pi * scipy.special.i0(1.0), rel=1e-13)


def test_factors_and_transfers_where_there_are_any(rng):
    grid, finer = trapezoid(Interval(0, 1), 4), trapezoid(Interval(0, 1), 7)
    carried = prolongation(grid, finer)
    low, dense = LowRank(2), Dense()
    b = rng.standard_normal((3, *low.shape(grid)))
    phi, psi = low.factors(b[0])
    np.testing.assert_allclose(phi @ psi.T, low.matrix(b[0]), rtol=1e-14)
    moved = low.transfer(b, carried)
    assert moved.shape == (3, *low.shape(finer))
    for k in range(3):
        expected = dense.transfer(low.matrix(b[k]), carried)
        np.testing.assert_allclose(low.matrix(moved[k]), expected, rtol=0, atol=1e-14)
    convolution = Convolution().bind(grid)
    assert convolution.transfer(rng.standard_normal(convolution.shape(grid)), carried) is None
    for form in (dense, convolution, OnTheFly()):
        assert form.factors(np.zeros((4, 4))) is None


def test_spectra_by_iteration_and_by_lapack_agree():
    grid = trapezoid(Interval(0, 1), 520)
    convolution = Convolution().bind(grid)
    b = convolution.evaluate(grid, lambda s: np.exp(-3 * s * s + s))
    matrix = convolution.matrix(b)
    few = singular_values(convolution, b, grid, 5)
    np.testing.assert_allclose(few, singular_values(Dense(), matrix, grid)[:5], rtol=1e-10)
    np.testing.assert_allclose(
        eigenvalues(convolution, b, grid, 4),
        eigenvalues(Dense(), matrix, grid)[:4],
        rtol=1e-8,
        atol=1e-12,
    )
    assert hilbert_schmidt_norm(convolution, b, grid) == pytest.approx(
        hilbert_schmidt_norm(Dense(), matrix, grid)
    )
    for count in (0, 521):
        with pytest.raises(ValueError, match="count must be at"):
            singular_values(Dense(), matrix, grid, count)


def test_hilbert_schmidt_norm_of_formats_that_store_less(rng):
    grid = trapezoid(Interval(0, 1), 70)
    low, law = LowRank(3), OnTheFly(compiled=False)
    for form, b in (
        (low, rng.standard_normal((2, 70, 3))),
        (law, law.evaluate(grid, lambda y, z: np.exp(y - 2 * z))),
    ):
        dense = hilbert_schmidt_norm(Dense(), form.matrix(b), grid)
        assert hilbert_schmidt_norm(form, b, grid) == pytest.approx(dense, rel=1e-13)


def test_a_network_with_a_convolution_has_adjoints_and_the_norm_of_its_matrix(rng):
    grid = trapezoid(Interval(0, 1), 6)
    network = WidthDepth(grid, tanh, Convolution())
    bias, kernel = network.blocks()
    c, dc = ({"bias": rng.standard_normal(6), "kernel": rng.standard_normal(11)} for _ in range(2))
    f, p = draw(grid, rng)
    df, _ = draw(grid, rng)
    f_bar, c_bar = network.vjp(f, c, 0.0, p)
    forward = np.sum(grid.weights[:, None] * network.jvp(f, c, 0.0, df, dc) * p)
    backward = np.sum(grid.weights[:, None] * df * f_bar)
    backward += sum(np.sum(x.weights * dc[x.name] * c_bar[x.name]) for x in (bias, kernel))
    assert forward == pytest.approx(backward, rel=1e-12)
    space = network.controls(TimeMesh(2.0, 3))
    control = space.sample(kernel=lambda s, t: np.exp(s) * (1 + t))
    dense = (
        WidthDepth(grid, tanh)
        .controls(TimeMesh(2.0, 3))
        .sample(kernel=lambda y, z, t: np.exp(y - z) * (1 + t))
    )
    assert space.norm(control) == pytest.approx(dense.space.norm(dense), rel=1e-12)


def test_lm_25_frozen_spectrum():
    grid = midpoint(Interval(0, 1), 400)
    b = Dense().evaluate(grid, lambda y, z: np.minimum(y, z) / (1 + y) ** 2)
    found = eigenvalues(Dense(), b, grid, 3)
    assert found[0].real == pytest.approx(0.14854749, abs=1e-8)
    reference = [0.1485472360910877, 0.02087706787640793, 0.007687750033848766]
    np.testing.assert_allclose(found.real, reference, rtol=0, atol=1e-6)
    assert np.abs(found.imag).max() < 1e-12


def volterra_error(grid, diagonal):
    network = WidthDepth(grid, identity)
    control = network.control(
        TimeMesh(4.0, 1), kernel=jump_kernel(grid, 1.0, 0.0, diagonal=diagonal)
    )
    stepper = DormandPrince(rtol=1e-11, atol=1e-12)
    final = integrate(network, control, grid.sample(1.0), stepper).trajectory.final[:, 0]
    return np.abs(final - scipy.special.j0(2 * np.sqrt(4.0 * grid.coordinates))).max()


def test_lm_20_the_diagonal_of_a_jump_decides_the_order():
    points, interval = np.array([16, 32, 64]), Interval(0, 1)

    def corners(n):
        return np.r_[0.0, np.full(n - 1, 0.5), 1.0]

    second = (3.644484e-3, 9.432556e-4, 2.399399e-4)
    cases = (
        (
            [volterra_error(midpoint(interval, n), 0.0) for n in points],
            (0.1211476, 0.06153019, 0.03100671),
            1,
        ),
        ([volterra_error(midpoint(interval, n), "average") for n in points], second, 2),
        (
            [volterra_error(trapezoid(interval, n + 1), "average") for n in points[:2]],
            (6.058694e-2, 3.076677e-2),
            1,
        ),
        (
            [volterra_error(trapezoid(interval, n + 1), corners(n)) for n in points[:2]],
            (1.154477e-3, 2.885013e-4),
            2,
        ),
    )
    for errors, reference, order in cases:
        np.testing.assert_allclose(errors, reference, rtol=2e-6)
        assert observed_orders(points[: len(errors)], errors)[-1] == pytest.approx(order, abs=0.06)


def test_a_jump_kernel_must_say_what_stands_on_its_diagonal():
    grid = midpoint(Interval(0, 1), 3)
    with pytest.raises(ValueError, match="diagonal must be stated"):
        jump_kernel(grid, 1.0, 0.0)
    with pytest.raises(ValueError, match="one of average, below, above"):
        jump_kernel(grid, 1.0, 0.0, diagonal="mean")
    with pytest.raises(ValueError, match="shape"):
        jump_kernel(grid, 1.0, 0.0, diagonal=np.ones(2))
    with pytest.raises(ValueError, match="one dimension"):
        jump_kernel(midpoint(Interval(0, 1) * Interval(0, 1), 2), 1.0, 0.0, diagonal="average")
    b = jump_kernel(grid, lambda y, z: y + z, lambda y, z: -z, diagonal="below")
    y = grid.coordinates
    np.testing.assert_allclose(
        b, np.where(y[None, :] <= y[:, None], y[:, None] + y, -y[None, :] + 0 * y[:, None])
    )
    np.testing.assert_array_equal(
        np.diag(jump_kernel(grid, 1.0, 0.0, diagonal="above")), np.zeros(3)
    )
