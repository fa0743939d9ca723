"""Networks side by side: derivatives, and that a sum is what its parts are."""

import copy
import pickle
from dataclasses import replace

import array_api_strict
import numpy as np
import pytest
from test_linear_quadratic import check

from continuum import (
    Bottleneck,
    Box,
    DirectSum,
    LearnedField,
    LearningProblem,
    NeuralODE,
    NeuralODE2,
    Projection,
    SignedReadout,
    SquaredError,
    Staged,
    TerminalEquality,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    check_derivatives,
    softplus,
    tanh,
    trapezoid,
)
from continuum.arrays import to_host
from continuum.domains import Interval
from continuum.io import load_control, save_control
from solvers import (
    LBFGS,
    RK4,
    DormandPrince,
    ImplicitMidpoint,
    RiccatiNewton,
    Status,
    discretize,
    evaluate,
    explain,
    integrate,
    layer_hamiltonian,
    minimize,
    pontryagin_certificate,
)
from solvers.linear_networks import as_control, deep_linear

MESH = TimeMesh(1.3, 4, grading=1.4)
GRID = trapezoid(Interval(0, 2), 3)
X = np.array([[0.3, -1.0, 0.8], [0.1, 0.5, -0.7]])
FIELD = LearnedField(2, 2, (3,), tanh, timed=True)
PARTS = {
    "wide": WidthDepth(GRID, tanh),
    "timed": FIELD.at(X),
    "thin": Bottleneck(1, softplus, hidden=2),
}
MIXED = DirectSum(**PARTS)
UNITS = 6
NESTED = DirectSum(a=DirectSum(p=NeuralODE(1, tanh), q=PARTS["wide"]), b=NeuralODE2(2, tanh))
SUMS = pytest.mark.parametrize("network", [MIXED, NESTED], ids=["mixed", "nested"])


def problem(network=MIXED, mesh=MESH, units=UNITS, **more):
    """With uneven sample weights, a running cost and a penalty."""
    rng = np.random.default_rng(3)
    given = {
        "initial": rng.standard_normal((units, 3)),
        "target": rng.standard_normal((units, 3)),
        "controls": network.controls(mesh, in_time="layers"),
        "running": SquaredError(0.4),
        "penalty": Tikhonov(0.1),
        "sample_weights": np.array([1.0, 3.0, 2.0]),
        **more,
    }
    return LearningProblem(network, **given)


def alone(stated, name, control):
    """The problem of one part, and its control."""
    network = stated.network
    part, rows = network.parts[name], network.rows[name]
    space = part.controls(stated.mesh, in_time="layers")
    other = replace(
        stated,
        network=part,
        initial=stated.initial[rows],
        target=stated.target[rows],
        controls=space,
    )
    return other, space.sample(**network.own(name, control))


@SUMS
def test_every_derivative(network):
    report = check_derivatives(network)
    assert report.ok, str(report)
    assert network.broadcasts == (network is NESTED)
    assert network.stacks
    assert not network.affine_in_control


def test_a_sum_of_networks_affine_in_the_control_is():
    pair = DirectSum(w=NeuralODE2(2, tanh), z=NeuralODE2(1, tanh))
    assert pair.affine_in_control
    assert check_derivatives(pair).ok
    assert not DirectSum(w=NeuralODE2(2, tanh), z=NeuralODE(1, tanh)).affine_in_control


def test_what_it_is_made_of():
    assert list(NESTED.block_shapes) == [
        "a.p.bias",
        "a.p.weight",
        "a.q.bias",
        "a.q.kernel",
        "b.bias",
        "b.weight",
    ]
    np.testing.assert_array_equal(NESTED.weights, [1.0, *GRID.weights, 1.0, 1.0])
    assert NESTED.rows == {"a": slice(0, 4), "b": slice(4, 6)}
    assert MIXED.grid is None
    assert "wide: f_t = tanh(" in MIXED.formula()
    assert repr(DirectSum(w=NeuralODE2(1, tanh))).startswith("DirectSum(w=NeuralODE2(f_t = ")
    assert "wide.kernel (3, 3) constant on layers" in str(problem())
    assert MIXED.own("thin", {"thin.bias1": 1.0, "wide.bias": 2.0}) == {"bias1": 1.0}


def test_blocks_depend_on_time_as_in_the_parts():
    """A learned field is constant in time unless said otherwise, also in a sum."""
    blocks = {b.name: b.time for b in MIXED.controls(MESH).blocks}
    assert blocks["timed.weight1"] == "static"
    assert blocks["wide.kernel"] == "layers"
    assert {b.time for b in MIXED.controls(MESH, in_time="nodes").blocks} == {"nodes"}
    assert {b.name: b.time for b in MIXED.controls(MESH, in_time=None).blocks} == blocks
    with pytest.raises(TypeError, match="in_time must be a name, got None"):
        PARTS["wide"].controls(MESH, in_time=None)  # only a sum has parts to leave it to
    for space, part in ((MIXED.controls(MESH), FIELD.at(X).controls(MESH)),):
        own = {b.name: b for b in part.blocks}
        for block in space.blocks:
            if block.name.startswith("timed."):
                assert space.shape(block) == part.shape(own[block.name.removeprefix("timed.")])


@pytest.mark.parametrize(
    ("network", "method"),
    [(MIXED, None), (MIXED, RK4()), (NESTED, None), (NESTED, ImplicitMidpoint())],
    ids=["mixed", "mixed, RK4", "nested", "nested, implicit"],
)
def test_a_sum_is_its_parts_run_alone(network, method, rng):
    stated = problem(network)
    control = stated.space.random(rng, 0.7)
    whole = discretize(stated, method, steps_per_layer=2)
    value, gradient = whole.value_and_gradient(control)
    direction = stated.space.random(rng)
    product, path = whole.hvp(control, direction), whole.run(control)
    total = 0.0
    for name, rows in network.rows.items():
        part, own = alone(stated, name, control)
        objective = discretize(part, method, steps_per_layer=2)
        found, expected = objective.value_and_gradient(own)
        total += found
        np.testing.assert_allclose(path.states[:, rows], objective.run(own).states, atol=1e-12)
        along = own.space.sample(**network.own(name, direction))
        second = objective.hvp(own, along)
        for block, x in expected.items():
            np.testing.assert_allclose(gradient[f"{name}.{block}"], x, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(
                product[f"{name}.{block}"], second[block], rtol=1e-10, atol=1e-12
            )
    assert value == pytest.approx(total, rel=1e-13)
    assert whole.value(control) == pytest.approx(value, rel=1e-13)


def test_adaptive_runs_and_controls_of_functions(rng):
    """Coefficients by names with dots, some of them functions of time."""

    def weight(t):
        return np.array([[np.cos(3.0 * t)]])

    part = NeuralODE2(1, tanh)
    pair = DirectSum(w=part, z=part)
    control = pair.control(MESH, **{"w.weight": weight, "z.bias": np.ones(1)})
    initial = rng.standard_normal((2, 3))
    final = integrate(
        pair, control, initial, DormandPrince(rtol=1e-11, atol=1e-12)
    ).trajectory.final
    for rows, own in (
        (slice(0, 1), part.control(MESH, weight=weight)),
        (slice(1, 2), part.control(MESH, bias=np.ones(1))),
    ):
        one = integrate(part, own, initial[rows], DormandPrince(rtol=1e-11, atol=1e-12))
        np.testing.assert_allclose(final[rows], one.trajectory.final, rtol=0, atol=1e-9)


def test_batches_slice_the_data_of_the_parts(rng):
    stated = problem()
    control = stated.space.random(rng)
    whole = discretize(stated)
    some = whole.batch([2, 0])
    np.testing.assert_array_equal(some.problem.network.parts["timed"].inputs, X[:, [2, 0]])
    bare = replace(whole, problem=replace(stated, penalty=None))
    # the batch counts its samples with their own weights: J = (4/6 J_a + 2/6 ... ) of both
    values = [bare.batch([m]).value(control) for m in range(3)]
    assert bare.value(control) == pytest.approx(np.dot(stated.sample_weights, values), rel=1e-13)
    assert bare.batch([2, 0]).value(control) == pytest.approx(
        (2.0 * values[2] + 1.0 * values[0]) / 3.0, rel=1e-13
    )
    assert NESTED.batch([0]) is NESTED


def test_data_of_the_parts_tell_samples_apart():
    """Equal initial values, but other inputs: an endpoint that separates them can be reached."""
    more = {"initial": np.ones((UNITS, 3)), "running": None, "endpoint": TerminalEquality()}
    assert problem(**more).endpoint is not None
    with pytest.raises(ValueError, match="no control reaches the endpoint: samples 0 and 1"):
        problem(NESTED, **more)


@pytest.mark.parametrize("cost", ["terminal", "running"])
def test_the_hamiltonian_of_a_layer_is_the_gradient(cost, rng):
    """With a part that reads the time, signs and sizes that are fixed, a readout in the running
    cost: all but static blocks, layer by layer.
    """
    signs = np.array([[1, -1, 0, 1, 0, -1], [0, 1, 1, 0, -1, 1]])
    sizes = {"readout.W": rng.uniform(0.5, 1.0, signs.shape), "readout.mu": rng.normal(size=2)}
    running = Tracking(SquaredError(0.7), readout=Projection(rng.standard_normal((2, UNITS))))
    stated = problem(
        target=rng.standard_normal((2, 3)),
        readout=SignedReadout(signs, fixed=sizes),
        running=SquaredError(0.3) if cost == "terminal" else running,
        **({} if cost == "terminal" else {"terminal": None}),
    )
    control = stated.space.random(rng, 0.7)
    objective = discretize(stated)
    gradient = objective.gradient(control)
    found = layer_hamiltonian(objective, control).gradient(dict(control))
    for name, x in gradient.items():
        assert np.max(np.abs(x)) > 1e-3
        np.testing.assert_allclose(found[name], x, rtol=0, atol=1e-12 * np.max(np.abs(x)))


@SUMS
def test_the_second_order_model_is_that_of_the_derivatives(network, rng):
    """Gradient and dense Hessian, also where the blocks of one part are static."""
    space = network.controls(TimeMesh(0.8, 2))
    stated = problem(network, controls=space)
    check(discretize(stated), space.random(rng, 0.5))


PAIR = DirectSum(w=NeuralODE2(1, tanh), z=NeuralODE(1, tanh))


def test_a_minimum_of_a_sum(rng):
    """Found by sweeps over the layers, which L-BFGS confirms; judged by Pontryagin's principle; its
    worth for the differential equation is that of the parts.
    """
    stated = problem(PAIR, TimeMesh(1.0, 4), 2, penalty=Tikhonov(0.5), running=None)
    run = minimize(stated, RiccatiNewton(gtol=1e-6))
    assert run.status is Status.MINIMUM
    near = run.control + stated.space.random(rng, 1e-3)
    other = minimize(stated, LBFGS(gtol=1e-6), initial=near)
    assert other.objective == pytest.approx(run.objective, rel=1e-10)
    found = pontryagin_certificate(stated, run.control, eigenvalues=1, steps_per_layer=1)
    assert found.applies
    assert found.curvature.eigenvalues[0] > 0
    parts = [alone(stated, name, run.control) for name in PAIR.rows]
    assert sum(discretize(part).value(own) for part, own in parts) == pytest.approx(run.objective)
    worth = sum(evaluate(*part, rtol=1e-5).objective for part in parts)
    assert evaluate(stated, run.control, rtol=1e-5).objective == pytest.approx(worth, rel=3e-5)


def test_files_pickles_and_copies(tmp_path, rng):
    space = MIXED.controls(MESH)
    control, f = space.random(rng), rng.standard_normal((UNITS, 3))
    loaded = load_control(save_control(tmp_path / "control.h5", control), space)
    for name, x in control.items():
        np.testing.assert_array_equal(loaded[name], x)
    expected = integrate(MIXED, control, f, RK4()).trajectory.final
    for make in (copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        network, there = make((MIXED, control))
        np.testing.assert_array_equal(
            integrate(network, there, f, RK4()).trajectory.final, expected
        )


def test_another_array_library(rng):
    control = MIXED.controls(MESH).random(rng)
    f = rng.standard_normal((UNITS, 3))
    found = integrate(MIXED, control, array_api_strict.asarray(f), RK4()).trajectory.final
    np.testing.assert_allclose(
        to_host(found), integrate(MIXED, control, f, RK4()).trajectory.final, rtol=1e-13
    )


def test_a_box_by_names_with_dots(rng):
    """It is met part by part, and prints as it is written."""
    stated = problem(admissible=Box({"thin.weight1": (0, np.inf)}, **{"wide.bias": (-1 / 3, 0.1)}))
    box = stated.admissible
    inside = box.project(stated.space.random(rng))
    assert np.min(inside["thin.weight1"]) == 0.0
    assert np.min(inside["wide.bias"]) == -1 / 3
    assert repr(Box({"w.a": (0, np.inf)}, b=(-1 / 3, 2))) == (
        "Box({'w.a': (0, inf)}, b=(-0.3333333333333333, 2))"
    )
    assert eval(repr(box), {"Box": Box, "inf": np.inf}).bounds == box.bounds
    assert repr(box.only(["wide.bias"], stated.space)).startswith("Box({'wide.bias': ")
    run = minimize(stated, LBFGS(gtol=1e-5, max_iterations=200))
    assert box.contains(run.control)


def test_NS10_sharpness_of_the_double_network():
    """The largest eigenvalue of the Hessian, by products with unit vectors: 93.38399261 where the
    flow from the identity ends, 43.211903 for the single network.
    """
    w, z = 0.9778842260, 1.0387576702  # NS-09
    layers, ones = 20, np.ones((20, 1, 1))
    double = deep_linear(-1.5, layers, double=True)
    single = deep_linear(1.5, layers)
    for stated, factors, sharpness in (
        (double, (w * ones, z * ones), 93.38399261),
        (single, (1.5 ** (1 / layers) * ones,), 43.211903),
    ):
        control, objective = as_control(stated, *factors), discretize(stated)
        hessian = [
            stated.space.flatten(objective.hvp(control, stated.space.unflatten(e)))
            for e in np.eye(stated.space.size)
        ]
        assert np.linalg.eigvalsh(hessian)[-1] == pytest.approx(sharpness, rel=2e-8)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DirectSum(), "parts must not be empty"),
        (lambda: DirectSum(w=3), "w must be a Network such as"),
        (lambda: DirectSum(**{"a.b": NeuralODE2(1, tanh)}), "names of parts must be identifiers"),
        (lambda: DirectSum(readout=NeuralODE2(1, tanh)), "not 'readout' or 'initial', got 'read"),
        (lambda: DirectSum(initial=NeuralODE2(1, tanh)), "not 'readout' or 'initial', got 'init"),
        (
            lambda: DirectSum(w=Staged((NeuralODE2(1, tanh),), (), ())),
            "part w must not be a Staged network",
        ),
        (
            lambda: Staged((NeuralODE2(UNITS, tanh), MIXED), (0.5,), (np.eye(UNITS),)),
            "stage 1 reads the time",
        ),
        (lambda: problem(initial=np.ones((5, 3))), r"initial has shape \(5, 3\), expected \(6, M"),
        (
            lambda: problem(initial=np.ones((6, 2)), sample_weights=None),
            "the part 'timed' of initial has 2 samples, the data of this network 3",
        ),
        (lambda: MIXED.controls(MESH, fixed={"wide.bais": 0.0}), "Did you mean 'wide.bias'"),
        (lambda: MIXED.control(MESH, bias=0.0), "unknown block 'bias'"),
        (
            lambda: integrate(MIXED, NESTED.controls(MESH).zeros(), np.ones((6, 3)), RK4()),
            "control was made for another network",
        ),
        (
            lambda: discretize(problem()).value(NESTED.controls(MESH).zeros()),
            "control lives in another space",
        ),
        (lambda: problem(controls=NESTED.controls(MESH)), "controls was made for another network"),
        (lambda: Box({"a.b": (1, 0)}), "bounds of a.b must be a pair"),
        (lambda: Box({"a": (0, 1)}, a=(0, 1)), "bounds of a are given twice"),
        (lambda: Box([("a", (0, 1))]), "bounds must be a Mapping"),
        (lambda: explain(MIXED, MIXED.controls(MESH).zeros()), "network must be a Chain"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
