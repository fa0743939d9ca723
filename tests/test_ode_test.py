"""Is a ResNet an ODE: smooth controls, layers independent of each other, trained networks."""

import numpy as np
import pytest

from continuum import (
    Bottleneck,
    LearningProblem,
    ResNet,
    Tikhonov,
    TimeMesh,
    from_residual_mlp,
    identity,
    relu,
    tanh,
)
from solvers import LBFGS, minimize, ode_test

UNITS, HIDDEN = 6, 12


def smooth(rng, layers, horizon=1.0):
    """Samples of one smooth control, whose coefficients are the same for every depth."""
    a, b, c = (rng.standard_normal((3, HIDDEN, UNITS)) for _ in range(3))
    network = Bottleneck(UNITS, tanh, HIDDEN)

    def wave(one, t):
        return one[0] + one[1] * np.cos(np.pi * t) + one[2] * np.sin(2 * np.pi * t)

    t = (np.arange(layers) + 0.5) / layers
    control = network.controls(TimeMesh(horizon, layers)).sample(
        weight1=np.stack([wave(a, s) for s in t]) / np.sqrt(UNITS),
        bias1=np.stack([wave(b, s)[:, 0] for s in t]),
        weight2=np.stack([wave(c, s).T for s in t]) / np.sqrt(HIDDEN),
    )
    return ResNet.from_control(network, control)


def independent(rng, layers, power, factor=1.0):
    w1 = rng.standard_normal((layers, HIDDEN, UNITS)) / np.sqrt(UNITS)
    w2 = rng.standard_normal((layers, UNITS, HIDDEN)) / np.sqrt(HIDDEN)
    return from_residual_mlp(w1, None, factor * w2 / layers**power, None, tanh).resnet


@pytest.mark.parametrize("layers", [16, 64, 256])
def test_samples_of_smooth_controls_are_odes(layers):
    found = ode_test(smooth(np.random.default_rng(layers), layers))
    assert found.limit == "ODE", found
    assert found.chance == 1 / 1000
    assert found.regularity > 0.8
    assert found.noise < 40.0 / layers**3


def test_orders_along_depth():
    """Of one smooth control: TV is constant, QV ~ 1/L, sums of squares ~ 1/L, noise ~ L^-3, gaps
    ~ 1/L; of independent layers the sums are constant or ~ 1/L.
    """
    x = np.random.default_rng(1).standard_normal((UNITS, 32))
    coarse, fine = (ode_test(smooth(np.random.default_rng(7), n), x) for n in (64, 256))
    assert fine.total_variation == pytest.approx(coarse.total_variation, rel=0.05)
    for name, factor in (("quadratic_variation", 4), ("sum_of_squares", 4), ("noise", 64)):
        assert getattr(coarse, name) / getattr(fine, name) == pytest.approx(factor, rel=0.15), name
    for name in ("splitting", "merging", "size"):
        assert getattr(coarse, name) / getattr(fine, name) == pytest.approx(4, rel=0.15), name
    assert fine.merging_order == pytest.approx(1, abs=0.1)
    for power, factor in ((0.5, 1.0), (1.0, 4.0)):
        coarse, fine = (
            ode_test(independent(np.random.default_rng(3), n, power), x) for n in (64, 256)
        )
        assert coarse.noise / fine.noise == pytest.approx(factor, rel=0.25)
        assert coarse.noise == pytest.approx(coarse.sum_of_squares, rel=0.3)
        assert abs(fine.regularity) < 0.1


@pytest.mark.parametrize("layers", [32, 128])
@pytest.mark.parametrize("seed", range(3))
def test_independent_layers(layers, seed):
    rng = np.random.default_rng(seed)
    assert ode_test(independent(rng, layers, 0.5)).limit == "noise"
    assert ode_test(independent(rng, layers, 0.0)).limit == "noise"  # one depth does not tell
    found = ode_test(independent(rng, layers, 1.0))
    assert found.limit == "averaged ODE", found
    assert "none with weights that are functions of depth" in found.sentence


def test_the_order_of_hidden_units_does_not_matter(rng):
    """Hidden units in another order on every layer: other matrices, the same network."""
    resnet = smooth(rng, 32)
    arrays = []
    for first, second in resnet.layers:
        order = rng.permutation(HIDDEN)
        arrays.append((first.matrix[order], first.bias[order], second.matrix[:, order] / 32))
    w1, b1, w2 = (list(one) for one in zip(*arrays, strict=True))
    shuffled, plain = ode_test(from_residual_mlp(w1, b1, w2, None, tanh).resnet), ode_test(resnet)
    assert shuffled.limit == "ODE"
    assert shuffled.regularity == pytest.approx(plain.regularity, rel=1e-9)


def test_a_path_that_euler_does_not_follow_though_it_ends_well():
    """x' = -1.9 L x: every layer changes the sign, x_k = (-.9)^k x_0, and both end at 0."""
    w = np.stack([np.eye(3)] * 32)
    found = ode_test(from_residual_mlp(w, None, -1.9 * w, None, identity).resnet)
    assert found.limit == "undecided", found
    assert "too long for Euler's method" in found.sentence
    assert found.splitting == pytest.approx((0.9 + 0.05**2) / 1.9, rel=1e-12)


def test_what_cannot_be_told(rng):
    assert ode_test(smooth(rng, 7)).limit == "undecided"
    assert ode_test(smooth(rng, 16, horizon=40.0)).limit == "undecided"  # too long for Euler
    between = ode_test(independent(rng, 24, 0.85))
    assert between.limit == "undecided", between
    assert "between averaging and noise" in between.sentence


def drawn(rng):
    return rng.standard_normal((HIDDEN, UNITS)) / 2, rng.standard_normal((UNITS, HIDDEN)) / 3


def of(layers, factors):
    w1, w2 = (np.stack(x) for x in zip(*layers, strict=True))
    return from_residual_mlp(w1, None, np.reshape(factors, (-1, 1, 1)) * w2, None, tanh).resnet


def bent(rng, layers):
    """One smooth family of layers."""
    a, b = drawn(rng), drawn(rng)
    t = (np.arange(layers) + 0.5) / layers
    return [tuple(x + np.cos(3.0 * s) * y for x, y in zip(a, b, strict=True)) for s in t]


@pytest.mark.parametrize("layers", [16, 64])
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_alternating_signs_are_no_diffusion(layers, power, rng):
    """What neighbours add cancels: z -> z - DF F / L^(2 power) from two of them, without noise."""
    factors = (-1.0) ** np.arange(layers) / layers**power
    found = ode_test(of([drawn(rng)] * layers, factors))
    assert found.limit == "undecided", found
    assert found.turns == 2
    assert "they come in turns of 2" in found.sentence
    assert found.averaging > 0.25  # two at once do nothing at all


@pytest.mark.parametrize("count", [2, 3])
def test_families_in_turn_average_out(count, rng):
    """F_k = A(k/L), B(k/L), A, B, ...: z' = (A + B)/2, and no noise, however large |A - B| is."""
    families, layers = [bent(rng, 60) for _ in range(count)], 60
    found = ode_test(of([families[k % count][k] for k in range(layers)], np.full(60, 2.0 / 60)))
    assert found.limit == "averaged ODE", found
    assert found.turns == count
    assert f"turns of {count}; their means vary continuously" in found.sentence
    assert found.noise > 0.01
    assert found.averaging < 0.1


def test_two_turns_show_no_limit():
    """Eight layers in turns of 4: their two means may be anything."""
    rng = np.random.default_rng(2)
    layers = [drawn(rng) for _ in range(4)]
    others = [tuple(1.1 * x for x in one) for one in layers]
    found = ode_test(of(layers + others, np.full(8, 1 / 80)))
    assert found.turns == 4
    assert found.chance > 0.9
    assert found.averaging < 0.25
    assert found.limit == "undecided"


@pytest.mark.parametrize("place", [2, 20, 37])
def test_a_jump_in_depth_is_named(place, rng):
    both = bent(rng, 40)[:place] + bent(rng, 40)[place:]
    found = ode_test(of(both, np.full(40, 1 / 40)))
    assert found.limit == "ODE", found
    assert found.jumps == (place,)
    assert f"but for a jump before layer {place};" in found.sentence
    assert found.regularity > 0.9
    assert found.noise < 1e-4
    constant = ode_test(of([drawn(rng)] * 20 + [drawn(rng)] * 12, np.full(32, 1 / 32)))
    assert constant.jumps == (20,)
    assert "all layers are the same, but for a jump before layer 20" in constant.sentence


@pytest.mark.parametrize("place", [0, 17, 39])
def test_one_layer_that_differs_is_no_noise(place, rng):
    factors = np.full(40, 1 / 40)
    factors[place] = 1.0
    found = ode_test(of(bent(rng, 40), factors))
    assert found.limit == "undecided", found
    assert f"layer {place} differs from all others, which vary continuously" in found.sentence
    assert found.noise < 1e-4


def test_outputs_that_overflow():
    w = np.full((12, 2, 2), 1e60)
    with pytest.raises(ValueError, match="resnet has outputs that overflow"):
        ode_test(from_residual_mlp(w, None, w, None, relu).resnet)


def test_layers_that_are_all_the_same(rng):
    w1, w2 = rng.standard_normal((HIDDEN, UNITS)), rng.standard_normal((UNITS, HIDDEN)) / 40
    found = ode_test(from_residual_mlp([w1] * 20, None, [w2] * 20, None, tanh).resnet)
    assert found.limit == "ODE"
    assert found.total_variation == pytest.approx(0.0, abs=1e-6)
    assert "all layers are the same" in found.sentence


def trained(layers, spread, rough):
    """A network trained from a start that is the same on all layers, or independent on each."""
    rng = np.random.default_rng(5)
    network, x = Bottleneck(2, tanh, 8), rng.standard_normal((2, 20))
    target = np.stack([np.sin(2 * x[0]), x[0] * x[1]])
    problem = LearningProblem(network, x, target, TimeMesh(1.0, layers), penalty=Tikhonov(1e-3))
    shapes = {"weight1": (8, 2), "weight2": (2, 8)}
    start = problem.space.sample(
        **{
            name: spread * rng.standard_normal((layers, *shape) if rough else shape)
            for name, shape in shapes.items()
        }
    )
    solution = minimize(problem, LBFGS(max_iterations=20), initial=start, raise_on_failure=False)
    assert solution.objective < 0.5 * solution.history["objective"][0]
    return ResNet.from_control(network, solution.control), x


def test_a_trained_network_that_stays_continuous_in_depth():
    found = ode_test(*trained(32, 0.7, rough=False))
    assert found.limit == "ODE", found


def test_trained_networks_that_stay_rough():
    """One depth does not tell large layers of size 1/L from layers of size L^(-1/2); two do."""
    (small, x), (large, _) = (trained(n, 0.7, rough=True) for n in (24, 96))
    assert ode_test(small, x).limit == "noise"
    assert "a shallower network of the same kind tells" in ode_test(small, x).sentence
    found = ode_test(large, x, shallower=small)
    assert found.limit == "averaged ODE", found
    assert 0.7 < found.decay < 2.0  # training changes the noise, too


def test_two_depths_tell_the_scaling_of_independent_layers(rng):
    for factor in (0.3, 3.0):  # the constants do not matter
        for power, limit in ((0.0, "none"), (0.5, "diffusion"), (1.0, "averaged ODE")):
            small, large = (independent(rng, n, power, factor) for n in (32, 128))
            found = ode_test(large, shallower=small)
            assert found.limit == limit, found
            assert found.decay == pytest.approx(2 * power - 1, abs=0.3)
            assert f"decay of the noise   L^{-found.decay:.2f} (-3 smooth" in str(found)
    with pytest.raises(ValueError, match="shallower must have fewer layers than resnet"):
        ode_test(small, shallower=large)


def test_doors(rng):
    with pytest.raises(TypeError, match="resnet must be a ResNet"):
        ode_test(Bottleneck(2, tanh))
    with pytest.raises(ValueError, match=r"initial has shape \(3, 2\)"):
        ode_test(smooth(rng, 8), np.ones((3, 2)))
    assert "sum of squares" in str(ode_test(smooth(rng, 8)))
