"""Laws of training in finite time: plants, steps, settling times, and what is refused."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from regressions import INPUTS, network, one_weight

from continuum import (
    Affine,
    Interval,
    LearnedField,
    LearningProblem,
    NeuralODE2,
    Projection,
    Softmax,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    identity,
    sigmoid,
    tanh,
    trapezoid,
)
from solvers import (
    RK4,
    EverySteps,
    Interrupted,
    Monitor,
    Record,
    SolveError,
    Status,
    Stop,
    discretize,
)
from solvers.finite_time import (
    PowerLaw,
    PseudoinverseLaw,
    SignLaw,
    neuron,
    output_jacobian,
    settling_bound,
    spow,
    train_in_time,
)
from solvers.finite_time.plants import AffinePlant, NetworkPlant, final_outputs, plant_of
from solvers.finite_time.powers import exact_step, implicit_step, reaching_time

SCHEMES = ("exact", "implicit", "semi-implicit", "explicit")
# outputs and their derivatives


def regressions(rng):
    """Networks, readouts and methods of every kind that the laws may meet."""
    deep = LearningProblem(
        NeuralODE2(3, tanh),
        rng.standard_normal((3, 4)),
        np.zeros((2, 4)),
        TimeMesh(1.0, 3),
        readout=Affine(2, link=sigmoid),
    )
    field = LearnedField(2, 2, (3,), tanh, centred=False)
    timed = LearningProblem(
        field.at(rng.standard_normal((2, 3))),
        np.zeros((2, 3)),
        np.zeros((1, 3)),
        TimeMesh(1.0, 2),
        readout=Projection(np.array([[1.0, -2.0]])),
    )
    nodes = NeuralODE2(2, tanh)
    between = LearningProblem(
        nodes,
        rng.standard_normal((2, 2)),
        np.zeros((2, 2)),
        nodes.controls(TimeMesh(2.0, 2), in_time="nodes", norm="H1"),
    )
    plain, _ = network(3, rng, outputs=2)
    return [
        discretize(deep),
        discretize(timed, RK4()),
        discretize(between, steps_per_layer=2),
        discretize(plain),
        discretize(neuron(INPUTS, np.full(3, 0.4))),
    ]


@pytest.mark.parametrize("which", range(5))
def test_the_jacobian_of_outputs_is_their_derivative(which, rng):
    objective = regressions(rng)[which]
    control, direction = (objective.space.random(rng, 0.5) for _ in range(2))
    slopes = output_jacobian(objective, control)
    samples = objective.problem.initial.shape[1]
    assert slopes.shape == (objective.problem.target.size, objective.space.size)
    along = slopes @ objective.space.flatten(direction)
    errors = []
    for step in (2e-2, 1e-2):
        ends = [final_outputs(objective, control + s * step * direction) for s in (1.0, -1.0)]
        errors.append(np.max(np.abs((ends[0] - ends[1]).reshape(-1) / (2.0 * step) - along)))
    assert errors[0] < 1e-2
    assert errors[1] < 0.3 * errors[0] + 1e-12
    # the rows of a sample are those of the problem that has this sample alone
    alone = replace(objective, problem=objective.problem.batch([1]))
    rows = slopes.reshape(-1, samples, objective.space.size)[:, 1]
    np.testing.assert_allclose(output_jacobian(alone, control), rows, rtol=0, atol=1e-15)


def test_the_jacobian_knows_no_costs(rng):
    problem, start = network(3, rng, outputs=2)
    costs = replace(
        problem,
        running=SquaredError(),
        penalty=Tikhonov(0.3),
        sample_weights=np.array([1.0, 2.0, 3.0]),
    )
    np.testing.assert_array_equal(output_jacobian(costs, start), output_jacobian(problem, start))


def test_pulled_errors_are_the_adjoint_of_the_jacobian(rng):
    for objective in regressions(rng):
        plant = plant_of(objective)
        w, q = rng.standard_normal(plant.space.size), rng.standard_normal(plant.target.size)
        np.testing.assert_allclose(
            plant.pulled(w, q), plant.jacobian(w).T @ q, rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize(
    "problem",
    [
        neuron(INPUTS, np.array([0.2, 0.5, 0.9])),
        neuron(INPUTS, np.array([0.2, 0.5, 0.9]), bias=0.3, link=identity),
        LearningProblem(
            LearnedField(2, 3, (), identity, scale=0.5).at(INPUTS),
            np.ones((2, 3)),
            np.zeros((1, 3)),
            TimeMesh(0.7, 1),
            readout=Projection(np.array([[1.0, 2.0]])),
        ),
    ],
    ids=["sigmoid", "linear", "projected"],
)
def test_one_layer_is_known_without_running_it(problem, rng):
    plant = plant_of(problem)
    run = NetworkPlant(plant.objective)
    assert isinstance(plant, AffinePlant)
    w = rng.standard_normal(plant.space.size)
    np.testing.assert_allclose(plant.outputs(w), run.outputs(w), rtol=0, atol=1e-14)
    np.testing.assert_allclose(plant.jacobian(w), run.jacobian(w), rtol=0, atol=1e-14)


def test_a_readout_on_fixed_features_is_one_layer(rng):
    net = NeuralODE2(2, tanh)
    mesh = TimeMesh(1.0, 4)
    held = {"weight": rng.standard_normal((2, 2)), "bias": rng.standard_normal(2)}
    space = net.controls(mesh, fixed=held)
    problem = LearningProblem(
        net, rng.standard_normal((2, 3)), np.zeros((1, 3)), space, readout=Affine(1)
    )
    plant = plant_of(problem)
    assert isinstance(plant, AffinePlant)
    w = rng.standard_normal(plant.space.size)
    run = NetworkPlant(plant.objective)
    np.testing.assert_allclose(plant.outputs(w), run.outputs(w), rtol=0, atol=1e-14)
    # but not where a softmax follows, or the features move with the weights
    soft = replace(problem, target=np.zeros((2, 3)), controls=space, readout=Softmax(2))
    assert isinstance(plant_of(soft), NetworkPlant)
    free = LearningProblem(net, problem.initial, problem.target, mesh, readout=Affine(1))
    assert isinstance(plant_of(free), NetworkPlant)


# the scalar equation


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5, 0.9, 1.0, 1.4])
def test_the_scalar_flow_solves_its_equation(power):
    e = np.array([0.7, -0.2, 0.0])
    for time in (0.05, 0.1):
        step = 1e-6
        ends = [exact_step(e, 1.3, power, time + s * step) for s in (1.0, -1.0)]
        rate = (ends[0] - ends[1]) / (2.0 * step)
        here = exact_step(e, 1.3, power, time)
        np.testing.assert_allclose(rate, -1.3 * spow(here, power), rtol=0, atol=1e-8)
    if power < 1.0:
        time = float(reaching_time(np.array(0.7), 1.3, power))
        assert exact_step(e, 1.3, power, time * (1.0 - 1e-9))[0] > 0.0
        np.testing.assert_array_equal(exact_step(e, 1.3, power, time * (1.0 + 1e-9)), 0.0)


@pytest.mark.parametrize("power", [0.0, 0.01, 0.5, 0.99])
def test_an_implicit_step_solves_its_equation(power):
    e = np.array([3.0, -0.7, 1e-3, -1e-8, 0.0])
    r = implicit_step(e, 2.0, power, 0.01)
    kept = r != 0.0
    np.testing.assert_allclose(
        (r + 0.02 * spow(r, power))[kept], e[kept], rtol=1e-13 if power else 1e-15
    )
    # the root for 1e-8 and the power 0.01 is below the smallest number
    least = {0.0: 0.02, 0.01: 1e-6}.get(power, 0.0)
    assert np.array_equal(kept, np.abs(e) > least)


def test_signed_powers_of_zero_are_zero():
    np.testing.assert_array_equal(spow(np.array([0.0, -0.0, -4.0]), 0.5), [0.0, 0.0, -2.0])
    np.testing.assert_array_equal(spow(np.array([0.0, 3.0]), 0.0), [0.0, 1.0])


# steps


def test_law_13_descends_its_loss(rng):
    problem, start = network(3, rng)
    law = PowerLaw(0.6, 0.2, rng.uniform(0.5, 2.0, problem.space.size))
    plant = plant_of(problem)
    w = problem.space.flatten(start)
    run = train_in_time(problem, law, 1e-3, 1e-3, "explicit", start)
    moved = (problem.space.flatten(run.control) - w) / 1e-3
    gradient = np.zeros_like(w)
    for i, unit in enumerate(np.eye(len(w))):
        ends = [law.objective(plant.errors(w + s * 1e-6 * unit)) for s in (1.0, -1.0)]
        gradient[i] = (ends[0] - ends[1]) / 2e-6
    expected = -np.asarray(law.gain) * spow(gradient, 0.6) * run.history["objective"][0] ** 0.2
    np.testing.assert_allclose(moved, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("law", "link"),
    [
        (PowerLaw(0.5, 0.25, 1.3), identity),
        (PowerLaw(0.8, 0.1), identity),
        (PseudoinverseLaw(0.4, 0.7), identity),
        (PseudoinverseLaw(0.4, 0.7), sigmoid),
        (SignLaw(0.5), identity),
        (SignLaw(0.5), sigmoid),
    ],
)
def test_schemes_are_of_first_order_to_the_exact_steps(law, link):
    problem, start = one_weight(0.9, link)
    horizon = 0.3 * (settling_bound(problem, start, law).time or np.nan)
    exact = train_in_time(problem, law, horizon, horizon, "exact", start)
    reference = problem.space.flatten(exact.control)
    split = train_in_time(problem, law, horizon, horizon / 7.3, "exact", start)
    np.testing.assert_allclose(problem.space.flatten(split.control), reference, rtol=1e-12)
    for scheme in SCHEMES[1:]:
        errors = []
        for steps in (50, 100):
            run = train_in_time(problem, law, horizon, horizon / steps, scheme, start)
            errors.append(np.max(np.abs(problem.space.flatten(run.control) - reference)))
        if errors[0] > 1e-12:  # implicit steps of law (3), explicit linear ones, are exact
            assert 1.7 < errors[0] / errors[1] < 2.3, (scheme, errors)


@pytest.mark.parametrize("law", [PowerLaw(0.5, 0.25), PseudoinverseLaw(0.5)])
def test_schemes_agree_on_networks_and_several_samples(law, rng):
    problem, start = network(3, rng)
    ends = {}
    for scheme, steps in itertools.product(SCHEMES[1:], (40, 80)):
        run = train_in_time(problem, law, 0.2, 0.2 / steps, scheme, start)
        ends[scheme, steps] = problem.space.flatten(run.control)
    best = {s: 2.0 * ends[s, 80] - ends[s, 40] for s in SCHEMES[1:]}
    size = np.max(np.abs(best["explicit"] - problem.space.flatten(start)))
    for scheme in SCHEMES[1:]:
        first = np.max(np.abs(ends[scheme, 40] - best["explicit"]))
        second = np.max(np.abs(ends[scheme, 80] - best["explicit"]))
        assert 1.5 < first / second < 2.6, scheme
        assert np.max(np.abs(best[scheme] - best["explicit"])) < 2e-3 * size


@pytest.mark.parametrize("scheme", SCHEMES[:3])
@pytest.mark.parametrize("error", [0.7, -0.7])
def test_implicit_steps_settle_without_changing_sign(scheme, error):
    problem, start = one_weight(error)
    signs = Record("sign", lambda moment: float(np.sign(moment.state[1] * error)))
    law = PseudoinverseLaw(0.5)
    run = train_in_time(problem, law, 2.0, 0.01, scheme, start, monitors=[Monitor(signs)])
    assert run.status is Status.SETTLED
    assert run.history["error"][-1] <= 1e-12
    assert np.all(run.history["sign"] >= 0.0)
    assert np.all(np.diff(run.history["error"]) < 0.0)
    steps = {"exact": 168, "implicit": 173, "semi-implicit": 180}  # FT-17
    assert len(run.history["error"]) - 1 == steps[scheme]


def test_semi_implicit_steps_settle_where_errors_and_gradients_vanish(rng):
    problem = neuron(INPUTS, [0.5, -0.3, 0.2], link=identity)
    plant = plant_of(problem)
    w = np.linalg.lstsq(plant.matrix, plant.target - plant.offset, rcond=None)[0]
    w += 0.1 * np.linalg.svd(plant.matrix)[2][0]
    start = problem.space.unflatten(w)
    run = train_in_time(problem, PowerLaw(0.3, 0.1), 5.0, 1e-2, "semi-implicit", start)
    assert run.status is Status.SETTLED
    assert np.all(np.diff(run.history["objective"]) < 0.0)


@pytest.mark.parametrize(("power", "speed"), [(0.5, 0.01), (0.25, 0.01), (0.625, 0.1)])
def test_explicit_steps_chatter_in_their_band(power, speed):
    problem, start = one_weight(0.7)
    run = train_in_time(problem, PseudoinverseLaw(power), 400 * speed, speed, "explicit", start)
    band = (0.5 * speed) ** (1.0 / (1.0 - power))
    assert run.status is Status.FINISHED
    assert "chattering" in run.detail
    np.testing.assert_allclose(run.history["error"][-1], band, rtol=1e-9)
    calm = train_in_time(problem, PseudoinverseLaw(power), 0.1, speed, "explicit", start)
    assert "chattering" not in calm.detail


def test_exact_steps_of_law_3_end_at_the_weights_of_the_theorem():
    inputs, gains = np.array([0.5, -2.0, 0.25]), np.array([0.1, 0.2, 0.4])
    problem = neuron(inputs[:, None], [0.8], bias=0.05)
    first = np.array([0.3, -0.1, 0.2])
    start = problem.space.sample(weight1=np.concatenate([[0.0], first])[None])
    law = SignLaw({"weight1": np.concatenate([[1.0], gains])[None]})
    bound = settling_bound(problem, start, law)
    c, z = gains @ np.abs(inputs), first @ inputs + 0.05
    assert bound.kind == "exact"
    np.testing.assert_allclose(bound.time, abs(1 / (1 + np.exp(-z)) - 0.8) / c, rtol=1e-14)
    run = train_in_time(problem, law, 2.0 * (bound.time or 0.0), 1e-2, "exact", start)
    expected = first + gains * np.sign(inputs) * (np.log(4.0) - z) / c
    np.testing.assert_allclose(run.control["weight1"][0, 1:], expected, rtol=1e-13)
    assert run.status is Status.SETTLED
    # half way, the error is half of the first one
    half = train_in_time(problem, law, 0.5 * (bound.time or 0.0), 1.0, "exact", start)
    assert np.isclose(half.history["error"][-1], 0.5 * half.history["error"][0], rtol=1e-12)


def test_the_history_has_three_clocks(rng):
    problem, start = network(2, rng)
    run = train_in_time(problem, PowerLaw(0.5, 0.25), 0.105, 0.01, "implicit", start)
    history = run.history
    np.testing.assert_allclose(history["pseudo_time"], [*np.arange(11) / 100, 0.105], rtol=1e-14)
    assert np.all(np.diff(history["epochs"]) >= 1.0)
    assert history["epochs"][-1] > 11.0  # an implicit step passes over the samples several times
    assert np.all(np.diff(history["seconds"]) > 0.0)
    slopes = output_jacobian(problem, start)
    lowest = np.linalg.eigvalsh(slopes @ slopes.T)[0]
    np.testing.assert_allclose(history["lambda_min"][0], lowest, rtol=1e-10)
    plain = train_in_time(problem, PowerLaw(0.5, 0.25), 0.1, 0.01, "explicit", start)
    np.testing.assert_array_equal(plain.history["epochs"], np.arange(11))
    assert "lambda_min" not in plain.history
    seen = train_in_time(problem, PowerLaw(0.5, 0.25), 0.1, 0.01, "explicit", start, kernel=True)
    np.testing.assert_allclose(seen.history["lambda_min"][0], lowest, rtol=1e-10)


def test_two_runs_give_the_same_arrays(rng):
    problem, start = network(2, rng)
    runs = [train_in_time(problem, PowerLaw(0.5, 0.25), 0.1, 0.01, initial=start) for _ in "ab"]
    for name in ("pseudo_time", "epochs", "error", "objective", "lambda_min"):
        np.testing.assert_array_equal(runs[0].history[name], runs[1].history[name])


def test_lost_rank_is_said():
    inputs = np.ones((2, 2))
    problem = neuron(inputs, [0.0, 1.0], link=identity)
    run = train_in_time(problem, PowerLaw(0.5, 0.1), 1.0, 0.1, "semi-implicit")
    assert "rows of J are dependent at pseudo-time 0" in run.detail
    np.testing.assert_array_equal(run.history["lambda_min"], 0.0)


def test_a_law_that_stands_still_is_no_answer():
    inputs = np.array([[1.0, 2.0], [2.0, 1.0]])
    problem = neuron(inputs, 1.0 / (1.0 + np.exp([-1.0, 1.0])), bias=0.0)
    with pytest.raises(SolveError, match="moves no weight"):
        train_in_time(problem, SignLaw(), 1.0, 0.1, "explicit")
    law = SignLaw()
    run = train_in_time(problem, law, 1.0, 0.1, "explicit", raise_on_failure=False)
    assert run.status is Status.STANDS_STILL
    assert np.all(run.control["weight1"] == 0.0)
    assert run.history["error"][-1] > 0.2


@pytest.mark.parametrize("scheme", SCHEMES[1:])
def test_a_disturbance_leaves_its_error(scheme):
    problem, start = one_weight(0.7)
    drift = problem.space.sample(weight1=np.array([[0.0, 0.2]]))
    run = train_in_time(
        problem, PseudoinverseLaw(0.5), 24.0, 0.05, scheme, start, disturbance=drift
    )
    np.testing.assert_allclose(run.history["error"][-1], 0.04, rtol=1e-11)
    # law (13) with the same exponent and rate
    law = PowerLaw(0.5, 1.0 / 6.0, 1.5 ** (1.0 / 6.0))
    moved = train_in_time(problem, law, 24.0, 0.05, scheme, start, disturbance=lambda t: drift)
    np.testing.assert_allclose(moved.history["error"][-1], 0.04, rtol=1e-9)


def test_perturbed_inputs_slow_law_3_down():
    inputs = np.array([[0.5], [-2.0], [0.25]])
    model, plant = neuron(inputs, [0.8], bias=0.0), neuron(0.5 * inputs, [0.8], bias=0.0)
    start = plant.space.zeros()
    bound = settling_bound(plant, start, SignLaw(0.2), model=model)
    np.testing.assert_allclose(bound.time, 0.3 / (0.5 * 0.2 * 2.75), rtol=1e-14)
    run = train_in_time(plant, SignLaw(0.2), 2.0, 1e-3, "exact", start, model=model)
    assert abs(run.history["pseudo_time"][-1] - (bound.time or 0.0)) <= 1e-3
    # where the perturbation turns a sign the error grows, and no time is known
    turned = neuron(-0.1 * inputs, [0.8], bias=0.0)
    grown = train_in_time(turned, SignLaw(0.2), 0.1, 1e-2, "explicit", start, model=model)
    assert grown.history["error"][-1] > grown.history["error"][0]
    bound = settling_bound(turned, start, SignLaw(0.2), model=model)
    assert bound.time is None
    assert "do not fall" in bound.reason


def test_monitors_look_and_stop(rng):
    problem, start = network(2, rng)
    seen = []
    stop = Stop(lambda moment: moment.values["error"] < 0.5 * seen[0], "half of the error")
    watch = Monitor(Record("e", lambda m: seen.append(m.values["error"]) or 0.0), EverySteps(1))
    law = PowerLaw(0.5, 0.25)
    run = train_in_time(problem, law, 5.0, 0.01, initial=start, monitors=[watch, Monitor(stop)])
    assert run.status is Status.STOPPED
    assert "half of the error" in run.detail
    assert run.history["error"][-1] < 0.5 * run.history["error"][0]
    assert len(seen) == len(run.history["error"])


def test_ctrl_c_keeps_the_best(rng):
    problem, start = network(2, rng)

    def press(moment):
        if moment.step == 5:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(Interrupted) as caught:
        train_in_time(
            problem,
            PowerLaw(0.5, 0.25),
            1.0,
            0.01,
            initial=start,
            monitors=[Monitor(Record("nothing", press))],
        )
    assert caught.value.solution.status is Status.INTERRUPTED
    assert len(caught.value.solution.history["error"]) == 6


def test_weights_that_do_not_stay_finite_are_a_failure():
    problem = neuron(np.ones((1, 1)), [1.0 - 1e-9], bias=0.0)
    with pytest.raises(SolveError, match="not finite"):
        train_in_time(problem, SignLaw(), 10.0, 0.5, "explicit")


# bad input


def test_bad_laws_are_refused():
    for given in ((0.0, 0.2), (1.1, 0.2), (0.5, -0.1), (0.5, 1.0)):
        with pytest.raises(ValueError, match="alpha"):
            PowerLaw(*given)
    with pytest.raises(ValueError, match="nu must be in"):
        PseudoinverseLaw(1.0)
    with pytest.raises(ValueError, match="gain"):
        SignLaw(gain=-1.0)
    with pytest.raises(ValueError, match="gain must be > 0 for every weight"):
        PowerLaw(0.5, 0.25, np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="gain must be finite and > 0, that of bias1"):
        SignLaw({"bias1": 0.0})
    with pytest.raises(ValueError, match="floor and layer"):
        SignLaw(floor=-1.0)


def test_gains_fit_the_weights():
    problem, start = one_weight()
    for gain, words in (
        (np.ones(3), r"expected a number or \(2,\)"),
        ({"weight1": np.ones(2)}, "gain of weight1"),
        ({"weight2": 1.0}, "unknown block"),
        ({}, "no numbers for the blocks weight1"),
    ):
        with pytest.raises(ValueError, match=words):
            train_in_time(problem, PowerLaw(0.5, 0.25, gain), 1.0, 0.1, initial=start)


def test_labels_0_and_1_need_smoothing():
    for label in (0.0, 1.0):
        problem = neuron(np.ones((1, 1)), [label])
        for call in (
            lambda p: train_in_time(p, SignLaw(), 1.0, 0.1, "explicit"),
            lambda p: settling_bound(p, p.space.zeros(), SignLaw()),
        ):
            with pytest.raises(ValueError, match="Smooth the labels"):
                call(problem)
        run = train_in_time(problem, SignLaw(floor=1e-12), 0.3, 0.01, "explicit")
        assert run.history["error"][-1] < run.history["error"][0]
    # law (13) takes them
    train_in_time(problem, PowerLaw(0.5, 0.25), 0.1, 0.01)


def test_schemes_that_do_not_fit_are_refused(rng):
    three, start = network(3, rng)
    for law in (PowerLaw(0.5, 0.25), PseudoinverseLaw(0.5)):
        with pytest.raises(ValueError, match="scheme='exact' needs errors with an equation"):
            train_in_time(three, law, 1.0, 0.1, "exact", start)
    two = neuron(INPUTS[:, :2], [0.2, 0.7])
    with pytest.raises(ValueError, match="scheme='exact'"):
        train_in_time(two, SignLaw(), 1.0, 0.1, "exact")
    with pytest.raises(ValueError, match="use scheme='explicit'"):
        train_in_time(two, SignLaw(), 1.0, 0.1, "semi-implicit")
    with pytest.raises(TypeError, match="needs one layer"):
        train_in_time(three, SignLaw(), 1.0, 0.1, "explicit", start)
    tanned = neuron(INPUTS, np.zeros(3), link=tanh)
    with pytest.raises(TypeError, match="links sigmoid and identity"):
        train_in_time(tanned, SignLaw(), 1.0, 0.1, "explicit")
    problem, begin = one_weight()
    with pytest.raises(ValueError, match="no disturbance"):
        train_in_time(problem, PseudoinverseLaw(0.5), 1.0, 0.1, "exact", begin, disturbance=begin)
    with pytest.raises(ValueError, match="unknown scheme"):
        train_in_time(problem, PseudoinverseLaw(0.5), 1.0, 0.1, "adaptive", begin)
    for horizon, step in ((0.0, 0.1), (1.0, -0.1), (np.inf, 0.1)):
        with pytest.raises(ValueError, match="finite and positive"):
            train_in_time(problem, PseudoinverseLaw(0.5), horizon, step, "exact", begin)


def test_problems_that_are_no_regressions_are_refused(rng):
    problem, start = network(3, rng)
    cases = [
        (replace(problem, running=SquaredError()), "knows no running"),
        (replace(problem, sample_weights=np.arange(3.0)), "sample_weights must be equal"),
    ]
    for wrong, words in cases:
        with pytest.raises(ValueError, match=words):
            train_in_time(wrong, PowerLaw(0.5, 0.25), 1.0, 0.1, initial=start)
    grid = trapezoid(Interval(0, 1), 4)
    net = WidthDepth(grid, tanh)
    functions = LearningProblem(net, np.ones((4, 1)), np.ones((4, 1)), TimeMesh(1.0, 2))
    with pytest.raises(ValueError, match="must be numbers, with weights 1"):
        output_jacobian(functions, functions.space.zeros())
    with pytest.raises(TypeError, match="regression must be a LearningProblem"):
        output_jacobian(problem.network, start)


def test_what_goes_beside_a_regression_must_fit_it():
    problem = neuron(INPUTS, np.full(3, 0.4))
    begin, law = problem.space.zeros(), SignLaw(1.0)
    fewer = neuron(INPUTS[:, :2], np.full(2, 0.4))
    with pytest.raises(ValueError, match="model has 2 errors"):
        train_in_time(problem, law, 1.0, 0.5, "explicit", begin, model=fewer)
    with pytest.raises(ValueError, match="model has 2 errors"):
        settling_bound(problem, begin, law, model=fewer)
    with pytest.raises(TypeError, match="disturbance must be a Control"):
        train_in_time(problem, law, 1.0, 0.5, "explicit", begin, disturbance=0.1)
    with pytest.raises(TypeError, match="disturbance must be a Control"):
        train_in_time(problem, law, 1.0, 0.5, "explicit", begin, disturbance=lambda t: t)
    with pytest.raises(ValueError, match="gain must be finite and > 0, that of weight1"):
        PowerLaw(0.5, 0.2, {"weight1": np.nan, "bias1": 1.0})
