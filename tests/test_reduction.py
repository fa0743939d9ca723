"""The reduced flow is the projection of the whole one, and lifts back to it."""

import numpy as np
import pytest

from continuum import (
    Circle,
    Interval,
    LowRank,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    periodic,
    tanh,
)
from solvers import DormandPrince, equilibria, exact_reduction, integrate

TIGHT = DormandPrince(rtol=1e-11, atol=1e-12)
GRID = periodic(Circle(), 40)


def ring(sign=1.0):
    """b = sign cos(y - z), of rank two."""
    network = WidthDepth(GRID, tanh)
    control = network.control(
        TimeMesh(2.0, 1), bias=lambda y: 0.3 * np.sin(y), kernel=lambda y, z: sign * np.cos(y - z)
    )
    return network, control


def low_rank():
    network = WidthDepth(gauss_legendre(Interval(0, 1), 9), tanh, LowRank(2))
    control = network.control(
        TimeMesh(2.0, 1), bias=np.cos, kernel=((np.exp, np.sin), (np.cos, lambda z: z - 2))
    )
    return network, control


@pytest.mark.parametrize(
    "case", [ring(), ring(-1.0), low_rank()], ids=["ring", "negative ring", "low rank"]
)
def test_reduced_flow_is_the_projection_of_the_whole(case, rng):
    network, control = case
    initial = rng.standard_normal((len(network.weights), 3))
    reduction = exact_reduction(network, control)
    assert reduction.rank == 2
    times = np.linspace(0, 2, 401)
    whole = integrate(network, control, initial, TIGHT, save=times).trajectory.states
    path = integrate(
        reduction.network, reduction.control, reduction.project(initial), TIGHT, save=times
    ).trajectory.states
    for f, m in zip(whole[::50], path[::50], strict=True):
        np.testing.assert_allclose(m, reduction.project(f), rtol=0, atol=1e-8)
        u = network.preactivation(f, control.at(0.0))
        np.testing.assert_allclose(reduction.preactivation(m), u, rtol=0, atol=1e-8)
    np.testing.assert_allclose(reduction.lift(initial, times, path), whole, rtol=0, atol=1e-7)


def test_factors_give_the_kernel_back():
    network, control = ring()
    reduction = exact_reduction(network, control)
    np.testing.assert_allclose(
        reduction.left @ reduction.right.T, control.at(0.0)["kernel"], rtol=0, atol=1e-13
    )
    gram = reduction.right.T @ (GRID.weights[:, None] * reduction.right)
    np.testing.assert_allclose(gram, np.eye(2), rtol=0, atol=1e-13)


def test_equilibria_of_a_wide_network_are_found_in_the_plane():
    """b = cos(y - z), a = 0.3 sin y in R(B): u = 0 is the one equilibrium in m, a sink with
    eigenvalues -pi, -pi.
    """
    network, control = ring()
    reduction = exact_reduction(network, control)
    (found,) = equilibria(reduction.network, reduction.control, (-1.0, 1.0, -1.0, 1.0))
    np.testing.assert_allclose(reduction.preactivation(found.point[:, None]), 0.0, atol=1e-12)
    np.testing.assert_allclose(found.eigenvalues, -np.pi, rtol=1e-10)
    assert found.kind == "sink"


def test_nodes_of_weight_zero_are_reached_too():
    grid = gauss_legendre(Interval(0, 1), 6).observed_at(np.array([[0.5]]))
    network = WidthDepth(grid, identity)
    control = network.control(TimeMesh(1.0, 1), kernel=lambda y, z: np.exp(y - z))
    reduction = exact_reduction(network, control)
    assert reduction.rank == 1
    initial = grid.sample(lambda y: y)
    m = reduction.project(initial)
    np.testing.assert_allclose(
        reduction.preactivation(m), network.preactivation(initial, control.at(0.0)), atol=1e-13
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda n, c: exact_reduction("network", c), "network must be a WidthDepth"),
        (lambda n, c: exact_reduction(n, n.control(TimeMesh(1.0, 1))), "kernel is zero"),
        (
            lambda n, c: exact_reduction(
                n, n.control(TimeMesh(1.0, 1), bias=lambda y, t: t + 0 * y)
            ),
            "constant in time",
        ),
        (lambda n, c: exact_reduction(n, c, rtol=0.0), "rtol"),
        (
            lambda n, c: exact_reduction(n, c).lift(
                np.ones((40, 1)), np.linspace(0, 1, 3), np.ones((3, 2, 1))
            ),
            "must start at",
        ),
        (lambda n, c: exact_reduction(n, c).project(np.ones((3, 1))), "f has shape"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call(*ring())
