"""Lyapunov functionals, perturbations, propagators and growth against closed forms."""

from math import cosh, e, exp, expm1, inf, log, pi, sin, sinh, sqrt

import numpy as np
import pytest
from scipy.integrate import simpson

from continuum import (
    Circle,
    Interval,
    TimeMesh,
    WidthDepth,
    elu,
    gauss_legendre,
    identity,
    midpoint,
    periodic,
    relu,
    sigmoid,
    tanh,
    user_activation,
)
from solvers import (
    RK4,
    ImplicitMidpoint,
    Trajectory,
    energy_identity,
    growth_class,
    integrate,
    l1_bound,
    linearize,
    lyapunov_functional,
    propagator,
    root_energy,
    singular_energy,
)

UNIT = Interval(0, 1)
MESH = TimeMesh(1.0, 100)


def family(sigma, bias, kernel):
    def case(grid):
        network = WidthDepth(grid, sigma)
        return network, network.control(MESH, bias=bias, kernel=kernel)

    return case


def gauss(n):
    return gauss_legendre(UNIT, n)


def phi(y):
    return sqrt(2) * np.cos(pi * y)


def at_one_time(f):
    return Trajectory(np.zeros(1), f[None])


# Lyapunov functionals


def test_lyapunov_functionals_are_dissipated():
    """Their changes are minus the integrals of dissipation and power, for two samples at once."""
    grid = gauss(12)
    network, control = family(tanh, lambda y: np.sin(3 * y), np.minimum)(grid)
    run = integrate(
        network, control, grid.sample(1.0, lambda y: -y), RK4(), save="layers"
    ).trajectory
    found = lyapunov_functional(network, control, run)
    for functional, rate in ((found.potential, found.dissipation), (found.energy, found.power)):
        assert functional.shape == (101, 2)
        change = -simpson(rate, x=found.times, axis=0)
        np.testing.assert_allclose(functional[-1] - functional[0], change, rtol=1e-9)
    assert (found.dissipation > 0).all()
    assert (found.power > 0).all()


def test_lyapunov_of_a_constant_state():
    network, control = family(tanh, 2.0, 1.0)(gauss(3))
    found = lyapunov_functional(network, control, at_one_time(np.full((3, 1), 0.5)))
    np.testing.assert_allclose(found.potential, log(cosh(1.5)), rtol=1e-14)
    np.testing.assert_allclose(found.dissipation, np.tanh(1.5) ** 2, rtol=1e-14)
    np.testing.assert_allclose(found.energy, 0.125 - 1.0, rtol=1e-14)
    np.testing.assert_allclose(found.power, 1.5 * np.tanh(1.5), rtol=1e-14)


def test_root_energy_of_rank_one():
    """b = 4 phi phi, a = 3 phi, f = 2 phi + 1: B^1/2 f = 2 (phi, f) phi = 4 phi, g = 3/2 phi."""
    network, control = family(tanh, lambda y: 3 * phi(y), lambda y, z: 4 * phi(y) * phi(z))(
        gauss(24)
    )
    run = at_one_time(network.grid.sample(lambda y: 2 * phi(y) + 1))
    energy, size = root_energy(network, control, run)
    np.testing.assert_allclose(energy, 16.0, rtol=1e-12)
    assert size == pytest.approx(1.5, rel=1e-12)
    np.testing.assert_allclose(
        root_energy(network, control, run, shifted=True)[0], 0.5 * 2.5**2, rtol=1e-12
    )


def test_root_energy_with_a_small_eigenvalue():
    """b = 1 + 2e-9 cos cos: eigenvalues 1, 1e-9; a = cos = B^1/2 g with |g| = (1/2 / 1e-9)^1/2."""
    cosine = lambda y: np.cos(pi * y)  # noqa: E731
    kernel = lambda y, z: 1.0 + 2e-9 * cosine(y) * cosine(z)  # noqa: E731
    network, control = family(tanh, cosine, kernel)(midpoint(UNIT, 64))
    run = at_one_time(np.zeros((64, 1)))
    energy, size = root_energy(network, control, run, shifted=True)
    assert size == pytest.approx(sqrt(0.5e9), rel=1e-6)
    np.testing.assert_allclose(energy, 0.25e9, rtol=1e-6)


def test_root_energy_asks_for_its_hypotheses():
    grid = gauss(6)
    for bias, kernel, message in (
        (0.0, lambda y, z: np.exp(y - z), "symmetric"),
        (0.0, -1.0, ">= 0"),
        (phi, 1.0, r"R\(B\^1/2\)"),
    ):
        network, control = family(tanh, bias, kernel)(grid)
        with pytest.raises(ValueError, match=message):
            root_energy(network, control, at_one_time(grid.sample(1.0)), shifted=True)


def test_singular_energy_of_rank_one():
    """b = 3 phi(y) 1(z), a = 5 phi, f = 1: u = 2 phi, V = 1/2 (2/3)^2."""
    network, control = family(tanh, lambda y: 5 * phi(y), lambda y, z: 3 * phi(y) + 0 * z)(
        gauss(24)
    )
    v, parts = singular_energy(network, control, at_one_time(np.ones((24, 1))))
    np.testing.assert_allclose(v, [[2 / 9]], rtol=1e-12)
    np.testing.assert_allclose(np.abs(parts), [[[2.0]]], rtol=1e-12)


# perturbations


def smooth(layers):
    grid = gauss(6).observed_at(np.array([[0.3]]))
    network = WidthDepth(grid, tanh)
    control = network.control(
        TimeMesh(1.0, layers),
        bias=lambda y, t: np.sin(y + t),
        kernel=lambda y, z, t: np.cos(3 * y - 2 * z) + t,
    )
    return network, control, grid.sample(1.0, lambda y: y)


def test_linearize_is_the_derivative_of_the_flow():
    network, control, initial = smooth(100)
    w = network.grid.sample(np.cos, np.exp)
    run = integrate(network, control, initial, RK4(), save="layers").trajectory
    found = linearize(network, control, run, w, sample=1)
    h = 1e-5
    for k in range(2):
        nudged = [
            integrate(
                network, control, initial[:, 1:] + d * w[:, k : k + 1], RK4()
            ).trajectory.final
            for d in (h, -h)
        ]
        np.testing.assert_allclose(
            found.final[:, k : k + 1], (nudged[0] - nudged[1]) / (2 * h), atol=1e-9
        )


def test_linearize_minds_breakpoints():
    """Kernel constant on two layers, linear: w = exp(-(2 + 3) / 2)."""
    network = WidthDepth(gauss(1), identity)
    control = network.controls(TimeMesh(1.0, 2)).sample(kernel=np.array([2.0, 3.0])[:, None, None])
    initial = np.ones((1, 1))
    run = integrate(network, control, initial, RK4(), save="layers").trajectory
    found = linearize(network, control, run, initial, substeps=200)
    np.testing.assert_allclose(found.states[:, 0, 0], [1.0, exp(-1.0), exp(-2.5)], rtol=1e-10)
    coarse = integrate(network, control, initial, RK4(), save=[0.0, 1.0]).trajectory
    with pytest.raises(ValueError, match="inside a saved interval"):
        linearize(network, control, coarse, initial)


def test_propagator_of_one_unit():
    """f' = -tanh f from 1: M(t, s) = d f(t) / d f(s) = e^(s - t) cosh f(s) / cosh f(t)."""
    network, control = family(tanh, 0.0, 1.0)(gauss(1))
    run = integrate(network, control, np.ones((1, 1)), RK4(), save="layers").trajectory
    found = propagator(network, control, run, 0.25, 0.75, substeps=2)
    at = lambda t: np.arcsinh(exp(-t) * sinh(1.0))  # noqa: E731
    value = exp(-0.5) * cosh(at(0.25)) / cosh(at(0.75))
    assert found.norm == pytest.approx(value, rel=1e-10)
    assert found.adjoint_norm == pytest.approx(value, rel=1e-10)
    assert found.condition == 1.0
    assert f"{value:.6g}" in found.sentence


def test_propagator_norms_are_those_of_the_continuum():
    """b = e^(y - z), linear: M = 1 - (1 - e^-t) phi (psi, .), the same on rules with unequal
    weights.
    """
    for grid in (gauss(9), gauss(12), gauss(9).observed_at(np.array([[0.1]]))):
        network, control = family(identity, 0.0, lambda y, z: np.exp(y - z))(grid)
        run = integrate(network, control, grid.sample(0.0), RK4(), save="layers").trajectory
        found = propagator(network, control, run, 0.0, 1.0)
        # on span(phi, psi), M = 1 - k phi psi^T with |phi| |psi| = sinh 1 and (phi, psi) = 1
        p = sinh(1.0)
        k = 1 - exp(-1.0)
        m = np.eye(2) - k * np.array([[1.0, sqrt(p * p - 1)], [0.0, 0.0]])
        values = np.linalg.svd(m, compute_uv=False)
        assert found.norm == pytest.approx(values[0], rel=1e-9)
        assert found.condition == pytest.approx(values[0] / values[1], rel=1e-9)


def test_propagators_compose_and_the_adjoint_is_the_adjoint():
    network, control, initial = smooth(100)
    run = integrate(network, control, initial, RK4(), save="layers", steps_per_layer=4).trajectory
    go = lambda s, t: propagator(network, control, run, s, t, sample=1, substeps=4)  # noqa: E731
    whole = go(0.0, 1.0)
    np.testing.assert_allclose(go(0.4, 1.0).matrix @ go(0.0, 0.4).matrix, whole.matrix, atol=1e-13)
    w, rng = network.weights, np.random.default_rng(3)
    x, y = rng.standard_normal((2, len(w), 1))
    assert float((w * (whole.matrix @ x)[:, 0]) @ y[:, 0]) == pytest.approx(
        float((w * x[:, 0]) @ (whole.adjoint @ y)[:, 0]), abs=1e-10
    )
    assert whole.norm == pytest.approx(whole.adjoint_norm, rel=1e-10)


def test_bad_times_samples_and_methods():
    network, control, initial = smooth(10)
    run = integrate(network, control, initial, RK4(), save="layers").trajectory
    for arguments, message in (
        ((0.05, 1.0), "s must be a time"),
        ((0.0, 2.0), "t must be"),
        ((float("nan"), 1.0), "s must be a time"),
        ((0.0, float("nan")), "t must be a time"),
        ((0.0, float("inf")), "t must be a time"),
        ((0.5, 0.5), "before"),
    ):
        with pytest.raises(ValueError, match=message):
            propagator(network, control, run, *arguments)
    with pytest.raises(ValueError, match=r"sample must be in 0\.\.1"):
        propagator(network, control, run, 0.0, 1.0, sample=2)
    for sample, error, message in (
        (-1, ValueError, "sample must be at least 0"),
        (0.5, TypeError, "sample must be an integer"),
        (7, ValueError, r"sample must be in 0\.\.1"),
    ):
        with pytest.raises(error, match=message):
            propagator(network, control, run, 0.0, 1.0, sample=sample)
        with pytest.raises(error, match=message):
            energy_identity(network, control, run, run, control_rate=control, sample=sample)
    with pytest.raises(TypeError, match="trajectory must be a Trajectory, got an array"):
        linearize(network, control, run.states, initial)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="stepper must be a RungeKutta such as RK4"):
        propagator(network, control, run, 0.0, 1.0, stepper=ImplicitMidpoint())  # type: ignore[arg-type]


def test_energy_identity_with_everything_moving():
    network, control, initial = smooth(200)
    mesh = control.mesh
    rate = network.control(mesh, bias=lambda y, t: np.cos(y + t), kernel=1.0)
    run = integrate(network, control, initial, RK4(), save="layers").trajectory
    w = linearize(network, control, run, network.grid.sample(np.cos, np.exp), sample=1)
    found = energy_identity(network, control, run, w, control_rate=rate, sample=1)
    change = simpson(found.rate, x=found.times, axis=0)
    np.testing.assert_allclose(found.energy[-1] - found.energy[0], change, rtol=1e-8)
    with pytest.raises(ValueError, match="constant in time"):
        energy_identity(network, control, run, w)
    with pytest.raises(ValueError, match="C\\^2"):
        energy_identity(WidthDepth(network.grid, relu), control, run, w, control_rate=rate)


# growth


def test_bounded_by_a_steady_state():
    network, control = family(identity, 1.0, 1.0)(gauss(3))
    found = growth_class(network, control, np.full((3, 1), 3.0), steady=np.ones((3, 1)))
    assert (found.kind, found.slope, found.rate) == ("bounded", 0.0, 0.0)
    assert found.bound(7.0) == pytest.approx(3.0, rel=1e-14)
    with pytest.raises(ValueError, match="steady must solve"):
        growth_class(network, control, np.ones((3, 1)), steady=np.full((3, 1), 1.1))


def test_linear_growth_takes_the_better_bound():
    network, control = family(tanh, 0.0, 1.0)(gauss(3))
    small, large = (growth_class(network, control, np.full((3, 1), c)) for c in (1.0, 9.0))
    assert small.kind == large.kind == "linear"
    assert small.slope == pytest.approx(sqrt(2 * log(cosh(1.0))), rel=1e-14)
    assert "3.5" in small.theorem
    assert large.slope == 1.0
    assert large.theorem == "bounded activation"
    assert large.bound(2.0) == pytest.approx(11.0, rel=1e-14)


def test_linear_growth_counts_the_lipschitz_constant():
    """elu(2), |sigma'| <= 2: from f = 1, u = -1, Sigma(-1) = int_-1^0 2 (1 - e^s) ds = 2 / e."""
    network, control = family(elu(2.0), 0.0, 1.0)(gauss(3))
    found = growth_class(network, control, np.ones((3, 1)))
    assert found.kind == "linear"
    assert found.rate == 0.0
    assert found.slope == pytest.approx(sqrt(2 * 2 * 2 / e), rel=1e-13)


def test_a_bounded_activation_needs_no_theorem_on_the_kernel():
    network = WidthDepth(gauss_legendre(Interval(0, 4), 3), sigmoid)
    control = network.control(MESH, kernel=lambda y, z, t: -np.exp(t * y * z))
    found = growth_class(network, control, np.zeros((3, 2)))
    assert (found.kind, found.slope) == ("linear", 2.0)


def test_antisymmetric_up_to_rounding_counts_as_monotone():
    grid = periodic(Circle(), 33)
    network, control = family(
        relu, 0.0, lambda y, z: np.sin(y) * np.cos(z) - np.cos(y) * np.sin(z) + 1e-17
    )(grid)
    assert growth_class(network, control, grid.sample(np.cos)).kind == "linear"


def test_exponential_growth():
    """b = -2, a = 3, ReLU: f' = 2 int f + 3; from 1 the bound is attained."""
    network, control = family(relu, 3.0, -2.0)(gauss(3))
    found = growth_class(network, control, np.ones((3, 1)))
    final = integrate(network, control, np.ones((3, 1)), RK4()).trajectory.final
    assert (found.kind, found.rate) == ("exponential", pytest.approx(2.0, rel=1e-14))
    assert found.bound(1.0) == pytest.approx(e**2 + 3 * expm1(2.0) / 2, rel=1e-13)
    assert final[0, 0] == pytest.approx(found.bound(1.0), rel=1e-8)
    with pytest.raises(ValueError, match="t must be"):
        found.bound(-1.0)


def test_a_moving_kernel_leaves_gronwall():
    network = WidthDepth(gauss(3), identity)
    control = network.control(MESH, kernel=lambda y, z, t: 1.0 / (1.0 + t) + 0 * y * z)
    found = growth_class(network, control, np.ones((3, 1)))
    assert found.kind == "exponential"
    assert found.rate == pytest.approx(1.0)
    assert "Norms are the largest at the ends and middles of layers" in found.sentence


def test_no_theorem_without_a_lipschitz_constant():
    """sigma(s) = s^3 has none, and with b = -1 the equation is not monotone."""
    cube = user_activation(
        "cube",
        lambda s: s**3,
        lambda s: 3 * s**2,
        lambda s: 6 * s,
        lambda s: s**4 / 4,
        lipschitz=inf,
    )
    network, control = family(cube, 0.0, -1.0)(gauss(3))
    found = growth_class(network, control, np.ones((3, 1)))
    assert found.kind == "no theorem applies"
    assert found.sentence.endswith("sigma is not Lipschitz.")


def test_l1_bound():
    """On (0, 2) with b = y, a = 1, f_I = sin: (int |sin| + 3) e^(3 int_0^2 y dy) at t = 3."""
    network = WidthDepth(gauss_legendre(Interval(0, 2), 20), relu)
    control = network.control(MESH, bias=-1.0, kernel=lambda y, z: y + 0 * z)
    initial = network.grid.sample(lambda y: -np.sin(y))
    expected = (2 * sin(1.0) ** 2 + 6) * exp(6.0)
    assert l1_bound(network, control, initial, 3.0) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="vanish at 0"):
        l1_bound(*family(sigmoid, 0.0, 1.0)(gauss(2)), np.ones((2, 1)), 1.0)
    with pytest.raises(ValueError, match="t must be"):
        l1_bound(network, control, initial, -1.0)
