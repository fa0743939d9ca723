"""Successive approximation: where it converges, where it must be said that it does not, and what
its remedies do.
"""

import numpy as np
import pytest

from continuum import (
    L1,
    Ball,
    Bottleneck,
    Box,
    FiniteSet,
    Interval,
    L1Ball,
    LearningProblem,
    NeuralODE2,
    NormBall,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    midpoint,
    relu,
    tanh,
)
from solvers import (
    LBFGS,
    Euler,
    EverySteps,
    Hamiltonian,
    Minibatch,
    Monitor,
    Record,
    SolveError,
    Status,
    Stop,
    discretize,
    integrate,
    minimize,
    successive_approximation,
)
from solvers.pontryagin.hamiltonian import layer_hamiltonian
from solvers.pontryagin.msa_rows import Rows, RowSweeps

UNIT = Interval(0, 1)
BOX = Box(bias=(-1, 1), kernel=(-1, 1))


def scalar(layers=4):
    """LM-64, first: f' = a, a in [-1, 1], f(0) = 0, target 1/2, T = 1."""
    network = WidthDepth(gauss_legendre(UNIT, 1), identity)
    space = network.controls(TimeMesh(1.0, layers), fixed={"kernel": 0.0})
    return LearningProblem(
        network, np.zeros((1, 1)), np.full((1, 1), 0.5), space, admissible=Box(bias=(-1, 1))
    )


def blocks(layers, initial=0.5, target=4.0, horizon=1.0):
    """LM-54 (LM-55): two blocks, identity, the box [-1, 1]^2, target (4, 0)."""
    network = WidthDepth(midpoint(UNIT, 2), identity)
    return LearningProblem(
        network,
        np.full((2, 1), initial),
        np.array([[target], [0.0]]),
        TimeMesh(horizon, layers),
        admissible=BOX,
    )


def test_the_two_cycle_of_one_unit():
    run = successive_approximation(scalar(), raise_on_failure=False)
    assert run.status is Status.TWO_CYCLE
    np.testing.assert_allclose(
        run.history["objective"], [1 / 8, 1 / 8, 9 / 8, 1 / 8], rtol=0, atol=1e-15
    )
    with pytest.raises(SolveError, match="return after two iterations"):
        successive_approximation(scalar())


def test_the_two_cycle_of_two_blocks_converges_with_the_layers():
    """J = 3.125, then 1.25 and 2.0287795 in turn, to O(tau) for layers that 1/3 cuts alike."""
    x = 1.5 * np.exp(1 / 3) - 1 / 3
    exact = ((4 - x) ** 2 + x * x) / 4
    assert exact == pytest.approx(2.028779530607419, rel=1e-14)
    errors = []
    for layers in (100, 400, 1600):
        run = successive_approximation(blocks(layers), raise_on_failure=False)
        assert run.status is Status.TWO_CYCLE
        np.testing.assert_allclose(
            run.history["objective"][[0, 1, 3]], [3.125, 1.25, 1.25], rtol=0, atol=1e-12
        )
        errors.append(abs(run.history["objective"][2] - exact))
    assert errors[2] == pytest.approx(5.69e-5, rel=0.01)
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("activation", [identity, tanh, relu], ids=str)
def test_a_target_that_cannot_be_passed_takes_one_step(activation):
    """LM-53: after one step the gap is 0, and J that of the ResNet at full speed."""
    grid, layers = gauss_legendre(UNIT, 3), 20
    problem = LearningProblem(
        WidthDepth(grid, activation),
        np.full((3, 1), 0.5),
        np.full((3, 1), 4.0),
        TimeMesh(1.0, layers),
        admissible=BOX,
    )
    run = successive_approximation(problem)
    assert run.status is Status.EXTREMAL
    assert run.statistics == {**run.statistics, "iterations": 1.0, "exact": 1.0}
    assert run.history["gap"][1] < 1e-14 < run.history["gap"][0]
    f = 0.5
    for _ in range(layers):
        f += float(activation(np.array(1 + f))) / layers
    assert run.objective == pytest.approx(0.5 * (4 - f) ** 2, rel=1e-13)
    assert np.all(run.control["bias"] == 1)
    assert np.all(run.control["kernel"] == -1)


def test_the_disc():
    """LM-52: the maximising control depends on the state, so a few iterations are needed; J is
    0.41819 to O(tau).
    """
    grid = gauss_legendre(UNIT, 2)
    errors = []
    for layers in (20, 40):
        problem = LearningProblem(
            WidthDepth(grid, identity),
            np.full((2, 1), 0.5),
            np.full((2, 1), 3.0),
            TimeMesh(1.0, layers),
            admissible=Ball(),
        )
        run = successive_approximation(problem)
        assert run.status is Status.EXTREMAL
        errors.append(run.objective - 0.4181960996999136)
    assert 0 < errors[1] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize(("rho", "factor"), [(2.0, 1 / 4), (1.0, 0.0)])
def test_augmentation_above_the_threshold(rho, factor):
    """LM-65: a <- clip(a + (1/2 - a) / rho), so J falls by the factor (1 - 1/rho)^2."""
    run = successive_approximation(
        scalar(), augmentation=rho, max_iterations=6, raise_on_failure=False
    )
    expected = factor ** np.arange(len(run.history["objective"])) / 8
    np.testing.assert_allclose(run.history["objective"], expected, rtol=0, atol=1e-9)
    assert run.status is (Status.EXTREMAL if rho == 1.0 else Status.MAX_ITERATIONS)


@pytest.mark.parametrize(("rho", "other"), [(0.5, 1 / 8), (0.4, 0.5 * 0.75**2)])
def test_augmentation_below_the_threshold(rho, other):
    run = successive_approximation(scalar(), augmentation=rho, raise_on_failure=False)
    assert run.status is Status.TWO_CYCLE
    assert np.max(run.history["objective"]) == pytest.approx(other, abs=1e-6)
    assert np.min(run.history["objective"]) == pytest.approx(1 / 8, abs=1e-6)


def test_augmentation_of_two_blocks():
    """LM-65 at K = 400, the inner search +-1e-2: rho = 1 and 3 decrease, 0.3 does not."""
    values = {
        rho: successive_approximation(
            blocks(400),
            augmentation=rho,
            max_iterations=24 if rho >= 1 else 4,
            raise_on_failure=False,
        ).history["objective"]
        for rho in (1.0, 3.0, 0.3)
    }
    assert values[1.0][24] == pytest.approx(0.4297, abs=1e-2)
    assert values[3.0][24] == pytest.approx(0.494, abs=1e-2)
    assert np.all(np.diff(values[1.0]) < 0)
    assert np.all(np.diff(values[3.0]) < 0)
    assert values[0.3][2] == pytest.approx(0.656, abs=1e-2)
    assert values[0.3][4] == pytest.approx(2.50, abs=5e-2)


@pytest.mark.parametrize(
    "remedy", [{"relaxation": "search"}, {"augmentation": "adaptive"}], ids=str
)
def test_remedies_find_the_optimum_of_two_blocks(remedy):
    """The optimum of this ResNet is 0.4347 (0.42356 in the limit); both descend to it."""
    run = successive_approximation(blocks(50), max_iterations=80, raise_on_failure=False, **remedy)
    best = minimize(blocks(50), LBFGS(gtol=1e-7), initial=run.control)
    assert np.all(np.diff(run.history["objective"]) < 0)
    assert run.objective == pytest.approx(best.objective, abs=1e-8)
    assert run.objective == pytest.approx(0.4346938, abs=1e-6)
    name = "share" if "relaxation" in remedy else "rho"
    assert len(run.history[name]) >= run.statistics["iterations"]


def test_a_fixed_share_of_the_way():
    """a <- a + s (+-1 - a): from 0 to s = 1/2, which is the target."""
    run = successive_approximation(scalar(), relaxation=0.5)
    assert run.status is Status.EXTREMAL
    assert run.objective == 0.0


def rough(admissible, activation, rng, units=6, layers=7):
    grid = gauss_legendre(UNIT, units)
    start, target = grid.sample(lambda y: y - 0.4), grid.sample(lambda y: np.cos(7 * y))
    mesh = TimeMesh(2.0, layers, grading=1.2)
    return LearningProblem(WidthDepth(grid, activation), start, target, mesh, admissible=admissible)


SETS = {
    "Box": Box(bias=(-1, 2), kernel=(-3, 1)),
    "Ball": Ball(1.5),
    "L1Ball": Box(bias=(-1, 2)) & L1Ball(kernel=0.7),
    "FiniteSet": FiniteSet(bias=(-1, 0.5), kernel=(-1, 0, 2)),
}


@pytest.mark.parametrize("activation", [tanh, identity, relu], ids=str)
@pytest.mark.parametrize("admissible", SETS.values(), ids=SETS.keys())
def test_rows_without_a_kernel_agree_with_the_kernels(admissible, activation, rng):
    problem = rough(admissible, activation, rng)
    sweeps, objective = RowSweeps.of(problem), discretize(problem)
    control = admissible.project(problem.space.zeros())
    rows = sweeps.rows(control)
    for _ in range(3):
        value, gap, following = sweeps.look(rows)
        assert value == pytest.approx(objective.value(control), rel=1e-13)
        best = layer_hamiltonian(objective, control).minimiser(dict(control.items()))
        assert gap == pytest.approx(float(problem.mesh.steps @ best.gap), rel=1e-12)
        control, rows = following.control(problem.space), following
        for name in control:
            np.testing.assert_allclose(control[name], best.values[name], rtol=0, atol=1e-12)


def test_ties_that_need_more_rows_go_to_the_kernels(rng):
    """f = 0 in one entry keeps what each row had; with random rows there are more than two."""
    problem = rough(BOX, tanh, rng)
    start = problem.initial.copy()
    start[2] = 0.0
    problem = LearningProblem(problem.network, start, problem.target, problem.space, admissible=BOX)
    control = problem.space.zeros()
    kernel = control["kernel"].copy()
    kernel[:, ::2, :] = 0.5
    control = problem.space.sample(kernel=kernel)
    sweeps = RowSweeps.of(problem)
    assert sweeps.look(sweeps.rows(control))[2] is None
    assert sweeps.rows(problem.space.random(rng)) is None
    best = layer_hamiltonian(discretize(problem), control).minimiser(dict(control.items()))
    run = successive_approximation(
        problem, initial=control, max_iterations=1, raise_on_failure=False
    )
    assert run.history["objective"][1] == pytest.approx(
        discretize(problem).value(problem.space.sample(**best.values)), rel=1e-13
    )
    assert np.all(best.values["kernel"][0, ::2, 2] == 0.5)


def test_the_singular_extremal_is_not_left():
    """LM-55 (a): r_2 = 0 and f_2 = 0, so ties keep block 2 where it is."""
    problem = blocks(8, 0.0, 6.0, 2.0)
    singular = problem.space.sample(
        bias=np.array([1.0, 0.0]), kernel=np.array([[-1.0, 0.0], [0.0, 0.0]])
    )
    run = successive_approximation(problem, initial=singular)
    assert run.status is Status.EXTREMAL
    assert run.statistics["iterations"] == 0
    assert run.objective > 1.5


def regression(rng, samples=20, **kwargs):
    start = rng.standard_normal((3, samples))
    return LearningProblem(NeuralODE2(3, tanh), start, np.sign(start), TimeMesh(1.0, 6), **kwargs)


def test_many_samples_where_the_velocity_is_affine(rng):
    problem = regression(rng, penalty=Tikhonov(0.05))
    best = minimize(problem, LBFGS(gtol=1e-8))
    run = successive_approximation(
        problem, relaxation="search", max_iterations=400, gtol=1e-9, initial=best.control * 0.9
    )
    assert run.status is Status.EXTREMAL
    assert run.statistics["exact"] == 1.0
    assert run.objective == pytest.approx(best.objective, abs=1e-9)


def test_a_box_and_many_samples_by_one_gradient(rng):
    """The gap and the vertices of the fused loop are those of the Hamiltonian."""
    grid = gauss_legendre(UNIT, 4)
    start, target = rng.standard_normal((2, 4, 5))
    problem = LearningProblem(
        WidthDepth(grid, identity),
        start,
        target,
        TimeMesh(1.0, 3, grading=1.5),
        admissible=Box(bias=(-1, 2), kernel=(-3, 1)),
    )
    control = problem.admissible.project(problem.space.random(rng))
    best = layer_hamiltonian(discretize(problem), control).minimiser(dict(control.items()))
    run = successive_approximation(
        problem, initial=control, max_iterations=1, raise_on_failure=False
    )
    assert run.history["gap"][0] == pytest.approx(float(problem.mesh.steps @ best.gap), rel=1e-12)
    assert run.history["objective"][1] == pytest.approx(
        discretize(problem).value(problem.space.sample(**best.values)), rel=1e-12
    )


def test_where_no_closed_form_is_known_the_status_says_inexact(rng):
    start = rng.standard_normal((2, 6))
    problem = LearningProblem(
        Bottleneck(2, tanh, hidden=2),
        start,
        np.tanh(start),
        TimeMesh(1.0, 3),
        penalty=Tikhonov(0.2),
    )
    run = successive_approximation(
        problem,
        initial=problem.space.random(rng, 0.3),
        relaxation="search",
        gtol=1e-5,
        max_iterations=300,
    )
    assert run.status is Status.EXTREMAL_INEXACT
    assert "lower bound" in run.status.value
    assert run.statistics["exact"] == 0.0
    assert problem.space.norm(discretize(problem).gradient(run.control)) < 1e-2


def test_a_run_that_explodes_is_no_answer(rng):
    problem = regression(rng, penalty=Tikhonov(0.05))
    run = successive_approximation(problem, max_iterations=20, raise_on_failure=False)
    assert not run.status.ok
    assert run.objective == pytest.approx(np.min(run.history["objective"]), rel=1e-14)
    assert discretize(problem).value(run.control) == pytest.approx(run.objective, rel=1e-12)


def test_batches_recover_ternary_weights(rng):
    """A teacher with weights in {-1, 0, 1}: with memory and inertia all 80 of them are found;
    without, few.
    """
    network = NeuralODE2(4, tanh)
    start = rng.standard_normal((4, 200))
    space = network.controls(TimeMesh(1.0, 5), fixed={"bias": 0.0})
    teacher = space.sample(weight=rng.choice([-1.0, 0.0, 1.0], (4, 4)))
    target = integrate(network, teacher, start, Euler()).trajectory.final
    problem = LearningProblem(
        network, start, target, space, admissible=FiniteSet(weight=(-1, 0, 1))
    )

    def run(**settings):
        return successive_approximation(
            problem,
            batch=Minibatch(50, **settings),
            max_iterations=60,
            rng=np.random.default_rng(1),
        )

    steady = run(memory=0.9, inertia=0.2)
    assert steady.status is Status.ITERATED
    assert steady.objective < 0.05 * discretize(problem).value(space.zeros())
    assert steady.objective < 0.1 * run(memory=0.0).objective
    again = run(memory=0.9, inertia=0.2)
    assert np.array_equal(again.control["weight"], steady.control["weight"])
    assert set(np.unique(steady.control["weight"])) <= {-1.0, 0.0, 1.0}


def test_a_weight_flips_where_the_mean_exceeds_twice_the_inertia():
    """f' = a, a in {-1, 1}: at a = 1 the gradient is 1/2, so a flips for inertia 0.24, and stays
    for 0.25.
    """
    problem = scalar()
    finite = LearningProblem(
        problem.network,
        problem.initial,
        problem.target,
        problem.space,
        admissible=FiniteSet(bias=(-1, 1)),
    )
    for inertia, after in ((0.24, -1.0), (0.25, 1.0)):
        run = successive_approximation(
            finite,
            initial=finite.space.sample(bias=1.0),
            batch=Minibatch(1, 0.9, inertia),
            max_iterations=1,
            rng=np.random.default_rng(0),
        )
        assert np.all(run.control["bias"] == after)


def test_memory_and_inertia_by_hand():
    """f' = a: from a = -1 the gradient is -3/2, then 1/2 at a = 1, where the mean (0.9) is still
    negative: a stays.
    """
    problem = scalar()

    def last(values, start, iterations, **settings):
        finite = LearningProblem(
            problem.network,
            problem.initial,
            problem.target,
            problem.space,
            admissible=FiniteSet(bias=values),
        )
        run = successive_approximation(
            finite,
            initial=finite.space.sample(bias=start),
            batch=Minibatch(1, **settings),
            max_iterations=iterations,
            rng=np.random.default_rng(0),
        )
        return run.control["bias"][0, 0]

    assert last((-1, 1), -1.0, 2, memory=0.9, inertia=0.1) == 1.0
    assert last((-1, 1), -1.0, 2, memory=0.0, inertia=0.1) == -1.0
    assert last((-1, 0, 1), 1.0, 1, memory=0.9, inertia=0.3) == 0.0  # -1/2 + 0.3 < 0 < -1 + 1.2


def test_ties_in_rows_agree_with_the_kernels(rng):
    """Costates and states with zeros in every pattern: rows say what the kernels do, or that they
    cannot.
    """
    problem = rough(BOX, tanh, rng, units=4, layers=1)
    sweeps, said = RowSweeps.of(problem), 0
    for _ in range(200):
        f, p = rng.integers(-1, 2, (2, 1, 4)).astype(float)
        rows = Rows(
            rng.uniform(-1, 1, (1, 2)), rng.uniform(-1, 1, (1, 2, 4)), rng.integers(0, 2, (1, 4))
        )
        if rng.random() < 0.5:
            rows = Rows(rows.alpha, np.repeat(rows.beta[:, :1], 2, axis=1), rows.kind)
        found = sweeps._best(rows, f, p)
        if found is not None:
            said += 1
            here = dict(rows.control(problem.space).items())
            best = Hamiltonian(problem, 0.0, f[..., None], p[..., None]).minimiser(here).values
            for name, x in found.control(problem.space).items():
                np.testing.assert_array_equal(x, best[name])
    assert 30 < said < 200


def test_monitors():
    record = Record("gaps", lambda s: s.values["gap"])
    run = successive_approximation(
        blocks(10),
        monitors=[Monitor(record), Monitor(Stop(lambda s: s.step == 1, "enough"), EverySteps(1))],
    )
    assert run.status is Status.STOPPED
    assert run.detail.endswith("enough")
    assert list(run.history["gaps"]) == list(run.history["gap"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relaxation": 1.5}, "relaxation must be in"),
        ({"relaxation": "serach"}, "Did you mean 'search'"),
        ({"augmentation": -1.0}, "augmentation must be finite and positive"),
        ({"gtol": 0.0}, "gtol"),
        ({"augmentation": 1.0, "relaxation": 0.5}, "give one of them"),
        ({"batch": Minibatch(1)}, "needs rng"),
        (
            {"batch": Minibatch(9), "rng": np.random.default_rng(0)},
            "batch size is 9, but there are 1",
        ),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        successive_approximation(scalar(), **settings)


def test_problems_it_cannot_take(rng):
    with pytest.raises(ValueError, match="weight is neither bounded by a set nor penalised"):
        successive_approximation(regression(rng, admissible=Box(bias=(-1, 1))))
    with pytest.raises(ValueError, match="nor penalised by a square"):
        successive_approximation(regression(rng, penalty=L1(1.0)))
    with pytest.raises(ValueError, match="does not bound the control at each time"):
        successive_approximation(regression(rng, admissible=NormBall(bias=1.0, weight=1.0)))
    finite = FiniteSet(bias=(0, 1), weight=(0, 1))
    with pytest.raises(ValueError, match="relaxation needs a convex set"):
        successive_approximation(regression(rng, admissible=finite), relaxation=0.5)
    network = NeuralODE2(3, tanh)
    space = network.controls(TimeMesh(1.0, 6), in_time="static")
    one = LearningProblem(network, np.ones((3, 1)), np.ones((3, 1)), space, penalty=Tikhonov(1.0))
    with pytest.raises(ValueError, match="bias, weight cannot be chosen at every time"):
        successive_approximation(one)


@pytest.mark.parametrize("threads", [2, 3, 10**9])
def test_results_do_not_depend_on_threads(rng, threads):
    """Nor do iterates that a monitor has seen change when their memory is used again."""
    network = WidthDepth(gauss_legendre(Interval(0, 1), 5), identity)
    initial, target = rng.standard_normal((2, 5, 7))
    bounds = Box(bias=(-1, 1), kernel=(-1, 1))
    problem = LearningProblem(network, initial, target, TimeMesh(1.0, 4), admissible=bounds)
    start = bounds.project(problem.space.random(rng))
    found = []
    for count in (1, threads):
        seen = []
        solution = successive_approximation(
            problem,
            initial=start,
            threads=count,
            max_iterations=12,
            gtol=1e-300,
            monitors=[Monitor(lambda s, seen=seen: bool(seen.append(s)), EverySteps(1))],
            raise_on_failure=False,
        )
        found.append((solution, seen))
    (one, first), (other, second) = found
    for name in one.control:
        np.testing.assert_array_equal(one.control[name], other.control[name])
    np.testing.assert_array_equal(one.history["gap"], other.history["gap"])
    for x, y, value in zip(first, second, one.history["objective"], strict=True):
        np.testing.assert_array_equal(x.state, y.state)
        assert discretize(problem).value(problem.space.unflatten(x.state)) == pytest.approx(
            value, rel=1e-13
        )


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_threads_that_are_none_are_named(rng, threads):
    network = WidthDepth(gauss_legendre(Interval(0, 1), 3), identity)
    initial, target = rng.standard_normal((2, 3, 2))
    bounds = Box(bias=(-1, 1), kernel=(-1, 1))
    problem = LearningProblem(network, initial, target, TimeMesh(1.0, 2), admissible=bounds)
    with pytest.raises((TypeError, ValueError), match="threads"):
        successive_approximation(problem, threads=threads)
