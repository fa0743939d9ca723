"""min p psi(s) + rho(s) against a dense search, for every activation, with several local minima and
with a minimum at a kink.
"""

from dataclasses import replace

import numpy as np
import pytest

from continuum import (
    arctan,
    elu,
    gelu,
    identity,
    leaky_relu,
    relu,
    sigmoid,
    softplus,
    tanh,
)
from solvers.pontryagin.row_problems import multipliers

ACTIVATIONS = [
    arctan,
    elu(0.5),
    elu(2.0),
    gelu,
    identity,
    leaky_relu(0.1),
    relu,
    sigmoid,
    softplus,
    tanh,
]
SEARCH = np.linspace(-1.0, 1.0, 20_001)


class Rows:
    """s(mu) = offset + clip(size mu / 2, +-limit), with penalty (s - offset)^2 / size."""

    def __init__(self, rng, count):
        self.p = rng.standard_normal(count) * 10.0 ** rng.uniform(-2, 2, count)
        self.offset = 3.0 * rng.standard_normal(count) * rng.integers(0, 2, count)
        self.size = 10.0 ** rng.uniform(-1, 2, count)
        self.limit = np.where(rng.random(count) < 0.5, np.inf, rng.uniform(0.1, 2, count))

    def respond(self, mu, at):
        x = np.clip(self.size[at] * mu / 2, -self.limit[at], self.limit[at])
        return self.offset[at] + x, x * x / self.size[at]

    def values(self, psi, mu, at):
        s, penalty = self.respond(mu, at)
        return self.p[at] * psi.value(s) + penalty


@pytest.mark.parametrize("psi", ACTIVATIONS, ids=str)
def test_nothing_is_lower(psi, rng):
    rows = Rows(rng, 200)
    mu, doubt = multipliers(psi, rows.p, rows.respond)
    found = rows.values(psi, mu, np.arange(200))
    bound = np.abs(rows.p) * psi.lipschitz
    for q in range(200):
        others = rows.values(psi, SEARCH * bound[q], np.full(len(SEARCH), q))
        assert found[q] <= np.min(others) + 1e-13 * (1.0 + abs(found[q]))
    assert np.all(doubt <= 1e-8 * (1.0 + np.abs(found)))


@pytest.mark.parametrize("psi", [psi for psi in ACTIVATIONS if psi.smooth], ids=str)
def test_it_is_stationary_to_rounding(psi, rng):
    rows = Rows(rng, 200)
    mu, _ = multipliers(psi, rows.p, rows.respond)
    s, _ = rows.respond(mu, np.arange(200))
    bound = np.abs(rows.p) * psi.lipschitz
    assert np.max(np.abs(mu + rows.p * psi.derivative(s)) / bound) < 1e-12


def test_the_lower_of_two_minima():
    """-p tanh(s) + (s - s_0)^2 / 20 with s_0 = -6 has a minimum near -6 and, for |p| > 1.2, a lower
    one on the other slope: local searches from 0 or from s_0 see one of them.
    """
    p = np.array([-0.8, -1.0, -1.3, -2.0])

    def respond(mu, at):
        return -6.0 + 10.0 * mu, 5.0 * mu * mu

    mu, doubt = multipliers(tanh, p, respond)
    s = -6.0 + 10.0 * mu
    grid = np.linspace(-8, 8, 160_001)
    values = p[:, None] * np.tanh(grid) + (grid + 6.0) ** 2 / 20.0
    np.testing.assert_allclose(s, grid[np.argmin(values, axis=1)], atol=1e-4)
    assert np.any(s < -5)
    assert np.any(s > 0)
    assert np.all(doubt < 1e-12)


def test_a_minimum_between_two_flat_ends():
    """-40 tanh(s) + (s + 60)^2 / 160: sigma' is below 1e-7 at both ends of intervals in which it
    rises to 1, since it turns at 0; the minimum lies there, not near -60.
    """
    mu, _ = multipliers(tanh, -np.full(1, 40.0), lambda mu, at: (-60.0 + 80.0 * mu, 40.0 * mu * mu))
    grid = np.linspace(-61, 10, 710_001)
    best = grid[np.argmin(-40.0 * np.tanh(grid) + (grid + 60.0) ** 2 / 160.0)]
    assert -60.0 + 80.0 * mu[0] == pytest.approx(best, abs=1e-3)
    assert best > 0


def test_a_minimum_at_a_kink():
    """relu(s) + (s - 1/4)^2 is least at s = 0, where no derivative vanishes."""
    mu, _ = multipliers(relu, np.ones(1), lambda mu, at: (0.25 + 0.5 * mu, 0.25 * mu * mu))
    assert mu[0] == pytest.approx(-0.5, abs=1e-12)


def test_no_weight_and_an_unknown_activation():
    mu, doubt = multipliers(tanh, np.zeros(3), lambda mu, at: (mu, mu * mu / 2))
    np.testing.assert_array_equal(mu, 0.0)
    np.testing.assert_array_equal(doubt, 0.0)
    with pytest.raises(ValueError, match="not known where the derivative of tanh turns"):
        multipliers(replace(tanh, slope_extrema=None), np.ones(1), lambda mu, at: (mu, mu * mu / 2))
