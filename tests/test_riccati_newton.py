"""RiccatiNewton against closed forms and other methods: minima, saddles, boxes, failures."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from continuum import (
    L1,
    Affine,
    Ball,
    Box,
    CrossEntropy,
    FiniteSet,
    Interval,
    LearningProblem,
    NeuralODE2,
    Projection,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    sigmoid,
    tanh,
)
from continuum.blocks import Block
from continuum.controls import Control
from continuum.networks import Network
from solvers import (
    LBFGS,
    RK4,
    BackwardEuler,
    DormandPrince,
    EverySteps,
    Interrupted,
    Monitor,
    NewtonCG,
    RiccatiNewton,
    SolveError,
    Status,
    Stop,
    discretize,
    minimize,
)
from solvers.adjoint.coefficients import Columns
from solvers.adjoint.linear_quadratic import linearize, reduced_hessian
from solvers.descent.riccati import linear_path, sweep
from solvers.descent.riccati_models import masked
from solvers.descent.rollout import Rollout

GRID = gauss_legendre(Interval(0, 1), 4)
XOR = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])


def straight_line(admissible=None, in_time="layers"):
    """LM-50 (i), x' = a, distance 1, T = 1, lambda = 0.1: a* = 1 / 1.2, J* = 0.1 / 1.2."""
    network = WidthDepth(GRID, identity)
    space = network.controls(TimeMesh(1.0, 4), in_time=in_time, fixed={"kernel": 0.0})
    start, end = np.zeros((4, 1)), np.ones((4, 1))
    return LearningProblem(network, start, end, space, penalty=Tikhonov(0.1), admissible=admissible)


def xor(penalty, layers=8):
    """The label x1 x2 of four points: x_1(1) = x1 x2."""
    return LearningProblem(
        NeuralODE2(2, tanh),
        XOR,
        (XOR[0] * XOR[1])[None],
        TimeMesh(1.0, layers),
        readout=Projection(np.array([[1.0, 0.0]])),
        terminal=SquaredError(1.0),
        penalty=Tikhonov(penalty),
    )


def long_horizon(hard=False):
    """The two cases whose speed is measured: 20 points, T = 10, 100 layers."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 2))
    y = np.sign(x[:, 0] * x[:, 1] if hard else x[:, 0])[:, None] * np.ones(2)
    if not hard:
        y = y + 0.1 * rng.standard_normal((20, 2))
    x, y = np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)
    return LearningProblem(
        NeuralODE2(2, tanh),
        x,
        y,
        TimeMesh(10.0, 100),
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(0.1),
    )


def curved(in_time="layers", **given):
    """A small nonlinear problem on a grid whose control is 20 numbers a layer, for 8 states."""
    network = WidthDepth(GRID, sigmoid)
    initial = np.column_stack([GRID.sample(lambda y: y), GRID.sample(lambda y: np.cos(3 * y))])
    target = np.column_stack([GRID.sample(lambda y: 1 - y), GRID.sample(lambda y: y * y)])
    given = {"penalty": Tikhonov(0.02), **given}
    space = network.controls(TimeMesh(1.5, 5), in_time=in_time)
    return LearningProblem(network, initial, target, space, **given)


def mixed(rng):
    """Blocks on layers and static ones: a readout of three classes that is trained."""
    network = NeuralODE2(2, tanh)
    return LearningProblem(
        network,
        rng.standard_normal((2, 6)),
        np.arange(6) % 3,
        network.controls(TimeMesh(1.0, 4)),
        readout=Affine(3),
        terminal=CrossEntropy(),
        penalty=Tikhonov(0.05),
    )


@pytest.mark.parametrize("in_time", ["layers", "static"])
def test_a_quadratic_takes_one_step(in_time):
    best = minimize(straight_line(in_time=in_time), RiccatiNewton(gtol=1e-12))
    assert best.status is Status.MINIMUM
    np.testing.assert_allclose(best.control["bias"], 1 / 1.2, rtol=0, atol=1e-12)
    assert best.objective == pytest.approx(0.1 / 1.2, rel=1e-13)
    assert best.statistics["morse_index"] == best.statistics["nullity"] == 0
    assert best.statistics["iterations"] == 1


class Mixed(Network):
    """x' = (1 - t) g tanh(x) + h, no chain: the generic path throughout."""

    weights = np.array([0.5, 2.0])

    def blocks(self, in_time="layers"):
        return (Block("g", (2,), in_time, self.weights), Block("h", (), in_time, np.ones(())))

    def formula(self):
        return "f_t = (1 - t) g tanh(f) + h"

    def velocity(self, f, c, t):
        return (1 - t) * c["g"][:, None] * np.tanh(f) + c["h"]

    def jvp(self, f, c, t, df, dc):
        found = (1 - t) * c["g"][:, None] * tanh.derivative(f) * df
        if "g" in dc:
            found = found + (1 - t) * dc["g"][:, None] * np.tanh(f)
        return found + dc["h"] if "h" in dc else found

    def vjp(self, f, c, t, p):
        bars = {
            "g": (1 - t) * np.sum(np.tanh(f) * p, axis=1),
            "h": np.sum(self.weights[:, None] * p),
        }
        return (1 - t) * c["g"][:, None] * tanh.derivative(f) * p, bars

    def vjp_derivative(self, f, c, t, p, df, dc, dp):
        slope, g = tanh.derivative(f), c["g"][:, None]
        back = (1 - t) * g * (tanh.second(f) * df * p + slope * dp)
        if "g" in dc:
            back = back + (1 - t) * dc["g"][:, None] * slope * p
        total = slope * df * p + np.tanh(f) * dp
        bars = {"g": (1 - t) * np.sum(total, axis=1), "h": np.sum(self.weights[:, None] * dp)}
        return back, bars


def no_chain():
    """A problem of such a network."""
    network, initial = Mixed(), np.array([[0.3, -1.0, 0.8], [1.0, 0.2, -0.4]])
    space = network.controls(TimeMesh(0.8, 3))
    return LearningProblem(network, initial, initial[::-1].copy(), space, penalty=Tikhonov(0.1))


@pytest.mark.parametrize(
    ("problem", "stepper"),
    [
        (no_chain(), None),
        (curved(), None),
        (curved(), RK4()),
        (curved(), BackwardEuler()),
        (curved("static"), None),
        (xor(0.5), None),
    ],
    ids=["no chain", "Euler", "RK4", "implicit", "static", "xor"],
)
def test_other_methods_find_the_same(problem, stepper):
    objective = discretize(problem, stepper, 2)
    best = minimize(objective, RiccatiNewton(gtol=1e-10))
    other = minimize(objective, NewtonCG(gtol=1e-8))
    assert best.status is Status.MINIMUM
    assert best.objective == pytest.approx(other.objective, rel=1e-12)
    assert problem.space.norm(best.control - other.control) <= 1e-6
    assert problem.space.norm(objective.gradient(best.control)) <= 1e-10
    assert np.all(np.diff(best.history["objective"]) <= 1e-15)
    assert np.linalg.eigvalsh(dense_hessian(objective, best.control))[0] > 0.0


def dense_hessian(objective, control):
    model = linearize(objective, control)
    return reduced_hessian(model.model, model.borders)


def test_flat_directions_are_counted_and_no_minimum_claimed():
    """Without penalty the control of a straight line matters by its integral alone: of 4 layers
    and 4 nodes 12 directions are flat.
    """
    best = minimize(replace(straight_line(), penalty=None), RiccatiNewton(gtol=1e-8))
    assert best.status is Status.CONVERGED
    assert best.statistics["morse_index"] == 0
    assert best.statistics["nullity"] == 12
    assert best.objective <= 1e-15
    assert "nullity 12" in best.detail


def test_steps_near_a_minimum_square_the_error():
    history = minimize(curved(), RiccatiNewton(gtol=1e-13)).history["gradient_norm"]
    late = history[history < 1e-2]
    assert len(late) >= 3
    assert np.all(late[1:] <= 20.0 * late[:-1] ** 2 + 1e-14)


def test_a_readout_that_is_trained(rng):
    """Static blocks beside layers: the readout of three classes."""
    problem = mixed(rng)
    start = problem.space.random(rng, 0.3)
    best = minimize(problem, RiccatiNewton(gtol=1e-10), initial=start)
    other = minimize(problem, NewtonCG(gtol=1e-9), initial=best.control)
    assert best.status is Status.MINIMUM
    assert best.objective == pytest.approx(other.objective, rel=1e-12)
    assert np.linalg.eigvalsh(dense_hessian(discretize(problem), best.control))[0] > 0.0


class TestBox:
    @pytest.mark.parametrize("in_time", ["layers", "static"])
    def test_that_binds_everywhere(self, in_time):
        best = minimize(straight_line(Box(bias=(-0.5, 0.5)), in_time), RiccatiNewton())
        assert best.status is Status.MINIMUM
        np.testing.assert_array_equal(best.control["bias"], 0.5)
        assert best.objective == pytest.approx(0.5 * 0.25 + 0.1 * 0.25, rel=1e-13)

    @pytest.mark.parametrize("in_time", ["layers", "static"])
    def test_that_binds_somewhere(self, in_time):
        problem = curved(in_time, admissible=Box(bias=(-0.3, 0.2), kernel=(-0.25, 0.6)))
        best = minimize(problem, RiccatiNewton(gtol=1e-10))
        other = minimize(problem, LBFGS(gtol=1e-7))
        assert best.status is Status.MINIMUM
        assert best.objective == pytest.approx(other.objective, rel=1e-12)
        assert problem.admissible.contains(best.control)
        bound = sum(
            int(np.sum((best.control[n] == low) | (best.control[n] == high)))
            for n, (low, high) in problem.admissible.bounds.items()
        )
        assert 0 < bound < problem.space.size
        late = best.history["gradient_norm"][-2:]
        assert late[1] <= 200.0 * late[0] ** 2

    def test_a_start_on_the_wrong_bound_leaves_it(self):
        problem = straight_line(Box(bias=(-0.5, 3.0)))
        start = problem.space.sample(bias=-0.5)
        best = minimize(problem, RiccatiNewton(gtol=1e-11), initial=start)
        np.testing.assert_allclose(best.control["bias"], 1 / 1.2, rtol=0, atol=1e-11)

    def test_the_model_with_coefficients_held(self, rng):
        """Held ones go their way to the bound; the others solve the system without them."""
        problem = mixed(rng)
        objective = discretize(problem)
        columns, control = Columns.of(problem.space), problem.space.random(rng, 0.3)
        model, weights = linearize(objective, control), columns.weights
        held = rng.random(columns.size) < 0.3
        way = np.where(held, 0.01 * rng.standard_normal(columns.size), 0.0)
        given = masked(model, columns, weights, held, way)
        found = sweep(given.model, weights, 0.0, given.borders)
        step = np.append(linear_path(given.model, found, given.borders)[0], found.ds)
        np.testing.assert_allclose(step[held], way[held], rtol=0, atol=1e-13)
        hessian = reduced_hessian(model.model, model.borders)
        free = ~held
        exact = np.linalg.solve(hessian[np.ix_(free, free)], -model.gradient[free])
        np.testing.assert_allclose(step[free], exact, rtol=0, atol=1e-12 * np.max(np.abs(exact)))


class TestSaddle:
    def test_that_looks_solved(self):
        """L-BFGS ends "converged" at 1.0907907, Morse index 1; 0.376325 exists."""
        problem = xor(0.02)
        trapped = minimize(problem, LBFGS(gtol=1e-8))
        assert trapped.objective == pytest.approx(1.0907907, abs=6e-8)
        values = np.linalg.eigvalsh(dense_hessian(discretize(problem), trapped.control))
        assert np.sum(values < 0.0) == 1
        for start in (None, trapped.control):
            best = minimize(problem, RiccatiNewton(gtol=1e-8), initial=start)
            assert best.status is Status.MINIMUM
            assert best.objective == pytest.approx(0.3763250084, abs=1e-8)
            assert best.statistics["morse_index"] == 0

    def test_its_index_is_said_where_no_iteration_is_left(self):
        """The first iteration leaves the saddle by 0.01; there the gradient is below 0.1 still."""
        problem = xor(0.02)
        trapped = minimize(problem, LBFGS(gtol=1e-8)).control
        method = RiccatiNewton(gtol=0.1, max_iterations=1, radius=0.01)
        capped = minimize(problem, method, initial=trapped, raise_on_failure=False)
        assert capped.status is Status.MAX_ITERATIONS
        assert capped.statistics["morse_index"] == 1
        assert "Morse index 1" in capped.detail
        assert capped.objective < discretize(problem).value(trapped)

    def test_a_start_with_no_gradient(self):
        """x_1' = w_12 tanh(x_2) + ..., from x_1 = 0: at first order x_1 gets multiples of 1 and
        tanh(s), to which these labels are orthogonal; at second order w_12 b_2 tanh'(s), to which
        they are not.
        """
        s = np.array([-1.5, -0.5, 0.5, 1.5])
        problem = LearningProblem(
            NeuralODE2(2, tanh),
            np.stack([0.0 * s, s]),
            np.array([[1.0, -1.0, -1.0, 1.0]]),
            TimeMesh(1.0, 3),
            readout=Projection(np.array([[1.0, 0.0]])),
            penalty=Tikhonov(1e-3),
        )
        objective, zero = discretize(problem), problem.space.zeros()
        assert problem.space.norm(objective.gradient(zero)) <= 1e-15
        assert np.linalg.eigvalsh(dense_hessian(objective, zero))[0] < -1e-3
        assert minimize(problem, LBFGS()).statistics["iterations"] == 0
        best = minimize(problem, RiccatiNewton(gtol=1e-9))
        assert best.status is Status.MINIMUM
        assert best.objective < 0.5 * objective.value(zero)


@pytest.mark.parametrize(("hard", "value"), [(False, 3.552755996), (True, 8.547399762)])
def test_long_horizons_reach_the_best_known(hard, value):
    problem = long_horizon(hard)
    for seed in (100, 101, 102):
        c = 0.1 * np.random.default_rng(seed).standard_normal(6)
        start = problem.space.sample(weight=c[:4].reshape(2, 2), bias=c[4:])
        best = minimize(problem, RiccatiNewton(gtol=1e-8), initial=start)
        assert best.status is Status.MINIMUM
        assert best.objective == pytest.approx(value, abs=1e-9)
        assert best.statistics["iterations"] <= 60


class TestRollout:
    @pytest.mark.parametrize("in_time", ["layers", "static"])
    @pytest.mark.parametrize("stepper", [None, RK4()], ids=["Euler", "RK4"])
    def test_compiled_and_generic_agree(self, rng, stepper, in_time):
        objective = discretize(curved(in_time), stepper, 3)
        columns = Columns.of(objective.space)
        m, p = columns.m, columns.p
        bounds = np.stack([np.full(m + p, -0.4), np.full(m + p, 0.3)])
        old = Rollout(objective, columns, bounds).start(objective.space.random(rng, 0.2))
        states = linearize(objective, old.control).states
        law, ds = 0.1 * rng.standard_normal((5, m, 8 + 1 + p)), rng.standard_normal(p)
        found = {}
        for name in ("_compiled", "_generic"):
            rollout = Rollout(objective, columns, bounds)
            rollout._compiled = getattr(rollout, name)
            found[name] = rollout(old, states, law, ds, 0.7)
        one, other = found["_compiled"], found["_generic"]
        np.testing.assert_allclose(one.u, other.u, rtol=0, atol=1e-13)
        np.testing.assert_allclose(one.s, np.clip(old.s + 0.7 * ds, -0.4, 0.3), rtol=1e-15)
        assert one.value == pytest.approx(other.value, rel=1e-13)
        assert objective.value(one.control) == pytest.approx(one.value, rel=1e-13)
        if m:
            assert np.min(one.u) == -0.4
            assert np.max(one.u) == 0.3

    def test_it_follows_the_law(self, rng):
        objective = discretize(curved())
        columns = Columns.of(objective.space)
        free = np.stack([np.full(20, -np.inf), np.full(20, np.inf)])
        rollout = Rollout(objective, columns, free)
        old = rollout.start(objective.space.random(rng, 0.2))
        law = 0.1 * rng.standard_normal((5, 20, 9))
        before = linearize(objective, old.control).states
        new = rollout(old, before, law, np.zeros(0), 0.7)
        after = linearize(objective, new.control).states
        for k in range(5):
            given = np.append((after[k] - before[k]).reshape(-1), 0.7)
            np.testing.assert_allclose(new.u[k], old.u[k] + law[k] @ given, rtol=0, atol=1e-14)

    def test_a_run_that_is_not_finite_is_none(self, rng):
        network = WidthDepth(GRID, identity)
        objective = discretize(replace(curved(), network=network))
        columns = Columns.of(objective.space)
        free = np.stack([np.full(20, -np.inf), np.full(20, np.inf)])
        rollout = Rollout(objective, columns, free)
        old = rollout.start(objective.space.random(rng, 0.2))
        states = linearize(objective, old.control).states
        law = 1e200 * rng.standard_normal((5, 20, 9))
        assert rollout(old, states, law, np.zeros(0), 1.0) is None


def breaking(after, what):
    """A problem whose penalty fails from some evaluation on."""
    count = {"left": after}

    class Broken(Tikhonov):
        def value(self, control: Control) -> float:
            count["left"] -= 1
            if count["left"] < 0:
                if what == "interrupt":
                    raise KeyboardInterrupt
                return what
            return super().value(control)

    return curved(penalty=Broken(0.02))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_an_objective_that_is_not_finite_at_the_start(number):
    run = minimize(breaking(0, number), RiccatiNewton(), raise_on_failure=False)
    assert run.status is Status.NON_FINITE_START
    assert run.statistics["iterations"] == 0
    assert run.objective == np.inf


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_an_objective_that_is_not_finite_later(number):
    run = minimize(breaking(6, number), RiccatiNewton(gtol=1e-12), raise_on_failure=False)
    assert run.status is Status.NON_FINITE_OBJECTIVE
    assert run.objective == np.min(run.history["objective"])
    assert np.all(np.isfinite(curved().space.flatten(run.control)))


def test_an_interrupted_run_carries_its_best():
    with pytest.raises(Interrupted) as caught:
        minimize(breaking(6, "interrupt"), RiccatiNewton(gtol=1e-12))
    run = caught.value.solution
    assert run.status is Status.INTERRUPTED
    assert len(run.history["objective"]) > 1
    assert run.objective == np.min(run.history["objective"])


def test_a_state_that_explodes_at_the_start():
    problem = replace(curved(), network=WidthDepth(GRID, identity))
    start = problem.space.sample(kernel=1e200)
    with np.errstate(all="ignore"), pytest.raises(SolveError, match="at the initial control"):
        minimize(problem, RiccatiNewton(), initial=start)


def test_a_monitor_stops_it():
    stop = Monitor(Stop(lambda moment: moment.step == 2, "enough"), EverySteps(1))
    run = minimize(curved(), RiccatiNewton(gtol=1e-12), monitors=[stop])
    assert run.status is Status.STOPPED
    assert run.statistics["iterations"] == 2


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (partial(curved, admissible=Ball()), r"RiccatiNewton cannot treat Ball\(.*use a Box"),
        (
            partial(curved, admissible=FiniteSet(bias=(0, 1))),
            "RiccatiNewton cannot treat FiniteSet",
        ),
        (partial(curved, penalty=L1(0.1)), r"RiccatiNewton cannot treat L1\(.*use GradientDescent"),
        (partial(curved, "nodes"), "piecewise linear in time"),
        (lambda: discretize(curved(), DormandPrince(rtol=1e-6, atol=1e-8)), "fixed steps"),
    ],
    ids=["ball", "finite set", "L1", "nodes", "adaptive"],
)
def test_what_it_cannot_treat(pose, words):
    with pytest.raises((TypeError, ValueError), match=words):
        minimize(pose(), RiccatiNewton())


def test_an_objective_of_ones_own_is_refused():
    class Own:
        space = curved().space

        def value(self, control):
            return 0.0

        def value_and_gradient(self, control):
            return 0.0, control

    with pytest.raises(TypeError, match=r"RiccatiNewton cannot treat .*Own.*use a LearningProblem"):
        minimize(Own(), RiccatiNewton())


def test_bad_numbers_are_named():
    with pytest.raises(ValueError, match="radius must be finite and positive"):
        RiccatiNewton(radius=0.0)
