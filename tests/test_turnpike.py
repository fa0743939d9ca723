"""The turnpike: static problem, rates, arcs, against closed forms and the numbers of the ledger."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from continuum import (
    L1,
    Affine,
    Box,
    Chain,
    Inputs,
    Interval,
    LearningProblem,
    Linear,
    Logistic,
    NeuralODE2,
    Offset,
    Pointwise,
    Projection,
    SobolevPenalty,
    SquaredError,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    gauss_legendre,
    identity,
    tanh,
)
from solvers import LBFGS, RiccatiNewton, discretize, minimize
from solvers.turnpike import (
    NoSpectralGap,
    NoStaticOptimum,
    dissipativity,
    linearise,
    scheme_spectrum,
    solve_quadratic,
    spectrum,
    static_optimum,
    turnpike,
)
from solvers.turnpike.fits import fit_decay
from solvers.turnpike.stage import Stage


def two_arcs(horizon=12.0, layers=400, points=16):
    """f' = a - Bf with the kernel exp(-4 (y - z)^2): the case of the issue."""
    grid = gauss_legendre(Interval(0, 1), points)
    network = WidthDepth(grid, identity)
    space = network.controls(
        TimeMesh(horizon, layers), fixed={"kernel": lambda y, z: np.exp(-4 * (y - z) ** 2)}
    )
    target = (1.0 + 0.5 * grid.coordinates)[:, None]
    return LearningProblem(
        network,
        np.zeros((points, 1)),
        target,
        space,
        terminal=None,
        running=SquaredError(0.5),
        penalty=Tikhonov(0.3),
    )


@pytest.fixture(scope="module")
def solved():
    problem = two_arcs()
    return problem, minimize(problem, RiccatiNewton(gtol=1e-12)).control


def regular(rng, samples=3):
    """x' = w tanh(v x) + b, w trained, b the drift; samples with weights."""
    network = Chain(2, (Linear("v", 3), Pointwise(tanh), Linear("w", 2), Offset("b")))
    held = {"v": rng.standard_normal((3, 2)), "b": np.array([0.3, -0.2])}
    space = network.controls(TimeMesh(2.0, 5), fixed=held)
    return LearningProblem(
        network,
        rng.standard_normal((2, samples)),
        rng.standard_normal((2, samples)),
        space,
        terminal=None,
        running=SquaredError(0.7),
        penalty=Tikhonov(0.2),
        sample_weights=np.arange(1.0, samples + 1.0),
    )


def drifting(rng):
    """f' = tanh(a - Bf), B fixed: F = 0 where a = Bf, so that the static problem is quadratic."""
    grid = gauss_legendre(Interval(0, 2), 3)
    network = WidthDepth(grid, tanh)
    space = network.controls(TimeMesh(3.0, 6), fixed={"kernel": rng.standard_normal((3, 3))})
    return LearningProblem(
        network,
        rng.standard_normal((3, 1)),
        rng.standard_normal((3, 1)),
        space,
        terminal=None,
        running=SquaredError(0.5),
        penalty=Tikhonov(0.4),
    )


# -- the case "Two arcs"


def test_two_arcs_static_optimum():
    problem = two_arcs()
    found = static_optimum(problem)
    assert found.kind == "regular"
    assert found.inertia == (16, 0, 0)
    assert found.residual < 1e-14
    assert found.value == pytest.approx(0.1550970423, abs=5e-11)
    size = np.sqrt(np.sum(problem.network.weights * found.state[:, 0] ** 2))
    assert size == pytest.approx(1.012839, abs=5e-7)


@pytest.mark.parametrize(("horizon", "value"), [(6.0, 1.5051980689), (12.0, 2.4358721473)])
def test_two_arcs_exact_values(horizon, value):
    assert solve_quadratic(two_arcs(), horizon).value == pytest.approx(value, abs=6e-11)


def test_two_arcs_leave_the_turnpike():
    found = solve_quadratic(two_arcs())
    weights = two_arcs().network.weights
    last = found.states(np.array([12.0]))[0, :, 0]
    assert np.sqrt(np.sum(weights * last**2)) == pytest.approx(0.713652, abs=5e-7)


def test_the_exact_solution_agrees_with_riccati_differential_equations():
    """-P' = Q + A*P + PA - PGP, -s' = (A - GP)*s + q, -c' = l - s*Gs/2, all zero at T."""
    problem = two_arcs(points=5)
    stage = Stage(problem)
    zero = np.zeros(5), np.zeros(5)
    first, second = stage.first(*zero), stage.second(*zero, np.zeros(5))
    G = first.B @ np.linalg.inv(second.luu) @ first.B.T

    def rate(_, z):
        P, s = z[:25].reshape(5, 5), z[25:30]
        dP = second.lxx + first.A.T @ P + P @ first.A - P @ G @ P
        ds = (first.A - G @ P).T @ s + first.lx
        return np.concatenate([dP.ravel(), ds, [first.density - 0.5 * s @ G @ s]])

    run = solve_ivp(rate, (0.0, 6.0), np.zeros(31), method="DOP853", rtol=1e-11, atol=1e-12)
    assert solve_quadratic(problem, 6.0).value == pytest.approx(run.y[30, -1], abs=1e-10)


def test_the_exact_solution_satisfies_its_equations():
    problem = two_arcs(points=5)
    found, h = solve_quadratic(problem, 3.0), 1e-4
    stage = found.stage
    times = np.array([0.0, 1.1 - h, 1.1, 1.1 + h, 3.0])
    x = stage.pack_state(found.states(times))
    p = stage.pack_costate(found.costates(times))
    u = stage.pack_control(found.values(times))
    assert np.max(np.abs(x[0] - stage.pack_state(problem.initial))) < 1e-13
    assert np.max(np.abs(p[-1])) < 1e-13
    first, R = stage.first(x[2], u[2]), stage.second(x[2], u[2], p[2]).luu
    assert np.max(np.abs((x[3] - x[1]) / (2 * h) - first.velocity)) < 1e-7
    assert np.max(np.abs((p[3] - p[1]) / (2 * h) + first.lx + first.A.T @ p[2])) < 1e-7
    assert np.max(np.abs(first.lu + first.B.T @ p[2])) < 1e-13 * np.max(R)


def test_two_arcs_rates_per_mode():
    """The rates are (beta_j^2 + 1/0.6)^(1/2), beta_j the eigenvalues of B: they decrease to
    (1/0.6)^(1/2), which none attains."""
    problem = two_arcs()
    rates = spectrum(problem, static_optimum(problem)).rates
    assert rates[:3] == pytest.approx([1.4463391, 1.3185140, 1.2927306], abs=6e-8)
    grid = problem.network.grid
    root, y = np.sqrt(grid.weights), grid.coordinates
    beta = np.linalg.eigvalsh(root[:, None] * np.exp(-4 * (y[:, None] - y) ** 2) * root)
    assert rates == pytest.approx(np.sort(np.sqrt(beta**2 + 1 / 0.6))[::-1], abs=1e-13)
    limit = np.sqrt(1 / 0.6)
    assert limit == pytest.approx(1.2909944, abs=5e-8)
    # above it while beta_j^2 is more than rounding; the rest agree with it to rounding
    seen = np.sort(np.abs(beta))[::-1] > 1e-7
    assert np.all(rates[seen] > limit)
    assert rates[~seen] == pytest.approx(limit, abs=1e-14)


def test_two_arcs_rates_of_the_scheme():
    problem = two_arcs()
    found = scheme_spectrum(problem, static_optimum(problem), 12.0 / 400)
    assert found.rates[0] == pytest.approx(1.46058, abs=5e-6)
    assert found.entry.eigenvalues[0] * found.exit.eigenvalues[0] == pytest.approx(1.0, abs=1e-12)


def test_two_arcs_fitted(solved):
    problem, control = solved
    found = turnpike(problem, control)
    first, second = found.fitted[0], found.fitted[1]
    assert first.what == "entry, mode 1"
    assert (first.predicted, first.scheme) == (found.predicted[0], found.scheme.rates[0])
    assert first.rate == pytest.approx(first.scheme, abs=2e-9)
    assert second.rate == pytest.approx(second.scheme, abs=2e-9)
    assert first.interval[0] <= first.rate <= first.interval[1]
    assert first.interval[1] - first.interval[0] < 1e-7
    # the state alone, on the mode's direction: without costate the exit is mixed in
    states = Stage(problem).pack_state(discretize(problem).run(control).states - found.static.state)
    amplitude, early = np.abs(states @ found.spectrum.entry.directions[:, 0]), found.times <= 4.0
    slope = -np.polyfit(found.times[early], np.log(amplitude[early]), 1)[0]
    assert slope == pytest.approx(1.4604, abs=1e-4)
    leaving = found.fitted[16]
    assert leaving.what == "exit, mode 1"
    assert leaving.rate == pytest.approx(leaving.scheme, abs=2e-9)
    # a mixture of modes has no rate: it depends on the window
    low, high = found.exponential.interval
    assert 1.42 < low < 1.43
    assert 1.44 < high < 1.455
    assert found.static.value == pytest.approx(0.1550970423, abs=5e-11)


def test_arcs_of_the_two_arcs(solved):
    problem, control = solved
    found = turnpike(problem, control, radius=0.05)
    exact = solve_quadratic(problem)
    times = np.linspace(0.0, 12.0, 4801)
    weights = problem.network.weights[:, None]
    apart = exact.states(times)[:, :, 0] - exact.static.state[:, 0]
    distance = np.sqrt(np.sum(weights[:, 0] * apart**2, axis=1))
    outside = times[distance > 0.05]
    entry, leaving = outside[outside < 6.0][-1], outside[outside > 6.0][0]
    # the scheme's rates are larger than the equation's by 1 %
    assert found.entry == (0.0, pytest.approx(entry, abs=0.03))
    assert found.exit == (pytest.approx(leaving, abs=0.03), 12.0)
    assert found.outside == pytest.approx(entry + 12.0 - leaving, abs=0.05)
    assert found.outside == pytest.approx(found.entry[1] + 12.0 - found.exit[0], abs=1e-12)
    assert found.distance[0] == pytest.approx(1.012839, abs=1e-6)
    assert found.control_distance[200] < 1e-3


# -- the problem at one time


@pytest.mark.parametrize("make", [regular, drifting])
def test_first_and_second_derivatives(make, rng):
    """Central differences of density and <p, F>, and the adjoint identity of A and B."""
    stage = Stage(make(rng))
    n, m, h = stage.states, stage.controls, 1e-5
    x, u, p = (rng.standard_normal(k) for k in (n, m, n))
    dx, du = rng.standard_normal(n), rng.standard_normal(m)
    first, second = stage.first(x, u), stage.second(x, u, p)

    def change(function):
        return (function(x + h * dx, u + h * du) - function(x - h * dx, u - h * du)) / (2 * h)

    def close(a, b):
        assert a == pytest.approx(b, abs=2e-9 * (1 + np.max(np.abs(b))))

    close(change(stage.density), first.lx @ dx + first.lu @ du)
    close(change(stage.velocity), first.A @ dx + first.B @ du)
    close(change(lambda x, u: stage.first(x, u).lx), second.lxx @ dx + second.lxu @ du)
    close(change(lambda x, u: stage.first(x, u).lu), second.lxu.T @ dx + second.luu @ du)
    close(change(lambda x, u: stage.first(x, u).A.T @ p), second.pxx @ dx + second.pxu @ du)
    close(change(lambda x, u: stage.first(x, u).B.T @ p), second.pxu.T @ dx + second.puu @ du)
    slopes = stage.slopes(x, u, p)  # by adjoints, where A and B come from tangents
    assert slopes[0] == pytest.approx(first.lx + first.A.T @ p, abs=1e-13)
    assert slopes[1] == pytest.approx(first.lu + first.B.T @ p, abs=1e-13)


def test_coordinates_are_euclidean(rng):
    problem = regular(rng)
    stage = Stage(problem)
    f, g = rng.standard_normal((2, 2, 3))
    product = np.sum(problem.sample_weights * problem.network.weights[:, None] * f * g)
    assert stage.pack_state(f) @ stage.pack_costate(g) == pytest.approx(product, abs=1e-14)
    assert stage.unpack_state(stage.pack_state(f)) == pytest.approx(f, abs=1e-15)
    c = stage.unpack_control(rng.standard_normal(stage.controls))
    weighed = sum(np.sum(b.weights * c[b.name] ** 2) for b in stage.blocks)
    assert np.sum(stage.pack_control(c) ** 2) == pytest.approx(weighed, abs=1e-13)


# -- the static problem


def test_static_optimum_of_a_nonlinear_network_in_closed_form(rng):
    """min |f - y|^2 / 2 + 0.4 |Bf|^2, with F(f, a) = tanh(a - Bf)."""
    problem = drifting(rng)
    w = problem.network.weights
    B = problem.space.fixed["kernel"] * w
    quadratic = np.diag(w) + 0.8 * B.T @ (w[:, None] * B)
    f = np.linalg.solve(quadratic, w * problem.target[:, 0])
    for near in (None, (np.full((3, 1), 3.0), {"bias": np.full(3, -2.0)})):
        found = static_optimum(problem, near)
        assert found.state[:, 0] == pytest.approx(f, abs=1e-13)
        assert found.values["bias"] == pytest.approx(B @ f, abs=1e-13)
        # l_u + F_u* p = 0 with F_u = 1 at the static optimum
        assert found.costate[:, 0] == pytest.approx(-0.8 * B @ f, abs=1e-13)
        assert found.inertia == (3, 0, 0)


def test_static_optimum_with_several_samples_satisfies_the_conditions(rng):
    """The control, 6 numbers, is shared by all samples."""
    problem = regular(rng)
    found = static_optimum(problem)
    assert found.kind == "regular"
    network, c = problem.network, {**problem.space.fixed, **found.values}
    assert np.max(np.abs(network.velocity(found.state, c, 0.0))) < 1e-9
    back, bars = network.vjp(found.state, c, 0.0, problem.sample_weights * found.costate)
    cost, _ = problem.functional.running_vjp(found.state, found.values, 0.0)
    assert back + cost == pytest.approx(0.0, abs=1e-13)
    assert bars["w"] + 0.4 * found.values["w"] == pytest.approx(0.0, abs=1e-13)
    assert found.inertia[1] == 0


def affine(horizon=4.0, layers=64, strength=1.0):
    """x' = wx + b from 0 to 2: TP-21, TP-22."""
    return LearningProblem(
        NeuralODE2(1, identity),
        np.zeros((1, 1)),
        np.full((1, 1), 2.0),
        TimeMesh(horizon, layers),
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(strength),
    )


def test_networks_without_drift():
    """TP-21: mu = 2 sqrt(5); TP-23: mu = 2.33818294, 2.85134646."""
    found = static_optimum(affine())
    assert (found.kind, found.value) == ("driftless", 0.0)
    assert found.state == pytest.approx(2.0, abs=1e-12)
    assert 2.0 * spectrum(affine(), found).rates == pytest.approx(2.0 * np.sqrt(5.0), abs=1e-12)
    problem = LearningProblem(
        NeuralODE2(1, tanh),
        np.array([[-0.5, 0.5]]),
        np.array([[-1.5, 1.0]]),
        TimeMesh(8.0, 64),
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(0.5),
    )
    rates = spectrum(problem, static_optimum(problem)).rates
    assert 2.0 * rates == pytest.approx([2.85134646, 2.33818294], abs=6e-9)


@pytest.mark.parametrize(("h", "mu"), [(1.0, 1.92484730), (0.5, 1.97973169), (0.25, 1.99482795)])
def test_the_rate_of_euler(h, mu):
    """TP-24: x' = u, r + 1/r = 2 + h^2 / lambda."""
    network = NeuralODE2(1, identity)
    problem = replace(
        affine(), controls=network.controls(TimeMesh(4.0, 4), fixed={"weight": np.zeros((1, 1))})
    )
    found = scheme_spectrum(problem, static_optimum(problem), h)
    assert 2.0 * found.rates == pytest.approx(mu, abs=6e-9)


def test_one_of_many_static_optima_is_the_nearest(rng):
    """P = e1: the second coordinate stays where the search starts."""
    problem = LearningProblem(
        NeuralODE2(2, tanh),
        rng.standard_normal((2, 3)),
        np.array([[1.0, -1.0, 1.0]]),
        TimeMesh(4.0, 8),
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(0.1),
        readout=Projection(np.eye(1, 2)),
    )
    near = rng.standard_normal((2, 3))
    found = static_optimum(problem, (near, {}))
    assert found.state[0] == pytest.approx([1.0, -1.0, 1.0], abs=1e-12)
    assert found.state[1] == pytest.approx(near[1], abs=1e-14)
    assert found.inertia == (3, 0, 3)
    features = np.vstack([np.tanh(found.state), np.ones(3)])
    kernel = features.T @ features
    rates = np.sqrt(np.linalg.eigvalsh(kernel)[::-1] / (3 * 0.1))
    assert spectrum(problem, found).rates == pytest.approx(rates, rel=1e-12)


def test_driftless_costs_with_unequal_curvature(rng):
    """Outputs (3 x1, x2 / 2), and a logistic cost whose minimum is attained."""
    problem = replace(
        xor(),
        readout=Projection(np.diag([3.0, 0.5])),
        target=rng.standard_normal((2, 4)),
        running=SquaredError(1.0),
    )
    found = static_optimum(problem)
    assert found.state == pytest.approx(problem.target / [[3.0], [0.5]], abs=1e-12)
    share = rng.uniform(0.1, 0.9, (1, 4))
    found = static_optimum(replace(xor(), target=share, running=Logistic()))
    assert found.state[0] == pytest.approx(np.log(share / (1 - share))[0], abs=1e-12)


def test_windows_of_fits():
    """After 2 / rate, before 3 / rate from the end, above 100 atol."""
    times = np.linspace(0.0, 20.0, 2001)
    amplitude = 3.0 * np.exp(-1.5 * times)
    rate, interval, window, note = fit_decay(times, amplitude, 1.5, 1e-14, 20.0 - 2.0)
    assert rate == pytest.approx(1.5, abs=1e-12)
    assert (interval, note) == (pytest.approx((1.5, 1.5), abs=1e-12), "")
    assert window == pytest.approx((1.34, 18.0), abs=1e-12)
    with_noise = amplitude + 1e-6 * (1.0 + np.sin(7.0 * times))
    rate, interval, window, _ = fit_decay(times, with_noise, 1.5, 1e-6, 18.0)
    assert window[1] == pytest.approx(np.log(3e4) / 1.5, abs=0.02)
    assert rate == pytest.approx(1.5, abs=2e-2)
    assert interval[0] < rate < interval[1]
    assert np.isnan(fit_decay(times, amplitude, 1.5, 1.0, 18.0)[0])
    _, _, _, note = fit_decay(times[:101], amplitude[:101], 1.5, 1e-14, 1.0 - 2.0)
    assert note == "the horizon 1 is too short for the rate 1.5"


# -- other runs


def test_what_a_user_writes():
    """Twenty points in the plane, all coordinates wanted: 40 numbers, of which 6 controls steer 6
    at a time."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 2))
    Y = np.where(X[:, :1] > 0, 1.0, -1.0) + 0.1 * rng.standard_normal((20, 2))
    p = LearningProblem(
        NeuralODE2(2, tanh),
        X.T,
        Y.T,
        TimeMesh(10.0, 100),
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(0.1),
    )
    c = 0.1 * np.random.default_rng(100).standard_normal(6)
    start = p.space.sample(weight=c[:4].reshape(2, 2), bias=c[4:])
    best = minimize(p, RiccatiNewton(), initial=start)
    assert best.statistics["morse_index"] == 0
    assert best.objective == pytest.approx(3.552755996, abs=1e-8)
    pike = turnpike(p, best.control)
    assert pike.value == pytest.approx(best.objective, abs=1e-12)
    assert (len(pike.predicted), pike.spectrum.neutral) == (6, 34)
    assert all(fit.note == "no spectral gap" for fit in pike.fitted)
    found = dissipativity(p, pike.static)
    assert (found.how, found.modulus) == ("exact", pytest.approx(1.0, abs=1e-12))
    with pytest.raises(ValueError, match="give a control for the bound on its run"):
        found.time_outside(0.5)
    bound = dissipativity(p, pike.static, best.control).time_outside(1.0)
    assert turnpike(p, best.control, radius=1.0).outside <= bound < 10.0


def turning(mesh, in_time="layers"):
    """f' = a - Bf on three nodes with a B that is not symmetric: complex rates."""
    grid = gauss_legendre(Interval(0, 1), 3)
    network = WidthDepth(grid, identity)
    kernel = np.array([[1.0, 9.0, 0.0], [-9.0, 1.0, 3.0], [0.0, -3.0, 2.0]])
    space = network.controls(mesh, in_time=in_time, fixed={"kernel": kernel})
    return LearningProblem(
        network,
        np.array([[1.0], [0.0], [-1.0]]),
        np.zeros((3, 1)),
        space,
        terminal=None,
        running=SquaredError(0.5),
        penalty=Tikhonov(0.5),
    )


def test_complex_rates():
    """Moduli of amplitudes decay at the real parts."""
    problem = turning(TimeMesh(12.0, 600))
    found = turnpike(problem, minimize(problem, RiccatiNewton(gtol=1e-12)).control)
    modes = found.spectrum.entry
    assert np.max(np.abs(modes.eigenvalues.imag)) > 1.0
    w = problem.network.weights
    A = -np.sqrt(w)[:, None] * problem.space.fixed["kernel"] * np.sqrt(w)
    matrix = np.block([[A, -np.eye(3)], [-np.eye(3), -A.T]])
    rates = np.sort(np.abs(np.linalg.eigvals(matrix).real))[::-2]
    assert found.predicted == pytest.approx(rates, rel=1e-12)
    for fit in found.fitted[:3]:
        assert fit.rate == pytest.approx(fit.scheme, rel=1e-10)


@pytest.mark.parametrize("graded", [True, False])
def test_runs_whose_layers_are_not_alike_are_split_by_the_equation(graded):
    """Graded layers, or a control linear on layers: no rate of the scheme is known, and those of
    the equation are fitted up to the error of Euler's method."""
    mesh = TimeMesh(8.0, 800, 1.2 if graded else 1.0)
    problem = turning(mesh, "layers" if graded else "nodes")
    method = RiccatiNewton(gtol=1e-10) if graded else LBFGS(gtol=1e-6, max_iterations=2000)
    found = turnpike(problem, minimize(problem, method).control)
    assert found.scheme is None
    fit = found.fitted[0]
    assert np.isnan(fit.scheme)
    assert fit.rate == pytest.approx(fit.predicted, rel=0.03)


def test_trained_readouts_are_held_at_their_values(rng):
    """The static problem is that of the readout at hand."""
    X = rng.standard_normal((2, 2))
    problem = LearningProblem(
        NeuralODE2(2, tanh),
        X,
        np.array([[1.0, -1.0]]),
        TimeMesh(4.0, 16),
        readout=Affine(1),
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(0.1),
    )
    with pytest.raises(TypeError, match=r"blocks readout.W, readout.mu are trained and constant"):
        static_optimum(problem)
    control = problem.space.random(rng)
    found = turnpike(problem, control)
    W, mu = control["readout.W"], control["readout.mu"]
    outputs = problem.readout.output(
        problem.network, found.static.state, {"readout.W": W, "readout.mu": mu}
    )
    assert outputs == pytest.approx(problem.target, abs=1e-12)


# -- the linearised system


@pytest.mark.parametrize("make", [regular, drifting])
def test_eigenvalues_come_in_pairs_and_riccati_solves_its_equation(make, rng):
    problem = make(rng)
    static = static_optimum(problem)
    found = spectrum(problem, static)
    values = np.sort(np.linalg.eigvals(found.matrix).real)
    assert values == pytest.approx(-values[::-1], abs=1e-12)
    line, n = found.linearisation, problem.initial.size
    assert (np.max(np.abs(line.S)) > 0.01) == (make is regular)
    inverse = np.linalg.inv(line.R)
    for side, sign in ((found.entry, 1.0), (found.exit, -1.0)):
        V = side.riccati
        gain = V @ line.B + line.S
        left = line.Q + line.A.T @ V + V @ line.A - gain @ inverse @ gain.T
        assert left == pytest.approx(0.0, abs=1e-9)
        closed = line.A - line.B @ inverse @ gain.T
        assert np.all(sign * np.linalg.eigvals(closed).real < 0)
    x = rng.standard_normal(n)
    amounts = found.entry.amplitudes(x, found.entry.riccati @ x)
    assert found.exit.amplitudes(x, found.entry.riccati @ x) == pytest.approx(0.0, abs=1e-11)
    assert np.linalg.norm(amounts) > 0.1


def test_one_layer_of_the_scheme(rng):
    """The second derivatives of h/2 (L(x, u) + L(x', u)) + h r(u) + <q, x'>, x' = x + h F, where q
    = p* - h/2 l_x is the fixed point of its costates, by differences of its gradient."""
    problem, h = drifting(rng), 0.3
    static = static_optimum(problem)
    line, stage = linearise(problem, static), Stage(problem)
    x, u = stage.pack_state(static.state), stage.pack_control(static.values)
    q = stage.pack_costate(static.costate) - 0.5 * h * line.lx

    def gradient(z):
        x, u = z[:3], z[3:]
        first = stage.first(x, u)
        after = stage.first(x + h * first.velocity, u)
        ahead = 0.5 * h * after.lx + q
        dx = 0.5 * h * first.lx + ahead + h * first.A.T @ ahead
        return np.concatenate([dx, h * first.lu + h * first.B.T @ ahead])

    z = np.concatenate([x, u])
    assert gradient(z) == pytest.approx(np.concatenate([q, np.zeros(3)]), abs=1e-12)
    steps = 1e-5 * np.eye(6)
    hessian = np.stack([(gradient(z + s) - gradient(z - s)) / 2e-5 for s in steps], axis=1)
    A, B, Q, S, R = line.layer(h)
    assert np.block([[Q, S], [S.T, R]]) == pytest.approx(hessian, abs=2e-9)
    assert pytest.approx(np.eye(3) + h * line.A, abs=1e-15) == A
    assert pytest.approx(h * line.B, abs=1e-15) == B


# -- dissipativity


def test_two_arcs_are_strictly_dissipative(solved):
    """Q = 1 and S = 0: alpha = 1/2, exactly."""
    problem, control = solved
    static = static_optimum(problem)
    found = dissipativity(problem, static)
    assert (found.how, found.radius, found.whose) == ("exact", np.inf, "minimisers of any horizon")
    assert found.modulus == pytest.approx(0.5, abs=1e-13)
    assert found.storage == pytest.approx(-static.costate, rel=1e-14)
    for horizon in (0.5, 3.0, 12.0, 50.0):
        exact = solve_quadratic(problem, horizon)
        ends = exact.states(np.array([0.0, horizon]))
        weights = problem.network.weights[:, None]
        rise = np.sum(weights * found.storage * (ends[0] - ends[1]))
        excess = exact.value - horizon * static.value + rise
        assert 0.0 < excess <= found.excess
        times = np.linspace(0.0, horizon, 2001)
        apart = np.sum(weights[:, 0] * (exact.states(times) - static.state)[:, :, 0] ** 2, axis=1)
        # int alpha d^2 <= int r, here with the part of the control left out
        assert 0.5 * np.trapezoid(apart, times) < excess
        for radius in (0.05, 0.2):
            outside = horizon * np.mean(apart >= radius**2)
            assert outside <= found.time_outside(radius)
    assert found.excess == pytest.approx(1.3268520731, rel=5e-11)
    run = dissipativity(problem, static, control)
    assert (run.how, run.whose) == ("exact", "this run")
    assert run.excess == pytest.approx(0.3102657, rel=2e-2)  # of order h from the exact one
    assert turnpike(problem, control, radius=0.2).outside <= run.time_outside(0.2)


def test_the_rotated_cost_is_at_least_its_modulus(rng):
    """For the two arcs at random points; the modulus cannot be larger."""
    problem = two_arcs(points=5)
    static = static_optimum(problem)
    stage, found = Stage(problem), dissipativity(problem, static)
    x, u, p = (
        stage.pack_state(static.state),
        stage.pack_control(static.values),
        stage.pack_costate(static.costate),
    )
    assert -p == pytest.approx(stage.pack_state(found.storage), abs=1e-15)
    for size in (1e-2, 1.0, 1e2):
        dx, du = size * rng.standard_normal((2, 5))
        for control in (u, u + du):
            rotated = stage.density(x + dx, control) - static.value
            rotated += p @ stage.velocity(x + dx, control)
            least = found.modulus * np.sum(dx**2)
            assert rotated >= least * (1 - 1e-10)
            if control is u:
                assert rotated == pytest.approx(least, rel=1e-10)


def test_dissipativity_of_a_nonlinear_network_is_sampled(rng):
    problem = drifting(rng)
    static = static_optimum(problem)
    found = dissipativity(problem, static)
    assert found.how == "sampled"
    assert 0.0 < found.radius < np.inf
    assert found.modulus == pytest.approx(0.25 * found.eigenvalue, rel=1e-14)
    with pytest.raises(ValueError, match="give a control"):
        found.time_outside(0.1)
    control = problem.space.sample(bias=static.values["bias"])
    for away, whose in ((1e-4, "this run"), (0.1, "none")):  # the static state is unstable
        near = replace(problem, initial=static.state + away)
        run = dissipativity(near, static, control)
        assert run.whose == whose
    with pytest.raises(ValueError, match=r"the run goes 2.16 away .* beyond the radius 0.152"):
        run.time_outside(0.1)


def test_dissipativity_without_drift_is_about_the_set():
    """phi = |x1 - y|^2 / 3: alpha = 1 in the distance to {x1 = y} that means 1/3 sum (x1 - y)^2."""
    problem = xor()
    static = static_optimum(problem)
    found = dissipativity(problem, static)
    assert found.how == "exact"
    assert found.modulus == pytest.approx(1.0, abs=1e-13)
    assert found.storage == pytest.approx(0.0, abs=0.0)
    control = problem.space.sample(bias=np.array([0.1, 0.0]))
    run = dissipativity(problem, static, control)
    path = discretize(problem).run(control)
    assert run.excess == pytest.approx(path.value, rel=1e-12)


def mean_alone(points=3):
    """The running cost sees the mean of the state alone: along other directions it is flat."""
    readout, target = Projection(np.ones((1, points))), np.ones((1, 1))
    return replace(two_arcs(points=points), readout=readout, target=target)


def test_a_quadratic_storage_function_where_no_linear_one_will_do(rng):
    """f' = a - Bf is stable, so that what the cost does not see decays."""
    problem = mean_alone()
    static = static_optimum(problem)
    found = dissipativity(problem, static)
    assert found.eigenvalue == pytest.approx(0.0, abs=1e-13)
    assert (found.how, found.radius) == ("exact", np.inf)
    assert 0.0 < found.modulus < 0.5
    with pytest.raises(ValueError, match=r"linear storage function: .* a quadratic one"):
        found.time_outside(0.1)
    stage, X = Stage(problem), found.quadratic
    x, u = stage.pack_state(static.state), stage.pack_control(static.values)
    storage, least = stage.pack_state(found.storage), np.inf
    for size in (0.1, 10.0):
        for dx, du in size * rng.standard_normal((200, 2, 3)):
            # the control at which the supply is least
            second = stage.second(x, u, -storage)
            for control in (
                u + du,
                u - np.linalg.solve(second.luu, stage.first(x, u).B.T @ X @ dx),
            ):
                F = stage.velocity(x + dx, control)
                rise = (storage - X @ dx) @ F
                supply = stage.density(x + dx, control) - static.value
                least = min(least, (supply - rise) / np.sum(dx**2))
    # Riccati's equation: equal at the worst control, whatever the state
    assert found.modulus == pytest.approx(least, rel=1e-10)
    control = problem.space.sample(bias=static.values["bias"])
    run = dissipativity(problem, static, control)
    for radius in (0.05, 0.2, 0.5):
        assert turnpike(problem, control, radius=radius).outside <= run.time_outside(radius)


def test_no_strict_dissipativity_is_said_with_the_number():
    """Without drift along it, a direction that the cost does not see is no business of any
    storage function."""
    problem = mean_alone()
    network = problem.network
    kernel = np.ones((3, 3))
    held = network.controls(problem.mesh, fixed={"kernel": kernel})
    flat = replace(problem, controls=held)
    found = dissipativity(flat, static_optimum(flat))
    assert (found.how, found.modulus, found.radius) == ("no", 0.0, 0.0)
    with pytest.raises(ValueError, match="not strictly dissipative with a linear storage function"):
        found.time_outside(0.1)


def test_bounds_for_all_minimisers_need_a_free_problem():
    problem = two_arcs(points=4)
    for change in ({"terminal": SquaredError()}, {"admissible": Box(bias=(-9, 9))}):
        other = replace(problem, **change)
        found = dissipativity(other, static_optimum(other))
        assert (found.how, found.whose) == ("exact", "none")
        with pytest.raises(ValueError, match="give a control for the bound on its run"):
            found.time_outside(0.1)
        with pytest.raises(ValueError, match="neither a terminal cost, nor an endpoint"):
            solve_quadratic(other)
    with pytest.raises(ValueError, match="problem is not linear-quadratic: the network has an"):
        solve_quadratic(xor())


# -- bad input


def xor(d=2, **changes):
    X = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    given = {
        "terminal": None,
        "running": SquaredError(1.0),
        "penalty": Tikhonov(0.02),
        "readout": Projection(np.eye(1, d)),
    }
    states = np.vstack([X, np.zeros((d - 2, 4))])
    return LearningProblem(
        NeuralODE2(d, tanh), states, X[:1] * X[1:], TimeMesh(8.0, 16), **{**given, **changes}
    )


def test_a_terminal_problem_has_no_turnpike():
    with pytest.raises(ValueError, match=r"running is None.*no static problem"):
        static_optimum(xor(terminal=SquaredError(), running=None))


def test_samples_beyond_the_rank_leave_no_spectral_gap():
    """XOR, d = 2: (tanh x_i, 1) span 3 dimensions, there are 4 samples: TP-27's plateau."""
    problem = xor()
    with pytest.raises(NoSpectralGap, match="1 of 4 modes have no rate"):
        spectrum(problem, static_optimum(problem))
    found = turnpike(problem, problem.space.zeros())
    assert found.spectrum.neutral == 1
    assert len(found.predicted) == 3
    assert "no spectral gap: 1 of 4 modes have no rate" in str(found)
    kernel = np.vstack([np.tanh(problem.initial), np.ones(4)])
    rates = np.sqrt(np.linalg.eigvalsh(kernel @ kernel.T)[::-1] / (4 * 0.02))
    assert found.predicted == pytest.approx(rates, rel=1e-12)


def test_an_equation_that_depends_on_time_is_named():
    chain = Chain(1, (Inputs(time=True), Linear("w", 1), Offset("b")))
    problem = LearningProblem(
        chain,
        np.ones((1, 1)),
        np.zeros((1, 1)),
        TimeMesh(2.0, 4),
        terminal=None,
        running=SquaredError(),
        penalty=Tikhonov(0.1),
    )
    with pytest.raises(ValueError, match=r"network depends on time: at t = 0.474 its velocity"):
        turnpike(problem, problem.space.zeros())


def test_explicit_time_is_named():
    network = NeuralODE2(1, tanh)
    problem = LearningProblem(
        network,
        np.zeros((1, 2)),
        None,
        TimeMesh(2.0, 4),
        terminal=None,
        running=Tracking(SquaredError(), target=lambda t: np.full((1, 2), np.sin(t))),
        penalty=Tikhonov(0.1),
    )
    with pytest.raises(ValueError, match=r"running depends on time: at t = 0.474 .* by 0.1042"):
        static_optimum(problem)


@pytest.mark.parametrize("penalty", [None, Tikhonov(0.0)])
def test_a_control_without_penalty_is_named(penalty):
    with pytest.raises(ValueError, match="strength 0 on block 'bias'"):
        static_optimum(xor(penalty=penalty))


@pytest.mark.parametrize("penalty", [L1(0.1), Tikhonov(0.1) + L1(0.1)])
def test_other_penalties_are_named(penalty):
    with pytest.raises(TypeError, match="penalty must be lambda_b"):
        static_optimum(xor(penalty=penalty))


def test_a_sobolev_penalty_is_named():
    problem = affine()
    space = problem.network.controls(problem.mesh, in_time="nodes", norm="H1")
    with pytest.raises(TypeError, match="SobolevPenalty"):
        static_optimum(replace(problem, controls=space, penalty=SobolevPenalty(1.0)))


def test_a_cost_without_minimum_is_named():
    X = np.array([[1.0, 0.0, 0.0, 1.0]])
    problem = replace(xor(), target=X, running=Logistic(), terminal=None)
    with pytest.raises(NoStaticOptimum, match="no minimum that Newton's steps reach"):
        static_optimum(problem, max_iterations=30)


def test_states_that_cannot_stand_still_are_named():
    """x' = tanh(a) + 2: no a stops it."""
    maps = (Linear("v", 1), Offset("a"), Pointwise(tanh), Linear("w", 1), Offset("b"))
    chain, zero = Chain(1, maps), np.zeros((1, 1))
    held = {"v": zero, "w": np.ones((1, 1)), "b": np.full(1, 2.0)}
    problem = LearningProblem(
        chain,
        zero,
        zero,
        chain.controls(TimeMesh(1.0, 2), fixed=held),
        terminal=None,
        running=SquaredError(),
        penalty=Tikhonov(0.1),
    )
    with pytest.raises(NoStaticOptimum, match=r"\|F\| = 1, and no direction lowers it"):
        static_optimum(problem)


def test_an_admissible_set_with_active_bounds_is_named():
    problem = two_arcs(points=4)
    size = float(np.max(np.abs(static_optimum(problem).values["bias"])))
    kept = replace(problem, admissible=Box(bias=(-2 * size, 2 * size)))
    assert static_optimum(kept).value == static_optimum(problem).value
    with pytest.raises(ValueError, match="admissible: the static optimum is outside the set, by"):
        static_optimum(replace(problem, admissible=Box(bias=(-0.5 * size, 0.5 * size))))


def test_a_static_optimum_of_another_problem_is_named():
    static = static_optimum(two_arcs(points=4))
    with pytest.raises(ValueError, match=r"static.state has shape \(4, 1\), expected \(5, 1\)"):
        dissipativity(two_arcs(points=5), static)
    with pytest.raises(ValueError, match="unknown block 'weight'"):
        spectrum(affine(), replace(static, state=np.zeros((1, 1)), values={"bias": np.zeros(1)}))
    with pytest.raises(TypeError, match="static must be a StaticOptimum"):
        spectrum(affine(), 1.0)
    with pytest.raises(TypeError, match="problem must be a LearningProblem"):
        static_optimum(None)


def test_a_control_of_another_space_is_named():
    problem = two_arcs(points=4)
    with pytest.raises(ValueError, match="control lives in another space"):
        turnpike(problem, two_arcs(points=4, layers=10).space.zeros())


def test_equal_inputs_with_different_targets_are_named():
    x = np.array([[0.3, -0.2, 0.3]])
    problem = LearningProblem(
        NeuralODE2(1, tanh),
        x,
        np.array([[1.0, 0.0, -1.0]]),
        TimeMesh(4.0, 8),
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(0.1),
    )
    with pytest.raises(ValueError, match="samples 0 and 2 have equal initial values"):
        static_optimum(problem)
    static_optimum(replace(problem, target=np.array([[1.0, 0.0, 1.0]])))


def test_what_rises_has_no_rate():
    """A decay that turns into growth: no slope is given, and the note says it."""
    t = np.linspace(0.0, 20.0, 401)
    amplitude = np.exp(-0.5 * t) + 1e-3 * np.exp(0.4 * t)
    rate, _, _, note = fit_decay(t, amplitude, 1.0, 1e-12, 17.0)
    assert np.isnan(rate)
    assert "rises" in note
    rate, _, _, note = fit_decay(t, np.exp(-0.7 * t), 0.7, 1e-12, 17.0)
    assert rate == pytest.approx(0.7, rel=1e-13)
    assert note == ""
