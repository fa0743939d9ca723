"""Implicit methods that choose their steps: tableaux, steps and errors beside SciPy's Radau, dense
output, breakpoints, GMRES with a preconditioner, failures, gradients on the accepted steps.
"""

from dataclasses import replace

import array_api_strict
import numpy as np
import pytest
import scipy.integrate

from continuum import (
    Interval,
    LearningProblem,
    SquaredError,
    TimeMesh,
    WidthDepth,
    check_derivatives,
    gauss_legendre,
    midpoint,
    tanh,
)
from continuum.arrays import to_host
from solvers import (
    DOP853,
    BackwardEuler,
    EverySteps,
    KennedyCarpenter5,
    Monitor,
    Newton,
    RadauIIA5,
    SolveError,
    Status,
    architecture,
    continuous_adjoint,
    discretize,
    integrate,
)
from solvers.adjoint import objective as adjoint
from solvers.adjoint import tape
from solvers.adjoint.step_derivatives import StepDerivatives
from solvers.steps import shifted
from studies import stiff_problems
from studies.stiff_problems import Reactions

METHODS = [RadauIIA5, KennedyCarpenter5]
PROBLEMS = {
    "van der Pol 1e-3": stiff_problems.van_der_pol(1e-3),
    "van der Pol 1e-6": stiff_problems.van_der_pol(1e-6),
    "van der Pol 1e-6 from (2, 0)": stiff_problems.van_der_pol(1e-6, (2.0, 0.0)),
    "Robertson 40": stiff_problems.robertson(),
    "Robertson 1e11": stiff_problems.robertson(1e11),
    "Oregonator": stiff_problems.oregonator(),
    "HIRES": stiff_problems.hires(),
    "LM-09": stiff_problems.stiff_front(),
}
both = pytest.mark.parametrize("method", METHODS)
GRID = gauss_legendre(Interval(0, 1), 5)


def scipy_radau(problem, rtol, atol):
    """(steps, final state) of SciPy's Radau with exact Jacobians."""
    network, units = problem.network, len(problem.initial)
    values = problem.control.at_layer(0, 0.0)

    def jacobian(t, x):
        copies = np.repeat(x[:, None], units, axis=1)
        return network.jvp(copies, values, t, np.eye(units), {})

    with np.errstate(all="ignore"):
        run = scipy.integrate.solve_ivp(
            problem.velocity,
            (0.0, problem.horizon),
            problem.initial[:, 0],
            "Radau",
            rtol=rtol,
            atol=atol,
            jac=jacobian,
        )
    return len(run.t) - 1, run.y[:, -1]


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_steps_and_errors_beside_scipy(problem):
    rtol, atol = 1e-6, 1e-6 * problem.ratio
    steps, theirs = scipy_radau(problem, rtol, atol)
    allowed = atol + rtol * np.abs(problem.final)
    assert np.max(np.abs(theirs - problem.final) / allowed) < 1.0  # the reference is one
    for method in METHODS:
        run = integrate(
            problem.network, problem.control, problem.initial, method(rtol=rtol, atol=atol)
        )
        error = np.max(np.abs(run.trajectory.final[:, 0] - problem.final) / allowed)
        assert error < (1.0 if method is RadauIIA5 else 10.0)
        assert run.statistics["steps"] <= (1.1 if method is RadauIIA5 else 0.9) * steps
        assert run.statistics["jacobians"] < run.statistics["steps"]
        assert run.statistics["rejected"] <= 0.15 * run.statistics["steps"] + 10


@both
def test_errors_follow_the_tolerance(method):
    problem = PROBLEMS["van der Pol 1e-3"]
    errors, tolerances = [], [1e-4, 1e-6, 1e-8]
    for rtol in tolerances:
        run = integrate(
            problem.network, problem.control, problem.initial, method(rtol=rtol, atol=rtol)
        )
        errors.append(np.max(np.abs(run.trajectory.final[:, 0] - problem.final)))
    # relative to 1 + |f| of at most 2.8
    assert np.all(np.array(errors) < 8 * np.array(tolerances))
    assert errors[2] < 1e-3 * errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1e-3, 1e-6])
def test_references_of_van_der_pol(epsilon):
    problem = stiff_problems.van_der_pol(epsilon)
    _, theirs = scipy_radau(problem, 1e-11, 1e-13)
    np.testing.assert_allclose(theirs, problem.final, rtol=2e-11)


def test_derivatives_of_the_problems():
    for problem in PROBLEMS.values():
        report = check_derivatives(problem.network)
        assert report.ok, f"{problem.name}: {report}"
    cubic = Reactions([[1.0, -2.0], [0.5, 1.0]], [(0, 0, 1), (1, 1, 1)])
    f, rates = np.array([[2.0], [3.0]]), {"rates": np.array([5.0, 7.0])}
    expected = [[5 * 12 - 2 * 7 * 27.0], [0.5 * 5 * 12 + 7 * 27.0]]
    np.testing.assert_allclose(cubic.velocity(f, rates, 0.0), expected, rtol=1e-15)


# -- The tableaux
# ------------------------------------------------------------------------------------------


def trees(order):
    """All rooted trees with `order` nodes, as sorted tuples of their branches."""
    if order == 1:
        return {()}
    found = set()
    for first in range(1, order):
        for branch in trees(first):
            for rest in trees(order - first):
                found.add(tuple(sorted((*rest, branch))))
    return found


def size(tree):
    return 1 + sum(size(branch) for branch in tree)


def density(tree):
    result = size(tree)
    for branch in tree:
        result *= density(branch)
    return result


def elementary(tree, a):
    """Phi_i of a tree: (s,)."""
    result = np.ones(len(a))
    for branch in tree:
        result = result * (a @ elementary(branch, a))
    return result


@pytest.mark.parametrize(
    ("method", "weights", "order"),
    [
        (KennedyCarpenter5, KennedyCarpenter5.b, 5),
        (KennedyCarpenter5, KennedyCarpenter5.b - KennedyCarpenter5.error, 4),
        (RadauIIA5, RadauIIA5.b, 5),
    ],
    ids=["Kennedy-Carpenter", "its embedded method", "Radau"],
)
def test_order_conditions(method, weights, order):
    counts = [1, 1, 2, 4, 9, 20]
    for n in range(1, order + 2):
        found = trees(n)
        assert len(found) == counts[n - 1]
        defects = [abs(weights @ elementary(tree, method.a) * density(tree) - 1) for tree in found]
        if n <= order:
            assert max(defects) < 2e-14
        else:
            assert max(defects) > 1e-3  # and no higher order
    np.testing.assert_allclose(method.a.sum(axis=1), method.c, rtol=0, atol=1e-15)


def test_the_embedded_method_is_bounded_and_the_method_l_stable():
    a, one = KennedyCarpenter5.a, np.ones(7)
    for weights, limit in ((KennedyCarpenter5.b, 1e-7), (KennedyCarpenter5.error, 0.26)):
        amplified = 1 - 1e9 * weights @ np.linalg.solve(np.eye(7) + 1e9 * a, one)
        excess = amplified - (0.0 if weights is KennedyCarpenter5.b else 1.0)
        assert abs(excess) < limit


def test_dense_output_of_kennedy_carpenter_is_of_order_4():
    method, (a, c) = KennedyCarpenter5, (KennedyCarpenter5.a, KennedyCarpenter5.c)
    for theta in (0.2, 0.5, 0.9):
        weights = method.extension @ theta ** np.arange(1, 5)
        for n in range(1, 5):
            for tree in trees(n):
                value = weights @ elementary(tree, a) * density(tree)
                assert value == pytest.approx(theta**n, abs=1e-14)
    np.testing.assert_allclose(method.extension.sum(axis=1), method.b, rtol=0, atol=1e-14)
    ends = np.stack([method.extension[:, 0], method.extension @ np.arange(1, 5)])
    np.testing.assert_allclose(ends, np.eye(7)[[0, 6]], rtol=0, atol=2e-14)
    assert len(c) == 7


def test_the_transformation_of_radau():
    block = RadauIIA5.from_stages @ np.linalg.inv(RadauIIA5.a) @ RadauIIA5.to_stages
    pair = 1 / RadauIIA5.complex_shift
    expected = np.zeros((3, 3))
    expected[0, 0] = 1 / RadauIIA5.shift
    expected[1:, 1:] = [[pair.real, -pair.imag], [pair.imag, pair.real]]
    np.testing.assert_allclose(block, expected, rtol=0, atol=1e-13)
    powers = RadauIIA5.c[:, None] ** np.arange(1, 4)
    np.testing.assert_allclose(powers @ RadauIIA5.extension.T, np.eye(3), rtol=0, atol=1e-14)


@both
def test_error_constants(method):
    """|e| / h^(q + 1) of f' = f."""
    h = 1e-2
    stages = np.linalg.solve(np.eye(len(method.b)) - h * method.a, np.ones(len(method.b)))
    if method is RadauIIA5:
        e = h * method.shift * (1 + method.error @ (stages - 1) / h)
    else:
        e = h * method.error @ stages
    constant = abs(e) / (1 - h * method.shift) / h ** (method.error_order + 1)
    assert constant == pytest.approx(method.error_constant, rel=0.03)


# -- Runs
# ------------------------------------------------------------------------------------------


@both
def test_dense_output(method):
    problem = PROBLEMS["van der Pol 1e-3"]
    times = np.linspace(0.0, 2.0, 301)
    case = problem.network, problem.control, problem.initial
    tight = KennedyCarpenter5(rtol=1e-9, atol=1e-9)
    fine = integrate(*case, tight, save=times).trajectory.states
    run = integrate(*case, method(rtol=1e-6, atol=1e-6), save=times)
    assert run.statistics["steps"] < 600
    scale = 1e-6 * (1 + np.abs(fine))
    # but where x goes from 1 to -2, and from -1 to 2, within 1e-3
    near = (np.abs(times - 0.81) > 0.02) & (np.abs(times - 1.666) > 0.02)
    error = np.abs(run.trajectory.states - fine) / scale
    assert np.max(error[near]) < (10 if method is RadauIIA5 else 80)
    np.testing.assert_array_equal(run.trajectory.times, times)


def jumping(method, **options):
    """f' = -1000 (f - s), s = 1 before t = 1/3 and -1 after, f(0) = 0."""
    network = Reactions([[-1.0, 1.0]], [(0,), ()])
    sign = lambda t: np.array([1000.0, 1000.0 if t < 1 / 3 else -1000.0])  # noqa: E731
    control = network.control(TimeMesh(1.0, 1), rates=sign, breakpoints=(1 / 3,))
    return integrate(network, control, np.zeros((1, 1)), method, **options)


@both
def test_breakpoints(method):
    run = jumping(method(rtol=1e-8, atol=1e-8), save="steps")
    assert 1 / 3 in run.trajectory.times
    states, times = run.trajectory.states[:, 0, 0], run.trajectory.times
    expected = np.where(
        times <= 1 / 3,
        -np.expm1(-1000 * times),
        -1 + (2 - np.exp(-1000 / 3)) * np.exp(-1000 * np.maximum(times - 1 / 3, 0.0)),
    )
    np.testing.assert_allclose(states, expected, rtol=0, atol=3e-7)
    assert run.statistics["steps"] < 400


@both
def test_a_moving_equilibrium(method):
    """Prothero and Robinson's f' = -1e4 (f - cos t) - sin t: f = cos t, at any step."""
    network, times = Reactions([[-1.0, 1.0]], [(0,), ()]), np.linspace(0.0, 3.0, 40)
    rates = lambda t: np.array([1e4, 1e4 * np.cos(t) - np.sin(t)])  # noqa: E731
    control = network.control(TimeMesh(3.0, 1), rates=rates)
    run = integrate(network, control, np.ones((1, 1)), method(rtol=1e-7, atol=1e-7), save=times)
    inside = np.max(np.abs(run.trajectory.states[:, 0, 0] - np.cos(times)))
    ends = integrate(network, control, np.ones((1, 1)), method(rtol=1e-7, atol=1e-7), save="steps")
    there = ends.trajectory
    np.testing.assert_allclose(there.states[:, 0, 0], np.cos(there.times), rtol=0, atol=5e-7)
    assert run.statistics["steps"] < 80
    # what the estimate does not see: the polynomial inside, O(h^4)
    longest = np.max(np.diff(there.times))
    assert inside < (1e-3 if method is RadauIIA5 else 0.15) * longest**4


@both
def test_max_step_monitors_and_statistics(method):
    problem, seen = PROBLEMS["Robertson 40"], []
    case = problem.network, problem.control, problem.initial
    stepper = method(rtol=1e-4, atol=1e-10, max_step=2.0)
    watch = Monitor(lambda moment: seen.append(moment.time), EverySteps(5))
    run = integrate(*case, stepper, save="steps", monitors=[watch])
    assert np.max(np.diff(run.trajectory.times)) <= 2.0 * (1 + 1e-10)
    np.testing.assert_array_equal(seen[:3], run.trajectory.times[[5, 10, 15]])
    names = {"steps", "rejected", "seconds", "velocities", "jacobians", "factorisations"}
    assert set(run.statistics) == names
    assert len(run.trajectory.times) == run.statistics["steps"] + 1
    for name in ("velocities", "jacobians", "factorisations"):
        assert run.statistics[name] >= 1
    capped = integrate(*case, method(rtol=1e-4, atol=1e-10), max_steps=5, raise_on_failure=False)
    assert capped.status is Status.MAX_STEPS
    assert capped.statistics["steps"] == 5


@both
def test_samples_share_the_steps_that_the_worst_one_needs(method, monkeypatch):
    problem = PROBLEMS["van der Pol 1e-3"]
    starts = np.array([[2.0, 1.5, -2.0], [-0.66, -1.0, 0.66]])
    stepper = method(rtol=1e-6, atol=1e-6)
    mesh = TimeMesh(1.0, 1)
    control = problem.network.control(mesh, **problem.rates)
    together = integrate(problem.network, control, starts, stepper)
    alone = [integrate(problem.network, control, starts[:, m : m + 1], stepper) for m in range(3)]
    most = max(run.statistics["steps"] for run in alone)
    assert most <= together.statistics["steps"] <= 2.5 * most
    for m, run in enumerate(alone):
        np.testing.assert_allclose(
            together.trajectory.final[:, m], run.trajectory.final[:, 0], rtol=0, atol=2e-5
        )
    monkeypatch.setattr(shifted, "_FEW", 0)  # inverse matrices instead of factorisations
    other = integrate(problem.network, control, starts, stepper)
    np.testing.assert_allclose(other.trajectory.final, together.trajectory.final, rtol=0, atol=1e-6)


@both
def test_other_array_libraries(method):
    problem = PROBLEMS["HIRES"]
    stepper = method(rtol=1e-5, atol=1e-8)
    control = problem.network.control(TimeMesh(20.0, 1), **problem.rates)
    starts = np.tile(problem.initial, (1, 2))
    expected = integrate(problem.network, control, starts, stepper).trajectory.final
    elsewhere = array_api_strict.asarray(starts, device=array_api_strict.Device("device1"))
    run = integrate(problem.network, control, elsewhere, stepper)
    assert run.trajectory.final.device == elsewhere.device
    np.testing.assert_allclose(to_host(run.trajectory.final), expected, rtol=0, atol=1e-8)


# -- GMRES
# ------------------------------------------------------------------------------------------

EVEN = midpoint(Interval(0, 1), 40)
Y = (np.arange(40) + 0.5) / 40
MODES = np.where(np.arange(40) == 0, 1.0, np.sqrt(2.0)) * np.cos(np.pi * np.outer(Y, np.arange(40)))
RATES = 5.0 * np.arange(40.0) ** 2
"""B = sum_k RATES_k phi_k (phi_k, .), the diffusion -d_yy / 2 with no flux, nearly."""


class Counted(WidthDepth):
    """Counts the products with D_f F."""

    products = 0

    def jvp(self, f, c, t, df, dc):
        type(self).products += 1
        return super().jvp(f, c, t, df, dc)


def diffusion(stepper, derivative=False):
    """(statistics, final state or gradient, products with D_f F)."""
    network = Counted(EVEN, tanh)
    control = network.control(TimeMesh(0.5, 1), kernel=(MODES * RATES) @ MODES.T, bias=0.02)
    initial = 0.02 * MODES[:, 1:2] + 0.002 * MODES[:, 3:4]
    Counted.products = 0
    if not derivative:
        run = integrate(network, control, initial, stepper)
        return run.statistics, run.trajectory.final, Counted.products
    problem = LearningProblem(network, initial, 0 * initial, TimeMesh(0.5, 1))
    point = problem.space.sample(kernel=(MODES * RATES) @ MODES.T, bias=0.02)
    gradient = discretize(problem, stepper).gradient(point)
    return {}, gradient["kernel"], Counted.products


def diffused(t, f, g):
    """(I + g B)^-1: exact but for the slope of the activation."""
    assert f.shape == (40, 1)
    assert g > 0
    return lambda x: MODES @ (MODES.T @ x / 40 / (1 + g * RATES[:, None]))


@pytest.mark.parametrize(
    "method",
    [
        lambda n: RadauIIA5(rtol=1e-6, atol=1e-6, newton=n),
        lambda n: KennedyCarpenter5(rtol=1e-6, atol=1e-6, newton=n),
        lambda n: BackwardEuler(newton=n),
    ],
    ids=["Radau", "Kennedy-Carpenter", "backward Euler"],
)
def test_a_preconditioner_saves_iterations(method):
    _, dense, _ = diffusion(method(Newton()))
    plain, free, without = diffusion(method(Newton(krylov_above=0)))
    _, conditioned, products = diffusion(method(Newton(krylov_above=0, preconditioner=diffused)))
    np.testing.assert_allclose(free, dense, rtol=0, atol=2e-6)
    np.testing.assert_allclose(conditioned, dense, rtol=0, atol=2e-6)
    assert 3 * products < without
    assert plain.get("jacobians", 0.0) == 0.0


def test_the_preconditioner_serves_coupled_stages_and_adjoints():
    chosen = RadauIIA5(newton=Newton(krylov_above=0, preconditioner=diffused))
    _, dense, _ = diffusion(RadauIIA5(), derivative=True)
    _, conditioned, products = diffusion(chosen, derivative=True)
    np.testing.assert_allclose(conditioned, dense, rtol=0, atol=1e-9 * np.max(np.abs(dense)))
    assert products < 700
    with pytest.raises(SolveError, match="GMRES did not solve a Newton equation"):
        diffusion(RadauIIA5(newton=Newton(krylov_above=0)), derivative=True)


def test_matrices_that_are_too_large_are_not_formed(monkeypatch):
    monkeypatch.setattr("solvers.flow.stiff_stages.ENTRIES", 10)
    statistics, _, _ = diffusion(RadauIIA5(rtol=1e-4, atol=1e-4))
    assert statistics["jacobians"] == statistics["factorisations"] == 0


# -- Failures
# ------------------------------------------------------------------------------------------


@both
def test_a_blow_up_ends_in_a_sentence(method):
    network = Reactions([[1.0]], [(0, 0)])  # f' = f^2, f = 1 / (1 - t)
    control = network.control(TimeMesh(2.0, 1), rates=np.ones(1))
    run = integrate(
        network, control, np.ones((1, 1)), method(rtol=1e-6, atol=1e-6), raise_on_failure=False
    )
    assert run.status in (Status.STEP_UNDERFLOW, Status.NEWTON_FAILED, Status.NON_FINITE)
    assert not run.status.ok
    assert "at t = 1" in run.detail
    assert np.isfinite(run.trajectory.final[0, 0])


class Broken(Reactions):
    """f' = -f, with what a test adds to it."""

    def __init__(self, added):
        super().__init__([[-1.0]], [(0,)])
        self.added, self.calls = added, 0

    def velocity(self, f, c, t):
        self.calls += 1
        return super().velocity(f, c, t) + self.added(t, self.calls)


@pytest.mark.parametrize(
    ("added", "status"),
    [
        (lambda t, n: np.nan if t > 0.5 else 0.0, Status.NON_FINITE),
        (lambda t, n: 1e30 * (-1.0) ** n if t > 0.5 else 0.0, Status.NEWTON_FAILED),
    ],
    ids=["nan", "no function"],
)
@both
def test_failures_say_why(method, added, status):
    network = Broken(added)
    control = network.control(TimeMesh(1.0, 1), rates=np.ones(1))
    with pytest.raises(SolveError) as caught:
        integrate(network, control, np.ones((1, 1)), method(rtol=1e-6, atol=1e-6))
    assert caught.value.solution.status is status
    assert caught.value.solution.detail == "at t = 0.5"
    assert caught.value.solution.trajectory.final[0, 0] == pytest.approx(np.exp(-0.5), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: RadauIIA5(rtol=1e-6), TypeError, r"atol is missing: RadauIIA5\(rtol=1e-6, atol="),
        (lambda: RadauIIA5(max_step=0.1), TypeError, "rtol is missing"),
        (lambda: RadauIIA5(rtol=-1.0, atol=1.0), ValueError, "rtol must be finite and positive"),
        (lambda: KennedyCarpenter5(rtol=1.0, atol=1.0, max_step=0.0), ValueError, "max_step must"),
        (lambda: BackwardEuler(newton=1e-3), TypeError, "newton must be a Newton"),
        (
            lambda: Newton(preconditioner=3),
            TypeError,
            "preconditioner must be a function of 3 arguments",
        ),
    ],
)
def test_bad_options(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_what_needs_fixed_steps_says_so():
    problem = LearningProblem(
        WidthDepth(GRID, tanh), np.ones((5, 2)), np.zeros((5, 2)), TimeMesh(1.0, 2)
    )
    stepper, control = RadauIIA5(rtol=1e-4, atol=1e-4), problem.space.zeros()
    with pytest.raises(TypeError, match="method with equal steps"):
        continuous_adjoint(problem, control, stepper)
    with pytest.raises(TypeError, match="are known after the run only"):
        discretize(problem, stepper).sweeps(control)


# -- Gradients
# ------------------------------------------------------------------------------------------


def learned(horizon=0.2):
    """Van der Pol's equation, its rates to be found, from two starts."""
    problem = stiff_problems.van_der_pol(1e-3)
    mesh = TimeMesh(horizon, 2)
    starts = np.array([[2.0, 1.5], [-0.66, -1.0]])
    target = np.array([[1.0, 0.5], [0.3, 0.2]])
    learning = LearningProblem(problem.network, starts, target, mesh, running=SquaredError(0.7))
    return learning, learning.space.sample(**problem.rates)


@both
def test_gradients_are_exact_on_the_accepted_steps(method, rng, monkeypatch):
    """Taylor slopes 2 and 3 with the steps held."""
    problem, control = learned()
    objective = discretize(problem, method(rtol=1e-4, atol=1e-4))
    made = tape.adaptive_steps(problem, control, objective.stepper, keep=False)
    direction = problem.space.sample(rates=rng.standard_normal(4) * [1.0, 1e3, 1e3, 1e3])
    value, gradient = objective.value_and_gradient(control)
    product = objective.hvp(control, direction)
    monkeypatch.setattr(adjoint, "adaptive_steps", lambda *arguments, **options: made)
    held = replace(objective, memory=10**4)
    assert held.value(control) == pytest.approx(value, rel=1e-14)
    slope = problem.space.inner(gradient, direction)
    bend = problem.space.inner(product, direction)
    assert problem.space.inner(held.gradient(control), direction) == pytest.approx(slope)
    sizes = np.array([1e-3, 5e-4])
    first = [held.value(control + s * direction) - value - s * slope for s in sizes]
    second = first - 0.5 * bend * sizes**2
    assert np.log2(first[0] / first[1]) == pytest.approx(2.0, abs=0.05)
    assert np.log2(second[0] / second[1]) == pytest.approx(3.0, abs=0.1)


@both
def test_gradients_approach_those_of_the_equation(method):
    problem, control = learned()
    problem = replace(problem, running=None)  # whose rule has errors of its own
    fine = discretize(problem, KennedyCarpenter5(rtol=1e-8, atol=1e-8)).gradient(control)
    errors = []
    for rtol in (1e-3, 1e-5):
        found = discretize(problem, method(rtol=rtol, atol=rtol)).gradient(control)
        errors.append(np.linalg.norm(found["rates"] - fine["rates"]))
    assert errors[1] < 0.1 * errors[0]


@both
def test_architectures_of_chosen_steps(method, rng):
    network = WidthDepth(GRID, tanh)
    control = network.controls(TimeMesh(1.0, 2)).random(rng, 3.0)
    initial = rng.standard_normal((5, 2))
    stepper = method(rtol=1e-5, atol=1e-5)
    run = integrate(network, control, initial, stepper)
    layered = architecture(stepper, network, control, initial=initial)
    np.testing.assert_allclose(layered(initial), run.trajectory.final, rtol=0, atol=1e-6)
    assert layered.depth == len(method.b) * run.statistics["steps"]
    exact = integrate(network, control, initial, DOP853(rtol=1e-12, atol=1e-12)).trajectory.final
    np.testing.assert_allclose(layered(initial), exact, rtol=0, atol=1e-4)


@both
def test_the_adjoint_identity_of_one_step(method, rng):
    network = WidthDepth(GRID, tanh)
    space = network.controls(TimeMesh(1.0, 1))
    control, direction = space.random(rng, 3.0), space.random(rng)
    f, df, p = (rng.standard_normal((5, 2)) for _ in range(3))
    derivatives = StepDerivatives(network, control, method())
    step = derivatives.step(0, 0.0, 0.7, f)
    moved, _ = derivatives.tangent(step, direction, df)
    before, _, bars = derivatives.adjoint(step, p)
    w = network.weights[:, None]
    varied = direction.variation(0, 0.0)
    blocks = {b.name: b.weights for b in network.blocks()}
    right = np.sum(w * df * before)
    for bar in bars:
        right += 0.7 * sum(np.sum(blocks[name] * varied[name] * bar[name]) for name in varied)
    assert np.sum(w * moved * p) == pytest.approx(right, rel=1e-12)


@both
def test_long_steps_of_a_very_stiff_equation_are_solved_again(method):
    """Its residual grows a millionfold while the corrections converge."""
    problem = stiff_problems.van_der_pol(1e-6)
    mesh = TimeMesh(0.2, 1)
    learning = LearningProblem(problem.network, problem.initial, np.zeros((2, 1)), mesh)
    control = learning.space.sample(**problem.rates)
    stepper = method(rtol=1e-5, atol=1e-5)
    value = discretize(learning, stepper).value(control)
    final = integrate(problem.network, control, problem.initial, stepper).trajectory.final
    assert value == pytest.approx(0.5 * np.sum(final**2), rel=1e-6)
