"""L-BFGS: its direction against the two loops, its runs against SciPy's L-BFGS-B, line searches."""

import math
import tracemalloc
from dataclasses import dataclass, field
from itertools import pairwise

import array_api_strict
import numpy as np
import pytest
import scipy.optimize

from continuum import Box, TimeMesh
from continuum.arrays import to_host
from continuum.blocks import Block
from continuum.controls import ControlSpace
from solvers import LBFGS, Composite, Status, discretize, minimize
from solvers.descent.lbfgs import Bounds, Pairs
from solvers.descent.line_search import FALL, FLATTER, LineSearch
from studies.datasets import load_digits, split
from studies.liu_markowich.classification import classifier, starting_control


@dataclass(eq=False)
class Given:
    """An objective in coefficients: J and its derivative, from which the gradient follows."""

    space: ControlSpace
    function: object
    evaluations: int = 0
    seen: list = field(default_factory=list)

    def value(self, control):
        return self.value_and_gradient(control)[0]

    def value_and_gradient(self, control):
        self.evaluations += 1
        x = to_host(self.space.join(control))
        value, slope = self.function(x)
        self.seen.append(x)
        weights = np.concatenate([np.broadcast_to(b.weights, b.shape) for b in self.space.trained])
        return value, self.space.views(slope / weights)


def unknowns(*sizes, weights=1.0):
    """A space of static blocks u0, u1, ... of these sizes."""
    blocks = [
        Block(f"u{k}", (n,), "static", np.broadcast_to(weights, (n,))) for k, n in enumerate(sizes)
    ]
    return ControlSpace(TimeMesh(1.0, 1), tuple(blocks))


def descend(function, space, start, method, box=None):
    objective = Given(space, function)
    run = minimize(
        Composite(objective, admissible=box),
        method,
        initial=space.views(np.array(start, dtype=float)),
        raise_on_failure=False,
    )
    return run, space.join(run.control)


def by_scipy(function, start, gtol, bounds=None, memory=20):
    """Evaluations that SciPy's L-BFGS-B needs to |P(x - g) - x| <= gtol, and where it is then."""
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    count, found = 0, []

    def counted(x):
        nonlocal count
        count += 1
        return function(x)

    def callback(intermediate_result):
        x = intermediate_result.x
        if np.linalg.norm(np.clip(x - function(x)[1], low, high) - x) <= gtol:
            found.append((count, x.copy()))
            raise StopIteration

    scipy.optimize.minimize(
        counted,
        np.clip(start, low, high),
        jac=True,
        method="L-BFGS-B",
        callback=callback,
        bounds=None if bounds is None else scipy.optimize.Bounds(low, high),
        options={"maxcor": memory, "gtol": 0.0, "ftol": 0.0, "maxiter": 5000, "maxfun": 50000},
    )
    assert found, "SciPy did not converge: choose a gtol that it reaches"
    return found[0]


def quadratic(n, condition, seed):
    """(x, Ax) / 2 - (b, x) with eigenvalues from 1 to `condition`, and A, b."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    matrix = q @ np.diag(np.geomspace(1.0, condition, n)) @ q.T
    matrix = 0.5 * (matrix + matrix.T)
    b = matrix @ rng.standard_normal(n)
    return (lambda x: (0.5 * x @ matrix @ x - b @ x, matrix @ x - b)), matrix, b


def rosenbrock(x):
    return float(scipy.optimize.rosen(x)), scipy.optimize.rosen_der(x)


def two_loops(pairs, q, weights):
    """H q of Nocedal's recursion."""
    kept = []
    for s, y in reversed(pairs):
        alpha = (weights * s) @ q / ((weights * s) @ y)
        kept.append(alpha)
        q = q - alpha * y
    s, y = pairs[-1]
    q = q * ((weights * s) @ y) / ((weights * y) @ y)
    for (s, y), alpha in zip(pairs, reversed(kept), strict=True):
        q = q + s * (alpha - (weights * y) @ q / ((weights * s) @ y))
    return q


@pytest.mark.parametrize("memory", [1, 3, 20])
def test_the_compact_form_is_the_two_loops(memory, rng):
    space = unknowns(15, 16, weights=2.5)
    weights = np.full(31, 2.5)
    memory_of_steps, known = Pairs(space.size, memory, space.dots), []
    matrix = np.diag(np.geomspace(0.1, 30.0, 31))
    for count in range(9):
        q = rng.standard_normal(31)
        d = rng.standard_normal(31)
        memory_of_steps.direction[:] = d
        memory_of_steps.change[:] = matrix @ (0.3 * d)
        refused = count == 5
        if refused:
            memory_of_steps.change[:] *= -1.0
        else:
            known = [*known, (0.3 * d, matrix @ (0.3 * d))][-memory:]
        memory_of_steps.add(0.3, 1e-12, q)
        memory_of_steps.find(q)
        assert len(memory_of_steps) == len(known)
        wanted = -two_loops(known, q, weights)
        np.testing.assert_allclose(memory_of_steps.direction, wanted, rtol=1e-11, atol=1e-12)
    memory_of_steps.clear()
    memory_of_steps.find(q)
    np.testing.assert_array_equal(memory_of_steps.direction, -q)


def searched(function, step, longest=np.inf):
    """The search along h, h' = function, and how often it asked."""
    value, slope = function(0.0)
    line, count = LineSearch(value, slope, step, longest), 0
    while not (line.done or line.failed):
        found = function(line.step)
        line.tell(*found)
        count += 1
    return line, count


LINES = {
    "quadratic": lambda t: (0.5 * (t - 3.0) ** 2, t - 3.0),
    "More and Thuente 1": lambda t: (-t / (t * t + 2.0), (t * t - 2.0) / (t * t + 2.0) ** 2),
    "steep": lambda t: (np.exp(min(8 * t, 500)) - 30 * t, 8 * np.exp(min(8 * t, 500)) - 30),
    "a large constant": lambda t: (1e6 + 0.5e-5 * (t - 3.0) ** 2, 1e-5 * (t - 3.0)),
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("step", [1e-3, 1.0, 1e3])
def test_steps_satisfy_the_strong_conditions(name, step):
    function = LINES[name]
    line, count = searched(function, step)
    assert line.done
    assert count <= 12
    value, slope = function(0.0)
    found, new = function(line.step)
    assert abs(new) <= FLATTER * abs(slope)
    if name != "a large constant":
        assert found <= value + FALL * line.step * slope


def test_the_longest_step_is_taken_where_J_still_falls():
    line, _ = searched(LINES["quadratic"], 0.01, longest=0.02)
    assert line.done
    assert line.step == 0.02


def test_the_longest_step_is_left_where_it_is_hardly_lower_than_the_start():
    def wave(x):  # falls, rises, and falls again before the bound at 1
        share, turn = 1.0 - 1e-4, 2.0 * math.pi
        value = -1e-4 * x[0] - share * math.sin(turn * x[0]) / turn
        return value, np.array([-1e-4 - share * math.cos(turn * x[0])])

    run, x = descend(wave, unknowns(1), [0.0], LBFGS(gtol=1e-8), Box(u0=(0.0, 1.0)))
    assert run.status is Status.CONVERGED
    assert x[0] == pytest.approx(math.acos(-1e-4 / (1.0 - 1e-4)) / (2.0 * math.pi), rel=1e-7)


def test_a_step_is_shortened_until_J_is_defined():
    line, count = searched(lambda t: (np.inf, np.nan) if t > 0.01 else (-t + t * t, 2 * t - 1), 1.0)
    assert line.done
    assert 0.0 < line.step <= 0.01
    assert count < 15
    assert searched(lambda t: (np.inf if t else 0.0, -1.0), 1.0)[0].failed
    assert searched(lambda t: (t, -1.0), 1.0)[0].failed  # not the derivative


@pytest.mark.parametrize("n", [4, 12])
def test_a_quadratic_takes_about_as_many_steps_as_unknowns(n):
    function, matrix, b = quadratic(n, 10.0, 0)
    run, x = descend(function, unknowns(n), np.zeros(n), LBFGS(gtol=1e-9))
    assert run.status is Status.CONVERGED
    assert run.statistics["iterations"] <= 2 * n + 6
    np.testing.assert_allclose(x, np.linalg.solve(matrix, b), rtol=0, atol=1e-9)


def test_evaluations_are_those_of_scipy_or_fewer():
    own, theirs = 0, 0
    cases = [(quadratic(n, c, 1)[0], np.zeros(n), 1e-6) for n, c in ((50, 300.0), (120, 30.0))]
    cases += [(rosenbrock, np.tile([-1.2, 1.0], n // 2), 1e-8) for n in (2, 20)]
    for function, start, relative in cases:
        gtol = relative * np.linalg.norm(function(start)[1])
        run, x = descend(function, unknowns(len(start)), start, LBFGS(gtol=gtol))
        assert run.status is Status.CONVERGED
        assert np.linalg.norm(function(x)[1]) <= gtol
        count, other = by_scipy(function, start, gtol)
        np.testing.assert_allclose(x, other, rtol=0, atol=1e-2)
        own, theirs = own + run.statistics["evaluations"], theirs + count
    assert own <= 1.1 * theirs


def test_in_boxes_as_scipy():
    """Ill-conditioned quadratics with many bounds that bind, and Rosenbrock's valley cut off."""
    own, theirs = 0, 0
    for n, condition, width, seed in [
        (50, 1e3, 0.3, 0),
        (50, 1e4, 1.0, 1),
        (200, 1e3, 0.3, 3),
    ]:
        function, matrix, b = quadratic(n, condition, seed)
        sides = (-width, 0.7 * width), (-0.4 * width, np.inf)
        low, high = (np.repeat([s[k] for s in sides], n // 2) for k in (0, 1))
        gtol = 1e-6 * np.linalg.norm(b)
        box = Box(u0=sides[0], u1=sides[1])
        run, x = descend(function, unknowns(n // 2, n // 2), np.zeros(n), LBFGS(gtol=gtol), box)
        assert run.status is Status.CONVERGED
        assert np.linalg.norm(np.clip(x - matrix @ x + b, low, high) - x) <= gtol
        r = np.linalg.cholesky(matrix).T
        exact = scipy.optimize.lsq_linear(
            r, np.linalg.solve(r.T, b), bounds=(low, high), tol=1e-14, method="bvls"
        ).x
        assert 5 <= np.sum((exact == low) | (exact == high)) < n
        np.testing.assert_allclose(x, exact, rtol=0, atol=2.0 * gtol)
        count, _ = by_scipy(function, np.zeros(n), gtol, (low, high))
        own, theirs = own + run.statistics["evaluations"], theirs + count
    start = np.tile([-1.2, 1.0], 10)
    for low, high in ((-1.5, 0.8), (-0.5, 0.5)):
        run, x = descend(rosenbrock, unknowns(20), start, LBFGS(gtol=1e-6), Box(u0=(low, high)))
        assert run.status is Status.CONVERGED
        count, other = by_scipy(rosenbrock, start, 1e-6, (low, high))
        assert rosenbrock(x)[0] == pytest.approx(rosenbrock(other)[0], rel=1e-9)
        own, theirs = own + run.statistics["evaluations"], theirs + count
    assert own <= 1.1 * theirs


def test_bounds_need_not_be_left_where_they_bind_at_the_start():
    """Started in the wrong corner, and where an interval is one point."""
    function, matrix, b = quadratic(40, 1e3, 5)
    box = Box(u0=(-1.0, 1.0), u1=(0.2, 0.2))
    low, high = np.repeat([-1.0, 0.2], [30, 10]), np.repeat([1.0, 0.2], [30, 10])
    for corner in (low, high):
        run, x = descend(function, unknowns(30, 10), corner, LBFGS(gtol=1e-6), box)
        assert run.status is Status.CONVERGED
        assert np.linalg.norm(np.clip(x - matrix @ x + b, low, high) - x) <= 1e-6
        assert np.all((x >= low) & (x <= high))


def test_bounds_in_numpy(rng):
    low, high = np.repeat([-1.0, -np.inf, 0.0], [4, 3, 5]), np.repeat([1.0, np.inf, 2.0], [4, 3, 5])
    bounds, out = Bounds([(0, 4, -1.0, 1.0), (7, 12, 0.0, 2.0)]), np.empty(12)
    for _ in range(20):
        x = np.clip(3.0 * rng.standard_normal(12), low, high)
        g, d = rng.standard_normal((2, 12))
        bounds.step(x, g, out)
        np.testing.assert_allclose(out, np.clip(x - g, low, high) - x, rtol=0, atol=1e-15)
        bounds.held(x, g, out, 0.0)
        fixed = ((x == low) & (g > 0.0)) | ((x == high) & (g < 0.0))
        np.testing.assert_array_equal(out, np.where(fixed, 0.0, g))
        bounds.cut(x, 0.5, d, d)
        y = g.copy()
        bounds.forget_fixed(x, d, y)
        np.testing.assert_array_equal(y == 0.0, (d == 0.0) & ((x == low) | (x == high)))
        reach = bounds.reach(x, d)
        assert reach >= 1.0
        if np.isfinite(reach):
            assert np.all((x + reach * d >= low - 1e-14) & (x + reach * d <= high + 1e-14))
            beyond = x + 1.001 * reach * d
            assert reach == 1.0 or np.any((beyond < low) | (beyond > high))


def test_a_start_that_is_a_saddle_stays():
    run, x = descend(
        lambda x: (float(x[1] ** 2 - x[0] ** 2), np.array([-2 * x[0], 2 * x[1]])),
        unknowns(2),
        [0.0, 0.0],
        LBFGS(),
    )
    assert run.status is Status.CONVERGED
    np.testing.assert_array_equal(x, 0.0)


def test_steps_out_of_the_domain_are_taken_back():
    """sum x - log x, +infinity for x <= 0."""

    def barrier(x):
        if np.any(x <= 0.0):
            return np.inf, np.full_like(x, np.nan)
        return float(np.sum(c * x - np.log(x))), c - 1.0 / x

    c = np.geomspace(0.1, 100.0, 6)
    run, x = descend(barrier, unknowns(6), np.full(6, 5.0), LBFGS(gtol=1e-8))
    assert run.status is Status.CONVERGED
    np.testing.assert_allclose(x, 1.0 / c, rtol=1e-6)


@pytest.mark.parametrize("box", [None, Box(u0=(-0.5, 0.9))])
def test_gradients_are_followed_where_values_cancel(box):
    """J = 1e6 + a quadratic: its values know 1e-10, its gradient much more."""
    function, matrix, b = quadratic(20, 100.0, 2)

    def shifted(x):
        value, slope = function(x)
        return value + 1e6, slope

    run, x = descend(shifted, unknowns(20), np.zeros(20), LBFGS(gtol=1e-11), box)
    assert run.status is Status.CONVERGED
    if box is None:
        np.testing.assert_allclose(x, np.linalg.solve(matrix, b), rtol=0, atol=1e-11)


def test_what_rounding_allows_is_the_end():
    function, _, _ = quadratic(20, 100.0, 2)
    run, _ = descend(function, unknowns(20), np.zeros(20), LBFGS(gtol=1e-300))
    assert run.status is Status.LINE_SEARCH_FAILED
    assert run.history["gradient_norm"].min() <= 1e-11


def test_a_gradient_that_is_none_ends_the_run():
    run, x = descend(lambda x: (float(x @ x), -2.0 * x), unknowns(3), np.ones(3), LBFGS(gtol=1e-8))
    assert run.status is Status.LINE_SEARCH_FAILED
    np.testing.assert_array_equal(x, 1.0)


def test_the_control_goes_back_to_where_it_was():
    function, matrix, b = quadratic(10, 10.0, 0)
    space = unknowns(10)
    start = space.views(array_api_strict.zeros(10))
    run = minimize(Given(space, function), LBFGS(gtol=1e-8), initial=start)
    assert type(run.control["u0"]) is type(start["u0"])
    np.testing.assert_allclose(
        to_host(run.control["u0"]), np.linalg.solve(matrix, b), rtol=0, atol=1e-8
    )


def test_iterations_make_no_long_arrays():
    """Once the memory is full; the objective writes its gradient where it is told."""
    size, peaks = 200_000, []
    scale = np.linspace(1.0, 50.0, size)

    class Diagonal:
        space = unknowns(size)

        def value(self, control):
            raise AssertionError

        def value_and_gradient(self, control, *, out=None):
            peaks.append(tracemalloc.get_traced_memory())
            x = control["u0"]
            slope = np.multiply(x, scale, out=out["u0"])
            value = 0.5 * float(x @ slope)
            slope -= 1.0
            value -= float(np.sum(x))
            tracemalloc.reset_peak()
            return value, out

    for box in (None, Box(u0=(-1.0, 0.3))):
        peaks.clear()
        tracemalloc.start()
        minimize(
            Composite(Diagonal(), admissible=box),
            LBFGS(memory=3, gtol=1e-9, max_iterations=12),
            raise_on_failure=False,
        )
        tracemalloc.stop()
        assert len(peaks) >= 12
        for (before, _), (_, peak) in pairwise(peaks[7:]):
            assert peak - before < 0.5 * 8 * size


def test_digits_as_scipy():
    """The classifier of the studies, small, from two starts: no more than a tenth more."""
    data = load_digits()
    samples = split(data.inputs, data.labels, 100, 0)
    problem = classifier(8, 2, 2.0, 1e-2, samples.train, samples.train_labels)
    objective, space = discretize(problem), problem.space

    def flat(x):
        value, gradient = objective.value_and_gradient(space.unflatten(x))
        return value, space.flatten(gradient)

    own, theirs = 0, 0
    for seed in range(2):
        start = starting_control(problem, seed)
        run = minimize(problem, LBFGS(gtol=1e-2), initial=start)
        count, x = by_scipy(flat, space.flatten(start), 1e-2)
        assert run.objective == pytest.approx(flat(x)[0], rel=5e-3)  # J has many minima
        own, theirs = own + run.statistics["evaluations"], theirs + count
    assert own <= 1.1 * theirs
