"""Two modes on a ring: closed forms at infinity, the study that meets them, and grids that no
longer resolve fronts.
"""

import numpy as np
import pytest

from continuum import (
    Circle,
    Convolution,
    Interval,
    LowRank,
    NeuralODE2,
    TimeMesh,
    WidthDepth,
    midpoint,
    periodic,
    tanh,
)
from continuum.exact import TwoModeRing
from solvers import (
    DormandPrince,
    Monitor,
    Status,
    Stop,
    Unresolved,
    exact_reduction,
    integrate,
    velocity_jump,
)
from studies.liu_markowich.selection import crossing, selection, separatrix, winner

RATIOS = (0.3, 0.6, 0.8, 1.2, 1.5, 1.9, 2.5)


def signs(ring: TwoModeRing, x: float, y: float) -> np.ndarray:
    """int sign(u) (cos s, cos 2s) ds by the zeros of u, found on a fine lattice and refined by
    bisection.
    """

    def u(s):
        return ring.first * x * np.cos(s) + ring.second * y * np.cos(2 * s)

    s = np.linspace(0.0, 2 * np.pi, 20001) + 1e-7
    low, high = (side[np.sign(u(s[:-1])) != np.sign(u(s[1:]))] for side in (s[:-1], s[1:]))
    for _ in range(60):
        middle = (low + high) / 2
        same = np.sign(u(middle)) == np.sign(u(low))
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    ends = np.concatenate([[0.0], low, [2 * np.pi]])
    sign = np.sign(u((ends[1:] + ends[:-1]) / 2))
    return np.array([sign @ np.diff(np.sin(ends)), sign @ np.diff(np.sin(2 * ends)) / 2])


@pytest.mark.parametrize("ratio", RATIOS)
def test_velocity_at_infinity(ratio):
    ring = TwoModeRing(0.7, 0.7 * ratio)
    for x, y in (
        (1.0, 0.0),
        (0.0, 1.0),
        (2.0, 0.3),
        (0.2, 3.0),
        (-1.0, 1.1),
        (1.0, -2.0),
        (-0.4, -1.0),
    ):
        got = np.array(ring.velocity_at_infinity(np.array([x]), np.array([y])))[:, 0]
        np.testing.assert_allclose(got, signs(ring, x, y), atol=1e-10)


@pytest.mark.parametrize("ratio", RATIOS)
def test_rays_are_invariant_and_attract_or_repel(ratio):
    ring = TwoModeRing(0.7, 0.7 * ratio)

    def turn(angle):
        """The speed at which the direction of u turns."""
        x, y = np.cos(angle) / ring.first, np.sin(angle) / ring.second
        vx, vy = (float(v[0]) for v in ring.velocity_at_infinity(np.array([x]), np.array([y])))
        return ring.second * vy * np.cos(angle) - ring.first * vx * np.sin(angle)

    angles = [np.arctan(m) for m, _ in ring.rays()]
    for angle, (_, attracts) in zip(angles, ring.rays(), strict=True):
        assert turn(angle) == pytest.approx(0.0, abs=1e-12)
        assert (turn(min(angle + 0.01, np.pi / 2)) <= 0.0) == attracts or angle == np.pi / 2
        assert (turn(max(angle - 0.01, 0.0)) >= 0.0) == attracts or angle == 0.0
    between = np.linspace(0.0, np.pi / 2, 2001)[1:-1]
    changes = int(np.sum(np.diff(np.sign([turn(a) for a in between])) != 0))
    assert changes == len(angles) - 2  # none was forgotten


def test_reduced_flow_grows_at_the_stated_rates_and_obeys_the_correction():
    ring = TwoModeRing(0.7, 0.5)
    network = WidthDepth(periodic(Circle(), 2048), tanh, LowRank(2))
    reduced = exact_reduction(network, network.control(TimeMesh(1.0, 1), kernel=ring.factors()))
    values = reduced.control.at(0.0)
    small = reduced.network.velocity(1e-6 * np.eye(2), values, 0.0) / 1e-6
    np.testing.assert_allclose(small, np.pi * np.diag([0.7, 0.5]), atol=1e-10)
    far = np.array([[30.0], [0.0]])
    # int (1 - tanh(R |s|)) |s| ds at the two fronts: x' = 4 - pi^2 / (6 (first x)^2) + O(R^-4)
    expected = 4.0 - np.pi**2 / (6.0 * (0.7 * 30.0) ** 2)
    assert float(reduced.network.velocity(far, values, 0.0)[0, 0]) == pytest.approx(
        expected, abs=2e-5
    )


def test_who_wins():
    for ratio, x, y, who in (
        (0.4, 1e-3, 1.0, 0),
        (0.8, 1.0, 1.0, 0),
        (0.8, 0.2, 1.0, 2),
        (2.5, 1.0, 1e-3, 2),
    ):
        assert winner(TwoModeRing(0.5, 0.5 * ratio), np.array([x]), np.array([y])).tolist() == [who]
    mixed = TwoModeRing(0.5, 0.75)
    assert winner(mixed, np.array([1.0, -0.2]), np.array([0.3, 1.0])).tolist() == [1, 2]


def test_selection_meets_infinity():
    coarse, middle, case = (
        selection(ratio=0.8, nodes=n, starts=8, horizon=40.0, times=321) for n in (128, 256, 512)
    )
    assert float(case["boundary"]) == pytest.approx(float(case["boundary_from_infinity"]), abs=1e-6)
    assert case["winner"].values.tolist() == [0] * 6 + [2] * 2
    assert float(np.degrees(case["boundary"])) == pytest.approx(64.0, abs=0.1)
    assert float(case["dense_gap"]) < 1e-9
    assert float(case["shift_gap"]) < 1e-9
    lost = [float(c["lost_at"]) for c in (coarse, middle, case)]
    assert (lost[2] - lost[1]) / (lost[1] - lost[0]) == pytest.approx(
        2.0, abs=0.15
    )  # h u_y = const, u linear in t
    t = case["time"].values
    late = (t > 12.0) & (t < 24.0)  # far out, and still resolved
    assert np.polyfit(np.log(t[late]), np.log(case["infinity_gap"][late]), 1)[0] == pytest.approx(
        -2.2, abs=0.3
    )
    early = np.flatnonzero(t > 2.0)[0]
    assert case["jump"][early] / coarse["jump"][early] == pytest.approx(0.25, abs=0.02)
    with pytest.raises(ValueError, match="nodes must be from 32 to 4096, got 8"):
        selection(nodes=8)


def test_one_side_of_the_separatrix_each():
    ring = TwoModeRing(0.5, 0.6)
    angle = crossing(separatrix(ring), 2.0)
    network = WidthDepth(periodic(Circle(), 1024), tanh, Convolution())
    control = network.control(TimeMesh(100.0, 1), kernel=ring.kernel)
    grid = network.grid
    sides = np.array([angle - 1e-3, angle + 1e-3])
    modes = grid.sample(np.cos, lambda y: np.cos(2 * y))
    initial = 2.0 / np.pi * modes @ np.stack([np.cos(sides), np.sin(sides)])
    final = integrate(
        network, control, initial, DormandPrince(rtol=1e-9, atol=1e-11)
    ).trajectory.final
    x, y = (grid.weights[:, None] * modes).T @ final
    assert winner(ring, x, y).tolist() == [1, 2]
    assert np.isnan(crossing(separatrix(TwoModeRing(0.5, 1.5)), 2.0))


def test_velocity_jump():
    network = WidthDepth(midpoint(Interval(0, 1), 4), tanh)
    control = network.control(TimeMesh(1.0, 1), bias=np.array([0.0, 0.0, 50.0, 50.0]), kernel=0.0)
    np.testing.assert_allclose(velocity_jump(network, control, np.zeros((4, 2))), [1.0, 1.0])
    control = network.control(
        TimeMesh(1.0, 1), bias=np.arctanh([-0.5, -0.25, 0.25, 0.5]), kernel=0.0
    )
    np.testing.assert_allclose(velocity_jump(network, control, np.zeros((4, 1))), [0.5])
    control = network.control(TimeMesh(1.0, 1), bias=1.0, kernel=0.0)
    np.testing.assert_allclose(velocity_jump(network, control, np.zeros((4, 1))), [0.0])
    ring = WidthDepth(periodic(Circle(), 4), tanh)
    control = ring.control(TimeMesh(1.0, 1), bias=np.arctanh([-0.5, -0.25, 0.25, 0.5]), kernel=0.0)
    np.testing.assert_allclose(
        velocity_jump(ring, control, np.zeros((4, 1))), [1.0]
    )  # from the last to the first
    plane = WidthDepth(midpoint(Interval(0, 1) * Interval(0, 1), 4), tanh)
    with pytest.raises(ValueError, match="network must live on a circle"):
        velocity_jump(
            plane, plane.control(TimeMesh(1.0, 1), bias=1.0, kernel=0.0), np.zeros((16, 1))
        )
    units = NeuralODE2(2, tanh)
    with pytest.raises(TypeError, match="network must live on a grid"):
        velocity_jump(
            units, units.control(TimeMesh(1.0, 1), weight=0.0, bias=0.0), np.zeros((2, 1))
        )  # type: ignore


def test_a_run_says_that_the_grid_no_longer_resolves_it():
    ring = TwoModeRing(1.0, 0.1)
    network = WidthDepth(periodic(Circle(), 64), tanh, Convolution())
    control = network.control(TimeMesh(50.0, 1), kernel=ring.kernel)
    initial = network.grid.sample(lambda y: 0.1 * np.cos(y))
    stepper = DormandPrince(rtol=1e-8, atol=1e-10)
    run = integrate(
        network, control, initial, stepper, monitors=[Monitor(Stop(Unresolved(network, control)))]
    )
    assert run.status is Status.STOPPED
    assert "the grid no longer resolves the state" in run.detail
    assert "use more nodes" in run.detail
    jump = velocity_jump(network, control, run.trajectory.final)
    assert 0.25 < jump[0] < 0.45
    plain = integrate(
        network,
        control,
        initial,
        stepper,
        monitors=[Monitor(Stop(lambda s: s.time > 1, "long enough"))],
    )
    assert plain.detail.endswith("long enough")
