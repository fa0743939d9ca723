"""Theorems on any chain: propagators, growth, spectra and `explain` for a Bottleneck and others."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    Bottleneck,
    Chain,
    Circle,
    DirectSum,
    FractionalLaplacian,
    Inputs,
    Interval,
    Linear,
    NeuralODE2,
    NormBound,
    Offset,
    Pointwise,
    SymmetricLayer,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    periodic,
    relu,
    sigmoid,
    tanh,
    user_activation,
)
from solvers import (
    RK4,
    energy_identity,
    explain,
    explicit_step_limit,
    gram_test,
    growth_class,
    integrate,
    l1_bound,
    linearize,
    linearized_spectrum,
    lyapunov_functional,
    operator_matrix,
    propagator,
    root_energy,
    singular_energy,
)
from solvers.theory.chain_bounds import chain_bound

MESH = TimeMesh(1.0, 5)
GRID = gauss_legendre(Interval(0, 2), 5)
CHAINS = (
    Bottleneck(3, tanh, 4),
    Bottleneck(3, relu, 4),
    NeuralODE2(3, sigmoid),
    SymmetricLayer(GRID, tanh),
    WidthDepth(GRID, relu),
    Chain(3, (Inputs(time=True), Linear("w", 3), Offset("b"), Pointwise(relu), NormBound(2.0))),
)


@pytest.mark.parametrize("network", CHAINS, ids=lambda n: n.formula())
@pytest.mark.parametrize("in_time", ["layers", "nodes"])
def test_bounds_hold_along_runs(network, in_time, rng):
    control = network.controls(MESH, in_time=in_time).random(rng)
    units = len(network.weights)
    bound = chain_bound(network, control)
    assert bound.known
    w = network.weights[:, None]

    def size(f):
        return np.sqrt(np.sum(w * f * f, axis=0))

    for t in np.linspace(0.0, 0.999, 23):
        c = control.at_layer(MESH.layer_of(t), t)
        f, g = 2.0 * rng.standard_normal((2, units, 50))
        there, here = (network.velocity(x, c, t) for x in (f, g))
        assert np.all(size(there - here) <= bound.lipschitz * size(f - g) * (1 + 1e-12))
        assert np.all(size(there) <= bound.rate * size(f) + bound.speed + 1e-12)
    initial = rng.standard_normal((units, 6))
    grown = growth_class(network, control, initial)
    run = integrate(network, control, initial, RK4(), steps_per_layer=4, save="layers").trajectory
    for t, f in zip(run.times, run.states, strict=True):
        assert size(f).max() <= grown.bound(float(t)) * (1 + 1e-9)


def test_bounds_that_are_attained():
    """x' = W2 relu(x) with x >= 0 grows like its bound, x' = 2 tanh(9 x) almost."""
    network = Bottleneck(1, relu, 1)
    control = network.control(MESH, weight1=1.0, weight2=3.0)
    bound = growth_class(network, control, np.ones((1, 1)))
    assert (bound.kind, bound.rate, bound.slope) == ("exponential", 3.0, 0.0)
    assert bound.bound(1.0) == pytest.approx(np.exp(3.0), rel=1e-14)
    network = Bottleneck(1, tanh, 4)
    one = np.ones((4, 1))
    control = network.control(MESH, weight1=9.0 * one, weight2=one.T, bias2=-0.5)
    bound = growth_class(network, control, np.ones((1, 2)))
    assert bound.kind == "linear"
    assert bound.slope == pytest.approx(2.0 * 2.0 + 0.5, rel=1e-12)  # |W2| h^(1/2) + |b2|
    assert "Linear: |F| <= 4.5" in bound.sentence


SINE = (lambda s: np.sin(s), lambda s: np.cos(s), lambda s: -np.sin(s), lambda s: 1 - np.cos(s))


def test_no_bound_rests_on_sampled_values_of_an_activation():
    """The largest of 4001 values of the sine lies below 1, so it is no bound: Lip is used instead,
    and the sentence says why; where sup |sigma| is stated, x' = sin(9 x) grows like t at most.
    """
    known = user_activation("sine", *SINE, lipschitz=1.0, supremum=1.0)
    sampled = user_activation("sine", *SINE, lipschitz=1.0, bounded=True)
    initial = np.full((1, 1), 0.1)
    for make in (
        lambda sigma: Bottleneck(1, sigma, 1),
        lambda sigma: WidthDepth(gauss_legendre(Interval(0, 1), 1), sigma),
    ):
        blocks = {"weight1": 9.0, "weight2": 1.0} if make(tanh).grid is None else {"kernel": -9.0}
        stated, unstated = (make(sigma) for sigma in (known, sampled))
        found = growth_class(stated, stated.control(MESH, **blocks), initial)
        assert (found.kind, found.slope) == ("linear", 1.0)
        control = unstated.control(MESH, **blocks)
        found = growth_class(unstated, control, initial)
        assert found.kind == "exponential"
        assert found.rate == pytest.approx(9.0, rel=1e-14)
        assert "sine is bounded, but sup |sigma| is not stated" in found.sentence
        assert "not stated" in str(explain(unstated, control, initial))
    never = replace(sampled, lipschitz=np.inf)
    network = Bottleneck(1, never, 1)
    found = growth_class(network, network.control(MESH, weight1=9.0, weight2=1.0), initial)
    assert found.kind == "no theorem applies"
    assert "not stated" in found.sentence


def test_norms_are_taken_at_both_ends_of_layers():
    """W2 = 3 t on one layer, linear in time: the largest norm is at its end."""
    network = Bottleneck(1, relu, 1)
    control = network.controls(TimeMesh(1.0, 1), in_time="nodes").sample(
        weight1=1.0, weight2=lambda t: 3.0 * t * np.ones((1, 1))
    )
    bound = chain_bound(network, control)
    assert (bound.rate, bound.lipschitz, bound.known) == (3.0, 3.0, True)
    moving = network.control(TimeMesh(1.0, 1), weight2=lambda t: 3.0 * t * np.ones((1, 1)))
    assert not chain_bound(network, moving).known


def test_what_growth_does_not_cover(rng):
    network = WidthDepth(GRID, tanh)
    bottleneck = Bottleneck(2, tanh)
    with pytest.raises(TypeError, match="steady is for a WidthDepth"):
        growth_class(
            bottleneck, bottleneck.controls(MESH).zeros(), np.ones((2, 1)), steady=np.ones((2, 1))
        )
    both = DirectSum(a=Bottleneck(2, tanh), b=Bottleneck(1, tanh))
    for call in (growth_class, explain):
        with pytest.raises(TypeError, match="network must be a Chain"):
            call(both, both.controls(MESH).zeros(), np.ones((3, 1)))
    run = integrate(network, network.controls(MESH).zeros(), np.ones((5, 1)), RK4(), save="layers")
    with pytest.raises(TypeError, match="network must be a Chain"):
        propagator(both, both.controls(MESH).zeros(), run.trajectory, 0.0, 1.0)


def test_theorems_of_one_equation_alone():
    """Where only f_t = sigma(a - Bf) is covered, other chains are refused, by name."""
    network = Chain(3, (Linear("w", 3),))
    c = network.controls(MESH).zeros()
    run = integrate(network, c, np.ones((3, 1)), RK4(), save="layers").trajectory
    for call in (
        lambda: lyapunov_functional(network, c, run),
        lambda: root_energy(network, c, run),
        lambda: singular_energy(network, c, run),
        lambda: energy_identity(network, c, run, run),
        lambda: l1_bound(network, c, np.ones((3, 1)), 1.0),
        lambda: gram_test(network, c),
        lambda: operator_matrix(network, c),
        lambda: explicit_step_limit(network, c),
    ):
        with pytest.raises(TypeError, match="network must be a WidthDepth, got Chain"):
            call()


@pytest.mark.parametrize("network", CHAINS, ids=lambda n: n.formula())
def test_propagators_are_derivatives_of_runs(network, rng):
    control = network.controls(MESH, in_time="nodes").random(rng)
    units = len(network.weights)
    initial = rng.standard_normal((units, 2))

    def go(f):
        return integrate(network, control, f, RK4(), steps_per_layer=40, save="steps").trajectory

    run = go(initial)
    found = propagator(network, control, run, 0.0, 1.0, sample=1)
    direction, h = rng.standard_normal((units, 1)), 1e-5
    ends = [go(initial[:, 1:] + s * direction).final for s in (h, -h)]
    slope = (ends[0] - ends[1]) / (2 * h)
    np.testing.assert_allclose(found.matrix @ direction, slope, atol=2e-4 * np.abs(slope).max())
    assert found.norm == pytest.approx(found.adjoint_norm, rel=2e-3)
    along = linearize(network, control, run, direction, sample=1)
    np.testing.assert_allclose(along.final, found.matrix @ direction, rtol=1e-10)
    w = network.weights
    np.testing.assert_allclose(
        found.adjoint, found.matrix.T * w / w[:, None], atol=2e-3 * np.abs(found.matrix).max()
    )


def test_spectra_of_a_bottleneck(rng):
    """At x = 0 with b1 = b2 = 0 the Jacobian is W2 W1; elsewhere the spectrum is frozen."""
    network = Bottleneck(3, tanh, 4)
    w1, w2 = rng.standard_normal((4, 3)), rng.standard_normal((3, 4))
    control = network.control(MESH, weight1=w1, weight2=w2)
    found = linearized_spectrum(network, control, np.zeros((3, 1)))
    wanted = np.linalg.eigvals(w2 @ w1)
    np.testing.assert_allclose(
        np.sort_complex(found.eigenvalues), np.sort_complex(wanted), rtol=1e-10
    )
    assert not found.frozen
    assert "unstable" in found.sentence
    stable = network.control(MESH, weight1=w1, weight2=-w1.T)
    assert "locally exponentially stable" in (
        linearized_spectrum(network, stable, np.zeros((3, 1))).sentence
    )
    assert linearized_spectrum(network, control, np.ones((3, 1))).frozen
    moving = network.control(MESH, weight1=lambda t: w1 * (1 + t), weight2=w2)
    assert linearized_spectrum(network, moving, np.zeros((3, 1))).frozen
    with pytest.raises(ValueError, match="state must be given"):
        linearized_spectrum(network, control)


def test_explaining_a_bottleneck(rng):
    network = Bottleneck(3, tanh, 4)
    control = network.controls(MESH).random(rng)
    told = explain(network, control, rng.standard_normal((3, 5)))
    assert [t.applies for t in told.theorems] == ["yes"] * 3
    first, second = (
        [np.linalg.norm(x, 2) for x in control[name]] for name in ("weight1", "weight2")
    )
    exponent = np.sum(np.array(first) * second) / MESH.layers
    assert f"<= {np.exp(exponent):.6g} at T = 1" in told["Lipschitz"].consequence
    moving = network.control(MESH, weight1=lambda t: np.cos(t) * np.ones((4, 3)))
    assert explain(network, moving)["growth"].applies == "undecided"
    kernel = FractionalLaplacian(0.5)
    rough = Chain(
        periodic(Circle(), 8), (Linear("kernel", kernel), Pointwise(relu), Offset("bias"))
    )
    found = explain(rough, rough.control(MESH, kernel=1.0))
    assert found["Lipschitz"].applies == "no"
    assert found["Lipschitz"].missing == ("operators bounded",)


def test_summaries_have_ten_lines(rng):
    network = WidthDepth(GRID, tanh)
    told = explain(network, network.controls(MESH).random(rng), rng.standard_normal((5, 1)))
    lines = told.summary().splitlines()
    assert len(lines) <= 10
    assert lines[0].startswith(f"{sum(t.applies == 'yes' for t in told.theorems)} of ")
    names = [t.name for t in told.theorems if t.applies != "yes"]
    assert all(name in told.summary() for name in names)
    positive = network.control(MESH, kernel=lambda y, z: np.exp(-((y - z) ** 2)))
    told = explain(network, positive, rng.standard_normal((5, 1)))
    assert sum(t.applies == "yes" for t in told.theorems) > 8
    assert len(told.summary().splitlines()) <= 10
    assert "Also: " in told.summary()
    short = explain(Bottleneck(2, tanh), Bottleneck(2, tanh).controls(MESH).random(rng)).summary()
    assert short.startswith("3 of 3 theorems apply, 0 are undecided, 0 do not apply.")
