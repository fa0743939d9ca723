"""(-d_yy)^s as B: exact modes, self-adjoint, stiff, integrated by implicit methods."""

import numpy as np
import pytest

import solvers.steps.newton as newton_module
import solvers.steps.shifted as shifted_module
from continuum import (
    Circle,
    FractionalLaplacian,
    Interval,
    LearningProblem,
    SymmetricLayer,
    TimeMesh,
    WidthDepth,
    change_width,
    eigenvalues,
    gauss_legendre,
    gelu,
    hilbert_schmidt_norm,
    identity,
    leaky_relu,
    midpoint,
    operator_norm,
    periodic,
    singular_values,
    tanh,
    trapezoid,
)
from solvers import (
    DOP853,
    LBFGS,
    RK4,
    SDIRK3,
    DormandPrince,
    Euler,
    Heun,
    ImplicitMidpoint,
    Newton,
    RadauIIA5,
    SolveError,
    Status,
    discretize,
    explain,
    explicit_step_limit,
    gram_test,
    growth_class,
    integrate,
    l1_bound,
    linearized_spectrum,
    minimize,
    observed_orders,
    operator_matrix,
    spectral_preconditioner,
)

LENGTH, LEFT = 3.0, -1.0
CASES = {
    "circle": (lambda n: periodic(Circle(LENGTH), n), None),
    "dirichlet": (lambda n: midpoint(Interval(LEFT, LEFT + LENGTH), n), "dirichlet"),
    "neumann": (lambda n: midpoint(Interval(LEFT, LEFT + LENGTH), n), "neumann"),
}
EVERY = pytest.mark.parametrize("case", CASES)
TIGHT = DOP853(rtol=1e-13, atol=1e-14)


def modes(case, grid):
    """Orthonormal functions (N, N) and the square roots of their lambda (N,), by their formulas."""
    y, n = grid.coordinates, len(grid)
    if case == "circle":
        k = np.arange(1, (n + 1) // 2)
        waves = 2 * np.pi * np.outer(y, k) / LENGTH
        parts = [np.ones((n, 1)), np.sqrt(2) * np.cos(waves), np.sqrt(2) * np.sin(waves)]
        numbers = [np.zeros(1), k, k]
        if n % 2 == 0:
            parts.append(np.cos(np.pi * n * y / LENGTH)[:, None])
            numbers.append(np.array([n / 2]))
        frequencies = 2 * np.pi * np.concatenate(numbers) / LENGTH
        return np.hstack(parts) / np.sqrt(LENGTH), frequencies
    k = np.arange(n) + (case == "dirichlet")
    wave = np.sin if case == "dirichlet" else np.cos
    scale = np.where(np.isin(k, [0, n]), 1.0, np.sqrt(2))
    return scale * wave(np.pi * np.outer(y - LEFT, k) / LENGTH) / np.sqrt(
        LENGTH
    ), np.pi * k / LENGTH


def setup(case, points, s, sigma=identity, c=0.3, mesh=None, **blocks):
    rule, boundary = CASES[case]
    network = WidthDepth(rule(points), sigma, FractionalLaplacian(s, boundary))
    return network, network.control(mesh or TimeMesh(0.7, 1), kernel=c, **blocks)


@EVERY
@pytest.mark.parametrize("points", [1, 2, 15, 16])
@pytest.mark.parametrize("s", [0.3, 1.0])
def test_the_operator_is_its_eigendecomposition(case, points, s, rng):
    network, control = setup(case, points, s, c=2.0)
    grid, kernel, b = network.grid, network.kernel, control.at(0.0)["kernel"]
    phi, frequencies = modes(case, grid)
    np.testing.assert_allclose(phi.T * grid.weights @ phi, np.eye(points), atol=1e-13)
    powers = 2.0 * frequencies ** (2 * s)
    matrix, scale = (phi * powers) @ phi.T, 1e-14 * points * (1.0 + powers.max())
    np.testing.assert_allclose(kernel.matrix(b), matrix, atol=scale / grid.weights[0])
    f, r = rng.standard_normal((2, points, 3))
    product = kernel.apply(b, f, grid.weights)
    np.testing.assert_allclose(product, matrix @ (grid.weights[:, None] * f), atol=10 * scale)
    np.testing.assert_allclose(
        np.sum(r * product), np.sum(kernel.adjoint(b, r, grid.weights) * f), atol=10 * scale
    )
    s_matrix = operator_matrix(network, control)
    np.testing.assert_allclose(s_matrix, s_matrix.T, atol=scale)
    ordered = np.sort(powers)
    np.testing.assert_allclose(2.0 * kernel.modes.eigenvalues, ordered, rtol=1e-13)
    np.testing.assert_allclose(eigenvalues(kernel, b, grid).real, ordered[::-1], atol=scale)
    np.testing.assert_allclose(singular_values(kernel, b, grid), ordered[::-1], atol=scale)
    assert operator_norm(kernel, b, grid) == pytest.approx(ordered[-1], rel=1e-14)


@EVERY
@pytest.mark.parametrize("method", [TIGHT, RadauIIA5()], ids=["DOP853", "RadauIIA5"])
def test_single_modes_decay_exactly(case, method):
    """f_t = -c(t) (-d_yy)^s f, c = 0.2 + t: e^(-(0.2 t + t^2 / 2) lambda_k^s) times each mode."""
    s, horizon = 0.4, 0.7
    network, control = setup(
        case, 12, s, c=lambda t: 0.2 + t, mesh=TimeMesh(horizon, 1 if method is TIGHT else 160)
    )
    phi, frequencies = modes(case, network.grid)
    run = integrate(network, control, phi, method)
    decay = np.exp(-(0.2 * horizon + horizon**2 / 2) * frequencies ** (2 * s))
    np.testing.assert_allclose(run.trajectory.final, decay * phi, rtol=0, atol=2e-13)


@EVERY
def test_a_bias_that_is_a_mode(case):
    """f_t = a - Bf, f(0) = 0, a = phi_k: (1 - e^(-r t)) / r phi_k, r = c lambda_k^s."""
    s, grid = 0.7, CASES[case][0](10)
    phi, frequencies = modes(case, grid)
    for k in (1, 4):
        network, control = setup(case, 10, s, bias=phi[:, k])
        rate = 0.3 * frequencies[k] ** (2 * s)
        final = integrate(network, control, np.zeros((10, 1)), TIGHT).trajectory.final
        np.testing.assert_allclose(
            final[:, 0], -np.expm1(-0.7 * rate) / rate * phi[:, k], rtol=0, atol=1e-13
        )


def test_more_nodes_change_nothing_for_functions_of_few_modes():
    finals = []
    for points in (8, 9, 32):
        network, control = setup("neumann", points, 0.5)
        wave = network.grid.sample(lambda y: 1.0 - np.cos(2 * np.pi * (y - LEFT) / LENGTH))
        decay = np.exp(-0.3 * 0.7 * 2 * np.pi / LENGTH)
        final = integrate(network, control, wave, TIGHT).trajectory.final
        finals.append(np.abs(final - 1.0 + decay * (1.0 - wave)).max())
    assert max(finals) < 1e-13


@pytest.mark.parametrize("method", [ImplicitMidpoint, SDIRK3, RadauIIA5])
@EVERY
def test_orders_with_tanh(case, method):
    """Against DOP853; smooth data, 16 units."""
    rule, _ = CASES[case]
    wave = {"circle": np.sin, "dirichlet": np.sin, "neumann": np.cos}[case]
    unit = 2 * np.pi / LENGTH
    initial = rule(16).sample(lambda y: 2 * wave(unit * (y - LEFT)))
    reference = integrate(*setup(case, 16, 0.5, tanh, 0.8), initial, TIGHT).trajectory.final
    steps = (4, 8, 16) if method is RadauIIA5 else (16, 32, 64)
    errors = []
    for count in steps:
        network, control = setup(case, 16, 0.5, tanh, 0.8, TimeMesh(0.7, count))
        final = integrate(network, control, initial, method()).trajectory.final
        errors.append(np.abs(final - reference).max())
    assert observed_orders(steps, errors)[-1] == pytest.approx(method.order, abs=0.2)
    assert errors[-1] < {2: 1e-4, 3: 1e-6, 5: 1e-9}[method.order]


def test_heat_equation_in_few_implicit_steps():
    """s = 1 on 256 nodes: 65536 times the rate of the mode that is left; 12 steps of RadauIIA5."""
    network, control = setup("dirichlet", 256, 1.0, c=1.0, mesh=TimeMesh(1.0, 12))
    initial = network.grid.sample(lambda y: 1.0 + 0 * y)
    newton = Newton(krylov_above=0, preconditioner=spectral_preconditioner(network, control))
    run = integrate(network, control, initial, RadauIIA5(newton=newton))
    phi, frequencies = modes("dirichlet", network.grid)
    exact = phi @ (
        np.exp(-(frequencies**2))[:, None] * (phi.T @ (network.weights[:, None] * initial))
    )
    assert np.abs(run.trajectory.final - exact).max() < 2e-8
    assert explicit_step_limit(network, control) < 1e-4


@pytest.mark.parametrize(
    ("stepper", "beta"),
    [(Euler(), 2.0), (Heun(), 2.0), (RK4(), 2.785293563405282)],
    ids=["Euler", "Heun", "RK4"],
)
def test_explicit_steps_have_a_limit(stepper, beta):
    """The fastest mode, of frequency 32 pi / 3, grows beyond it and does not below."""
    network, control = setup("dirichlet", 32, 0.75, c=0.5)
    limit = explicit_step_limit(network, control, stepper)
    assert limit == pytest.approx(beta / (0.5 * (32 * np.pi / LENGTH) ** 1.5), rel=1e-9)
    fastest = modes("dirichlet", network.grid)[0][:, -1:]
    _, below = setup("dirichlet", 32, 0.75, c=0.5, mesh=TimeMesh(118.8 * limit, 120))
    final = integrate(network, below, fastest, stepper).trajectory.final
    assert np.abs(final).max() < np.abs(fastest).max()
    _, beyond = setup("dirichlet", 32, 0.75, c=0.5, mesh=TimeMesh(156 * limit, 120))
    with pytest.raises(SolveError, match=r"The steps are too long.* one step of") as caught:
        integrate(network, beyond, fastest, stepper)
    assert caught.value.solution.status is Status.STEPS_TOO_LONG


@pytest.mark.parametrize("sigma", [tanh, leaky_relu(0.5)], ids=str)
def test_below_the_limit_euler_contracts_in_the_norm_of_b(sigma, rng):
    """int Sigma(u) falls in every step, for any state: Euler is a descent in it, of steps < 2."""
    network, control = setup("neumann", 32, 0.75, sigma, 0.5)
    limit = explicit_step_limit(network, control)
    mesh = TimeMesh(0.999 * 50 * limit, 50)
    control = network.control(mesh, kernel=0.5)
    states = integrate(network, control, rng.standard_normal((32, 1)), Euler(), save="steps")
    values = [
        network.grid.integrate(
            sigma.antiderivative(network.preactivation(f, control.at(0.0)))
        ).item()
        for f in states.trajectory.states
    ]
    assert np.all(np.diff(values) < 0.0)


def test_the_limit_follows_the_control_and_falls_with_the_grid():
    for points, c, most in ((16, 0.5, 0.5), (32, 0.5, 0.5), (16, lambda t: 0.1 + t, 0.8)):
        network, control = setup("circle", points, 0.5, c=c)
        fastest = most * np.pi * points / LENGTH
        assert explicit_step_limit(network, control) == pytest.approx(2 / fastest, rel=1e-12)
    assert explicit_step_limit(*setup("circle", 8, 0.5, c=0.0)) == np.inf
    with pytest.raises(TypeError, match="stepper must be a RungeKutta"):
        explicit_step_limit(network, control, RadauIIA5())


def test_the_number_c_is_learned():
    """From the state at T of an equation with c = 0.37, tanh: c found to 1e-6."""
    network, control = setup("circle", 16, 0.6, tanh, 0.37, TimeMesh(0.7, 8))
    unit = 2 * np.pi / LENGTH
    initial = network.grid.sample(lambda y: np.sin(unit * y), lambda y: 2 * np.cos(2 * unit * y))
    target = integrate(network, control, initial, SDIRK3()).trajectory.final
    space = network.controls(TimeMesh(0.7, 8), "static", fixed={"bias": 0.0})
    assert space.size == 1
    problem = LearningProblem(network, initial, target, space)
    found = minimize(
        discretize(problem, SDIRK3()), LBFGS(gtol=1e-9), initial=space.sample(kernel=1.0)
    )
    assert found.value["kernel"][0] == pytest.approx(0.37, abs=1e-6)


def test_its_formula():
    assert "kernel g = kernel (-d_yy)^0.3 g, neumann" in repr(setup("neumann", 4, 0.3)[0])
    assert repr(setup("circle", 4, 1.0)[0]).endswith("kernel g = kernel (-d_yy)^1 g)")


def test_the_same_number_on_another_grid():
    coarse, fine = (setup("circle", n, 0.5, tanh)[0] for n in (8, 20))
    control = coarse.controls(TimeMesh(1.0, 2)).sample(kernel=lambda t: 0.3 + t, bias=0.2)
    moved = change_width(control, coarse, fine)
    np.testing.assert_array_equal(moved["kernel"], control["kernel"])
    assert moved["bias"].shape == (2, 20)


def test_what_theory_says_of_it():
    network, control = setup("dirichlet", 24, 0.5, tanh, 0.3)
    told = explain(network, control, network.grid.sample(lambda y: np.sin(y)))
    missing = [t for t in told.theorems if "B bounded on L^2(Y)" in t.missing]
    assert {t.name for t in told.theorems} - {t.name for t in missing} == {
        "2.1",
        "bounded activation",
    }
    phrase = told["3.2 (i)"]["B bounded on L^2(Y)"].phrase
    assert f"steps of Euler up to {2 / (0.3 * np.pi * 24 / LENGTH):.3g}" in phrase
    assert told["3.1"]["int |B| dt finite"].verdict == "no"
    assert told["3.4"]["B of finite rank"].verdict == "no"
    assert told["2.1"].applies == "yes"
    spectrum = linearized_spectrum(network, control)
    rates = -0.3 * np.pi * np.arange(1, 25) / LENGTH
    np.testing.assert_allclose(spectrum.eigenvalues, rates, rtol=1e-10)
    assert "stiff" in spectrum.sentence
    assert "compact" in spectrum.sentence
    constant = linearized_spectrum(*setup("neumann", 8, 0.5, tanh)).sentence
    assert "components in N(B) stay" in constant
    with pytest.raises(ValueError, match="unbounded"):
        gram_test(network, control)
    with pytest.raises(ValueError, match="Hilbert-Schmidt"):
        hilbert_schmidt_norm(network.kernel, control.at(0.0)["kernel"], network.grid)
    grown = growth_class(*setup("circle", 8, 0.5, gelu), np.ones((8, 1)))
    assert grown.sentence.endswith("B is not bounded on L^2(Y).")
    with pytest.raises(ValueError, match="bounded"):
        l1_bound(*setup("circle", 8, 0.5, tanh), np.ones((8, 1)), 1.0)
    assert growth_class(*setup("circle", 8, 0.5, tanh), np.ones((8, 1))).kind == "linear"


RING, UNIT = periodic(Circle(), 8), Interval(0, 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FractionalLaplacian(0.0), "s must be finite and positive"),
        (lambda: FractionalLaplacian(-0.5), "s must be finite and positive"),
        (lambda: FractionalLaplacian(1.5), r"s must be in \(0, 1\], got 1.5"),
        (lambda: FractionalLaplacian(np.nan), "s must be finite"),
        (lambda: FractionalLaplacian(0.5, "robin"), "unknown boundary 'robin'"),
        (lambda: FractionalLaplacian(0.5).bind(midpoint(UNIT, 4)), '"dirichlet" or "neumann"'),
        (lambda: FractionalLaplacian(0.5, "neumann").bind(RING), "None on a Circle"),
        (lambda: FractionalLaplacian(0.5, "neumann").bind(trapezoid(UNIT, 4)), "midpoint"),
        (lambda: FractionalLaplacian(0.5, "neumann").bind(gauss_legendre(UNIT, 4)), "midpoint"),
        (lambda: FractionalLaplacian(0.5).bind(RING * RING), "a Circle or an Interval"),
        (lambda: FractionalLaplacian(0.5).bind(RING.observed_at(np.ones((1, 1)))), "periodic"),
        (lambda: FractionalLaplacian(0.5).apply(np.ones(1), np.ones((3, 1)), None), "no grid yet"),
        (
            lambda: WidthDepth(RING, tanh, FractionalLaplacian(0.5)).control(
                TimeMesh(1.0, 1), kernel=lambda y, z: y * z
            ),
            "kernel must be a function of",
        ),
    ],
)
def test_bad_input_names_its_argument(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_what_is_no_grid():
    with pytest.raises(TypeError, match="grid must be a Grid, got 3"):
        FractionalLaplacian(0.5).bind(3)
    with pytest.raises(TypeError, match="modes must be a Modes or None, got 3"):
        FractionalLaplacian(0.5, None, 3)
    with pytest.raises(TypeError, match="control must be a ControlPath"):
        spectral_preconditioner(WidthDepth(RING, tanh, FractionalLaplacian(0.5)), None)


def test_an_adaptive_pair_on_an_unstable_sign_goes_on():
    """c < 0: on one grid it is an equation with growing modes, e^(|c| lambda t)."""
    network, control = setup("circle", 6, 0.5, c=-0.3)
    phi, frequencies = modes("circle", network.grid)
    final = integrate(network, control, phi, DormandPrince(rtol=1e-10, atol=1e-12))
    np.testing.assert_allclose(
        final.trajectory.final, np.exp(0.21 * frequencies) * phi, rtol=1e-8, atol=1e-9
    )


# the preconditioner of implicit stages


@pytest.fixture
def iterations(monkeypatch):
    """Products with the matrix in each solution of a linear equation by GMRES, in order."""
    counts = []

    def counting(matrix, *others, plain=newton_module.gmres):
        counts.append(0)

        def counted(v):
            counts[-1] += 1
            return matrix(v)

        return plain(counted, *others)

    monkeypatch.setattr(newton_module, "gmres", counting)
    monkeypatch.setattr(shifted_module, "gmres", counting)
    return counts


def wave_run(points, method, preconditioned, steps=3, kind=WidthDepth, **tolerances):
    """tanh, s = 1: slopes from 0.02 to 1."""
    grid = periodic(Circle(), points)
    network = kind(grid, tanh, FractionalLaplacian(1.0))
    control = network.control(TimeMesh(0.3, steps), kernel=1.0)
    nearly = spectral_preconditioner(network, control) if preconditioned else None
    stepper = method(newton=Newton(krylov_above=0, preconditioner=nearly), **tolerances)
    initial = grid.sample(lambda y: np.exp(np.sin(y)))
    return integrate(network, control, initial, stepper, raise_on_failure=False)


def test_iterations_drop_and_do_not_grow_with_the_grid(iterations):
    most = {}
    for points, preconditioned in (
        (64, False),
        (128, False),
        (64, True),
        (256, True),
        (1024, True),
    ):
        iterations.clear()
        run = wave_run(points, ImplicitMidpoint, preconditioned)
        assert run.status is Status.FINISHED
        most[points, preconditioned] = max(iterations)
    assert most[128, False] > 1.5 * most[64, False] > 60
    assert most[64, True] < 18
    assert most[1024, True] <= most[256, True] + 2 <= most[64, True] + 5


def test_iterations_of_stages_solved_together(iterations):
    most = []
    for points in (64, 256):
        iterations.clear()
        assert wave_run(points, RadauIIA5, True, 1).status is Status.FINISHED
        most.append(max(iterations))
    assert most[1] < 1.3 * most[0] < 60
    without = wave_run(256, RadauIIA5, False, 1)
    assert without.status is Status.NEWTON_FAILED
    assert "GMRES" in without.detail


def test_iterations_in_steps_of_chosen_length(iterations):
    """The complex matrices of RadauIIA5 too."""
    runs = []
    for points in (64, 256):
        iterations.clear()
        runs.append(wave_run(points, RadauIIA5, True, 1, rtol=1e-6, atol=1e-8))
        assert max(iterations) < 18
    coarse, fine = (run.trajectory.final[:: len(run.trajectory.final) // 64] for run in runs)
    np.testing.assert_allclose(coarse, fine, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [WidthDepth, SymmetricLayer])
def test_the_answer_does_not_depend_on_the_preconditioner(kind, iterations):
    without = wave_run(24, SDIRK3, False, kind=kind).trajectory.final
    plain = max(iterations)
    iterations.clear()
    found = wave_run(24, SDIRK3, True, kind=kind).trajectory.final
    np.testing.assert_allclose(found, without, rtol=0, atol=1e-11)
    assert max(iterations) < plain


def test_gradients_with_a_preconditioner(iterations):
    """Of trained c and a, against dense matrices."""
    network, _ = setup("neumann", 40, 0.8, tanh)
    space = network.controls(TimeMesh(0.6, 3))
    control = space.sample(kernel=lambda t: 0.5 + t, bias=lambda y: 0.3 * np.cos(y))
    initial = network.grid.sample(lambda y: np.exp(-(y**2)), lambda y: np.sin(3 * y))
    problem = LearningProblem(network, initial, 0 * initial, space)
    nearly = spectral_preconditioner(network, control)
    gradients = [
        discretize(problem, ImplicitMidpoint(newton=newton)).gradient(control)
        for newton in (Newton(), Newton(krylov_above=0, preconditioner=nearly))
    ]
    assert 0 < max(iterations) < 30
    difference = gradients[0] - gradients[1]
    assert space.norm(difference) < 1e-7 * space.norm(gradients[0])


def test_one_slope_is_inverted_exactly(rng):
    """sigma = id: P is (I - g D F)^-1."""
    network, control = setup("dirichlet", 20, 0.6)
    x, f = rng.standard_normal((2, 20, 1))
    found = spectral_preconditioner(network, control)(0.1, f, 0.05)(x)
    values = control.at(0.1)
    back = found - 0.05 * network.jvp(f, values, 0.1, found, {})
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-13)


def test_flat_slopes_leave_the_identity(rng):
    """tanh far out has sigma' = 0: nothing is stiff."""
    network, control = setup("circle", 8, 0.5, tanh, bias=100.0)
    x = rng.standard_normal((8, 1))
    found = spectral_preconditioner(network, control)(0.0, np.zeros((8, 1)), 0.1)(x)
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-14)


def test_other_networks_have_no_such_preconditioner():
    network = WidthDepth(RING, tanh)
    with pytest.raises(TypeError, match="FractionalLaplacian"):
        spectral_preconditioner(network, network.control(TimeMesh(1.0, 1)))
    ring = WidthDepth(RING, tanh, FractionalLaplacian(0.5))
    with pytest.raises(ValueError, match="another network"):
        spectral_preconditioner(ring, network.control(TimeMesh(1.0, 1)))
