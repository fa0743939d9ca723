"""Lyapunov losses: gradients by Taylor and the ledger, points, batches, who may descend on them."""

from dataclasses import replace

import array_api_strict
import numpy as np
import pytest

from continuum import (
    Affine,
    Box,
    Chain,
    CrossEntropy,
    Inputs,
    Interval,
    LearnedField,
    LearningProblem,
    Linear,
    Offset,
    Pointwise,
    Projection,
    Softmax,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    tanh,
)
from continuum.arrays import to_host
from solvers import (
    LBFGS,
    RK4,
    Adam,
    DormandPrince,
    GradientDescent,
    Nesterov,
    NewtonCG,
    ProximalNewton,
    RiccatiNewton,
    SolveError,
    Status,
    cosine,
    discretize,
    minimize,
)
from solvers.lyapunov import (
    BarrierLoss,
    Cube,
    Given,
    MonteCarloLyapunov,
    PathLyapunov,
    Sphere,
    Tube,
    escapes,
    violation,
)
from solvers.lyapunov.barrier import onto_faces

MESH = TimeMesh(1.0, 5)


def learned(rng, samples=6, readout=None, units=3, **options):
    """A field of two layers at random inputs, a problem of three classes, a control."""
    field = LearnedField(units, 2, (4, 5), tanh)
    x, classes = rng.standard_normal((2, samples)), 3
    chosen = {} if readout is None else {"readout": readout}
    problem = LearningProblem(
        field.at(x),
        0.1 * rng.standard_normal((units, samples)),
        rng.integers(classes, size=samples),
        MESH,
        terminal=CrossEntropy(),
        **chosen,
        **options,
    )
    return problem, problem.space.random(rng, 0.6)


def timed_chain(rng):
    """A chain that reads the time, its blocks piecewise constant and piecewise linear in time."""
    maps = (Inputs(time=True), Linear("a", 4), Offset("b"), Pointwise(tanh), Linear("c", 3))
    network = Chain(3, maps)
    problem = LearningProblem(
        network,
        rng.standard_normal((3, 4)),
        rng.integers(3, size=4),
        network.controls(MESH, in_time="nodes"),
        terminal=CrossEntropy(),
        sample_weights=np.array([1.0, 2.0, 0.5, 1.5]),
    )
    return problem, problem.space.random(rng, 0.6)


def softmax(rng):
    """A loss of probabilities."""
    problem, control = learned(rng, readout=Softmax(3), units=4)
    return replace(problem, terminal=SquaredError()), control


def width_depth(rng):
    network = WidthDepth(gauss_legendre(Interval(0, 1), 5), tanh)
    problem = LearningProblem(
        network,
        rng.standard_normal((5, 4)),
        rng.standard_normal((5, 4)),
        MESH,
        terminal=SquaredError(),
    )
    return problem, problem.space.random(rng, 0.6)


def truncated(rng):
    problem, control = learned(rng)
    return replace(problem, terminal=CrossEntropy(truncation=0.2)), control


def on_layers(rng):
    """A network that compiled loops run, with a readout that is trained and one block that is
    static.
    """
    maps = (Linear("a", 4), Offset("b"), Pointwise(tanh), Linear("c", 3))
    network = Chain(3, maps)
    layers, static = network.blocks("layers"), network.blocks("static")
    space = network.controls(MESH)
    space = replace(space, blocks=(static[0], *layers[1:]))
    problem = LearningProblem(
        network,
        rng.standard_normal((3, 4)),
        rng.integers(3, size=4),
        space,
        readout=Affine(3),
        terminal=CrossEntropy(),
    )
    return problem, problem.space.random(rng, 0.6)


CASES = {
    "state": learned,
    "affine": lambda rng: learned(rng, readout=Affine(3), units=4),
    "fixed affine": lambda rng: learned(
        rng,
        readout=Affine(
            3, fixed={"readout.W": rng.standard_normal((3, 4)), "readout.mu": np.array([1, 0, 2.0])}
        ),
        units=4,
    ),
    "softmax": softmax,
    "projection": lambda rng: learned(
        rng, readout=Projection(rng.standard_normal((3, 4))), units=4
    ),
    "penalty": lambda rng: learned(rng, penalty=Tikhonov(0.1)),
    "time": timed_chain,
    "width and depth": width_depth,
    "truncated": truncated,
    "on layers": on_layers,
}
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def slope_error(objective, control, rng):
    """|dJ - (gradient, d)| / |dJ| for a random direction, dJ by central differences of order 4."""
    direction, h = objective.space.random(rng), 1e-4

    def along(s):
        return objective.value(control + s * direction)

    difference = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    slope = objective.space.inner(objective.gradient(control), direction)
    return abs(slope - difference) / abs(difference)


@EVERY
@pytest.mark.parametrize("kappa", [0.3, 3.0])
def test_monte_carlo_gradient_by_taylor(case, kappa, rng):
    problem, control = case(rng)
    loss = MonteCarloLyapunov(problem, kappa, Cube(4.0, states=7))
    assert 0.0 < loss.active_share(control) <= 1.0
    assert slope_error(loss, control, rng) < 1e-8


@EVERY
@pytest.mark.parametrize("form", ["continuous", "discrete", "euler"])
def test_path_gradient_by_taylor(case, form, rng):
    problem, control = case(rng)
    loss = PathLyapunov(problem, 0.8, form=form, steps_per_layer=2)
    assert 0.0 < loss.active_share(control) <= 1.0
    assert slope_error(loss, control, rng) < 1e-8


def test_compiled_and_generic_sweeps_agree(rng):
    """The same arrays, whether the loops are compiled or, on other arrays, not."""
    problem, control = on_layers(rng)
    strict = replace(problem, initial=array_api_strict.asarray(problem.initial))
    for form in ("continuous", "discrete"):
        value, gradient = PathLyapunov(problem, 0.8, form=form).value_and_gradient(control)
        found, other = PathLyapunov(strict, 0.8, form=form).value_and_gradient(control)
        assert found == pytest.approx(value, rel=1e-13)
        for name, x in gradient.items():
            np.testing.assert_allclose(to_host(other[name]), x, rtol=1e-11, atol=1e-14)


def test_path_forms_by_hand(rng):
    """What the three forms say of the states of a run, and what their semi-gradients hold."""
    problem, control = learned(rng, sample_weights=np.arange(1.0, 7.0))
    kappa, h, s = 0.8, 0.2, problem.sample_weights
    run = discretize(problem, RK4()).run(control)
    v = np.stack([problem.functional.terminal_costs(f) for f in run.states])
    r = violation(problem, control, run.states, run.times, kappa)
    hinge = {
        "continuous": np.maximum(r, 0.0),
        "discrete": np.maximum(v[1:] - np.exp(-kappa * h) * v[:-1], 0.0) / h,
        "euler": np.maximum(v[1:] - (1.0 - kappa * h) * v[:-1], 0.0) / h,
    }
    for form, costs in hinge.items():
        loss = PathLyapunov(problem, kappa, form=form)
        assert loss.value(control) == pytest.approx(np.mean(costs @ s), rel=1e-13)
        assert loss.active_share(control) == np.mean(costs > 0.0)
        semi = replace(loss, semi=True)
        assert semi.semi_gradient
        assert not loss.semi_gradient
        value, gradient = semi.value_and_gradient(control)
        assert value == loss.value(control)
        exact = loss.gradient(control)
        assert problem.space.norm(gradient - exact) > 0.1 * problem.space.norm(exact)
    # the continuous one is that of the Monte Carlo loss at the nodes
    held = MonteCarloLyapunov(problem, kappa, Given(run.states, run.times)).gradient(control)
    semi = PathLyapunov(problem, kappa, semi=True).gradient(control)
    for name, x in held.items():
        np.testing.assert_allclose(semi[name], x, rtol=1e-12, atol=1e-15)
    # the discrete one is the derivative where V_(j-1) is a number
    direction, e = problem.space.random(rng), 1e-5

    def with_held(at):
        states = discretize(problem, RK4()).run(control + at * direction).states
        moved = np.stack([problem.functional.terminal_costs(f) for f in states])
        return np.mean(np.maximum(moved[1:] - np.exp(-kappa * h) * v[:-1], 0.0) @ s) / h

    loss = PathLyapunov(problem, kappa, form="discrete", semi=True)
    slope = problem.space.inner(loss.gradient(control), direction)
    assert slope == pytest.approx((with_held(e) - with_held(-e)) / (2 * e), rel=1e-7)


def test_the_control_at_nodes_between_layers(rng):
    """It is that of the later layer, at the last node that of the last one."""
    problem, control = on_layers(rng)
    run = discretize(problem, RK4()).run(control)
    r = violation(problem, control, run.states, run.times, 0.8)
    value = PathLyapunov(problem, 0.8).value(control)
    assert value == pytest.approx(np.mean(np.maximum(r, 0.0)), rel=1e-13)


def test_path_loss_is_for_lbfgs_too(rng):
    problem, control = learned(rng)
    loss = PathLyapunov(problem, 1.0)
    found = minimize(loss, LBFGS(max_iterations=15), initial=control, raise_on_failure=False)
    assert found.objective < 0.5 * loss.value(control)
    with pytest.raises(TypeError, match="semi-gradient"):
        minimize(replace(loss, semi=True), LBFGS(), initial=control)
    parts = [loss.batch(p, rng).value(control) for p in ([0, 1, 2], [3, 4, 5])]
    assert np.mean(parts) == pytest.approx(loss.value(control), rel=1e-13)


def test_a_run_that_does_not_stay_finite(rng):
    network = LearnedField(2, 2, (), identity).at(rng.standard_normal((2, 4)))
    problem = LearningProblem(
        network, np.ones((2, 4)), np.array([0, 1, 1, 0]), MESH, terminal=CrossEntropy()
    )
    control = problem.space.random(rng, 1e60)
    loss = PathLyapunov(problem, 1.0, steps_per_layer=4)
    assert loss.value(control) == np.inf
    with pytest.raises(SolveError):
        loss.value_and_gradient(control)


def test_taylor_slope_two(rng):
    """|J(c + h d) - J(c) - h (g, d)| falls as h^2 where no hinge is at its edge."""
    problem, control = learned(rng, readout=Affine(3))
    loss = MonteCarloLyapunov(problem, 1.0, Sphere(4.0, states=9))
    value, gradient = loss.value_and_gradient(control)
    assert value == loss.value(control)
    direction = problem.space.random(rng)
    steps = 1e-3 * 0.5 ** np.arange(5)
    slope = problem.space.inner(gradient, direction)
    rests = [abs(loss.value(control + h * direction) - value - h * slope) for h in steps]
    slopes = np.diff(np.log(rests)) / np.diff(np.log(steps))
    np.testing.assert_allclose(slopes, 2.0, atol=0.05)


def test_batches(rng):
    """The mean of batches with their weights is the whole at common points; a generator draws
    other points, the same for the same generator.
    """
    problem, control = learned(rng, sample_weights=np.arange(1.0, 7.0))
    loss = MonteCarloLyapunov(problem, 2.0, Cube(4.0, states=5))
    parts = [[0, 3, 4], [1, 2, 5]]
    value, gradient = loss.value_and_gradient(control)
    shares = [problem.sample_weights[part].sum() for part in parts]
    found = [loss.batch(part).value_and_gradient(control) for part in parts]
    assert sum(s * v for s, (v, _) in zip(shares, found, strict=True)) == pytest.approx(
        value, 1e-13
    )
    total = shares[0] * found[0][1] + shares[1] * found[1][1]
    np.testing.assert_allclose(total["weight1"], gradient["weight1"], rtol=1e-12, atol=1e-15)

    def drawn(seed):
        return loss.batch(parts[0], np.random.default_rng(seed)).value(control)

    assert drawn(1) == drawn(1) != drawn(2) != found[0][0]
    assert loss.value(control) == value


@pytest.mark.parametrize("case", [learned, timed_chain, width_depth], ids=lambda c: c.__name__)
def test_shared_states_are_those_of_each_sample(case, rng):
    """Where the network has no data of each sample they are asked for once."""
    problem, control = case(rng)
    units, samples = problem.initial.shape
    states, times = rng.standard_normal((5, units)), np.linspace(0.0, 1.0, 5)
    each = np.repeat(states[:, :, None], samples, axis=2)
    value, gradient = MonteCarloLyapunov(problem, 1.0, Given(states, times)).value_and_gradient(
        control
    )
    other, further = MonteCarloLyapunov(problem, 1.0, Given(each, times)).value_and_gradient(
        control
    )
    assert other == pytest.approx(value, rel=1e-13)
    for name, x in gradient.items():
        np.testing.assert_allclose(further[name], x, rtol=1e-11, atol=1e-14)
    network = problem.network
    assert (network.batch([0]) is network) == (case is not learned)


def test_given_states_of_samples_go_with_them(rng):
    problem, control = learned(rng)
    states, times = rng.standard_normal((4, 3, 6)), np.linspace(0.0, 1.0, 4)
    part = MonteCarloLyapunov(problem, 2.0, Given(states, times)).batch([4, 1])
    r = violation(problem, control, states, times, 2.0)[:, [4, 1]]
    assert part.value(control) == pytest.approx(np.mean(np.maximum(r, 0.0)), rel=1e-13)


def test_a_small_semi_gradient_is_no_convergence(rng):
    problem, control = learned(rng)
    adam = Adam(gtol=1e9, max_iterations=2)
    found = minimize(MonteCarloLyapunov(problem, 1.0, Tube(0.5)), adam, initial=control)
    assert found.status is Status.ITERATED
    found = minimize(MonteCarloLyapunov(problem, 1.0, Cube(3.0)), adam, initial=control)
    assert found.status is Status.CONVERGED


def test_velocities_that_are_not_finite(rng):
    """No hinge hides them."""
    network = LearnedField(2, 2, (3,), identity).at(rng.standard_normal((2, 4)))
    problem = LearningProblem(
        network, np.zeros((2, 4)), np.array([0, 1, 1, 0]), MESH, terminal=CrossEntropy()
    )
    control = problem.space.random(rng, 1e200)
    assert MonteCarloLyapunov(problem, 1.0, Cube(3.0)).value(control) == np.inf
    assert BarrierLoss(problem, 1.0, Cube(3.0)).value(control) == np.inf


def test_adam_gives_the_same_arrays_twice(rng):
    problem, control = learned(rng)
    loss = MonteCarloLyapunov(problem, 1.0, Tube(noise=0.5, copies=2))
    adam = Adam(step=cosine(5e-3, 4), batch=2, max_iterations=4)
    one, two = (minimize(loss, adam, initial=control) for _ in range(2))
    for name, x in one.control.items():
        np.testing.assert_array_equal(x, two.control[name])
    assert one.objective < loss.value(control)
    other = minimize(loss, replace(adam, rng=np.random.default_rng(5)), initial=control)
    assert not np.array_equal(other.control["weight1"], one.control["weight1"])


def test_adam_draws_new_points_for_batches(rng):
    """A batch of all samples differs from no batches by its points alone."""
    problem, control = learned(rng)
    loss = MonteCarloLyapunov(problem, 1.0, Cube(2.0, states=5))
    common = minimize(loss, Adam(max_iterations=1), initial=control, raise_on_failure=False)
    drawn = minimize(loss, Adam(batch=6, max_iterations=1), initial=control)
    assert np.max(np.abs(common.control["weight1"] - drawn.control["weight1"])) > 1e-3
    held = loss.batch([3, 1, 0, 2, 5, 4]).gradient(control)
    np.testing.assert_allclose(held["weight1"], loss.gradient(control)["weight1"], rtol=1e-10)


SEES_NO_SEMI = (
    GradientDescent(),
    Nesterov(),
    LBFGS(),
    NewtonCG(),
    RiccatiNewton(),
    ProximalNewton(),
)


@pytest.mark.parametrize("method", SEES_NO_SEMI, ids=lambda m: type(m).__name__)
def test_semi_gradients_are_for_adam(method, rng):
    problem, control = learned(rng)
    loss = MonteCarloLyapunov(problem, 1.0, Tube(noise=0.5))
    assert loss.semi_gradient
    with pytest.raises(TypeError, match="semi-gradient"):
        minimize(loss, method, initial=control)


def test_functions_are_for_every_first_order_method(rng):
    problem, control = learned(rng, penalty=Tikhonov(1e-3), admissible=Box(weight1=(-2.0, 2.0)))
    loss = MonteCarloLyapunov(problem, 1.0, Cube(2.0, states=5))
    for method in (GradientDescent(max_iterations=3), Nesterov(max_iterations=3)):
        found = minimize(loss, method, initial=control, raise_on_failure=False)
        assert found.objective < loss.value(Box(weight1=(-2.0, 2.0)).project(control))
    free = replace(loss, problem=replace(problem, admissible=None))
    found = minimize(free, LBFGS(max_iterations=5), initial=control, raise_on_failure=False)
    assert found.objective < loss.value(control)
    for newton in (NewtonCG(), RiccatiNewton(), ProximalNewton()):
        with pytest.raises(TypeError):
            minimize(free, newton, initial=control)


def test_points_of_samplers(rng):
    problem, control = learned(rng)
    for sampler, size in ((Cube(2.0, states=400), 2.0), (Sphere(3.0, states=400), 3.0)):
        points = MonteCarloLyapunov(problem, 1.0, sampler).points(control)
        assert points.states.shape == (400, 3, 1)
        assert sampler.contains(points.states).all()
        assert np.quantile(points.times, 0.5) == pytest.approx(0.5, abs=0.1)
        r = np.sqrt(np.sum(points.states**2, axis=1))
        assert np.max(np.abs(points.states) if size == 2.0 else r) > 0.97 * size
        if size == 3.0:
            assert np.median(r) == pytest.approx(1.5, abs=0.15)
        np.testing.assert_array_equal(points.layers, np.floor(5 * points.times))
    tube = MonteCarloLyapunov(problem, 1.0, Tube(noise=0.1, copies=40)).points(control)
    assert tube.states.shape == (40 * 6, 3, 6)
    start = tube.states[tube.times == 0.0] - problem.initial
    assert np.std(start) == pytest.approx(0.1, rel=0.1)


def test_violation_of_one_time_and_many(rng):
    problem, control = learned(rng)
    states = rng.standard_normal((4, 3, 6))
    times = np.array([0.0, 0.3, 0.6, 1.0])
    many = violation(problem, control, states, times, 2.0)
    for n, t in enumerate(times):
        np.testing.assert_allclose(
            many[n], violation(problem, control, states[n], float(t), 2.0), rtol=1e-13
        )
    z = states[1]
    p = np.exp(z) / np.sum(np.exp(z), axis=0)
    slope = p - problem.target
    velocity = problem.network.velocity(z, control.at(0.3), 0.3)
    v = -np.log(np.sum(p * problem.target, axis=0))
    np.testing.assert_allclose(many[1], np.sum(slope * velocity, axis=0) + 2.0 * v, rtol=1e-12)


def test_other_libraries(rng):
    """On arrays of the standard alone the same numbers come out."""
    problem, control = learned(rng, readout=Affine(3))
    strict = replace(problem, initial=array_api_strict.asarray(problem.initial))
    value, gradient = MonteCarloLyapunov(problem, 1.0, Cube(3.0)).value_and_gradient(control)
    found, other = MonteCarloLyapunov(strict, 1.0, Cube(3.0)).value_and_gradient(control)
    assert found == pytest.approx(value, rel=1e-13)
    for name, x in gradient.items():
        np.testing.assert_allclose(to_host(other[name]), x, rtol=1e-11, atol=1e-14)
    part = MonteCarloLyapunov(strict, 1.0, Tube(0.3)).batch([0, 2], rng)
    assert np.isfinite(part.value(control))


def test_bad_input(rng):
    problem, _ = learned(rng)
    for kappa in (0.0, -1.0, np.inf):
        with pytest.raises(ValueError, match="kappa"):
            MonteCarloLyapunov(problem, kappa, Cube(1.0))
    with pytest.raises(ValueError, match=r"Cube.*cannot hold the path"):
        MonteCarloLyapunov(replace(problem, initial=problem.initial + 2.0), 1.0, Cube(1.0))
    with pytest.raises(ValueError, match=r"Sphere.*cannot hold the path"):
        MonteCarloLyapunov(replace(problem, initial=problem.initial + 2.0), 1.0, Sphere(3.0))
    with pytest.warns(RuntimeWarning, match="less than anywhere in the set"):
        MonteCarloLyapunov(problem, 9.0, Cube(1.0))
    with pytest.raises(ValueError, match="running must be None"):
        MonteCarloLyapunov(replace(problem, running=CrossEntropy()), 1.0, Cube(1.0))
    with pytest.raises(ValueError, match="kappa times the step must be < 1"):
        PathLyapunov(problem, 5.0, form="euler")
    PathLyapunov(problem, 5.0, form="euler", steps_per_layer=2)
    PathLyapunov(problem, 5.0, form="discrete")
    with pytest.raises(ValueError, match="form"):
        PathLyapunov(problem, 1.0, form="implicit")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="stepper"):
        PathLyapunov(problem, 1.0, stepper=DormandPrince(rtol=1e-6, atol=1e-6))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="terminal must be the loss of a readout"):
        PathLyapunov(replace(problem, terminal=None, running=CrossEntropy()), 1.0)
    with pytest.raises(TypeError, match="sampler"):
        MonteCarloLyapunov(problem, 1.0, "cube")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="points"):
        MonteCarloLyapunov(problem, 1.0, Given(np.zeros((2, 5)), np.zeros(2)))
    with pytest.raises(ValueError, match="times of Given must be in"):
        MonteCarloLyapunov(problem, 1.0, Given(np.zeros((2, 3)), np.array([0.0, 1.5])))
    with pytest.raises(ValueError, match="half_width"):
        Cube(0.0)
    with pytest.raises(ValueError, match="labels"):
        replace(problem, target=np.array([0, 1, 2, 3, 0, 1]))


def test_two_classes_and_the_box_of_the_paper(rng):
    """For two classes the box s = log(1 / expm1(exp(-kappa))) / 2 is too small for exact decay."""
    network = LearnedField(2, 2, (4,), tanh).at(rng.standard_normal((2, 4)))
    problem = LearningProblem(
        network, np.zeros((2, 4)), np.array([0, 1, 1, 0]), MESH, terminal=CrossEntropy()
    )
    with pytest.warns(RuntimeWarning, match="less than anywhere in the set"):
        MonteCarloLyapunov(problem, 3.0, Cube(1.4875015933))
    MonteCarloLyapunov(problem, 3.0, Cube(1.6747))
    MonteCarloLyapunov(problem, 3.0, Sphere(1.6747 * 2**0.5))
    with pytest.warns(RuntimeWarning, match="less than anywhere in the set"):
        MonteCarloLyapunov(problem, 3.0, Sphere(1.6745 * 2**0.5))


def test_cosine():
    schedule = cosine(5e-3, 40)
    assert schedule(0) == 5e-3
    assert schedule(20) == pytest.approx(2.5e-3)
    assert 0.0 < schedule(39) < 1e-5
    with pytest.raises(ValueError, match="epochs"):
        schedule(40)
    with pytest.raises(ValueError, match="step"):
        cosine(0.0, 3)


def centred_problem(rng, units=4, samples=6):
    """A centred field that starts at 0, and a control."""
    field = LearnedField(units, 2, (5,), tanh, centred=True)
    labels = rng.integers(units, size=samples)
    problem = LearningProblem(
        field.at(rng.standard_normal((2, samples))),
        np.zeros((units, samples)),
        labels,
        MESH,
        terminal=CrossEntropy(),
    )
    return problem, problem.space.random(rng, 0.6), labels


def test_nearest_states_of_faces(rng):
    """They lie on the face, and no other state of it is nearer: (z - p, q - p) <= 0 for q on it."""
    z = rng.uniform(-2.0, 2.0, (20, 5, 3))
    equal = np.zeros(z.shape, dtype=bool)
    equal[:, [1, 3], :] = True
    p = onto_faces(z, equal)
    np.testing.assert_array_equal(p[:, 1, :], p[:, 3, :])
    assert np.all(p <= p[:, 1:2, :])
    assert np.all(np.abs(p) <= 2.0)
    assert np.all(np.sum(p**2, axis=1) <= np.sum(z**2, axis=1))
    for _ in range(200):
        q = rng.uniform(-3.0, 3.0, z.shape)
        q[:, [1, 3], :] = np.max(q, axis=1, keepdims=True)
        assert np.max(np.sum((z - p) * (q - p), axis=1)) < 1e-12


@pytest.mark.parametrize("centred", [False, True])
def test_barrier_loss(centred, rng):
    """By its definition at its points, which lie on the faces, and its gradient by Taylor."""
    problem, control, labels = centred_problem(rng)
    loss = BarrierLoss(problem, 1.0, Cube(2.0, states=9), centred=centred)
    points = loss.points(control)
    costs = np.zeros((9, 6))
    for n in range(9):
        z, t = points.states[n], float(points.times[n])
        f = problem.network.velocity(z, control.at(t), t)
        for m, y in enumerate(labels):
            j = (y + 1 + n % 3) % 4
            assert z[y, m] == z[j, m] == np.max(z[:, m])
            costs[n, m] = max(0.0, 1.0 - (f[y, m] - f[j, m]))
    if centred:
        np.testing.assert_allclose(np.sum(points.states, axis=1), 0.0, atol=1e-14)
    assert loss.value(control) == pytest.approx(np.mean(costs), rel=1e-13)
    assert loss.active_share(control) == np.mean(costs > 0)
    assert slope_error(loss, control, rng) < 1e-8
    assert not loss.semi_gradient
    found = minimize(
        loss, Adam(step=2e-2, batch=3, max_iterations=30), initial=control, raise_on_failure=False
    )
    assert found.objective < 0.5 * loss.value(control)


def test_the_face_of_two_classes_is_a_point(rng):
    problem, control, _ = centred_problem(rng, units=2)
    points = BarrierLoss(problem, 1.0, Sphere(2.0), centred=True).points(control)
    np.testing.assert_array_equal(points.states, 0.0)


def test_barriers_need_cones(rng):
    problem, _, labels = centred_problem(rng)
    start = 0.1 * np.eye(4)[:, labels]
    BarrierLoss(replace(problem, initial=start), 1.0, Cube(1.0))
    with pytest.raises(ValueError, match="outside the cone of its class"):
        BarrierLoss(replace(problem, initial=-start), 1.0, Cube(1.0))
    with pytest.raises(ValueError, match="cannot hold the path"):
        BarrierLoss(replace(problem, initial=20.0 * start), 1.0, Cube(1.0))
    with pytest.raises(TypeError, match="problem must have the readout State"):
        BarrierLoss(learned(rng, readout=Affine(3))[0], 1.0, Cube(1.0))
    with pytest.raises(TypeError, match="sampler"):
        BarrierLoss(problem, 1.0, Tube())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="margin"):
        BarrierLoss(problem, 0.0, Cube(1.0))
    with pytest.raises(ValueError, match="target must hold labels"):
        BarrierLoss(replace(problem, target=np.full((4, 6), 0.25)), 1.0, Cube(1.0))


def test_escapes():
    """x' = a with a = (1, 2, 0): from 0 the samples leave [-0.5, 0.5] at the nodes 0.6 and 0.4."""
    network = LearnedField(2, 1, (), identity).at(np.array([[1.0, 2.0, 0.0]]))
    problem = LearningProblem(
        network, np.zeros((2, 3)), np.array([0, 0, 1]), MESH, terminal=CrossEntropy()
    )
    control = problem.space.sample(weight1=np.array([[0, 0, 1.0, 0], [0, 0, -1.0, 0]]))
    found = escapes(problem, control, Cube(0.5))
    assert found.share == pytest.approx(2 / 3)
    np.testing.assert_allclose(found.times, [0.6, 0.4, np.inf])
    round_ones = escapes(problem, control, Sphere(0.5), steps_per_layer=10)
    np.testing.assert_allclose(round_ones.times, [0.36, 0.18, np.inf])
    assert escapes(problem, control, Cube(2.1)).share == 0.0
    with pytest.raises(TypeError, match="sampler"):
        escapes(problem, control, Tube())  # type: ignore[arg-type]


def test_a_sphere_is_for_euclidean_states(rng):
    network = WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh)
    problem = LearningProblem(network, np.zeros((4, 2)), rng.random((4, 2)), MESH)
    with pytest.raises(ValueError, match="Sphere needs states in R"):
        MonteCarloLyapunov(problem, 1.0, Sphere(2.0))
