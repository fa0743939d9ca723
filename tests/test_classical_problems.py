"""The explicit pairs on the classical nonstiff problems, against SciPy's, attempt by attempt.

The tableaux, the norm of errors (a root mean square: the units have equal weights) and the factors
of the step lengths are SciPy's.  Two rules are not, see `adaptive_loops`: the first attempt, here
0.4 to 3.2 times as long, so SciPy is given it (`first_step`), and the last ones: less than two
steps before the end are cut into two equal ones here, into a whole one and a rest in SciPy.

Source: Hairer, Norsett and Wanner, Solving ordinary differential equations I, I.16 and II.10.
"""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
import scipy.integrate

from continuum import Network, TimeMesh
from solvers import DOP853, DormandPrince, integrate
from solvers.flow.adaptive import accepted_steps

ROUNDING = 1e-5
"""What rounding in an estimate at 1e-10 does to a step, and that to those after it."""


class Still(Network):
    """f' = F(f) in R^d without a control."""

    start: ClassVar[tuple[float, ...]]
    horizon: ClassVar[float]

    @property
    def weights(self):
        return np.ones(len(self.start))

    def blocks(self, in_time="layers"):
        return ()

    def formula(self):
        return f"f' = F(f), {type(self).__name__}"

    def jvp(self, f, c, t, df, dc):
        raise NotImplementedError

    def vjp(self, f, c, t, p):
        raise NotImplementedError

    def vjp_derivative(self, f, c, t, p, df, dc, dp):
        raise NotImplementedError


class Arenstorf(Still):
    """The restricted three-body problem, one period of a closed orbit: (x, y, x', y')."""

    start = (0.994, 0.0, 0.0, -2.00158510637908252240537862224)
    horizon = 17.0652165601579625588917206249
    moon = 0.012277471

    def velocity(self, f, c, t):
        x, y, u, v = f
        earth = 1.0 - self.moon
        d1 = ((x + self.moon) ** 2 + y**2) ** 1.5
        d2 = ((x - earth) ** 2 + y**2) ** 1.5
        du = x + 2 * v - earth * (x + self.moon) / d1 - self.moon * (x - earth) / d2
        dv = y - 2 * u - earth * y / d1 - self.moon * y / d2
        return np.stack([u, v, du, dv])


class Pleiades(Still):
    """Seven stars in the plane, of masses 1, ..., 7, with near collisions: (x, y, x', y')."""

    start = (
        *(3.0, 3.0, -1.0, -3.0, 2.0, -2.0, 2.0),
        *(3.0, -3.0, 2.0, 0.0, 0.0, -4.0, 4.0),
        *(0.0, 0.0, 0.0, 0.0, 0.0, 1.75, -1.5),
        *(0.0, 0.0, 0.0, -1.25, 1.0, 0.0, 0.0),
    )
    horizon = 3.0

    def velocity(self, f, c, t):
        x, y, u, v = f.reshape(4, 7, -1)
        dx, dy = x[None] - x[:, None], y[None] - y[:, None]
        cubed = (dx**2 + dy**2 + np.eye(7)[:, :, None]) ** 1.5
        pull = np.arange(1.0, 8.0)[None, :, None] / cubed
        return np.concatenate([u, v, (pull * dx).sum(axis=1), (pull * dy).sum(axis=1)])


class Brusselator(Still):
    """A chemical oscillation: u' = 1 + u^2 v - 4 u, v' = 3 u - u^2 v."""

    start, horizon = (1.5, 3.0), 20.0

    def velocity(self, f, c, t):
        u, v = f
        return np.stack([1.0 + u * u * v - 4.0 * u, 3.0 * u - u * u * v])


class Lorenz(Still):
    """sigma = 10, r = 28, b = 8/3; chaotic, so over a short time."""

    start, horizon = (-8.0, 8.0, 27.0), 5.0

    def velocity(self, f, c, t):
        x, y, z = f
        return np.stack([10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z])


class RigidBody(Still):
    """Euler's equations of a rigid body without torque: y1' = -2 y2 y3, ..."""

    start, horizon = (1.0, 0.0, 0.9), 20.0

    def velocity(self, f, c, t):
        x, y, z = f
        return np.stack([-2.0 * y * z, 1.25 * x * z, -0.5 * x * y])


@dataclass
class Attempts:
    """All attempts of a run, and the states after the accepted ones.

    starts, sizes : where they start and how long they are
    accepted : which ones were
    states : (steps, d)
    """

    starts: np.ndarray
    sizes: np.ndarray
    accepted: np.ndarray
    states: np.ndarray

    @property
    def rejected(self):
        return int(np.sum(~self.accepted))


def ours(problem, stepper):
    control = problem.control(TimeMesh(problem.horizon, 1))
    initial = np.array(problem.start)[:, None]
    made = list(accepted_steps(problem, control, stepper, initial, ()))
    return Attempts(
        np.array([a.start for a in made]),
        np.array([a.end - a.start for a in made]),
        np.array([a.accepted for a in made]),
        np.array([a.state[:, 0] for a in made if a.accepted]),
    )


def theirs(problem, method, tolerance, first_step=None):
    """The same of SciPy's method, whose error estimates are overheard."""
    made = []

    class Overheard(method):
        def _estimate_error_norm(self, K, h, scale):
            error = super()._estimate_error_norm(K, h, scale)
            made.append((self.t, h, error < 1.0))
            return error

    solver = Overheard(
        lambda t, f: problem.velocity(f[:, None], {}, t)[:, 0],
        0.0,
        np.array(problem.start),
        problem.horizon,
        rtol=tolerance,
        atol=tolerance,
        first_step=first_step,
    )
    states = []
    while solver.status == "running":
        solver.step()
        states.append(solver.y)
    starts, sizes, accepted = map(np.array, zip(*made, strict=True))
    return Attempts(starts, sizes, accepted, np.array(states))


PAIRS = {DormandPrince: scipy.integrate.RK45, DOP853: scipy.integrate.DOP853}
PROBLEMS = (Arenstorf, Pleiades, Brusselator, Lorenz, RigidBody)


@pytest.fixture(scope="module")
def reference():
    """The last state by SciPy at 1e-13."""

    @cache
    def final(kind):
        return theirs(kind(), scipy.integrate.DOP853, 1e-13).states[-1]

    return final


@pytest.mark.parametrize("tolerance", [1e-6, 1e-10])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda x: x.__name__)
@pytest.mark.parametrize("kind", PROBLEMS, ids=lambda x: x.__name__)
def test_steps_and_errors_are_those_of_scipy(kind, pair, tolerance, reference):
    problem = kind()
    stepper = pair(rtol=tolerance, atol=tolerance)
    here = ours(problem, stepper)
    there = theirs(problem, PAIRS[pair], tolerance, first_step=here.sizes[0])
    # both make the same attempts up to the first that this package cuts: less than two are left
    cut = problem.horizon - there.starts < 2.0 * there.sizes
    same = int(np.argmax(cut))
    assert same > 0.75 * len(there.sizes)
    assert abs(len(here.sizes) - len(there.sizes)) <= 3
    np.testing.assert_array_equal(here.accepted[:same], there.accepted[:same])
    np.testing.assert_allclose(here.starts[:same], there.starts[:same], rtol=ROUNDING)
    np.testing.assert_allclose(here.sizes[:same], there.sizes[:same], rtol=ROUNDING)
    best = reference(kind)
    errors = [np.abs(x.states[-1] - best).max() for x in (here, there)]
    assert 0.5 < errors[0] / errors[1] < 2.0


@pytest.mark.parametrize("pair", PAIRS, ids=lambda x: x.__name__)
@pytest.mark.parametrize("kind", PROBLEMS, ids=lambda x: x.__name__)
def test_the_statistics_count_attempts_and_are_near_those_of_scipy(kind, pair):
    """With SciPy's own first step; SciPy counts velocities, 6 or 12 of them an attempt."""
    problem, stepper = kind(), pair(rtol=1e-6, atol=1e-6)
    control = problem.control(TimeMesh(problem.horizon, 1))
    run = integrate(problem, control, np.array(problem.start)[:, None], stepper)
    here, there = ours(problem, stepper), theirs(problem, PAIRS[pair], 1e-6)
    assert run.statistics["steps"] == len(here.states)
    assert run.statistics["rejected"] == here.rejected
    assert abs(len(here.states) - len(there.states)) <= 2
    assert abs(here.rejected - there.rejected) <= 3
