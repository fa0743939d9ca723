"""The study of solution counts: its bifurcations against scalar equations, its numbers on a few
layers.
"""

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize

from solvers import Arclength, continue_minimizers
from solvers.descent.families import ByHorizon
from studies.liu_markowich.geodesics import EVENTS, Extremals
from studies.liu_markowich.solution_counts import facing, solution_counts, stationary

START, TARGET, STRENGTH = -2.0, 6.0, 1.0


def resnet_pitchfork(layers):
    """Where the ResNet's extremal with block 2 at rest ceases to be a minimum, from two scalar
    recursions: with f_{k+1} - f_k = tau v, of all (a, b) the cheapest cost lambda tau |v|^2 / (1 +
    |f_k|^2).  The first is stationarity in x_k, whose only unknown is x_1, the second Jacobi's, its
    derivative in block 2; both end with conditions in lambda / tau, the first of which gives T.
    """
    x0, X = START / 2**0.5, TARGET / 2**0.5

    def run(d):
        x, y = [x0, x0 + d], [0.0, 1.0]
        for _ in range(layers - 1):
            w, v = 1 + x[-2] ** 2, 1 + x[-1] ** 2
            # d/v + x d^2 / v^2 = (x_k - x_{k-1}) / w
            one, two, three = x[-1] / v**2, 1 / v, -(x[-1] - x[-2]) / w
            step = -2 * three / (two + np.sqrt(two**2 - 4 * one * three))
            change = (y[-1] - y[-2]) / w - step**2 / v**2 * y[-1]
            x.append(x[-1] + step)
            y.append(y[-1] + v * change)
        return x, y

    def focal(d):
        x, y = run(d)
        w = 1 + x[-2] ** 2
        rate = (X - x[-1]) * w / (2 * (x[-1] - x[-2]))  # lambda / tau
        return y[-1] + 2 * rate * (y[-1] - y[-2]) / w, STRENGTH * layers / rate

    d = scipy.optimize.brentq(lambda d: focal(d)[0], 0.5 / layers, 3.5 / layers, xtol=1e-15)
    return focal(d)[1]


@pytest.mark.parametrize("layers", [6, 10])
def test_the_pitchfork_of_the_resnet(layers):
    """Located by continuation, with three blocks of six numbers a layer, and by the recursions."""
    branch = continue_minimizers(
        facing(START, TARGET, STRENGTH, layers),
        "horizon",
        Arclength(max_step=0.3),
        start=0.6,
        stop=0.9,
    )
    (event,) = branch.events
    assert event.kind == "subcritical pitchfork"
    assert event.negative == (0, 1)
    assert event.parameter == pytest.approx(resnet_pitchfork(layers), abs=1e-9)


def test_the_pitchfork_of_the_differential_equation():
    """By the equations in time: x'' = x x'^2 / (1 + x^2), and Jacobi's for y / 1, unscaled; and the
    ResNet's extrapolated from three depths.
    """
    x0, X = START / 2**0.5, TARGET / 2**0.5

    def ends(speed, horizon):
        def rate(_, z):
            x, v, y, w = z  # w = y' / (1 + x^2)
            bend = 1 + x * x
            return [v, x * v * v / bend, w * bend, -(v * v) * y / bend**2]

        found = scipy.integrate.solve_ivp(
            rate, (0, horizon), [x0, speed, 0, 1], "DOP853", rtol=1e-12, atol=1e-12
        )
        x, v, y, w = found.y[:, -1]
        return np.array([x - X + 2 * STRENGTH * v / (1 + x * x), y + 2 * STRENGTH * w])

    expected = Extremals(START, TARGET, STRENGTH).pitchfork()
    found = scipy.optimize.fsolve(lambda q: ends(*q), [3.0, 0.7], xtol=1e-12)
    assert found[1] == pytest.approx(expected, abs=1e-9)
    coarse, middle, fine = (resnet_pitchfork(n) for n in (400, 800, 1600))
    once = 2 * middle - coarse, 2 * fine - middle
    assert (4 * once[1] - once[0]) / 3 == pytest.approx(expected, abs=1e-7)
    assert (coarse - expected) / (middle - expected) == pytest.approx(2.0, abs=0.01)


def test_extremals_of_the_differential_equation():
    """A fold before the pitchfork, equal values in between; near the target no fold; and none."""
    equation = Extremals(START, TARGET, STRENGTH)
    times = equation.events()
    assert times["fold"] < times["equal values"] < times["pitchfork"]
    curve = equation.curve(30)
    assert np.min(curve[0]) >= times["fold"]
    assert curve[0, -1] > 20.0
    assert curve[0, 0] == pytest.approx(times["pitchfork"], abs=1e-5)
    doubled = Extremals(START, TARGET, 2 * STRENGTH).events()  # lambda / T alone matters
    for kind in EVENTS:
        assert doubled[kind] == pytest.approx(2 * times[kind], rel=1e-9)
    near = Extremals(START, 3.0, STRENGTH).events()
    assert np.isfinite(near["pitchfork"])
    assert np.isnan(near["fold"])
    assert np.isnan(Extremals(-0.1, 0.1, STRENGTH).events()["pitchfork"])


def test_counts_on_a_few_layers():
    case = solution_counts(layers=6, starts=2, last=1.0)
    assert case.attrs["kinds"] == "subcritical pitchfork;fold;equal values"
    fold, equal, pitchfork = np.sort(case["event_horizon"].values)
    assert pitchfork == pytest.approx(resnet_pitchfork(6), abs=1e-9)
    np.testing.assert_array_equal(case["count"], [1, 5, 3])
    np.testing.assert_array_equal(case["expected_count"], [1, 5, 3])
    np.testing.assert_allclose(case["cut"], [0.45, fold, pitchfork, 1.0])
    np.testing.assert_array_equal(case["morse"], [0, 1, 1, 0])
    assert np.all(case["met"] <= case["known"])
    np.testing.assert_array_equal(case["known"], np.repeat([1, 5, 3], 3))
    np.testing.assert_array_equal(case["met"][:3], [1, 1, 1])
    # the mirror images are lowest from the equal values on
    moving = case.isel(piece=3)
    later = moving["horizon"].values > equal
    assert np.all(moving["gain"].values[later] < 0.0)
    between = (moving["horizon"].values > fold) & (moving["horizon"].values < equal)
    assert np.all(moving["gain"].values[between] > 0.0)


def test_pivots_count_what_eigenvalues_do():
    """The Morse index along the branch at rest, by Riccati's pivots."""
    problem = facing(START, TARGET, STRENGTH, 8)
    branch = continue_minimizers(problem, "horizon", Arclength(max_step=0.3), start=0.6, stop=1.0)
    assert {*branch.negative.tolist()} == {0, 1}
    family = ByHorizon(problem)
    for at, value, control, negative in zip(
        branch.values, branch.objectives, branch.controls, branch.negative, strict=True
    ):
        found = stationary(family, at, family.unknown(control, at))
        assert found is not None
        assert found[0] == pytest.approx(value, rel=1e-12)
        assert found[2] == negative


def test_bad_parameters():
    for changes in ({"target": -1.0}, {"first": 2.0, "last": 1.0}, {"starts": -1}, {"layers": 1}):
        with pytest.raises(ValueError, match="are needed"):
            solution_counts(**changes)
