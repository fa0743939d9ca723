"""The field of states, inputs and time: derivatives, its two views, its ResNet, other arrays."""

import array_api_strict
import numpy as np
import pytest

from continuum import (
    CrossEntropy,
    Interval,
    LearnedField,
    LearningProblem,
    NormBound,
    Projection,
    ResNet,
    SquaredError,
    TimeMesh,
    check_derivatives,
    gauss_legendre,
    gelu,
    identity,
    tanh,
)
from continuum.arrays import to_host
from continuum.networks import Chain
from solvers import RK4, Euler, Heun, discretize, integrate

FIELDS = {
    "plain": LearnedField(3, 2, (4,), tanh),
    "deep": LearnedField(2, 3, (5, 4, 3), gelu),
    "neuron": LearnedField(3, 2, (), identity, timed=False),
    "centred": LearnedField(3, 2, (4, 4), tanh, centred=True),
    "scaled": LearnedField(3, 2, (4,), tanh, timed=False, scale=2.5),
    "bounded": LearnedField(3, 2, (4,), tanh, centred=True, scale=0.5, norm_bound=0.7),
}
MESH = TimeMesh(1.0, 4)


def by_hand(field, c, eta, x, t):
    """f of one state at one input."""
    h = np.concatenate([eta, x, [t] * field.timed])
    for n in range(1, len(field.hidden) + 2):
        h = c[f"weight{n}"] @ h + c[f"bias{n}"]
        h = field.activation.value(h) if n <= len(field.hidden) else h
    h = field.scale * (h - h.mean() * field.centred)
    r = field.norm_bound
    return h if r is None else h / np.sqrt(1.0 + h @ h / r**2)


def random_values(network, rng):
    return {b.name: rng.standard_normal(b.shape) for b in network.blocks()}


@pytest.mark.parametrize("name", FIELDS)
def test_both_views_are_the_field(name, rng):
    field = FIELDS[name]
    eta, x = rng.standard_normal((field.units, 6)), rng.standard_normal((field.inputs, 6))
    at, joined = field.at(x), field.with_inputs()
    c = random_values(at, rng)
    t = rng.uniform(size=6)
    expected = np.stack([by_hand(field, c, eta[:, m], x[:, m], t[m]) for m in range(6)], axis=1)
    np.testing.assert_allclose(at.velocity(eta, c, t), expected, rtol=0, atol=1e-14)
    found = joined.velocity(np.concatenate([eta, x]), c, t)
    np.testing.assert_allclose(found[: field.units], expected, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(found[field.units :], 0.0)
    one = field.at(x[:, 2:3]).velocity(eta, c, 0.3)
    for m in range(6):
        wanted = by_hand(field, c, eta[:, m], x[:, 2], 0.3)
        np.testing.assert_allclose(one[:, m], wanted, rtol=0, atol=1e-14)
    if field.norm_bound is not None:
        assert np.all(np.linalg.norm(100.0 * found, axis=0) > field.norm_bound)
        assert np.all(np.linalg.norm(expected, axis=0) < field.norm_bound)


@pytest.mark.parametrize("name", FIELDS)
def test_all_four_derivatives(name, rng):
    """Taylor remainders of order 2 and adjoint identities, state and blocks apart."""
    field = FIELDS[name]
    x = rng.standard_normal((field.inputs, 3))
    for network in (field.at(x), field.at(x[:, :1]), field.with_inputs()):
        check_derivatives(network, rng=rng, raise_on_failure=True)


def test_norm_bound_on_a_grid_is_bounded_and_selfadjoint(rng):
    network = Chain(gauss_legendre(Interval(0.0, 2.0), 4), (NormBound(0.5),))
    check_derivatives(network, rng=rng, raise_on_failure=True)
    f = rng.standard_normal((4, 5))
    y = network.velocity(f, {}, 0.0)
    w = network.weights[:, None]
    size, given = np.sqrt(np.sum(w * y**2, axis=0)), np.sqrt(np.sum(w * f**2, axis=0))
    np.testing.assert_allclose(size, given / np.sqrt(1.0 + 4.0 * given**2), rtol=1e-14)


def test_times_of_samples_and_stacked_states(rng):
    """Times (M,), and (L, M) or (L, 1) for states (L, N, M): each as if it were alone."""
    field = FIELDS["centred"]
    x, t = rng.standard_normal((2, 4)), rng.uniform(size=(5, 4))
    eta, p, deta, dp = rng.standard_normal((4, 5, 3, 4))
    network = field.at(x)
    c, dc = random_values(network, rng), random_values(network, rng)
    stacked = network.velocity(eta, c, t)
    back, bars = network.vjp(eta, c, t, p)
    second, dbars = network.vjp_derivative(eta, c, t, p, deta, dc, dp)
    pushed = network.jvp(eta, c, t, deta, dc)
    sums = {n: np.zeros(v.shape) for n, v in c.items()}
    dsums = {n: np.zeros(v.shape) for n, v in c.items()}
    for s in range(5):
        for m in range(4):
            one, at = network.batch([m]), (s, slice(None), slice(m, m + 1))
            close = {"rtol": 0, "atol": 1e-13}
            now = float(t[s, m])
            np.testing.assert_allclose(stacked[at], one.velocity(eta[at], c, now), **close)
            q, alone = one.vjp(eta[at], c, now, p[at])
            np.testing.assert_allclose(back[at], q, **close)
            dq, dalone = one.vjp_derivative(eta[at], c, now, p[at], deta[at], dc, dp[at])
            np.testing.assert_allclose(second[at], dq, **close)
            np.testing.assert_allclose(pushed[at], one.jvp(eta[at], c, now, deta[at], dc), **close)
            for n in c:
                sums[n] += alone[n]
                dsums[n] += dalone[n]
    for n in c:
        np.testing.assert_allclose(bars[n].sum(axis=0), sums[n], rtol=0, atol=1e-12)
        np.testing.assert_allclose(dbars[n].sum(axis=0), dsums[n], rtol=0, atol=1e-12)
    layers = network.velocity(eta, c, t[:, :1])
    for s in range(5):
        alone = network.velocity(eta[s], c, float(t[s, 0]))
        np.testing.assert_allclose(layers[s], alone, rtol=0, atol=1e-14)
    with pytest.raises(ValueError, match="t has 3 times, but this network holds data of 4"):
        network.velocity(eta[0], c, t[0, :3])
    with pytest.raises(ValueError, match="4 columns, but the time is that of 3 samples"):
        field.with_inputs().velocity(rng.standard_normal((5, 4)), c, t[0, :3])


def test_the_costate_of_the_inputs_is_the_gradient_in_them(rng):
    """Against central differences of the loss of each sample, along a random change of x."""
    field = FIELDS["bounded"]
    x, labels = rng.standard_normal((2, 3)), np.array([0, 2, 1])
    start, readout = 0.1 * rng.standard_normal((3, 3)), Projection(np.eye(3, 5))

    def joined(x):
        state = np.concatenate([start, x])
        network = field.with_inputs()
        return LearningProblem(
            network, state, labels, MESH, terminal=CrossEntropy(), readout=readout
        )

    control = field.initialise(joined(x).space, rng)
    path = discretize(joined(x), RK4()).run(control)
    at = LearningProblem(field.at(x), start, labels, MESH, terminal=CrossEntropy())
    same = at.space.sample(**dict(control))
    value, gradient = discretize(at, RK4()).value_and_gradient(same)
    assert path.value == pytest.approx(value, rel=1e-14)
    for n in gradient:
        np.testing.assert_allclose(path.gradient[n], gradient[n], rtol=0, atol=1e-14)
    dx, h = rng.standard_normal(x.shape), 1e-4
    high, low = (discretize(joined(x + s * h * dx), RK4()).value(control) for s in (1, -1))
    slope = np.sum(path.costates[0][3:] * dx) / 3
    assert slope == pytest.approx((high - low) / (2 * h), rel=1e-7)


@pytest.mark.parametrize("view", ["at", "one input", "with_inputs"])
@pytest.mark.parametrize("name", [n for n in FIELDS if n != "bounded"])
def test_its_resnet_is_euler(name, view, rng):
    field = FIELDS[name]
    eta, x = rng.standard_normal((field.units, 4)), rng.standard_normal((field.inputs, 4))
    network = {
        "at": field.at(x),
        "one input": field.at(x[:, :1]),
        "with_inputs": field.with_inputs(),
    }[view]
    initial = np.concatenate([eta, x]) if view == "with_inputs" else eta
    control = network.controls(MESH).random(rng)
    resnet = ResNet.from_control(network, control)
    final = integrate(network, control, initial, Euler()).trajectory.final
    np.testing.assert_allclose(resnet(initial), final, rtol=0, atol=1e-14)
    back = resnet.to_control(network)
    for n in control:
        for layer in back[n]:
            np.testing.assert_allclose(layer, control[n], rtol=0, atol=1e-15)


def test_a_layer_with_another_fixed_matrix_is_refused(rng):
    fields = [LearnedField(3, 2, (4,), tanh, scale=s) for s in (0.5, 0.7)]
    x = rng.standard_normal((2, 4))
    networks = [field.at(x) for field in fields]
    resnet = ResNet.from_control(networks[0], networks[0].controls(MESH).random(rng))
    with pytest.raises(ValueError, match="the layer at t = 0 has another matrix"):
        resnet.to_control(networks[1])


def test_a_norm_bound_is_no_sublayer(rng):
    network = FIELDS["bounded"].with_inputs()
    control = network.controls(MESH).random(rng)
    with pytest.raises(TypeError, match="the map NormBound of the network is no part"):
        ResNet.from_control(network, control)


def test_an_mlp_is_one_euler_step_from_zero(rng):
    """And an affine neuron is the field without hidden layers."""
    for hidden in ((), (5,), (5, 4)):
        field = LearnedField(2, 3, hidden, tanh, timed=False)
        x = rng.standard_normal((3, 7))
        network = field.at(x)
        control = network.controls(TimeMesh(1.0, 1)).random(rng)
        final = integrate(network, control, np.zeros((2, 7)), Euler()).trajectory.final
        h = x
        for n in range(1, len(hidden) + 2):
            w, b = control[f"weight{n}"], control[f"bias{n}"]
            h = (w[:, 2:] if n == 1 else w) @ h + b[:, None]
            h = np.tanh(h) if n <= len(hidden) else h
        np.testing.assert_allclose(final, h, rtol=0, atol=1e-14)


def test_batches_keep_the_inputs_of_their_samples(rng):
    field = FIELDS["plain"]
    x, start = rng.standard_normal((2, 6)), rng.standard_normal((3, 6))
    problem = LearningProblem(field.at(x), start, 0.5 * start, MESH)
    some = problem.batch([4, 1])
    np.testing.assert_array_equal(some.network.inputs, x[:, [4, 1]])
    control = problem.space.random(rng)
    alone = LearningProblem(field.at(x[:, [4, 1]]), start[:, [4, 1]], 0.5 * start[:, [4, 1]], MESH)
    wanted = discretize(alone, Heun()).value(alone.space.sample(**dict(control)))
    assert discretize(some, Heun()).value(control) == pytest.approx(wanted, rel=1e-15)
    shared = field.at(x[:, :1])
    np.testing.assert_array_equal(shared.batch([4, 1]).inputs, x[:, :1])
    with pytest.raises(ValueError, match="initial has 6 samples, the data of this network 2"):
        LearningProblem(field.at(x[:, :2]), start, start, MESH)


@pytest.mark.parametrize("name", ["centred", "bounded"])
@pytest.mark.parametrize("carried", [True, False])
def test_other_arrays_on_another_device(name, carried, rng):
    """The state elsewhere, the inputs there too or still NumPy's."""
    field, device = FIELDS[name], array_api_strict.Device("device1")

    def elsewhere(x):
        return array_api_strict.asarray(x, device=device)

    x, start, t = rng.standard_normal((2, 4)), rng.standard_normal((3, 4)), rng.uniform(size=4)
    here, there = field.at(x), field.at(elsewhere(x) if carried else x)
    c = random_values(here, rng)
    far = {n: elsewhere(v) for n, v in c.items()}
    for time, other in ((0.3, 0.3), (t, elsewhere(t)), (t, t)):
        found = there.velocity(elsewhere(start), far, other)
        assert found.device == device
        np.testing.assert_allclose(
            to_host(found), here.velocity(start, c, time), rtol=0, atol=1e-14
        )

    def problem(x, carry):
        return LearningProblem(
            field.at(x), carry(start), carry(0.5 * start), MESH, terminal=SquaredError()
        )

    near, away = problem(x, np.asarray), problem(elsewhere(x) if carried else x, elsewhere)
    control = near.space.random(rng, 0.3)
    value, gradient = discretize(near, RK4()).value_and_gradient(control)
    found, back = discretize(away, RK4()).value_and_gradient(control)
    assert found == pytest.approx(value, rel=1e-13)
    for n in gradient:
        np.testing.assert_allclose(to_host(back[n]), gradient[n], rtol=0, atol=1e-13)


def test_initial_weights_have_glorots_variance(rng):
    field = LearnedField(10, 64, (200, 100), tanh)
    space = field.with_inputs().controls(MESH)
    control = field.initialise(space, rng)
    for n in (1, 2, 3):
        w = control[f"weight{n}"]
        assert w.std() == pytest.approx(np.sqrt(2.0 / sum(w.shape)), rel=0.05)
        np.testing.assert_array_equal(control[f"bias{n}"], 0.0)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"units": 0}, ValueError, "units"),
        ({"inputs": 1.5}, TypeError, "inputs"),
        ({"hidden": 64}, TypeError, "hidden must be a sequence"),
        ({"hidden": (4, 0)}, ValueError, "hidden"),
        ({"scale": 0.0}, ValueError, "scale"),
        ({"norm_bound": -1.0}, ValueError, "norm_bound"),
        ({"activation": np.tanh}, TypeError, "activation"),
        ({"units": 1, "centred": True}, ValueError, "a centred field of one unit is zero"),
    ],
)
def test_what_makes_no_field_is_refused(changes, error, words):
    given = {"units": 3, "inputs": 2, "hidden": (4,), "activation": tanh, **changes}
    with pytest.raises(error, match=words):
        LearnedField(**given)


def test_it_is_initialised_in_its_own_spaces(rng):
    field, mesh = FIELDS["plain"], TimeMesh(1.0, 2)
    space = field.with_inputs().controls(mesh, fixed={"bias1": np.ones(4)})
    assert np.any(field.initialise(space, rng)["weight1"])
    other = FIELDS["deep"].with_inputs().controls(mesh)
    with pytest.raises(ValueError, match="space must hold the blocks of this field: its weight1"):
        field.initialise(other, rng)
    with pytest.raises(TypeError, match="space must be a ControlSpace"):
        field.initialise(mesh, rng)
    with pytest.raises(TypeError, match="rng must be a numpy random Generator"):
        field.initialise(space, 0)


def test_inputs_of_another_size_are_refused(rng):
    with pytest.raises(ValueError, match="x has shape"):
        FIELDS["plain"].at(rng.standard_normal((3, 4)))
    with pytest.raises(ValueError, match="radius"):
        NormBound(0.0)
