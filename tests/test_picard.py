"""Picard's iteration converges on any horizon, as fast as the theorem says."""

import math

import numpy as np
import pytest

from continuum import Interval, TimeMesh, WidthDepth, exact, gauss_legendre, identity
from solvers import picard

GRID = gauss_legendre(Interval(0, 1), 4)


def test_iterates_are_the_partial_sums_of_the_exponential():
    network = WidthDepth(GRID, identity)
    control = network.control(TimeMesh(5.0, 1), kernel=-1.0)
    for n in (1, 7, 20):
        run = picard(network, control, np.ones((4, 1)), n)
        for t, state in zip(run.trajectory.times, run.trajectory.states, strict=True):
            np.testing.assert_allclose(
                state, sum(t**k / math.factorial(k) for k in range(n + 1)), rtol=1e-12
            )
        # |f^{n+1} - f^n| = T^{n+1} / (n+1)! at the horizon
        assert run.history["difference"][-1] == pytest.approx(5.0**n / math.factorial(n), rel=1e-10)


def test_the_limit_is_the_flow():
    for case in (exact.moving_bias, exact.scalar_decay):
        network, control, initial = case.setup(GRID, 1)
        final = picard(network, control, initial, 60, degree=40).trajectory.final
        np.testing.assert_allclose(final, case.final(GRID), rtol=0, atol=1e-12)


def test_bad_input():
    network = WidthDepth(GRID, identity)
    mesh = TimeMesh(1.0, 3)
    with pytest.raises(ValueError, match="has breakpoints"):
        picard(network, network.controls(mesh).zeros(), np.ones((4, 1)), 3)
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        picard(network, network.control(mesh), np.ones((4, 1)), 0)
    with pytest.raises(ValueError, match="initial has shape"):
        picard(network, network.control(mesh), np.ones((3, 1)), 3)
