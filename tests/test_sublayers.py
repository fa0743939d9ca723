"""Chains as dense sub-layers: ResNets, architectures and feed-forward chains of random chains, and
controls back from ResNets.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_chain import SAMPLES, chains

from continuum import (
    Adjoint,
    Bottleneck,
    Chain,
    Convolution,
    Dense,
    FeedForward,
    Inputs,
    Interval,
    Linear,
    LowRank,
    NeuralODE,
    NeuralODE2,
    Offset,
    OnTheFly,
    Pointwise,
    ResNet,
    Staged,
    Sublayer,
    Switched,
    SymmetricLayer,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    tanh,
    trapezoid,
)
from continuum.networks import Map
from continuum.sublayers import apply, apply_tangent
from solvers import (
    RK4,
    Euler,
    Heun,
    ImplicitMidpoint,
    RadauIIA5,
    architecture,
    integrate,
)

GRID = gauss_legendre(Interval(0, 1), 3)
MESH = TimeMesh(0.6, 3, 1.4)
EXPLICIT = [Euler(), Heun(), RK4()]
drawn = settings(max_examples=40, derandomize=True, deadline=None, database=None)


def own_data(chain):
    """Whether samples have data of their own, which implicit methods do not take."""
    first = chain.maps[0]
    return isinstance(first, Inputs) and first.data is not None


def run(chain, control, initial, stepper, **options):
    return integrate(chain, control, initial, stepper, **options).trajectory


def close(found, wanted, atol):
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol * scale)


@drawn
@given(chains, st.sampled_from(["layers", "nodes", "static"]), st.integers(0, 999))
def test_a_chain_is_its_resnet_and_its_architectures(chain, in_time, seed):
    rng = np.random.default_rng(seed)
    control = chain.controls(MESH, in_time=in_time).random(rng, 0.5)
    initial = rng.standard_normal((chain.units, SAMPLES))
    states = run(chain, control, initial, Euler(), save="layers").states
    close(np.stack(ResNet.from_control(chain, control).outputs(initial)), states, 1e-13)
    implicit = [] if own_data(chain) else [ImplicitMidpoint(), RadauIIA5()]
    for stepper in (*EXPLICIT, *implicit):
        final = run(chain, control, initial, stepper, steps_per_layer=2).final
        layered = architecture(stepper, chain, control, steps_per_layer=2)
        close(layered(initial), final, 1e-13 if stepper in EXPLICIT else 1e-11)


@drawn
@given(chains, st.integers(0, 999))
def test_a_layer_is_the_velocity_and_its_derivative(chain, seed):
    rng = np.random.default_rng(seed)
    c = {b.name: rng.standard_normal(b.shape) for b in chain.blocks()}
    f, df = rng.standard_normal((2, chain.units, SAMPLES))
    mesh = TimeMesh(1.0, 1)
    control = chain.controls(mesh, in_time="static").sample(**c)
    resnet = ResNet.from_control(chain, control)
    close(apply(resnet.layers[0], f), chain.velocity(f, c, 0.0), 1e-13)
    close(apply_tangent(resnet.layers[0], f, df), chain.jvp(f, c, 0.0, df, {}), 1e-13)
    close(FeedForward.from_control(chain, control)(f), chain.velocity(f, c, 0.0), 1e-13)


TIED = Chain(
    GRID,
    (
        Linear("b", Dense(), -1),
        Offset("a"),
        Offset("more"),
        Pointwise(tanh),
        Linear("up", 5),
        Pointwise(identity),
        Adjoint("up", -1),
        Linear("b", Dense()),
    ),
)
TIMED = Chain(
    3, (Inputs(True, np.array([[0.4, 1.0]])), Linear("w", 3, -1), Offset("a"), Pointwise(tanh))
)
INVERTIBLE = [
    WidthDepth(GRID, tanh),
    NeuralODE(3, tanh),
    NeuralODE2(3, tanh),
    Bottleneck(3, tanh, 2),
    SymmetricLayer(GRID, tanh),
    TIED,
    TIMED,
]


@pytest.mark.parametrize("network", INVERTIBLE, ids=lambda n: type(n).__name__)
@pytest.mark.parametrize("in_time", ["layers", "static"])
def test_a_control_is_its_resnet_and_back(network, in_time, rng):
    control = network.controls(MESH, in_time=in_time).random(rng)
    back = ResNet.from_control(network, control).to_control(network)
    assert back.space.size == network.controls(MESH).size
    for k, t in enumerate(MESH.nodes[:-1]):
        for name, value in control.at_layer(k, float(t)).items():
            np.testing.assert_allclose(back[name][k], value, rtol=1e-13)


def test_bottleneck_and_symmetric_layers_as_they_are_written(rng):
    z = rng.standard_normal((3, 2))
    network = Bottleneck(3, tanh, 4)
    c = network.controls(MESH).random(rng)
    inner, outer = ResNet.from_control(network, c).layers[1]
    assert (inner.activation, outer.activation) == (tanh, identity)
    for one, number in ((inner, 1), (outer, 2)):
        np.testing.assert_array_equal(one.matrix, c[f"weight{number}"][1])
        np.testing.assert_array_equal(one.bias, c[f"bias{number}"][1])
    hidden = np.tanh(c["weight1"][1] @ z + c["bias1"][1][:, None])
    close(apply((inner, outer), z), c["weight2"][1] @ hidden + c["bias2"][1][:, None], 1e-14)
    network = SymmetricLayer(GRID, tanh)
    b = (c := network.controls(MESH).random(rng))["kernel"][0]
    inner, outer = ResNet.from_control(network, c).layers[0]
    np.testing.assert_allclose(inner.matrix, -b * GRID.weights, rtol=1e-15)
    np.testing.assert_allclose(outer.matrix, b.T * GRID.weights, rtol=1e-15)
    assert outer.bias is None


@pytest.mark.parametrize("kernel", [LowRank(2), Convolution(), OnTheFly(compiled=False)], ids=repr)
def test_kernels_of_every_format_are_matrices(kernel, rng):
    network = SymmetricLayer(trapezoid(Interval(0, 1), 4), tanh, kernel)
    functions = {
        "LowRank": ((np.cos, np.sin), (np.exp, np.cos)),
        "Convolution": lambda s, t: np.exp(-s * s - t),
        "OnTheFly": lambda y, z, t: np.cos(y - 2 * z + t),
    }
    law = functions[type(kernel).__name__]
    control = network.control(MESH, bias=lambda y, t: y + t, kernel=law)
    initial = rng.standard_normal((4, 2))
    resnet = ResNet.from_control(network, control)
    close(resnet(initial), run(network, control, initial, Euler()).final, 1e-13)
    close(
        architecture(RK4(), network, control)(initial),
        run(network, control, initial, RK4()).final,
        1e-13,
    )
    with pytest.raises(TypeError, match=r"block 'kernel' is (stored as|a function)|never stored"):
        resnet.to_control(network)


@pytest.mark.parametrize("breakpoints", [(), (0.11, 0.4), (float(MESH.nodes[1]),)])
def test_breakpoints_cut_layers_as_the_run_does(breakpoints, rng):
    network = Bottleneck(2, tanh, 3)
    weight = rng.standard_normal((2, 3, 2))
    jump = (breakpoints or (9.0,))[0]
    control = network.control(
        MESH,
        breakpoints=breakpoints,
        weight1=lambda t: weight[int(t >= jump)],
        weight2=rng.standard_normal((2, 3)),
        bias2=lambda t: np.array([t, float(t > jump)]),
    )
    initial = rng.standard_normal((2, 3))
    resnet = ResNet.from_control(network, control)
    inside = [t for t in breakpoints if t not in MESH.nodes]
    assert resnet.mesh.layers == MESH.layers + len(inside)
    close(resnet(initial), run(network, control, initial, Euler()).final, 1e-13)
    for stepper in (Euler(), RK4(), ImplicitMidpoint()):
        layered = architecture(stepper, network, control)
        close(layered(initial), run(network, control, initial, stepper).final, 1e-12)


def test_further_inputs_are_rows_below_the_state(rng):
    data = rng.standard_normal((2, 4))
    network = Chain(3, (Inputs(True, data), Pointwise(tanh), Linear("w", 3), Offset("a")))
    control = network.controls(MESH).random(rng)
    resnet = ResNet.from_control(network, control)
    initial = rng.standard_normal((3, 4))
    rows = resnet.layers[2][0].rows
    np.testing.assert_array_equal(rows[:-1], data)
    np.testing.assert_array_equal(rows[-1], MESH.nodes[2])
    close(resnet(initial), run(network, control, initial, Euler()).final, 1e-13)
    with pytest.raises(ValueError, match="the state has 2 columns, but this layer holds data of 4"):
        resnet(initial[:, :2])
    with pytest.raises(ValueError, match="a stepper that is implicit takes other columns"):
        architecture(ImplicitMidpoint(), network, control)(initial)


def test_layers_that_do_not_change_share_their_arrays(rng):
    network = Bottleneck(3, tanh, 4)
    static = network.controls(MESH, in_time="static").random(rng)
    first, *others = ResNet.from_control(network, static).layers
    assert all(x.matrix is y.matrix for one in others for x, y in zip(first, one, strict=True))
    layered = architecture(RK4(), network, static)
    assert layered.parameters == 2 * 12 + 4 + 3
    assert (layered.depth, layered.products) == (4 * 3, 2 * 4 * 3)
    text, half = layered.table(2).splitlines()[2], f"{MESH.steps[0] / 2:.6g}"
    assert text.endswith(f"W1 W2    W2 tanh(W1 (v0 + {half} v1) + a) + a")
    implicit = architecture(ImplicitMidpoint(), network, static).table(1)
    assert f"v0 + {half} (W2 tanh(W1 v1 + a) + a)" in implicit


class Squared(Map):
    """A map of a user's own."""

    block = None

    def bind(self, space, before):
        return self, space

    def value(self, x, c, t):
        return x * x

    def jvp(self, x, c, dx, dc):
        return 2 * x * dx

    def back(self, x, c, p):
        return 2 * x * p

    def formula(self, x):
        return f"({x})^2"


class Skipped(NeuralODE):
    """A chain that is more than its maps."""

    def velocity(self, f, c, t):
        return super().velocity(f, c, t) - f


TWO = (NeuralODE(3, tanh), NeuralODE(3, tanh))
REFUSED = [
    (Staged(TWO, (0.2,), (np.eye(3),)), "Staged, whose stages have layers of their own"),
    (Switched(TWO, (0.2,), horizon=0.6), "Switched, whose stages have layers of their own"),
    (Skipped(3, tanh), "Skipped, which replaces the velocity"),
    (Chain(3, (Linear("w", 3), Squared())), "the map Squared of the network is no part"),
]


@pytest.mark.parametrize(("network", "words"), REFUSED)
def test_what_is_no_chain_of_known_maps_is_refused_by_name(network, words):
    mesh = TimeMesh.through([0.0, 0.2, 0.6])
    control = network.controls(mesh).zeros()
    for make in (ResNet.from_control, FeedForward.from_control):
        with pytest.raises(TypeError, match=words):
            make(network, control)
    with pytest.raises(TypeError, match=words):
        architecture(RK4(), network, control)


def test_a_staged_network_has_a_resnet_for_each_stage(rng):
    network = Staged(
        (NeuralODE(2, tanh), Bottleneck(3, tanh, 4)), (0.2,), (rng.standard_normal((3, 2)),)
    )
    control = network.controls(TimeMesh.through([0.0, 0.2, 0.35, 0.6])).random(rng)
    f = initial = rng.standard_normal((2, 5))
    for s, stage in enumerate(network.stages):
        f = ResNet.from_control(stage, network.part(control, s))(network.transfer(s, f) if s else f)
    close(f, run(network, control, initial, Euler()).final, 1e-13)


def test_resnets_of_other_networks_give_no_control(rng):
    network = SymmetricLayer(GRID, tanh)
    resnet = ResNet.from_control(network, network.controls(MESH).random(rng))
    inner, outer = resnet.layers[1]
    bent = replace(outer, matrix=outer.matrix + 1e-6)
    layers = [resnet.layers[0], (inner, bent), resnet.layers[2]]
    with pytest.raises(ValueError, match="two maps share the block 'kernel'"):
        replace(resnet, layers=layers).to_control(network)
    with pytest.raises(ValueError, match="a layer has 2 sub-layers, the network's 1"):
        resnet.to_control(WidthDepth(GRID, tanh))
    with pytest.raises(ValueError, match=r"sub-layer tanh\(W x \+ a\) is none of the network"):
        resnet.to_control(SymmetricLayer(GRID, identity))
    layered = ResNet.from_control(TIMED, TIMED.controls(MESH).random(rng))
    other = Chain(3, (Inputs(True, np.array([[0.4, 2.0]])), *TIMED.maps[1:]))
    with pytest.raises(ValueError, match="the layer at t = 0 has other rows below the state"):
        layered.to_control(other)
    with pytest.raises(ValueError, match=r"t = 0.\d+ has other rows below the state"):
        replace(layered, mesh=TimeMesh(2 * MESH.horizon, MESH.layers)).to_control(TIMED)
    zero = GRID.observed_at(np.array([[0.5]]))
    network = SymmetricLayer(zero, tanh)
    resnet = ResNet.from_control(network, network.controls(MESH).random(rng))
    with pytest.raises(ValueError, match="weight zero, on which the block 'kernel' does not act"):
        resnet.to_control(network)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: Sublayer("tanh", np.eye(2)),
            "activation must be an Activation such as tanh, got 'tanh'",
        ),
        (lambda: Sublayer(tanh, np.eye(2))(np.ones(2)), r"x has shape \(2,\), expected \(n, M\)"),
        (lambda: Sublayer(tanh, np.eye(2))(None), "x must be an array"),
        (lambda: Sublayer(tanh, np.eye(2))(np.ones((3, 1))), "W takes 2 numbers, x has 3"),
        (lambda: ResNet(TimeMesh(1.0, 1), None, 2), "layers must be a sequence, got None"),
        (lambda: ResNet(TimeMesh(1.0, 1), [3], 2), r"layers\[0\] must be a sequence, got 3"),
        (lambda: ResNet(1.0, [()], 2), "mesh must be a TimeMesh such as"),
        (
            lambda: ResNet.from_control(NeuralODE(2, tanh), None),
            r"control must be a ControlPath such as network.control\(mesh\)",
        ),
        (
            lambda: FeedForward.from_control(NeuralODE(2, tanh), {}),
            "control must be a ControlPath such as",
        ),
        (
            lambda: architecture(Euler(), NeuralODE(2, tanh), None),
            "control must be a ControlPath such as",
        ),
        (lambda: FeedForward(np.ones((2, 2)), 2), "layers must be a sequence"),
        (lambda: FeedForward.random(3, tanh, np.random.default_rng(0)), "widths must be a seq"),
        (lambda: FeedForward.random([3, 2], tanh, 0), "rng must be a numpy random Generator"),
        (lambda: SMALL.to_control(NeuralODE(3, tanh)), "network has 3 units, the layers have 2"),
        (lambda: SMALL.at(np.ones((2, 1)), ["a"]), r"times\[0\] must be a real number"),
        (lambda: SMALL.at(np.ones((2, 1)), [1j]), r"times\[0\] must be a real number"),
        (lambda: SMALL.lagged(np.ones((2, 1)), 0.5), r"times has shape \(\), expected \(S,\)$"),
    ],
)
def test_bad_input_names_its_argument(make, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make()


SMALL = ResNet(TimeMesh(1.0, 1), [(Sublayer(tanh, [[1, 0], [0, 1]], [0, 1]),)], 2)
"""Lists of whole numbers become arrays."""


def test_lists_are_arrays():
    x = np.ones((2, 1))
    np.testing.assert_array_equal(SMALL(x), x + np.tanh([[1.0], [2.0]]))


def test_bad_input():
    with pytest.raises(ValueError, match=r"bias has shape \(3,\), expected \(2,\)"):
        Sublayer(tanh, np.ones((2, 3)), np.ones(3))
    with pytest.raises(TypeError, match=r"layers\[0\]\[0\] must be a Sublayer, got 1"):
        FeedForward([(1,)], 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"layers\[0\] must lead to 3 units, it leads to 2"):
        ResNet(TimeMesh(1.0, 1), [(Sublayer(tanh, np.ones((2, 3))),)], 3)


def test_the_recursions_without_skips(rng):
    """NN1: x <- sigma(w x + b); NN2: x <- w sigma(x) + b."""
    x = rng.standard_normal((3, 4))
    for network in (NeuralODE(3, tanh), NeuralODE2(3, tanh)):
        control = network.controls(MESH).random(rng)
        chain = FeedForward.from_control(network, control)
        wanted = x
        for w, b in zip(control["weight"], control["bias"], strict=True):
            inner = isinstance(network, NeuralODE2)
            wanted = (
                np.tanh(w @ wanted + b[:, None]) if not inner else w @ np.tanh(wanted) + b[:, None]
            )
        assert len(chain.outputs(x)) == 4
        close(chain(x), wanted, 1e-14)
