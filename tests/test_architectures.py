"""Schemes as layered networks: what they compute, and what is counted."""

from dataclasses import replace

import array_api_strict
import numpy as np
import pytest

from continuum import Interval, LowRank, TimeMesh, WidthDepth, gauss_legendre, tanh
from continuum.arrays import to_host
from continuum.resnet import ResNet
from solvers import (
    DOP853,
    RK4,
    SDIRK3,
    BackwardEuler,
    DormandPrince,
    Euler,
    ExplicitMidpoint,
    Heun,
    ImplicitMidpoint,
    KennedyCarpenter5,
    RadauIIA5,
    architecture,
    integrate,
)
from solvers.steps.tableaux import StepFailed, Stepper

N, K = 5, 3
NETWORK = WidthDepth(gauss_legendre(Interval(0, 1), N), tanh)
MESH = TimeMesh(1.5, K, 1.4)
SCHEMES = [
    Euler(),
    Heun(),
    ExplicitMidpoint(),
    RK4(),
    DormandPrince(rtol=1e-3, atol=1e-3),
    DOP853(rtol=1e-3, atol=1e-3),
    ImplicitMidpoint(),
    BackwardEuler(),
    SDIRK3(),
    RadauIIA5(),
    KennedyCarpenter5(),
]


def name(stepper):
    return type(stepper).__name__


@pytest.mark.parametrize("stepper", SCHEMES, ids=name)
@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
@pytest.mark.parametrize("per_layer", [1, 2])
def test_the_architecture_is_the_run(stepper, in_time, per_layer, rng):
    control = NETWORK.controls(MESH, in_time=in_time).random(rng, 2.0)
    initial = rng.standard_normal((N, 4))
    run = integrate(NETWORK, control, initial, stepper, steps_per_layer=per_layer)
    layered = architecture(stepper, NETWORK, control, steps_per_layer=per_layer, initial=initial)
    np.testing.assert_allclose(layered(initial), run.trajectory.final, rtol=0, atol=1e-12)
    # it is a function of its input, not a record of one run
    if stepper in SCHEMES[:4]:
        other = rng.standard_normal((N, 7))
        expected = integrate(
            NETWORK, control, other, stepper, steps_per_layer=per_layer
        ).trajectory.final
        np.testing.assert_allclose(layered(other), expected, rtol=0, atol=1e-12)
    # and one of its weights: change one number, and the output is another
    n = next(i for i, layer in enumerate(layered.layers) if layer.maps)
    changed = list(layered.layers)
    (one,) = changed[n].maps
    changed[n] = replace(changed[n], maps=(replace(one, matrix=one.matrix + 0.1),))
    assert (
        np.abs(replace(layered, layers=tuple(changed))(initial) - run.trajectory.final).max() > 1e-6
    )


def test_euler_is_the_resnet(rng):
    control, initial = NETWORK.controls(MESH).random(rng), rng.standard_normal((N, 4))
    resnet, layered = ResNet.from_control(NETWORK, control), architecture(Euler(), NETWORK, control)
    hidden, sums = layered.layers[::2], layered.layers[1::2]
    assert [x.kind for x in hidden] == ["hidden"] * K
    for k in range(K):
        ((one,), (other,)) = hidden[k].maps, resnet.layers[k]
        np.testing.assert_array_equal(one.matrix, other.matrix)
        np.testing.assert_array_equal(one.bias, other.bias)
        assert hidden[k].inputs == ((2 * k, 1.0),)
        assert sums[k].inputs == ((2 * k, 1.0), (2 * k + 1, MESH.steps[k]))
    np.testing.assert_array_equal(layered(initial), resnet(initial))


def test_rk4_has_four_hidden_layers_a_step_and_its_skips(rng):
    layered = architecture(RK4(), NETWORK, NETWORK.controls(MESH).random(rng))
    h = float(MESH.steps[1])
    assert [x.kind for x in layered.layers[5:10]] == ["hidden"] * 4 + ["sum"]
    assert [x.step for x in layered.layers[5:10]] == [1] * 5
    wanted = [
        ((5, 1.0),),
        ((5, 1.0), (6, h / 2)),
        ((5, 1.0), (7, h / 2)),
        ((5, 1.0), (8, h)),
        ((5, 1.0), (6, h / 6), (7, h / 3), (8, h / 3), (9, h / 6)),
    ]
    for layer, inputs in zip(layered.layers[5:10], wanted, strict=True):
        assert [j for j, _ in layer.inputs] == [j for j, _ in inputs]
        np.testing.assert_allclose([x for _, x in layer.inputs], [x for _, x in inputs], rtol=1e-15)
    assert layered.depth == layered.products == 4 * K


@pytest.mark.parametrize(
    ("stepper", "per_step"),
    [
        (Euler(), 1),
        (Heun(), 2),
        (ExplicitMidpoint(), 2),
        (RK4(), 4),
        (BackwardEuler(), 1),
        (SDIRK3(), 3),
        (RadauIIA5(), 3),
        (KennedyCarpenter5(), 7),
    ],
    ids=lambda x: name(x) if isinstance(x, Stepper) else "",
)
def test_counts(stepper, per_step, rng):
    one = N * N + N
    for in_time, sets in (("layers", K), ("static", 1)):
        layered = architecture(
            stepper, NETWORK, NETWORK.controls(MESH, in_time=in_time).random(rng)
        )
        assert layered.depth == layered.products == per_step * K
        assert layered.parameters == sets * one
    functions = NETWORK.control(MESH, bias=np.sin, kernel=1.0)
    assert architecture(stepper, NETWORK, functions, steps_per_layer=2).parameters == one


def test_stages_at_other_times_have_weights_of_their_own(rng):
    control = NETWORK.controls(MESH, in_time="nodes").random(rng)
    # RK4 looks at both ends and the middle of each layer; ends are shared
    assert architecture(RK4(), NETWORK, control).parameters == (2 * K + 1) * (N * N + N)


@pytest.mark.parametrize(("method", "stages"), [(DormandPrince, 6), (DOP853, 12)])
def test_adaptive_methods_are_the_steps_they_took(method, stages, rng):
    stepper = method(rtol=1e-3, atol=1e-3)
    control, initial = NETWORK.controls(MESH).random(rng, 3.0), rng.standard_normal((N, 2))
    with pytest.raises(TypeError, match="initial must be given for an adaptive method"):
        architecture(stepper, NETWORK, control)
    run = integrate(NETWORK, control, initial, stepper)
    assert (
        architecture(stepper, NETWORK, control, initial=initial).depth
        == stages * run.statistics["steps"]
    )


def test_implicit_layers_hold_their_equation(rng):
    control, initial = NETWORK.controls(MESH).random(rng), rng.standard_normal((N, 2))
    layered = architecture(BackwardEuler(), NETWORK, control)
    assert [x.kind for x in layered.layers] == ["equilibrium"] * K
    layer = layered.layers[0]
    (one,) = layer.maps
    assert layer.inputs == ((0, 1.0),)
    assert layer.feedback == ((1, float(MESH.steps[0])),)
    v = replace(layered, layers=(layer,))(initial)
    np.testing.assert_allclose(
        v, initial + MESH.steps[0] * np.tanh(one.matrix @ v + one.bias[:, None]), atol=1e-14
    )
    together = architecture(RadauIIA5(), NETWORK, control).layers[0]
    assert [j for j, _ in together.feedback] == [1, 2, 3]
    ones = replace(one, matrix=np.ones((N, N)))
    hopeless = replace(layer, maps=(ones,), feedback=((1, 1e6),))
    few = replace(layered, layers=(hopeless,), newton=replace(layered.newton, max_iterations=1))
    with pytest.raises(StepFailed):
        few(initial)


def test_tables(rng):
    control = NETWORK.controls(TimeMesh(1.0, 10)).random(rng)
    layered = architecture(RK4(), NETWORK, control)
    lines = layered.table().splitlines()
    assert len(lines) == 51
    assert lines[2].split(maxsplit=4) == ["2", "1", "hidden", "W1", "tanh(W1 (v0 + 0.05 v1) + a)"]
    assert lines[6].split(maxsplit=4)[3] == "W2"
    assert str(layered).splitlines()[0] == "40 layers of 5 units, 300 parameters, 40 products"
    assert str(layered).splitlines()[-1].strip() == "... 30 more"
    implicit = architecture(BackwardEuler(), NETWORK, control).table(2)
    assert "v0 + 0.1 tanh(W1 v1 + a)" in implicit
    assert "v1 + 0.1 tanh(W2 v2 + a)" in implicit
    assert "sum                   - v0 + 2 v1" in architecture(
        ImplicitMidpoint(), NETWORK, control
    ).table(2)
    with pytest.raises(ValueError, match="rows must be at least 1"):
        layered.table(0)


def test_other_kernels_and_another_array_library(rng):
    network = WidthDepth(NETWORK.grid, tanh, LowRank(2))
    space = network.controls(MESH)
    control, initial = space.random(rng), rng.standard_normal((N, 2))
    expected = integrate(network, control, initial, RK4()).trajectory.final
    np.testing.assert_allclose(
        architecture(RK4(), network, control)(initial), expected, rtol=0, atol=1e-13
    )
    control = NETWORK.controls(MESH).random(rng)
    strict = type(control)(
        control.space, {n: array_api_strict.asarray(x) for n, x in control.items()}
    )
    for stepper in (RK4(), SDIRK3()):
        expected = integrate(NETWORK, control, initial, stepper).trajectory.final
        got = architecture(stepper, NETWORK, strict)(array_api_strict.asarray(initial))
        assert isinstance(got, type(array_api_strict.asarray(1.0)))
        np.testing.assert_allclose(to_host(got), expected, rtol=0, atol=1e-12)


def test_bad_input(rng):
    control = NETWORK.controls(MESH).random(rng)
    for arguments, words in (
        (("rk4", NETWORK, control), r"stepper must be a Stepper such as RK4\(\)"),
        ((RK4(), "network", control), "network must be a Network such as"),
    ):
        with pytest.raises(TypeError, match=words):
            architecture(*arguments)
    with pytest.raises(ValueError, match="control was made for another network"):
        architecture(RK4(), WidthDepth(gauss_legendre(Interval(0, 1), 4), tanh), control)
    with pytest.raises(ValueError, match="steps_per_layer must be at least 1"):
        architecture(RK4(), NETWORK, control, steps_per_layer=0)
    layered = architecture(RK4(), NETWORK, control)
    with pytest.raises(ValueError, match=r"initial has shape \(4, 1\), expected \(5, M\)"):
        layered(np.ones((4, 1)))
