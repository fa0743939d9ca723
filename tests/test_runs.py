"""How runs end: where numbers are not finite, on Ctrl-C, at a saddle; what they return then."""

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest

from continuum import (
    Affine,
    Box,
    Circle,
    Interval,
    LowRank,
    SquaredError,
    TimeMesh,
    WidthDepth,
    midpoint,
    tanh,
)
from solvers import (
    DOP853,
    LBFGS,
    Adam,
    Composite,
    EverySeconds,
    EverySteps,
    FrankWolfe,
    GradientDescent,
    Interrupted,
    Minibatch,
    Monitor,
    Nesterov,
    NewtonCG,
    Record,
    Solution,
    SolveError,
    Status,
    Stop,
    minimize,
    multistart,
    proximal_alternating,
)
from solvers.descent.second_order import lowest_curvature
from solvers.run.iteration import NotFinite, Run

SPACE = WidthDepth(midpoint(Interval(0, 1), 2), tanh).controls(TimeMesh(1.0, 1))
BOX = Box(bias=(-3, 3), kernel=(-3, 3))
SAMPLES = 4


@dataclass(eq=False)
class Valley:
    """J(x) = sum_i d_i (x_i - 1)^2 / 2 + 1 in flat coordinates, d from 1 to 30; after `after` calls
    of value, value_and_gradient or hvp one of them goes wrong.

    wrong : "value", "gradient", "both", "product" or "raise"; number : what it gives then
    """

    wrong: str = ""
    number: float = np.nan
    after: int = 10**9
    space: object = SPACE
    samples: int = SAMPLES
    calls: int = 0
    values: list = field(default_factory=list)

    @property
    def scale(self):
        return np.geomspace(1.0, 30.0, self.space.size)

    def _broken(self):
        self.calls += 1
        if self.calls <= self.after:
            return False
        if self.wrong == "raise":
            raise SolveError(Solution(self.space.zeros(), Status.NEWTON_FAILED, "on purpose"))
        if self.wrong == "interrupt":
            raise KeyboardInterrupt
        return True

    def _value(self, control):
        x = self.space.flatten(control)
        return float(np.sum(self.scale * (x - 1.0) ** 2) / 2 + 1.0)

    def value(self, control):
        if self._broken() and self.wrong in ("value", "both"):
            return self.number
        return self._value(control)

    def value_and_gradient(self, control):
        broken, value = self._broken(), self._value(control)
        slope = self.scale * (self.space.flatten(control) - 1.0)
        if broken and self.wrong in ("gradient", "both"):
            slope[-1] = self.number
        if broken and self.wrong in ("value", "both"):
            value = self.number
        self.values.append(value)
        return value, self.space.unflatten(slope)

    def hvp(self, control, direction):
        product = self.scale * self.space.flatten(direction)
        if self._broken() and self.wrong == "product":
            product[0] = self.number
        return self.space.unflatten(product)

    def batch(self, indices, rng=None):
        return self


MINIMIZERS = {
    "gradient descent": GradientDescent(gtol=1e-12, initial_step=0.01),
    "Nesterov": Nesterov(gtol=1e-12, initial_step=0.01),
    "Nesterov, function restart": Nesterov(gtol=1e-12, restart="function"),
    "Adam": Adam(gtol=1e-12, step=0.1, max_iterations=200),
    "Adam on batches": Adam(gtol=1e-12, step=0.1, batch=2, max_iterations=50),
    "L-BFGS": LBFGS(gtol=1e-12),
    "Newton-CG": NewtonCG(gtol=1e-12, radius=0.1),
    "Frank-Wolfe": FrankWolfe(gtol=1e-12, max_iterations=500),
    "Frank-Wolfe, exact": FrankWolfe(gtol=1e-12, max_iterations=500, line_search="exact"),
}
EVERY = pytest.mark.parametrize("minimizer", MINIMIZERS.values(), ids=MINIMIZERS.keys())
BREAKS = [
    ("value", np.nan),
    ("value", -np.inf),
    ("value", np.inf),
    ("gradient", np.nan),
    ("gradient", np.inf),
    ("gradient", -np.inf),
    ("both", np.nan),
    ("raise", np.nan),
]


def posed(objective, minimizer):
    return Composite(objective, admissible=BOX) if isinstance(minimizer, FrankWolfe) else objective


def started(objective):
    return objective.space.sample(bias=-1.0, kernel=2.0)


def is_the_best_of_a_failed_run(run, objective):
    """A status that is no answer, finite numbers, and the lowest that was recorded."""
    assert not run.status.ok
    history = run.history["objective"]
    assert np.all(np.isfinite(history))
    assert run.objective == np.min(history)
    flat = objective.space.flatten(run.control)
    assert np.all(np.isfinite(flat))
    assert run.objective == pytest.approx(Valley()._value(run.control), rel=1e-13)
    assert run.objective <= Valley()._value(started(objective))


@EVERY
@pytest.mark.parametrize(("wrong", "number"), BREAKS, ids=lambda x: str(x))
@pytest.mark.parametrize("after", [1, 2, 4, 5])
def test_numbers_that_are_not_finite_end_a_run(minimizer, wrong, number, after):
    objective = Valley(wrong, number, after)
    start = started(objective)
    run = minimize(posed(objective, minimizer), minimizer, initial=start, raise_on_failure=False)
    assert run.status is Status.NON_FINITE_OBJECTIVE
    is_the_best_of_a_failed_run(run, objective)
    assert objective.calls <= after + 400
    with pytest.raises(SolveError, match="became infinite or NaN in mid-run"):
        minimize(posed(Valley(wrong, number, after), minimizer), minimizer, initial=start)


@EVERY
@pytest.mark.parametrize(("wrong", "number"), BREAKS, ids=lambda x: str(x))
def test_numbers_that_are_not_finite_at_the_start(minimizer, wrong, number):
    objective = Valley(wrong, number, 0)
    start = started(objective)
    run = minimize(posed(objective, minimizer), minimizer, initial=start, raise_on_failure=False)
    assert run.status is Status.NON_FINITE_START
    np.testing.assert_array_equal(SPACE.flatten(run.control), SPACE.flatten(start))
    assert run.objective == np.inf
    assert run.statistics["iterations"] == 0


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_products_of_the_hessian_that_are_not_finite(number):
    objective = Valley("product", number, 7)
    minimizer = MINIMIZERS["Newton-CG"]
    run = minimize(objective, minimizer, initial=started(objective), raise_on_failure=False)
    assert run.status is Status.NON_FINITE_OBJECTIVE
    assert "Hessian-vector product" in run.detail
    is_the_best_of_a_failed_run(run, objective)


@pytest.mark.parametrize(("wrong", "number"), BREAKS, ids=lambda x: str(x))
@pytest.mark.parametrize("after", [2, 3, 8, 25])
@pytest.mark.parametrize("inner", [None, GradientDescent(gtol=1e-14, initial_step=0.01)])
def test_alternation_ends_too(wrong, number, after, inner):
    objective = Valley(wrong, number, after)
    run = proximal_alternating(
        objective, initial=started(objective), gtol=1e-12, inner=inner, raise_on_failure=False
    )
    assert run.status is Status.NON_FINITE_OBJECTIVE
    is_the_best_of_a_failed_run(run, objective)


@EVERY
@pytest.mark.parametrize("after", [2, 5])
def test_an_interrupted_run_carries_its_best(minimizer, after):
    objective = Valley("interrupt", after=after)
    with pytest.raises(Interrupted, match=r"the best so far is in \.solution") as caught:
        minimize(posed(objective, minimizer), minimizer, initial=started(objective))
    run = caught.value.solution
    assert isinstance(caught.value, KeyboardInterrupt)
    assert run.status is Status.INTERRUPTED
    is_the_best_of_a_failed_run(run, objective)


def test_a_run_interrupted_before_its_first_iterate_carries_its_start():
    objective = Valley("interrupt", after=0)
    with pytest.raises(Interrupted) as caught:
        minimize(objective, LBFGS(), initial=started(objective))
    run = caught.value.solution
    np.testing.assert_array_equal(SPACE.flatten(run.control), SPACE.flatten(started(objective)))
    assert run.objective == np.inf


def test_an_interrupted_alternation_carries_the_whole_control():
    objective = Valley("interrupt", after=9)
    with pytest.raises(Interrupted) as caught:
        proximal_alternating(objective, initial=started(objective))
    assert sorted(caught.value.solution.control) == ["bias", "kernel"]
    is_the_best_of_a_failed_run(caught.value.solution, objective)


def test_interrupted_starts_carry_what_had_ended():
    objective = Valley()
    starts = [SPACE.sample(bias=2.0), SPACE.sample(kernel=1.0), started(objective)] * 2
    multistart(objective, LBFGS(gtol=1e-9), starts[:2])
    objective = Valley("interrupt", after=objective.calls + 3)
    with pytest.raises(Interrupted) as caught:
        multistart(objective, LBFGS(gtol=1e-9), starts)
    (cluster,) = caught.value.partial.clusters
    assert cluster.starts == (0, 1)
    assert caught.value.solution.objective == cluster.best.objective == pytest.approx(1.0)


def test_the_best_of_a_run_that_is_not_monotone_is_returned():
    """Adam with a long step passes the valley and comes back: the last is not the lowest."""
    objective = Valley()
    long = Adam(step=0.7, max_iterations=7)
    run = minimize(objective, long, initial=started(objective), raise_on_failure=False)
    history = run.history["objective"]
    assert run.status is Status.MAX_ITERATIONS
    assert np.argmin(history) < 7
    assert run.objective == np.min(history) < history[-1]
    assert f"the best of them, iteration {np.argmin(history)}, is returned" in run.detail


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint8])
def test_numbers_are_stored_as_they_were_checked(kind):
    """50 max_iterations overflowed in int16, and L-BFGS ended after one iteration."""
    objective = Valley()
    best = minimize(
        objective,
        LBFGS(gtol=np.float32(1e-7), max_iterations=kind(100), memory=kind(3)),
        initial=started(objective),
    )
    assert best.statistics["iterations"] > 3
    minimizer = NewtonCG(gtol=np.float32(1e-7), max_iterations=kind(100), radius=np.float32(0.5))
    for name, wanted in (("gtol", float), ("max_iterations", int), ("radius", float)):
        assert type(getattr(minimizer, name)) is wanted
    assert type(Adam(batch=kind(2), report=kind(1)).batch) is int


SMALL, SINGLE = np.int8(3), np.float32(0.5)
STORED = {
    "TimeMesh": (TimeMesh(SINGLE, SMALL), {"horizon": float, "layers": int}),
    "Circle": (Circle(SINGLE), {"length": float}),
    "LowRank": (LowRank(SMALL), {"rank": int}),
    "SquaredError": (SquaredError(SINGLE), {"weight": float}),
    "Affine": (Affine(SMALL), {"classes": int}),
    "EverySteps": (EverySteps(SMALL), {"count": int}),
    "EverySeconds": (EverySeconds(SINGLE), {"seconds": float}),
    "DOP853": (DOP853(rtol=SINGLE, atol=SINGLE), {"rtol": float, "atol": float}),
    "Minibatch": (Minibatch(SMALL), {"size": int}),
    "GradientDescent": (GradientDescent(initial_step=SINGLE), {"initial_step": float}),
    "Nesterov": (
        Nesterov(gtol=SINGLE, max_iterations=SMALL),
        {"gtol": float, "max_iterations": int},
    ),
    "NewtonCG": (NewtonCG(products=SMALL), {"products": int}),
}


@pytest.mark.parametrize(("made", "kinds"), STORED.values(), ids=STORED.keys())
def test_constructors_store_what_they_checked(made, kinds):
    for name, kind in kinds.items():
        assert type(getattr(made, name)) is kind


@dataclass(frozen=True, eq=False)
class Saddle:
    """J = x_1^4 / 4 - x_1^2 / 2 + sum_{i > 1} x_i^2: a saddle at 0, minima -1/4 at x_1 = -1, 1."""

    space: object = SPACE
    sign: float = -1.0

    def value(self, control):
        x = self.space.flatten(control)
        return float(x[0] ** 4 / 4 + self.sign * x[0] ** 2 / 2 + np.sum(x[1:] ** 2))

    def value_and_gradient(self, control):
        x = self.space.flatten(control)
        slope = 2.0 * x
        slope[0] = x[0] ** 3 + self.sign * x[0]
        return self.value(control), self.space.unflatten(slope)

    def hvp(self, control, direction):
        x, d = self.space.flatten(control), self.space.flatten(direction)
        product = 2.0 * d
        product[0] = (3 * x[0] ** 2 + self.sign) * d[0]
        return self.space.unflatten(product)


def test_a_start_that_is_a_saddle_is_called_stationary_and_no_more():
    run = minimize(Saddle(), LBFGS())
    assert run.status is Status.CONVERGED
    assert run.objective == 0.0
    assert run.status.value.startswith("Stationary")
    assert "minimum" in run.status.value
    assert "does not tell them apart" in run.status.value
    assert "the start is stationary: another one may lead elsewhere" in run.detail
    assert not any("Converged" in text for text in (run.status.value, run.detail))


@pytest.mark.parametrize("start", [0.0, 0.3])
def test_newton_leaves_a_saddle_along_negative_curvature(start):
    """From 0, and from the part x_1 = 0 where the gradient never sees the way out."""
    flat = np.full(SPACE.size, start)
    flat[0] = 0.0
    run = minimize(Saddle(), NewtonCG(gtol=1e-8), initial=SPACE.unflatten(flat))
    assert run.status is Status.CONVERGED
    assert run.objective == pytest.approx(-0.25, abs=1e-14)
    assert run.statistics["least_curvature"] == pytest.approx(2.0, rel=1e-6)
    assert "least curvature met 2" in run.detail
    assert np.all(np.diff(run.history["objective"]) <= 0)
    stay = minimize(Saddle(), NewtonCG(products=0), initial=SPACE.unflatten(flat))
    assert stay.objective == pytest.approx(0.0, abs=1e-12)
    assert "curvature" not in stay.detail


def test_newton_says_so_where_it_cannot_leave():
    capped = NewtonCG(gtol=1e-8, max_iterations=1, radius=1e-9)
    start = SPACE.unflatten(np.zeros(SPACE.size))
    run = minimize(Saddle(), capped, initial=start, raise_on_failure=False)
    assert run.status is Status.SADDLE
    assert run.statistics["least_curvature"] == pytest.approx(-1.0, rel=1e-12)
    with pytest.raises(SolveError, match="Stationary, but no minimum"):
        minimize(Saddle(), capped, initial=start)
    flat = minimize(Saddle(sign=0.0), NewtonCG(), initial=start)
    assert flat.status is Status.CONVERGED
    assert abs(flat.statistics["least_curvature"]) < 1e-15


@pytest.mark.parametrize("count", [5, 12, 40])
def test_the_lowest_curvature_against_dense_eigenvalues(count, rng):
    a = rng.standard_normal((12, 12))
    a = a + a.T
    least, largest, v = lowest_curvature(lambda x: a @ x, 12, count)
    exact = np.linalg.eigvalsh(a)
    assert least == pytest.approx(v @ a @ v / (v @ v), rel=1e-10)
    assert np.linalg.norm(v) == pytest.approx(1.0, rel=1e-12)
    assert largest <= np.max(np.abs(exact)) * (1 + 1e-12)
    if count >= 12:
        assert least == pytest.approx(exact[0], rel=1e-11)
    else:
        assert exact[0] < least < 0.7 * exact[0]


def test_the_record_of_a_run():
    run = Run(2.0, lambda x: SPACE.sample(bias=x), 10, [Monitor(Record("size", measured))])
    for x in (3.0, 1.0, 2.0):
        assert not run.record(x, {"objective": x * x, "gap": x})
    run.note(share=0.5)
    run.evaluations += 4
    with pytest.raises(NotFinite, match="the objective is nan"):
        run.record(5.0, {"objective": np.nan, "gap": 0.0})
    assert (run.last, run.best, run.best_iteration, run.iterations) == (2.0, 1.0, 1, 2)
    failed, fine = run.solution(Status.MAX_ITERATIONS), run.solution(Status.CONVERGED, "so", x=1.0)
    assert (failed.objective, fine.objective) == (1.0, 4.0)
    assert np.all(failed.control["bias"] == 1.0)
    assert np.all(fine.control["bias"] == 2.0)
    assert failed.detail == "the best of them, iteration 1, is returned"
    assert fine.detail == "so"
    assert fine.statistics.keys() == {"iterations", "evaluations", "seconds", "x"}
    assert fine.statistics["evaluations"] == 4.0
    np.testing.assert_array_equal(fine.history["objective"], [9.0, 1.0, 4.0])
    np.testing.assert_array_equal(fine.history["share"], [0.5])
    np.testing.assert_array_equal(fine.history["size.times"], [0.0, 1.0, 2.0])
    assert len(fine.history["seconds"]) == 3
    by_gap = Run(0.0, lambda x: SPACE.sample(bias=x), 3, merit="gap")
    by_gap.record(4.0, {"objective": 1.0, "gap": 1.0})
    by_gap.record(5.0, {"objective": 0.0, "gap": 2.0})
    assert by_gap.chosen(Status.MAX_ITERATIONS)[:2] == (4.0, 1.0)


def measured(snapshot):
    return float(np.linalg.norm(snapshot.state))


def test_monitors_see_the_last_iterate_and_stop():
    seen = []
    stop = Monitor(Stop(lambda s: seen.append(s.step) or s.step == 1, "enough"))
    run = Run(0.0, lambda x: SPACE.sample(bias=x), 5, [stop])
    assert not run.record(1.0, {"objective": 1.0})
    assert run.record(2.0, {"objective": 0.5})
    assert seen == [0, 1]
    assert run.solution(Status.STOPPED).detail == "enough"


def test_interruptions_pass_between_processes():
    stopped = Interrupted(Solution(3.0, Status.INTERRUPTED), "more")  # type: ignore[arg-type]
    again = pickle.loads(pickle.dumps(stopped))
    assert (again.solution.value, again.partial) == (3.0, "more")
