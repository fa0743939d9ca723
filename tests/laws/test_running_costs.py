"""Laws 1 and 4 for running costs of control and time, and for targets that move."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from law_cases import problem

from continuum import Projection, RunningCost, SquaredError, TimeMesh, Tracking, tanh
from solvers import Euler, discretize, integrate, layer_hamiltonian

LAYERS, CUT, TAU = 6, 2, 0.25


@dataclass(frozen=True)
class Effort(RunningCost):
    """L = (1 + start + t) sum_i w_i f_i^2 a_i^2, a the bias."""

    start: float = 0.0

    def reads(self, network):
        return ("bias",)

    def density(self, network, f, c, t):
        a = c["bias"][:, None]
        return (1.0 + self.start + t) * np.sum(network.weights[:, None] * (f * a) ** 2, axis=0)

    def vjp(self, network, f, c, t, q):
        a, rate = c["bias"][:, None], 1.0 + self.start + t
        back = 2.0 * rate * q * f * a**2
        return back, {"bias": 2.0 * rate * np.sum(q * f**2 * a, axis=1)}

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        a, rate = c["bias"][:, None], 1.0 + self.start + t
        da = dc["bias"][:, None] if "bias" in dc else 0.0 * a
        back = 2.0 * rate * q * (df * a**2 + 2.0 * f * a * da)
        return back, {"bias": 2.0 * rate * np.sum(q * (2.0 * f * df * a + f**2 * da), axis=1)}

    def formula(self):
        return "(1 + t) |f bias|^2"


@dataclass(frozen=True)
class Orbit:
    """A target on a circle, one column for each of three samples."""

    start: float = 0.0

    def __call__(self, t):
        angles = 2.0 * (self.start + t) + np.arange(3.0)
        return np.array([np.cos(angles), np.sin(angles)])


COSTS = {
    "of the control": Effort,
    "a moving target": lambda start=0.0: Tracking(SquaredError(0.7), target=Orbit(start)),
    "a readout of its own": lambda start=0.0: Tracking(
        SquaredError(0.7),
        readout=Projection(np.array([[1.0, 2.0], [0.5, -1.0]])),
        target=Orbit(start),
    ),
}


def stated(kind, cost, start=0.0, layers=LAYERS, **changes):
    """Projection for the terminal cost; rates start at `start`."""
    readout = {} if cost != "a moving target" else {"readout": Projection(np.eye(2))}
    return problem(
        f"{kind} Projection terminal",
        mesh=TimeMesh(TAU * layers, layers),
        activation=tanh,
        samples=3,
        rate=lambda t: np.cos(3.0 * (start + t)),
        **{
            "running": COSTS[cost](start),
            "target": np.ones((2 if readout else 1, 3)),
            **readout,
            **changes,
        },
    )


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("kind", ["autonomous", "timed"])
def test_the_hamiltonian_of_a_layer(kind, cost, rng):
    task = stated(kind, cost)
    control = task.space.random(rng, 0.6)
    gradient = discretize(task).gradient(control)
    found = layer_hamiltonian(discretize(task), control).gradient(dict(control.items()))
    for name, x in gradient.items():
        np.testing.assert_allclose(found[name], x, rtol=0, atol=1e-12 * np.max(np.abs(x)))


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("kind", ["autonomous", "timed"])
def test_a_split_problem_costs_the_sum(kind, cost, rng):
    """And the second part has the tail of the gradient."""
    task = stated(kind, cost)
    control = task.space.random(rng, 0.6)
    states = integrate(task.network, control, task.initial, Euler(), save="layers").trajectory
    first = stated(kind, cost, layers=CUT, terminal=None)
    second = stated(kind, cost, CUT * TAU, LAYERS - CUT, initial=states.states[CUT])
    parts = [
        part.space.sample(**{n: x[chosen] for n, x in control.items()})
        for part, chosen in ((first, slice(0, CUT)), (second, slice(CUT, LAYERS)))
    ]
    whole = discretize(task)
    total = discretize(first).value(parts[0]) + discretize(second).value(parts[1])
    assert total == pytest.approx(whole.value(control), rel=1e-13)
    tail = discretize(second).gradient(parts[1])
    for name, x in whole.gradient(control).items():
        np.testing.assert_allclose(tail[name], x[CUT:], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("cost", COSTS)
def test_time_that_starts_elsewhere_matters(cost, rng):
    """The second part with the cost of the first is another problem: t is looked at."""
    task = stated("autonomous", cost)
    control = task.space.random(rng, 0.6)
    other = replace(task, running=COSTS[cost](0.5))
    assert abs(discretize(other).value(control) - discretize(task).value(control)) > 1e-3
