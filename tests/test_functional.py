"""Running costs of state, control and time: their derivatives, their quadrature, their problems."""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    Affine,
    Interval,
    LearningProblem,
    NeuralODE,
    Projection,
    RunningCost,
    SquaredError,
    Tikhonov,
    TimeMesh,
    Tracking,
    WidthDepth,
    tanh,
    trapezoid,
)
from solvers import (
    RK4,
    Euler,
    Heun,
    ImplicitMidpoint,
    discretize,
    observed_orders,
)

GRID = trapezoid(Interval(0, 1), 4)
DENSE = WidthDepth(GRID, tanh)
MESH = TimeMesh(1.3, 3, 1.5)


class Work(RunningCost):
    """L = e^{-t} / 2 sum_b |c_b|^2 (1 + |f|^2 / 2): state, control and time at once."""

    def __init__(self, *names: str):
        self.names = names

    def _parts(self, network, f, c, t):
        blocks = {b.name: b for b in network.blocks() if b.name in self.names}
        energy = sum(0.5 * np.sum(b.weights * c[n] ** 2) for n, b in blocks.items())
        size = 1.0 + 0.5 * np.sum(network.weights[:, None] * f**2, axis=0)
        return np.exp(-t), blocks, energy, size

    def density(self, network, f, c, t):
        decay, _, energy, size = self._parts(network, f, c, t)
        return decay * energy * size

    def vjp(self, network, f, c, t, q):
        decay, blocks, energy, size = self._parts(network, f, c, t)
        return decay * energy * q * f, {n: decay * np.sum(q * size) * c[n] for n in blocks}

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        decay, blocks, energy, size = self._parts(network, f, c, t)
        more = sum(np.sum(blocks[n].weights * c[n] * dc[n]) for n in blocks if n in dc)
        grown = np.sum(q * np.sum(network.weights[:, None] * f * df, axis=0))
        total, bars = np.sum(q * size), {}
        for n in blocks:
            bars[n] = decay * (grown * c[n] + total * dc.get(n, 0.0 * c[n]))
        return decay * q * (more * f + energy * df), bars

    def formula(self):
        return "exp(-t)/2 |c|^2 (1 + |f|^2/2)"


class StateOnly(RunningCost):
    """L = cos(t) sum_i w_i f_i^3 / 3."""

    def density(self, network, f, c, t):
        return np.cos(t) * np.sum(network.weights[:, None] * f**3, axis=0) / 3.0

    def vjp(self, network, f, c, t, q):
        return np.cos(t) * q * f**2, {}

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        return 2.0 * np.cos(t) * q * f * df, {}

    def reads(self, network):
        return ()

    def formula(self):
        return "cos(t) sum_i w_i f_i^3 / 3"


def moving(t):
    return np.outer([np.cos(t), np.sin(t)], [1.0, 2.0, 3.0])


def costs(names):
    return {
        "work": Work(*names),
        "state and time": StateOnly(),
        "tracking": Tracking(SquaredError(0.7)),
        "moving target": Tracking(SquaredError(0.7), target=moving),
        "moving target, own readout": Tracking(
            SquaredError(0.7), Projection(np.arange(8.0).reshape(2, 4) / 5), moving
        ),
        "trained readout": Tracking(SquaredError(0.7), Affine(2, link=tanh), moving),
    }


DENSE_COSTS = costs(["bias", "kernel"])


def learning(rng, network=DENSE, in_time="layers", **changes):
    problem = LearningProblem(
        network,
        rng.standard_normal((4, 3)),
        rng.standard_normal((2, 3)),
        network.controls(MESH, in_time=in_time),
        readout=Projection(rng.standard_normal((2, 4))),
        sample_weights=np.array([1.0, 2.0, 3.0]),
    )
    return replace(problem, **changes)


def taylor_slopes(objective, rng):
    """Orders of J(c + s d) - J - s (g, d), and of that less s^2 (d, Hd) / 2."""
    space = objective.space
    c, d = space.random(rng), space.random(rng)
    value, gradient = objective.value_and_gradient(c)
    slope, bend = space.inner(gradient, d), space.inner(objective.hvp(c, d), d)
    assert abs(slope) > 1e-3
    assert abs(bend) > 1e-3
    sizes = 2.0 ** np.arange(8, 12)
    remainders = [objective.value(c + (1 / n) * d) - value - slope / n for n in sizes]
    further = [r - 0.5 * bend / n**2 for r, n in zip(remainders, sizes, strict=True)]
    return [observed_orders(sizes, np.abs(x))[-1] for x in (remainders, further)]


@pytest.mark.parametrize("cost", DENSE_COSTS.values(), ids=DENSE_COSTS.keys())
def test_derivatives_of_a_running_cost(cost, rng):
    """vjp is the adjoint of the derivative of density, vjp_derivative the derivative of vjp."""
    problem = learning(rng, running=cost, terminal=None)
    functional, space, t = problem.functional, problem.space, 0.4
    f, df = rng.standard_normal((2, 4, 3))
    c, dc = space.random(rng).at(t), space.random(rng).at(t)
    q, h = rng.standard_normal(3), 1e-6
    p, bars = functional.running_vjp(f, c, t, q)
    moved = [
        functional.running_costs(f + s * df, {n: x + s * dc[n] for n, x in c.items()}, t)
        for s in (h, -h)
    ]
    pairing = np.sum(GRID.weights[:, None] * p * df)
    for block in space.trained:
        if block.name in bars:
            pairing += np.sum(block.weights * bars[block.name] * dc[block.name])
    assert np.sum(q * (moved[0] - moved[1])) / (2 * h) == pytest.approx(pairing, rel=1e-7)
    there, back = (
        functional.running_vjp(f + s * df, {n: x + s * dc[n] for n, x in c.items()}, t, q)
        for s in (h, -h)
    )
    dp, dbars = functional.running_vjp_derivative(f, c, t, df, dc, q)
    np.testing.assert_allclose(dp, (there[0] - back[0]) / (2 * h), rtol=1e-6, atol=1e-8)
    assert dbars.keys() == bars.keys()
    for name in bars:
        np.testing.assert_allclose(
            dbars[name], (there[1][name] - back[1][name]) / (2 * h), rtol=1e-6, atol=1e-8
        )


@pytest.mark.parametrize("cost", DENSE_COSTS.values(), ids=DENSE_COSTS.keys())
@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
@pytest.mark.parametrize("running_on", ["layers", "steps"])
def test_taylor_slopes_compiled(cost, in_time, running_on, rng):
    problem = learning(rng, in_time=in_time, running=cost, penalty=Tikhonov(0.1))
    objective = discretize(problem, Heun(), 2, running_on)
    assert taylor_slopes(objective, rng) == pytest.approx([2.0, 3.0], abs=0.2)


@pytest.mark.parametrize(
    "stepper", [Euler(), RK4(), ImplicitMidpoint()], ids=["Euler", "RK4", "implicit"]
)
@pytest.mark.parametrize("in_time", ["layers", "nodes"])
def test_taylor_slopes_generic(stepper, in_time, rng):
    network = NeuralODE(4, tanh)
    problem = learning(rng, network, in_time, running=Work("bias", "weight"), terminal=None)
    objective = discretize(problem, stepper, 2, "steps")
    assert taylor_slopes(objective, rng) == pytest.approx([2.0, 3.0], abs=0.2)
