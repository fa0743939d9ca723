"""What minimizers do between two gradients: passes over long vectors, in place, beside their
formulas; iterates that are kept are never written to.
"""

import tracemalloc
from dataclasses import dataclass, field

import array_api_strict
import numpy as np
import pytest

from continuum import (
    L1,
    Ball,
    Box,
    Control,
    Interval,
    LearningProblem,
    SobolevPenalty,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    tanh,
    update_loops,
)
from solvers import (
    LBFGS,
    Adam,
    Composite,
    FixedStep,
    FrankWolfe,
    GradientDescent,
    Interrupted,
    Nesterov,
    Status,
    discretize,
    minimize,
)
from solvers.descent.run import Descent

NETWORK = WidthDepth(gauss_legendre(Interval(0.0, 2.0), 5), tanh)
MESH = TimeMesh.through(np.array([0.0, 0.2, 0.9, 1.0]))
SPACE = NETWORK.controls(MESH)
BOX = Box(bias=(-0.1, 0.2), kernel=(-0.3, 0.05))
METHODS = {
    "gradient descent": GradientDescent(max_iterations=40),
    "Nesterov": Nesterov(max_iterations=40),
    "Nesterov, function restart": Nesterov(restart="function", max_iterations=40),
    "fixed step": FixedStep(0.05, max_iterations=40),
    "momentum": FixedStep(0.05, momentum=0.9, max_iterations=40),
    "Nesterov's momentum": FixedStep(0.05, momentum="nesterov", report=3, max_iterations=40),
    "Adam": Adam(step=0.05, max_iterations=40),
    "Adam, reports": Adam(step=0.05, report=3, max_iterations=40),
    "L-BFGS": LBFGS(max_iterations=40),
}
IN_A_BOX = METHODS | {
    "Frank-Wolfe": FrankWolfe(max_iterations=40),
    "Frank-Wolfe, exact": FrankWolfe(line_search="exact", max_iterations=40),
}


@dataclass(frozen=True, eq=False)
class Bowl:
    """J(x) = sum_i h_i x_i^2 / 2 - (b, x) in coefficients, h from 0.01 to 10; the gradient is
    written where it is told, without temporaries, and spoils what it is to be written to first.

    stop : the call that is interrupted
    """

    space: object = field(default=SPACE)
    stop: int | None = None
    calls: list = field(default_factory=list)

    def __post_init__(self):
        size = self.space.size
        object.__setattr__(self, "h", np.geomspace(0.01, 10.0, size))
        object.__setattr__(self, "b", np.cos(np.arange(size)))
        object.__setattr__(self, "room", np.empty(size))
        object.__setattr__(self, "gradient", np.empty(size))
        object.__setattr__(self, "other", np.empty(size))

    def value(self, control):
        return self.value_and_gradient(control, out=self.space.views(self.other))[0]

    def value_and_gradient(self, control, *, out=None):
        x = self.space.join(control, self.room)
        if out is not None:
            assert not any(np.shares_memory(out[n], control[n]) for n in control)
            for y in out.values():
                y[...] = np.nan
        self.calls.append(len(self.calls))
        if self.stop is not None and len(self.calls) >= self.stop:
            raise KeyboardInterrupt
        g = self.gradient if out is not None else np.empty(self.space.size)
        np.multiply(self.h, x, out=g)
        g -= self.b
        half = self.space.dot(g, x)
        value = 0.5 * (half - self.space.dot(self.b, x))
        found = self.space.views(g)
        if out is None:
            return value, found
        for name, y in out.items():
            y[...] = found[name]
        return value, out


class Plain:
    """The same objective, which does not know where to write."""

    def __init__(self, space=SPACE):
        self.bowl, self.space = Bowl(space), space

    def value(self, control):
        return self.bowl.value(control)

    def value_and_gradient(self, control):
        return self.bowl.value_and_gradient(control)


# Loops beside their formulas

SHAPES = [(1, 1), (3, 1), (7, 5), (2, 1003)]


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_sums_beside_their_formulas(rng, rows, columns, uniform):
    x, y, z, u = rng.standard_normal((4, rows, columns))
    t, w = rng.random(rows), rng.random(1 if uniform else columns)
    each = t[:, None] * w
    flat = [a.ravel() for a in (x, y, z, u)]
    expected = {
        "dot": np.sum(each * x * y),
        "magnitudes": np.sum(each * np.abs(x)),
        "between": np.sum(each * (x - y) * (z - u)),
        "squares_into": np.sum(each * x * x),
    }
    g = y.ravel().copy()
    found = {
        "dot": update_loops.dot(flat[0], flat[1], t, w),
        "magnitudes": update_loops.magnitudes(flat[0], t, w),
        "between": update_loops.between(*flat, t, w),
        "squares_into": update_loops.squares_into(flat[0], 0.3, g, t, w),
    }
    size = np.sum(each * np.max(np.abs([x, y, z, u])) ** 2)
    for name, value in expected.items():
        assert abs(found[name] - value) < 1e-14 * size, name
    np.testing.assert_array_equal(g, (y + 0.3 * x).ravel())


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_updates_are_their_formulas_to_the_last_bit(rng, rows, columns):
    x, g, m, v = rng.standard_normal((4, rows * columns))
    t, w = rng.random(rows), rng.random(columns)
    v, out = v**2, np.empty_like(x)
    update_loops.combine(x, 0.37, g, m, out)
    np.testing.assert_array_equal(out, x + 0.37 * (g - m))
    free = (0.0, 1.0, -np.inf, np.inf)
    square, slope = update_loops.step_by_entries(x, g, 0.013, free, out, t, w)
    np.testing.assert_array_equal(out, x - 0.013 * g)
    d, each = (out - x).reshape(rows, columns), t[:, None] * w
    assert square == pytest.approx(np.sum(each * d * d), rel=1e-13)
    assert slope == pytest.approx(np.sum(each * d * g.reshape(d.shape)), rel=1e-12)
    first, second = 0.9 * m + (1.0 - 0.9) * g, 0.999 * v + (1.0 - 0.999) * g * g
    root = np.sqrt(second / (1.0 - 0.999**3))
    wanted = x - 0.02 * (first / (1.0 - 0.9**3) / (root + 1e-8))
    shares = 1.0 - 0.9**3, 1.0 - 0.999**3
    update_loops.adam_step(x, g, m, v, (0.9, 0.999), shares, 0.02, 1e-8, (-0.5, 0.4))
    np.testing.assert_array_equal(m, first)
    np.testing.assert_array_equal(v, second)
    np.testing.assert_array_equal(x, np.clip(wanted, -0.5, 0.4))


def test_numbers_that_are_not_finite_are_found():
    largest = np.finfo(float).max
    for x, finite in (([1.0, -largest, largest], True), ([], True), ([0.0] * 9, True)):
        assert update_loops.finite(np.array(x)) is finite
    for wrong in (np.inf, -np.inf, np.nan):
        for place in (0, 5, 8):
            x = np.zeros(9)
            x[place] = wrong
            assert not update_loops.finite(x)


# Penalties

PENALTIES = {
    "Tikhonov": Tikhonov(0.3),
    "one block": Tikhonov(0.3, ["bias"]),
    "two": Tikhonov(0.3) + Tikhonov(0.2, ["kernel"]),
}


def added(penalty, x, rng):
    """Value and gradient by `add_to`, and by value() and gradient()."""
    start = x.space.random(rng)
    total = Control(x.space, {n: g.copy() for n, g in start.items()})
    value = penalty.add_to(x, total)
    separate = x.space.zeros().replaced(**penalty.gradient(x))
    return value, total - start, penalty.value(x), separate


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
@pytest.mark.parametrize(("time", "norm"), [("layers", "L2"), ("static", "L2"), ("nodes", "H1")])
def test_penalties_add_their_gradient_in_place(rng, penalty, time, norm):
    x = NETWORK.controls(MESH, in_time=time, norm=norm).random(rng)
    one, sum_of_gradients, other, gradient = added(penalty, x, rng)
    assert one == pytest.approx(other, rel=1e-14)
    np.testing.assert_allclose(x.space.join(sum_of_gradients), x.space.join(gradient), atol=1e-14)
    direction = x.space.random(rng)  # quadratic: differences are exact
    slope = 0.5 * (penalty.value(x + direction) - penalty.value(x - direction))
    assert x.space.inner(gradient, direction) == pytest.approx(slope, rel=1e-12)


def test_penalties_without_a_pass_of_their_own_add_theirs_too(rng):
    x = NETWORK.controls(MESH, in_time="nodes").random(rng)
    one, sum_of_gradients, other, gradient = added(SobolevPenalty(0.2), x, rng)
    assert one == other
    np.testing.assert_allclose(x.space.join(sum_of_gradients), x.space.join(gradient), atol=1e-13)
    strict = Control(
        SPACE, {n: array_api_strict.asarray(v) for n, v in SPACE.random(rng).items()}, trusted=True
    )
    total = strict * 0.0
    assert Tikhonov(0.3).add_to(strict, total) == pytest.approx(Tikhonov(0.3).value(strict))
    np.testing.assert_allclose(np.asarray(total["bias"]), 0.6 * np.asarray(strict["bias"]))
    with pytest.raises(TypeError, match="L1 has no gradient"):
        L1(0.1).add_to(SPACE.zeros(), SPACE.zeros())


def test_values_of_penalties_in_one_pass(rng):
    x = SPACE.random(rng)
    w, tau = SPACE.blocks[0].weights, MESH.steps
    assert L1(0.3, ["bias"]).value(x) == pytest.approx(0.3 * tau @ np.abs(x["bias"]) @ w)
    assert Tikhonov(0.3, ["bias"]).value(x) == pytest.approx(0.3 * tau @ x["bias"] ** 2 @ w)


@pytest.mark.parametrize(
    ("penalty", "admissible"),
    [
        (None, BOX),
        (L1(0.1), None),
        (L1(0.1) + L1(0.05, ["bias"]), Box(kernel=(-0.2, np.inf))),
        (L1(0.1) + Tikhonov(0.3, ["kernel"]), BOX),
        (Tikhonov(0.3), None),
        (L1(0.1, groups="rows"), None),
        (None, Ball(0.5)),
    ],
    ids=str,
)
def test_proximal_steps_in_one_pass_are_those_of_penalty_and_set(rng, penalty, admissible):
    problem = Composite(Bowl(), penalty, admissible)
    x, g = SPACE.random(rng), SPACE.random(rng)
    run = Descent(problem, GradientDescent(), x, ())
    out = run.room()
    flat, slope = SPACE.join(x), SPACE.join(g)
    found = run.vectors.step(flat, slope, 0.7, out)
    wanted = problem.prox(x - 0.7 * g, 0.7)
    np.testing.assert_allclose(out, SPACE.join(wanted), rtol=0, atol=1e-15)
    assert found[0] == pytest.approx(SPACE.norm(wanted - x) ** 2, rel=1e-12)
    assert found[1] == pytest.approx(SPACE.inner(g, wanted - x), rel=1e-12)
    one = SPACE.norm(problem.prox(x - g, 1.0) - x)
    assert run.residual(flat, slope) == pytest.approx(one, rel=1e-12)
    np.testing.assert_array_equal(flat, SPACE.join(x))


# Runs


def test_adam_is_its_formula_to_the_last_bit(rng):
    """Against arrays made anew in each step, with the gradient of a network, and in a box."""
    initial, target = rng.standard_normal((2, 5, 4))
    for box in (None, BOX):
        posed = LearningProblem(
            NETWORK, initial, target, MESH, penalty=Tikhonov(0.01), admissible=box
        )
        objective, x = discretize(posed), SPACE.random(rng, 0.3)
        x = x if box is None else box.project(x)
        found = minimize(
            objective, Adam(step=0.05, max_iterations=7), initial=x, raise_on_failure=False
        )
        m = v = SPACE.zeros()
        path = [x]
        for k in range(1, 8):
            g = objective.gradient(path[-1])
            new = {}
            m = Control(SPACE, {n: 0.9 * m[n] + (1.0 - 0.9) * g[n] for n in g})
            v = Control(SPACE, {n: 0.999 * v[n] + (1.0 - 0.999) * g[n] * g[n] for n in g})
            for n in g:
                root = np.sqrt(v[n] / (1.0 - 0.999**k))
                new[n] = path[-1][n] - 0.05 * (m[n] / (1.0 - 0.9**k) / (root + 1e-8))
            path.append(Control(SPACE, new) if box is None else box.project(Control(SPACE, new)))
        values = [objective.value(x) for x in path]
        np.testing.assert_allclose(found.history["objective"], values, rtol=1e-14)
        best = path[int(np.argmin(values))]
        for name in best:
            np.testing.assert_array_equal(found.control[name], best[name])
        assert found.statistics["evaluations"] == 8


@pytest.mark.parametrize("method", IN_A_BOX.values(), ids=IN_A_BOX)
def test_where_a_gradient_is_written_makes_no_difference(method):
    ends = [
        minimize(Composite(objective, admissible=BOX), method, raise_on_failure=False)
        for objective in (Bowl(), Plain())
    ]
    np.testing.assert_array_equal(*(SPACE.join(end.control) for end in ends))
    np.testing.assert_array_equal(*(end.history[method.measure] for end in ends))


@pytest.mark.parametrize(
    ("method", "admissible"),
    [*((m, None) for m in METHODS.values()), *((m, BOX) for m in IN_A_BOX.values())],
    ids=[*METHODS, *(f"{name}, in a box" for name in IN_A_BOX)],
)
@pytest.mark.parametrize("stop", [2, 5, 9, 14])
def test_an_interrupted_run_returns_an_iterate_of_its_history(method, admissible, stop):
    with pytest.raises(Interrupted) as stopped:
        minimize(Composite(Bowl(stop=stop), admissible=admissible), method)
    end = stopped.value.solution
    assert end.status is Status.INTERRUPTED
    assert Bowl().value(end.control) == end.objective
    assert end.objective in end.history["objective"]


@pytest.mark.parametrize(
    "method",
    [
        Adam(step=3.0, decays=(0.99, 0.99), max_iterations=40),
        Adam(step=3.0, decays=(0.99, 0.99), max_iterations=40, report=3),
    ],
    ids=["each", "every third"],
)
def test_the_best_iterate_is_not_written_to(method):
    """A run whose steps are too long for its end: its best iterate lies long before."""
    end = minimize(Bowl(), method, initial=SPACE.sample(bias=1.0), raise_on_failure=False)
    values = end.history["objective"]
    assert np.argmin(values) < len(values) - 3
    assert end.objective == values.min() == Bowl().value(end.control)


def test_the_last_iterate_of_a_fixed_step_is_not_written_to():
    """Steps that diverge: the last with a row is returned, whatever came after."""
    end = minimize(
        Bowl(), FixedStep(0.25, momentum=0.5, report=4, max_iterations=40), raise_on_failure=False
    )
    assert end.objective == end.history["objective"][-1] == Bowl().value(end.control)
    assert end.objective > end.history["objective"].min()


@pytest.mark.parametrize("stop", [14, 17, 19])
def test_steps_that_diverge_end_at_the_last_row_when_interrupted(stop):
    method = FixedStep(0.25, momentum=0.5, report=4, max_iterations=40)
    with pytest.raises(Interrupted) as stopped:
        minimize(Bowl(stop=stop), method)
    end = stopped.value.solution
    assert end.objective == end.history["objective"][-1] == Bowl().value(end.control)
    assert end.objective > end.history["objective"].min()


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_fixed_steps_are_their_formula_to_the_last_bit(beta):
    objective, x = Bowl(), SPACE.join(SPACE.sample(bias=1.0))
    before = x
    for _ in range(9):
        y = x + beta * (x - before) if beta else x
        g = SPACE.join(objective.value_and_gradient(SPACE.views(y))[1])
        x, before = y - 0.21 * g, x
    method = FixedStep(0.21, momentum=beta, report=9, max_iterations=9)
    end = minimize(Bowl(), method, initial=SPACE.sample(bias=1.0), raise_on_failure=False)
    np.testing.assert_array_equal(SPACE.join(end.control), x)


@pytest.mark.parametrize("restart", ["gradient", "none"])
def test_accelerated_steps_are_their_formula(restart):
    objective = Bowl()

    def at(x):
        value, gradient = objective.value_and_gradient(SPACE.views(x))
        return value, SPACE.join(gradient)

    def holds(y, s):
        (value, g), d = at(y), -s * at(y)[1]
        return at(y + d)[0] - value <= SPACE.dot(g, d) + SPACE.dot(d, d) / (2.0 * s)

    x = y = SPACE.join(SPACE.sample(bias=1.0))
    theta, path, s, turns = 1.0, [x], 0.04, 0
    while holds(x, 2.0 * s):
        s *= 2.0
    for _ in range(120):
        while not holds(y, s):
            s /= 2.0
        new = y - s * at(y)[1]
        after = 0.5 * (1.0 + (1.0 + 4.0 * theta**2) ** 0.5)
        ahead = new + (theta - 1.0) / after * (new - x)
        if restart == "gradient" and SPACE.dot(y - new, new - x) > 0.0:
            ahead, after, s, turns = new, 1.0, 2.0 * s, turns + 1
        x, y, theta = new, ahead, after
        path.append(x)
    assert (turns > 0) == (restart == "gradient")
    method = Nesterov(initial_step=0.04, restart=restart, max_iterations=120)
    end = minimize(Bowl(), method, initial=SPACE.sample(bias=1.0), raise_on_failure=False)
    values = [at(x)[0] for x in path]
    np.testing.assert_allclose(end.history["objective"], values, rtol=1e-12)


def test_a_step_length_may_keep_the_controls_it_sees():
    seen = []

    def step(k, x):
        seen.append((x, SPACE.join(x)))
        return 0.05

    minimize(Bowl(), FixedStep(step, max_iterations=9), raise_on_failure=False)
    assert len(seen) == 9
    for control, copy in seen:
        np.testing.assert_array_equal(SPACE.join(control), copy)


LARGE = WidthDepth(gauss_legendre(Interval(0.0, 1.0), 100), tanh).controls(TimeMesh(1.0, 4))


@pytest.mark.parametrize("admissible", [None, Box(kernel=(-1.0, 1.0))], ids=["free", "box"])
@pytest.mark.parametrize(
    "method", [m for n, m in METHODS.items() if n != "L-BFGS"], ids=[n for n in METHODS][:-1]
)
def test_an_iteration_makes_no_array_as_long_as_the_unknowns(method, admissible):
    """40400 unknowns: once the vectors are there, nothing of a quarter of their size is made."""
    peaks = []

    class Watched(Bowl):
        def value_and_gradient(self, control, *, out=None):
            now, peak = tracemalloc.get_traced_memory()
            peaks.append(peak - now)
            found = super().value_and_gradient(control, out=out)
            tracemalloc.reset_peak()
            return found

    problem = Composite(Watched(LARGE), admissible=admissible)
    method = type(method)(**{**method.__dict__, "max_iterations": 12, "gtol": 1e-12})
    tracemalloc.start()
    try:
        minimize(problem, method, raise_on_failure=False)
    finally:
        tracemalloc.stop()
    assert len(peaks) > 10
    assert max(peaks[len(peaks) // 2 :]) < 8 * LARGE.size / 4
