"""Every method against an independent answer on quadratics: linear solves, SciPy's bounded solver,
enumeration.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import scipy.optimize

from continuum import (
    L1,
    Affine,
    Ball,
    Box,
    CrossEntropy,
    FiniteSet,
    Interval,
    L1Ball,
    LearningProblem,
    NormBall,
    SobolevPenalty,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    tanh,
)
from solvers import (
    LBFGS,
    Adam,
    Composite,
    FrankWolfe,
    GradientDescent,
    Heun,
    Nesterov,
    NewtonCG,
    SolveError,
    Status,
    discretize,
    minimize,
)

GRID = gauss_legendre(Interval(0, 2), 3)
SPACE = WidthDepth(GRID, tanh).controls(TimeMesh(2.0, 2))
FREE = {
    "gradient descent": GradientDescent(gtol=1e-8),
    "Nesterov": Nesterov(gtol=1e-8),
    "Nesterov, function restart": Nesterov(gtol=1e-8, restart="function"),
    "Nesterov, no restart": Nesterov(gtol=1e-8, restart="none"),
    "Adam": Adam(gtol=1e-6, step=lambda epoch: 0.1 * 0.99**epoch, decays=(0.9, 0.99)),
    "L-BFGS": LBFGS(gtol=1e-6),
    "Newton-CG": NewtonCG(gtol=1e-6),
}
PROJECTED = {
    name: FREE[name]
    for name in ("gradient descent", "Nesterov", "Nesterov, function restart", "Adam")
}
SAMPLES = 8


@dataclass(frozen=True, eq=False)
class Quadratic:
    """J(x) = (x, Ax) / 2 - (b, x), b the mean of the columns of `data`, in flat coordinates."""

    data: np.ndarray
    matrix: np.ndarray
    space: object = field(default=SPACE)
    samples: int = SAMPLES

    def value(self, control):
        x = self.space.flatten(control)
        return 0.5 * x @ self.matrix @ x - self.data.mean(axis=1) @ x

    def value_and_gradient(self, control):
        x = self.space.flatten(control)
        return self.value(control), self.space.unflatten(self.matrix @ x - self.data.mean(axis=1))

    def hvp(self, control, direction):
        return self.space.unflatten(self.matrix @ self.space.flatten(direction))

    def batch(self, indices, rng=None):
        return Quadratic(self.data[:, indices], self.matrix, self.space)


def quadratic(condition=30.0, space=SPACE, scale=1.0):
    rng = np.random.default_rng(7)
    q = np.linalg.qr(rng.standard_normal((space.size, space.size)))[0]
    matrix = q @ np.diag(np.geomspace(1.0, condition, space.size)) @ q.T
    return Quadratic(scale * rng.standard_normal((space.size, SAMPLES)) * 3, matrix, space)


def bounded(objective, bounds):
    """SciPy's bounded-variable least squares for the same quadratic: |R x - R^-T b|^2 / 2, A = R^T
    R.
    """
    r = np.linalg.cholesky(objective.matrix).T
    right = np.linalg.solve(r.T, objective.data.mean(axis=1))
    found = scipy.optimize.lsq_linear(r, right, bounds=bounds, tol=1e-14, method="bvls")
    assert found.success
    return found.x


def flat_bounds(box):
    return [
        SPACE.flatten(SPACE.sample(**{n: pair[side] for n, pair in box.bounds.items()}))
        for side in (0, 1)
    ]


@pytest.mark.parametrize("method", FREE.values(), ids=FREE.keys())
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_the_minimum_of_a_quadratic_is_the_linear_solve(method, scale):
    objective = quadratic(scale=scale)
    best = minimize(objective, method, initial=SPACE.sample(bias=1.0))
    exact = np.linalg.solve(objective.matrix, objective.data.mean(axis=1))
    assert best.status is Status.CONVERGED
    np.testing.assert_allclose(SPACE.flatten(best.control), exact, rtol=0, atol=method.gtol)
    assert best.history["gradient_norm"][-1] <= method.gtol < best.history["gradient_norm"][-2]
    assert best.objective == pytest.approx(-0.5 * objective.data.mean(axis=1) @ exact, rel=1e-10)


@pytest.mark.parametrize(
    "method", [*PROJECTED.values(), FREE["L-BFGS"]], ids=[*PROJECTED, "L-BFGS"]
)
def test_in_a_box_against_scipy(method):
    objective, box = quadratic(), Box(bias=(-0.1, 0.2), kernel=(-0.3, 0.05))
    exact = bounded(objective, flat_bounds(box))
    best = minimize(Composite(objective, admissible=box), method)
    np.testing.assert_allclose(SPACE.flatten(best.control), exact, rtol=0, atol=1e-6)
    assert (
        4
        <= sum(np.isclose(x, b, rtol=0, atol=1e-9).sum() for x in [exact] for b in flat_bounds(box))
        < SPACE.size
    )
    assert box.contains(best.control, 1e-15)


@pytest.mark.parametrize("name", ["gradient descent", "Nesterov", "Nesterov, function restart"])
def test_L1_is_soft_thresholding(name):
    """A = identity: the minimiser is soft(b, strength), b as values of the control; with a Box,
    that clipped.
    """
    objective = Quadratic(quadratic().data, np.eye(SPACE.size))
    b = SPACE.unflatten(objective.data.mean(axis=1))
    for admissible in (None, Box(kernel=(-0.4, 0.3), bias=(0.1, 2.0))):
        best = minimize(Composite(objective, L1(0.5), admissible), FREE[name])
        for block in ("bias", "kernel"):
            want = np.sign(b[block]) * np.maximum(abs(b[block]) - 0.5, 0)
            if admissible is not None:
                want = np.clip(want, *admissible.bounds[block])
            np.testing.assert_allclose(best.control[block], want, rtol=0, atol=1e-6)
        assert np.any(best.control["kernel"] == 0.0)


@pytest.mark.parametrize("name", ["gradient descent", "Nesterov", "Nesterov, function restart"])
def test_L1_in_a_box_against_the_split_quadratic(name):
    """x = p - q with p, q >= 0, |x| = p + q: a bounded quadratic that SciPy's L-BFGS-B solves on
    its own.
    """
    objective, box = quadratic(), Box(kernel=(-0.3, 0.2))
    weights = SPACE.flatten(SPACE.sample(bias=1.0, kernel=1.0))  # |x|_1 = sum root |flat x|
    b, n = objective.data.mean(axis=1), SPACE.size
    free = SPACE.flatten(SPACE.sample(bias=1e3, kernel=0.2))
    low = SPACE.flatten(SPACE.sample(bias=1e3, kernel=0.3))

    def split(z):
        x = z[:n] - z[n:]
        slope = objective.matrix @ x - b
        value = 0.5 * x @ objective.matrix @ x - b @ x + 0.7 * weights @ (z[:n] + z[n:])
        return value, np.concatenate([slope + 0.7 * weights, -slope + 0.7 * weights])

    found = scipy.optimize.minimize(
        split,
        np.zeros(2 * n),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(np.zeros(2 * n), [*free, *low], strict=True)),
        options={"ftol": 0.0, "gtol": 1e-10, "maxiter": 5000},
    )
    best = minimize(Composite(objective, L1(0.7), box), FREE[name])
    assert best.objective == pytest.approx(found.fun, rel=1e-12)
    np.testing.assert_allclose(
        SPACE.flatten(best.control), found.x[:n] - found.x[n:], rtol=0, atol=1e-6
    )


def test_rows_that_do_not_help_vanish():
    objective = quadratic()
    best = minimize(Composite(objective, L1(1.0, ["kernel"], "rows")), FREE["Nesterov"])
    empty = np.all(best.control["kernel"] == 0.0, axis=-1)
    assert 0 < empty.sum() < empty.size
    gradient = objective.value_and_gradient(best.control)[1]
    w = GRID.weights
    size = np.sqrt(np.sum(w * best.control["kernel"] ** 2, axis=-1, keepdims=True) / 2.0)
    for layer, row in np.argwhere(~empty):  # stationarity: g + x / size = 0 row by row
        np.testing.assert_allclose(
            gradient["kernel"][layer, row],
            -best.control["kernel"][layer, row] / size[layer, row],
            rtol=0,
            atol=1e-6,
        )
    assert np.all(np.sqrt(np.sum(w * gradient["kernel"][empty] ** 2, axis=-1) / 2.0) <= 1.0 + 1e-9)


BOUNDED = {
    "box": Box(bias=(-0.1, 0.2), kernel=(-0.3, 0.05)),
    "disc": Ball(0.3),
    "L1": L1Ball(bias=0.4, kernel=0.3),
    "norm": NormBall(bias=0.2, kernel=0.3),
    "product": L1Ball(kernel=0.3) & Box(bias=(-0.1, 0.2)),
}


@pytest.mark.parametrize("admissible", BOUNDED.values(), ids=BOUNDED.keys())
def test_methods_agree_on_every_set(admissible):
    problem = Composite(quadratic(), admissible=admissible)
    values = [minimize(problem, FREE[name]).objective for name in ("gradient descent", "Nesterov")]
    assert values[0] == pytest.approx(values[1], rel=1e-11)
    run = minimize(problem, FrankWolfe(gtol=1e-2, line_search="exact", max_iterations=3000))
    assert run.status is Status.GAP_CLOSED
    assert 0 <= run.objective - values[0] <= run.history["gap"][-1] <= 1e-2
    assert admissible.contains(run.control, 1e-12)


@pytest.mark.parametrize("line_search", ["armijo", "exact"])
def test_the_gap_of_frank_wolfe_falls_like_one_over_k(line_search):
    """J(x_k) - J* <= 2 C / (k + 2), min over i <= k of gap_i <= 6.75 C / (k + 2), C = L diameter^2
    (Jaggi, 2013).

    C is at least what exact line search needs; Armijo's steps are within a factor 2 of it.
    """
    objective, box = quadratic(), BOUNDED["box"]
    curvature = 30.0 * np.sum((flat_bounds(box)[1] - flat_bounds(box)[0]) ** 2)
    exact = bounded(objective, flat_bounds(box))
    lowest = 0.5 * exact @ objective.matrix @ exact - objective.data.mean(axis=1) @ exact
    method = FrankWolfe(gtol=1e-9, max_iterations=400, line_search=line_search)
    run = minimize(Composite(objective, admissible=box), method, raise_on_failure=False)
    k = np.arange(len(run.history["gap"]))
    gaps = np.minimum.accumulate(run.history["gap"])
    assert np.all(run.history["gap"] >= run.history["objective"] - lowest - 1e-12)
    assert np.all(np.diff(run.history["objective"]) <= 1e-14)
    assert np.all(gaps[1:] <= 6.75 * curvature / (k[1:] + 2))
    assert gaps[400] <= 0.15 * gaps[20]
    assert run.status is Status.MAX_ITERATIONS


def test_frank_wolfe_ends_at_a_vertex_where_the_minimum_is_one():
    objective = Quadratic(quadratic().data * 1e3, np.eye(SPACE.size))
    run = minimize(Composite(objective, admissible=BOUNDED["box"]), FrankWolfe())
    assert run.statistics["iterations"] == 1
    assert set(np.unique(run.control["bias"])) <= {-0.1, 0.2}


def test_acceleration_and_curvature_pay():
    """At condition number 1e3: more than 2000 iterations, without restart too, 500 with it, 9 with
    curvature.
    """
    objective = quadratic(1e3)
    plain, momentum, restarted, newton = (
        minimize(objective, method, raise_on_failure=False).statistics["iterations"]
        for method in (
            GradientDescent(gtol=1e-6, max_iterations=2000),
            Nesterov(gtol=1e-6, max_iterations=2000, restart="none"),
            Nesterov(gtol=1e-6),
            NewtonCG(gtol=1e-6, radius=1e3),
        )
    )
    assert plain > 3 * restarted
    assert momentum > 2 * restarted
    assert restarted < 700
    assert newton <= 10


def test_newton_squares_the_error():
    network = WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh)
    grid = network.grid
    problem = LearningProblem(
        network,
        grid.sample(lambda y: y),
        grid.sample(np.cos),
        TimeMesh(1.0, 5),
        penalty=Tikhonov(0.02),
    )
    best = minimize(problem, NewtonCG(gtol=1e-10))
    reference = minimize(problem, LBFGS(gtol=1e-8))
    assert best.objective == pytest.approx(reference.objective, rel=1e-12)
    g = best.history["gradient_norm"]
    assert g[-1] < 1e-10
    assert g[-1] < 10 * g[-2] ** 1.5
    assert best.statistics["iterations"] < reference.statistics["iterations"]


def test_adam_on_batches_comes_near_and_does_not_claim_more():
    objective = quadratic()
    exact = np.linalg.solve(objective.matrix, objective.data.mean(axis=1))
    method = Adam(
        step=lambda epoch: 0.1 * 0.97**epoch,
        batch=3,
        rng=np.random.default_rng(5),
        max_iterations=300,
        report=50,
        gtol=1e-9,
    )
    run, again = (minimize(objective, method) for _ in range(2))
    assert run.status is Status.ITERATED
    with pytest.raises(SolveError, match="Raise max_iterations"):
        minimize(objective, replace(method, batch=None, max_iterations=5))
    np.testing.assert_array_equal(SPACE.flatten(run.control), SPACE.flatten(again.control))
    assert len(run.history["objective"]) == 7
    assert "300 epochs" in run.detail
    np.testing.assert_allclose(SPACE.flatten(run.control), exact, rtol=0, atol=0.1)
    assert run.history["gradient_norm"][-1] < 0.1 * run.history["gradient_norm"][0]
    assert run.objective == pytest.approx(objective.value(run.control), rel=1e-14)


def test_the_first_step_of_adam_is_the_sign_of_the_gradient():
    objective = quadratic()
    run = minimize(objective, Adam(step=0.25, max_iterations=1), raise_on_failure=False)
    gradient = objective.value_and_gradient(SPACE.zeros())[1]
    for name in ("bias", "kernel"):
        np.testing.assert_allclose(run.control[name], -0.25 * np.sign(gradient[name]), rtol=1e-6)


def test_batches_of_a_classifier(rng):
    """Two separated clouds: batches train a network and its readout; the full objective is what is
    reported.
    """
    network = WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh)
    labels = np.arange(30) % 2
    data = 0.1 * rng.standard_normal((4, 30)) + np.where(labels, 0.5, -0.5)
    problem = LearningProblem(
        network,
        data,
        labels,
        TimeMesh(1.0, 3),
        readout=Affine(2),
        terminal=CrossEntropy(),
        penalty=Tikhonov(1e-3),
    )
    run = minimize(
        problem, Adam(step=0.05, batch=8, max_iterations=40, report=10), raise_on_failure=False
    )
    assert run.objective == pytest.approx(discretize(problem).value(run.control), rel=1e-14)
    assert run.objective < 0.3 * run.history["objective"][0]


@pytest.mark.parametrize(
    "method", [LBFGS(gtol=1e-7), Nesterov(gtol=1e-7), NewtonCG(gtol=1e-7)], ids=type
)
@pytest.mark.parametrize("norm", ["L2", "H1"])
def test_the_product_of_the_space_changes_the_path_not_the_minimum(method, norm):
    """x' = a from 0 to 1 with int a^2 + a'^2 penalised: a is constant, a = 1 / (1 + 2 lambda), in
    any product.
    """
    network = WidthDepth(gauss_legendre(Interval(0, 1), 3), identity)
    space = network.controls(TimeMesh(1.0, 6), in_time="nodes", norm=norm, fixed={"kernel": 0.0})
    problem = LearningProblem(
        network, np.zeros((3, 1)), np.ones((3, 1)), space, penalty=SobolevPenalty(0.1)
    )
    start = space.sample(bias=lambda y, t: np.sin(9 * t) + 0 * y)
    best = minimize(discretize(problem, Heun()), method, initial=start)
    np.testing.assert_allclose(best.control["bias"], 1 / 1.2, rtol=0, atol=1e-6)
    assert best.objective == pytest.approx(0.1 / 1.2, rel=1e-12)
    if norm == "H1":  # the penalty's Hessian is 0.2 times the identity there
        assert best.statistics["iterations"] <= 40


def test_a_finite_set_is_left_to_gradient_descent():
    objective = Quadratic(quadratic().data, np.eye(SPACE.size))
    b = SPACE.unflatten(objective.data.mean(axis=1))
    ternary = FiniteSet(kernel=(-1, 0, 1))
    best = minimize(Composite(objective, admissible=ternary), GradientDescent())
    np.testing.assert_array_equal(best.control["kernel"], np.clip(np.round(b["kernel"]), -1, 1))
    np.testing.assert_allclose(best.control["bias"], b["bias"], rtol=0, atol=1e-6)


def test_a_problem_with_L1_is_split():
    network = WidthDepth(gauss_legendre(Interval(0, 1), 3), identity)
    space = network.controls(TimeMesh(1.0, 2), fixed={"kernel": 0.0})
    for strength, want in (
        (0.1, (1 - 0.1) / 1.2),
        (1.5, 0.0),
    ):  # (a - 1) + 0.2 a + strength sign(a) = 0
        problem = LearningProblem(
            network, np.zeros((3, 1)), np.ones((3, 1)), space, penalty=Tikhonov(0.1) + L1(strength)
        )
        for method in (GradientDescent(gtol=1e-9), Nesterov(gtol=1e-9)):
            best = minimize(problem, method)
            np.testing.assert_allclose(best.control["bias"], want, rtol=0, atol=1e-8)
            assert best.objective == pytest.approx(
                discretize(problem).value(best.control), rel=1e-13
            )


@pytest.mark.parametrize(
    ("problem", "method", "words"),
    [
        (
            {"admissible": Ball()},
            LBFGS(),
            r"LBFGS cannot treat Ball\(1, .*; use a Box, or GradientDescent\(\)",
        ),
        (
            {"penalty": L1(0.1)},
            LBFGS(),
            r"LBFGS cannot treat L1\(.*; use GradientDescent\(\) or Nesterov\(\)",
        ),
        (
            {"admissible": Box(bias=(0, 1))},
            NewtonCG(),
            r"NewtonCG cannot treat Box.*; use LBFGS\(\) for a Box",
        ),
        ({"penalty": L1(0.1)}, NewtonCG(), "NewtonCG cannot treat L1"),
        ({"penalty": L1(0.1)}, Adam(), "Adam cannot treat L1"),
        (
            {"admissible": FiniteSet(bias=(0, 1))},
            Adam(),
            r"Adam cannot treat FiniteSet.*; use GradientDescent\(\)",
        ),
        ({"admissible": FiniteSet(bias=(0, 1))}, Nesterov(), "Nesterov cannot treat FiniteSet"),
        ({}, FrankWolfe(), "a bounded set for every trained block, bias, kernel has none"),
        ({"admissible": Box(bias=(0, 1))}, FrankWolfe(), "kernel has none"),
        (
            {"admissible": Box(bias=(0, 1), kernel=(0, np.inf))},
            FrankWolfe(),
            "FrankWolfe cannot treat Box",
        ),
        (
            {"admissible": FiniteSet(bias=(0, 1), kernel=(0, 1))},
            FrankWolfe(),
            "FrankWolfe cannot treat FiniteSet",
        ),
        (
            {"penalty": L1(0.1), "admissible": BOUNDED["box"]},
            FrankWolfe(),
            "FrankWolfe cannot treat L1",
        ),
        ({"penalty": L1(0.1), "admissible": Ball()}, Nesterov(), "no proximal map is known for L1"),
        (
            {"penalty": L1(0.1, groups="rows"), "admissible": BOUNDED["box"]},
            Nesterov(),
            "L1 by entries in a Box has",
        ),
        (
            {"penalty": L1(0.1, groups="joint") + Tikhonov(0.1, ["bias"])},
            Nesterov(),
            "no proximal map is known for .* together, which share",
        ),
    ],
)
def test_what_a_method_cannot_treat(problem, method, words):
    with pytest.raises(TypeError, match=words):
        minimize(Composite(quadratic(), **problem), method)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: minimize(3, LBFGS()),
            "objective must be a LearningProblem, an Objective or a Composite, got 3",
        ),
        (
            lambda: minimize(quadratic(), Adam(batch=9)),
            "batch must be at most the number of samples, 8, got 9",
        ),
        (lambda: Adam(batch=0), "batch must be at least 1"),
        (lambda: Adam(step=-1.0), "step must be finite and positive"),
        (
            lambda: minimize(quadratic(), Adam(step=lambda epoch: -1.0)),
            "step must be finite and positive",
        ),
        (lambda: Adam(decays=(1.0, 0.9)), "decays must be two numbers"),
        (lambda: Adam(report=0), "report must be at least 1"),
        (lambda: Adam(epsilon=0.0), "epsilon must be finite and positive"),
        (lambda: Nesterov(restart="never"), "unknown restart 'never'"),
        (lambda: Nesterov(initial_step=0.0), "initial_step"),
        (lambda: FrankWolfe(line_search="wolfe"), "unknown line_search 'wolfe'"),
        (lambda: NewtonCG(radius=0.0), "radius must be finite and positive"),
        (lambda: Composite(quadratic(), admissible=Box(bais=(0, 1))), "Did you mean 'bias'"),
        (lambda: Composite(quadratic(), L1(1.0, ["kernal"])), "Did you mean 'kernel'"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
