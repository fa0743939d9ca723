"""Steps that nobody searches: the iteration itself, to rounding, and how it ends."""

import re
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from continuum import L1, Box, NeuralODE2, TimeMesh, identity
from solvers import (
    Composite,
    EverySteps,
    FixedStep,
    Interrupted,
    Monitor,
    Record,
    SolveError,
    Status,
    SteppedObjective,
    Stop,
    discretize,
    minimize,
)
from solvers.linear_networks import as_control, deep_linear, matrices

SPACE = NeuralODE2(1, identity).controls(TimeMesh(1.0, 1))
"""Two unknowns, whose flat coordinates are their values."""


@dataclass(eq=False)
class Smooth:
    """J = a mean over samples of sum_i slopes_i (x_i - c_im)^2 / 2 + fourth |x|^4 / 4."""

    slopes: np.ndarray
    data: np.ndarray = field(default_factory=lambda: np.zeros((2, 1)))
    fourth: float = 0.0
    space: object = SPACE
    calls: int = 0

    @property
    def samples(self):
        return self.data.shape[1]

    def batch(self, indices, rng=None):
        return replace(self, data=self.data[:, indices])

    def value(self, control):
        return self.value_and_gradient(control)[0]

    def value_and_gradient(self, control):
        self.calls += 1
        value, gradient = self.at(SPACE.flatten(control))
        return value, SPACE.unflatten(gradient)

    def hvp(self, control, direction):
        raise NotImplementedError

    def at(self, x):
        apart = x[:, None] - self.data
        value, gradient = 0.5 * np.mean(self.slopes @ apart**2), self.slopes * apart.mean(axis=1)
        if self.fourth:
            value += 0.25 * self.fourth * np.sum(x * x) ** 2
            gradient += self.fourth * np.sum(x * x) * x
        return value, gradient


class Stepped(Smooth):
    """The same with many steps in one call; `asked` says how many at a time."""

    def fixed_steps(self, x, before, step, momentum, first, count):
        values, norms = np.empty(count), np.empty(count)
        self.asked = [*getattr(self, "asked", []), (first, count)]
        for i in range(count):
            beta = max(first + i - 1, 0) / (first + i + 2) if momentum is None else momentum
            y = x + beta * (x - before)
            values[i], g = self.at(y)
            norms[i] = np.sqrt(np.sum(g * g))
            before, x = x, y - step * g
        return x, before, values, norms


def descend(objective, method, start=(1.0, 1.0), **options):
    options.setdefault("raise_on_failure", False)
    return minimize(objective, method, initial=SPACE.unflatten(np.array(start)), **options)


def flat(solution):
    return SPACE.flatten(solution.control)


def by_hand(objective, step, beta, count, project=lambda x: x, start=(1.0, 1.0)):
    x = before = np.array(start)
    path = [x]
    for k in range(count):
        y = x + beta(k) * (x - before)
        before, x = x, project(y - step * objective.at(y)[1])
        path.append(x)
    return np.array(path)


BETAS = {
    None: lambda k: 0.0,
    0.9: lambda k: 0.9,
    "nesterov": lambda k: max(k - 1, 0) / (k + 2),
}


@pytest.mark.parametrize("momentum", BETAS)
@pytest.mark.parametrize("low", [None, 0.3])
def test_it_is_the_iteration(momentum, low):
    objective = Smooth(np.array([1.0, 4.0]), np.array([[0.5], [-2.0]]), 0.1)
    method = FixedStep(0.05, momentum=momentum, max_iterations=7, gtol=1e-14)
    given, project = objective, lambda x: x
    if low is not None:
        given = Composite(objective, admissible=Box(weight=(low, np.inf), bias=(low, np.inf)))
        project = lambda x: np.maximum(x, low)  # noqa: E731
    path = by_hand(objective, 0.05, BETAS[momentum], 7, project)
    solution = descend(given, method)
    assert solution.status is Status.MAX_ITERATIONS
    np.testing.assert_allclose(flat(solution), path[-1], rtol=1e-14)
    values = [objective.at(x)[0] for x in path]
    np.testing.assert_allclose(solution.history["objective"], values, rtol=1e-14)
    gradients = [np.linalg.norm(project(x - objective.at(x)[1]) - x) for x in path]
    np.testing.assert_allclose(solution.history["gradient_norm"], gradients, rtol=1e-13)
    assert solution.statistics["iterations"] == 7


def test_nesterov_begins_with_two_plain_steps_and_then_with_a_quarter():
    objective = Smooth(np.array([1.0, 1.0]))
    method = FixedStep(0.5, momentum="nesterov", max_iterations=3)
    np.testing.assert_allclose(flat(descend(objective, method)), [0.09375] * 2, rtol=1e-15)


def test_rows_of_a_run_with_momentum():
    objective = Smooth(np.array([1.0, 4.0]))
    method = FixedStep(0.05, momentum=0.5, max_iterations=7, report=3, gtol=1e-14)
    solution = descend(objective, method)
    path = by_hand(objective, 0.05, lambda k: 0.5, 7)
    kept = [objective.at(path[k])[0] for k in (0, 3, 6, 7)]
    np.testing.assert_allclose(solution.history["objective"], kept, rtol=1e-14)
    assert solution.statistics["iterations"] == 7
    assert solution.statistics["evaluations"] == objective.calls == 7 + 4
    assert "after 7 iterations" in solution.detail


def test_a_step_may_depend_on_the_iterate():
    objective = Smooth(np.array([1.0, 4.0]))
    seen = []

    def step(k, control):
        seen.append((k, SPACE.flatten(control)))
        return 0.1 / (k + 1)

    solution = descend(objective, FixedStep(step, max_iterations=3, gtol=1e-14))
    x = np.ones(2)
    for k, (number, at) in enumerate(seen):
        assert number == k
        np.testing.assert_allclose(at, x, rtol=1e-15)
        x = x - 0.1 / (k + 1) * objective.at(x)[1]
    assert len(seen) == 3
    np.testing.assert_allclose(flat(solution), x, rtol=1e-15)


def test_batches_are_those_of_the_generator(rng):
    objective = Smooth(np.array([1.0, 4.0]), rng.standard_normal((2, 5)))
    method = FixedStep(
        0.05,
        momentum="nesterov",
        batch=2,
        rng=np.random.default_rng(3),
        max_iterations=4,
        report=3,
        gtol=1e-14,
    )
    first, again = descend(objective, method), descend(objective, method)
    np.testing.assert_array_equal(flat(first), flat(again))
    draws, x, before, k, values = np.random.default_rng(3), np.ones(2), np.ones(2), 0, []
    for epoch in range(5):
        if epoch in (0, 3, 4):
            values.append(objective.at(x)[0])
        order = draws.permutation(5)
        for part in (order[:2], order[2:4], order[4:]) if epoch < 4 else ():
            y = x + max(k - 1, 0) / (k + 2) * (x - before)
            before, x, k = x, y - 0.05 * objective.batch(part).at(y)[1], k + 1
    np.testing.assert_allclose(flat(first), x, rtol=1e-14)
    np.testing.assert_allclose(first.history["objective"], values, rtol=1e-14)
    assert first.status is Status.ITERATED
    assert first.statistics["iterations"] == 4
    assert "4 epochs" in first.detail


def test_terms_without_a_gradient_are_met_by_their_proximal_map():
    """J = (x - 3)^2 / 2 + |x| in both unknowns: x = 2, by soft thresholding."""
    objective = Smooth(np.ones(2), np.full((2, 1), 3.0))
    solution = descend(Composite(objective, L1(1.0)), FixedStep(0.3, gtol=1e-12))
    assert solution.status is Status.CONVERGED
    np.testing.assert_allclose(flat(solution), 2.0, rtol=0, atol=1e-11)
    one = descend(Composite(objective, L1(1.0)), FixedStep(0.3, max_iterations=1))
    x = 1.0 + 0.3 * 2.0 - 0.3
    np.testing.assert_allclose(flat(one), x, rtol=1e-15)
    assert one.history["objective"][-1] == pytest.approx((x - 3.0) ** 2 + 2.0 * x, rel=1e-14)


@pytest.mark.parametrize("kind", [Smooth, Stepped])
@pytest.mark.parametrize("momentum", [None, 0.5])
def test_a_step_too_long_is_said_to_be(kind, momentum):
    """Step 1 on slopes 1e30: J overflows after five steps, and the last iterate before that is
    returned.
    """
    objective = kind(np.array([1e30, 1e30]))
    with pytest.raises(SolveError, match="became infinite or NaN in mid-run") as caught:
        descend(objective, FixedStep(1.0, momentum=momentum), raise_on_failure=True)
    solution = caught.value.solution
    assert solution.status is Status.NON_FINITE_OBJECTIVE
    assert "not finite after 5 steps" in solution.detail
    assert len(solution.history["objective"]) == 5
    assert np.all(np.isfinite(solution.history["objective"]))
    path = by_hand(objective, 1.0, lambda k: momentum or 0.0, 4)
    np.testing.assert_allclose(flat(solution), path[-1], rtol=1e-13)


def test_a_start_that_is_not_finite():
    solution = descend(Stepped(np.array([1.0, 1.0])), FixedStep(0.1), start=(1e200, 1.0))
    assert solution.status is Status.NON_FINITE_START


def test_the_last_iterate_is_returned_not_the_best():
    objective = Smooth(np.array([1.0, 2.0]))
    solution = descend(objective, FixedStep(1.1, max_iterations=4, gtol=1e-14))
    history = solution.history["objective"]
    assert history[-1] > history.min()
    assert solution.objective == history[-1] == objective.at(flat(solution))[0]


def test_interruption_carries_the_last_iterate():
    class Stopped(Smooth):
        def value_and_gradient(self, control):
            if self.calls == 5:
                raise KeyboardInterrupt
            return super().value_and_gradient(control)

    objective = Stopped(np.array([1.0, 4.0]))
    with pytest.raises(Interrupted) as caught:
        descend(objective, FixedStep(0.05))
    found = caught.value.solution
    np.testing.assert_allclose(flat(found), by_hand(objective, 0.05, BETAS[None], 4)[-1])


def test_monitors_see_every_row():
    objective = Stepped(np.array([1.0, 4.0]))
    record = Monitor(Record("size", lambda s: float(np.abs(s.state).max())), EverySteps(2))
    stop = Monitor(Stop(lambda s: s.step >= 4, "enough"), EverySteps(1))
    solution = descend(objective, FixedStep(0.05), monitors=[record, stop])
    assert solution.status is Status.STOPPED
    path = by_hand(objective, 0.05, BETAS[None], 4)
    np.testing.assert_allclose(solution.history["size"], np.abs(path[::2]).max(axis=1), rtol=1e-15)


# Period two


def products(control):
    return np.prod(matrices(control))


@pytest.mark.parametrize("limit", [1000, 1007, 1500])
def test_period_two(limit):
    """NS-03: L = 2, lambda = 1, step 1.02 from (1.01, 1)."""
    problem = deep_linear(1.0, 2)
    start = as_control(problem, np.array([1.01, 1.0])[:, None, None])
    method = FixedStep(1.02, max_iterations=limit)
    with pytest.raises(SolveError, match="Period two") as caught:
        minimize(problem, method, initial=start)
    solution = caught.value.solution
    assert solution.status is Status.PERIOD_TWO
    following = FixedStep(1.02, max_iterations=1)
    other = minimize(problem, following, initial=solution.control, raise_on_failure=False)
    pair = sorted([products(solution.control), products(other.control)])
    np.testing.assert_allclose(pair, [0.8512015012, 1.1291906557], rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", [Smooth, Stepped])
@pytest.mark.parametrize("factor", [0.999, 1.0001, 1 - 4e-9])
def test_slow_oscillations_are_no_period_two(kind, factor):
    """x_{k+1} = -factor x_k: it falls or grows, if slowly."""
    objective = kind(np.array([1.0, 0.5]))
    solution = descend(objective, FixedStep(1.0 + factor, max_iterations=1100))
    assert solution.status is Status.MAX_ITERATIONS
    assert flat(solution)[0] == pytest.approx(factor**1100, rel=1e-6)


def test_a_slow_drift_beside_an_oscillation_is_no_period_two():
    objective = Smooth(np.array([1.0, 1e-6]))
    assert descend(objective, FixedStep(2.0)).status is Status.MAX_ITERATIONS
    objective = Smooth(np.array([1.0, 0.0]))
    assert descend(objective, FixedStep(2.0)).status is Status.PERIOD_TWO


@pytest.mark.parametrize(
    ("size", "end"), [(1e-3, Status.PERIOD_TWO), (1e-8, Status.MAX_ITERATIONS)]
)
def test_how_large_an_oscillation_is_period_two(size, end):
    """Beside x_2 = 1, whose rounding is not far from 1e-9 times 1e-8."""
    objective = Smooth(np.array([1.0, 0.0]))
    method = FixedStep(2.0, gtol=1e-15, max_iterations=60)
    assert descend(objective, method, start=(size, 1.0)).status is end


def test_a_few_returns_are_no_period_two():
    """(-1)^k beside a number that doubles: to 1e-9 of the distance it returns up to k = 498, which
    is in four of the iterates that are looked at.
    """
    start = (1.0, 1.4e-9 * 2.0**-498)
    method = FixedStep(2.0, max_iterations=600)
    solution = descend(Smooth(np.array([1.0, -0.5])), method, start)
    assert solution.status is Status.MAX_ITERATIONS


def test_a_schedule_has_no_period_two():
    """A step that depends on k may end the oscillation: here it does, after 800 iterations."""
    method = FixedStep(lambda k, x: 2.0 if k < 800 else 0.5)
    assert descend(Smooth(np.array([1.0, 1.0])), method).status is Status.CONVERGED


def test_momentum_has_no_period_two():
    objective = Smooth(np.array([1.0, 1.0]))
    method = FixedStep(2.0 * 1.5, momentum=0.5)  # (1 + momentum) / slope: an eigenvalue is -1
    assert descend(objective, method).status is not Status.PERIOD_TWO


# Many steps in one call


CASES = {
    "the cap": (0.01, None, 1e-300, 1203, "MAX_ITERATIONS"),
    "converged inside": (0.02, None, 1e-7, 5000, "CONVERGED"),
    "converged near a look for period two": (0.1, None, 2.5e-23, 5000, "CONVERGED"),
    "period two": (0.5, None, 1e-6, 5000, "PERIOD_TWO"),
    "Nesterov": (0.01, "nesterov", 1e-300, 733, "MAX_ITERATIONS"),
    "momentum": (0.01, 0.9, 1e-8, 5000, "CONVERGED"),
    "not finite": (1.0, None, 1e-8, 5000, "NON_FINITE_OBJECTIVE"),
    "not finite, with momentum": (1.0, 0.5, 1e-8, 5000, "NON_FINITE_OBJECTIVE"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_many_steps_in_one_call_are_the_same_run(case):
    step, momentum, gtol, most, end = case
    slopes = np.array([1.0, 4.0])
    method = FixedStep(
        step, momentum=momentum, gtol=gtol, max_iterations=most, report=100, relative=step == 0.02
    )
    generic, many = Smooth(slopes), Stepped(slopes)
    assert isinstance(many, SteppedObjective)
    assert not isinstance(generic, SteppedObjective)
    a, b = descend(generic, method), descend(many, method)
    assert b.status is a.status is Status[end]
    for name in ("objective", "gradient_norm"):
        assert len(b.history[name]) == len(b.history["seconds"]) == len(a.history[name])
        np.testing.assert_allclose(b.history[name], a.history[name], rtol=1e-12)
    np.testing.assert_allclose(flat(b), flat(a), rtol=1e-12)
    assert np.all(np.diff(b.history["seconds"]) >= 0)
    assert b.statistics["iterations"] == a.statistics["iterations"]
    for pattern in (r"after (\d+) iterations", r"not finite after (\d+) steps"):
        assert re.findall(pattern, b.detail) == re.findall(pattern, a.detail)
    assert many.calls < 0.05 * generic.calls
    assert sum(count for _, count in many.asked) > 0.95 * a.statistics["iterations"]


def test_one_step_at_a_time_where_something_looks_on():
    for given in (
        lambda o: (Composite(o, admissible=Box(bias=(0, 2))), FixedStep(0.1)),
        lambda o: (Composite(o, L1(0.1)), FixedStep(0.1)),
        lambda o: (o, FixedStep(lambda k, x: 0.1)),
        lambda o: (o, FixedStep(0.1, batch=1)),
    ):
        objective = Stepped(np.array([1.0, 4.0]))
        descend(*given(objective))
        assert not hasattr(objective, "asked")


# Bad input


def semi():
    objective = Smooth(np.ones(2))
    objective.semi_gradient = True
    return objective


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: FixedStep(0.0), ValueError, "step must be finite and positive"),
        (lambda: FixedStep("long"), TypeError, "step must be a real number"),
        (lambda: FixedStep(0.1, momentum=1.0), ValueError, r"momentum must be in \[0, 1\)"),
        (lambda: FixedStep(0.1, momentum=-0.1), ValueError, r"momentum must be in \[0, 1\)"),
        (lambda: FixedStep(0.1, momentum="nestrov"), ValueError, "Did you mean 'nesterov'"),
        (lambda: FixedStep(0.1, batch=0), ValueError, "batch must be at least 1"),
        (lambda: FixedStep(0.1, report=0), ValueError, "report must be at least 1"),
        (lambda: FixedStep(0.1, rng=3), TypeError, "rng must be"),
        (lambda: FixedStep(0.1, 0.9), TypeError, "positional"),
        (
            lambda: descend(Smooth(np.ones(2)), FixedStep(0.1, batch=2)),
            ValueError,
            "batch must be at most the number of samples, 1",
        ),
        (
            lambda: descend(Smooth(np.ones(2)), FixedStep(lambda k, x: -1.0)),
            ValueError,
            "step must be finite and positive",
        ),
        (lambda: descend(semi(), FixedStep(0.1)), TypeError, "gives a semi-gradient"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_discretized_problems_are_objectives_of_it():
    """Products of matrices by hand."""
    target = np.array([[1.0, 0.3], [-0.2, 0.5]])
    problem = deep_linear(target, 3)
    solution = minimize(
        discretize(problem), FixedStep(0.1, max_iterations=5), raise_on_failure=False
    )
    a = b = c = np.eye(2)
    for _ in range(5):
        e = c @ b @ a - target
        a, b, c = a - 0.1 * (c @ b).T @ e, b - 0.1 * c.T @ e @ a.T, c - 0.1 * e @ (b @ a).T
    np.testing.assert_allclose(matrices(solution.control), [a, b, c], rtol=0, atol=1e-14)
