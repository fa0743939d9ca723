"""Section D of the ledger, nonlinear: Lyapunov functionals, ranges, equilibria, Gram matrices."""

from math import log, pi, sqrt

import numpy as np
from scipy.integrate import simpson

from continuum import (
    FunctionControl,
    Grid,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    identity,
    midpoint,
    sigmoid,
    tanh,
)
from continuum.arrays import Array
from solvers import (
    RK4,
    gram_test,
    integrate,
    lyapunov_functional,
    richardson,
    root_energy,
    singular_energy,
    steady_state,
)

from ...bench.registry import claim
from .common import PAPER, TIGHT, UNIT


@claim(
    "LM-28",
    statement="Theorem 3.2 (i), (ii), (iv): dissipated integrals for b = 1, a = 0: tanh from 1, "
    "sigmoid from 0.",
    paper=PAPER,
    references={
        "tanh: int sigma(u)^2": 0.433780830483027187,
        "tanh: int sigma(u) u": 0.5,
        "tanh: int Sigma(u_I)": 0.433780830483027187,
        "tanh: int Sigma(u) rises by at most": 0.0,
        "sigmoid: int_0^50 sigma^2, and the rest Sigma(u(50)) - inf Sigma": log(2.0),
    },
    tolerance=1e-10,
    reason="4000 steps of RK4 and Simpson's rule over [0, 40] or [0, 50]; tanh leaves a tail of "
    "e^-80",
)
def dissipation() -> dict[str, float]:
    """f' = sigma(-f); the sigmoid has no steady state, and what remains after t = 50 is known in
    closed form.
    """
    grid = gauss_legendre(UNIT, 1)
    network = WidthDepth(grid, tanh)
    control = network.control(TimeMesh(40.0, 4000), kernel=1.0)
    run = integrate(network, control, np.ones((1, 1)), RK4(), save="layers").trajectory
    along = lyapunov_functional(network, control, run)
    network = WidthDepth(grid, sigmoid)
    control = network.control(TimeMesh(50.0, 4000), kernel=1.0)
    run = integrate(network, control, np.zeros((1, 1)), RK4(), save="layers").trajectory
    rest = lyapunov_functional(network, control, run)
    return {
        "tanh: int sigma(u)^2": float(simpson(along.dissipation[:, 0], x=along.times)),
        "tanh: int sigma(u) u": float(simpson(along.power[:, 0], x=along.times)),
        "tanh: int Sigma(u_I)": float(along.potential[0, 0]),
        "tanh: int Sigma(u) rises by at most": max(
            0.0, float(np.diff(along.potential[:, 0]).max())
        ),
        "sigmoid: int_0^50 sigma^2, and the rest Sigma(u(50)) - inf Sigma": float(
            simpson(rest.dissipation[:, 0], x=rest.times) + rest.potential[-1, 0] + log(2.0)
        ),
    }


def _half_range(grid: Grid, horizon: float) -> tuple[WidthDepth, FunctionControl, Array]:
    """b = min(y, z), a = y in R(B^1/2) but not in R(B), linear, f_I = 0."""
    network = WidthDepth(grid, identity)
    control = network.control(TimeMesh(horizon, 1), bias=lambda y: y, kernel=np.minimum)
    return network, control, np.zeros((len(grid), 1))


BOUNDED = {
    "|B^1/2 f(1)|^2": 0.090182804676222,
    "|B^1/2 f(10)|^2": 0.79535659470021,
    "|B^1/2 f(100)|^2": 0.92727932414021,
    "|g|^2": 1.0,
    "sum (a, phi_l)^2 / mu_l^2 doubles": 2.0,
    "1/2 |B^1/2 f - g|^2 rises by at most": 0.0,
}


@claim(
    "LM-29",
    statement="Theorem 3.2 (iii): |B^1/2 f| stays below |g| + |B^1/2 f_I - g|, g = B^-1/2 a, for "
    "a not in R(B).",
    paper=PAPER,
    references=BOUNDED,
    tolerance=dict(zip(BOUNDED, (1e-8, 1e-6, 1e-6, 1e-8, 1e-8, 1e-12), strict=True)),
    reason="extrapolated from 100 and 200 midpoints; |g|^2 = 1 - h/2 and sum = 1/h there, exactly",
)
def half_range() -> dict[str, float]:
    """Errors of the midpoint rule are extrapolated away with the order each has, 2 for states and 1
    for |g|^2.
    """
    computed, rise, before = {}, 0.0, [0.5, 0.5]
    for key, horizon in zip(BOUNDED, (1.0, 10.0, 100.0), strict=False):
        squares, sizes = [], []
        for k, points in enumerate((100, 200)):
            network, control, initial = _half_range(midpoint(UNIT, points), horizon)
            run = integrate(network, control, initial, TIGHT).trajectory
            squares.append(float(root_energy(network, control, run)[0][0, 0]))
            shifted, g = root_energy(network, control, run, shifted=True)
            sizes.append(g**2)
            rise, before[k] = max(rise, float(shifted[0, 0]) - before[k]), float(shifted[0, 0])
        computed[key] = float(richardson(squares[0], squares[1], order=2)[0])
        computed["|g|^2"] = float(richardson(sizes[0], sizes[1], order=1)[0])
    asked = steady_state(lambda grid: _half_range(grid, 1.0)[:2], lambda n: midpoint(UNIT, n), 50)
    return {
        **computed,
        "sum (a, phi_l)^2 / mu_l^2 doubles": float(asked.sums[2] / asked.sums[1]),
        "1/2 |B^1/2 f - g|^2 rises by at most": rise,
    }


@claim(
    "LM-30",
    statement="a outside R(B^1/2): b = 1, a = cos pi y, tanh: f = t tanh(cos pi y), (a, f) grows "
    "linearly, Bf = 0.",
    paper=PAPER,
    references={
        "(a, f(10)) / 10": 0.405837842565779483,
        "largest |Bf|": 0.0,
        "largest |f(10) - 10 tanh(cos pi y)|": 0.0,
        "share of a outside R(B)": 1.0,
    },
    tolerance=1e-12,
    reason="32 Gauss nodes are at rounding for these data and the flow is linear in t",
)
def outside_the_range() -> dict[str, float]:
    """The energy 1/2 (Bf, f) - (a, f) is unbounded below."""

    def case(grid: Grid) -> tuple[WidthDepth, FunctionControl]:
        network = WidthDepth(grid, tanh)
        return network, network.control(
            TimeMesh(10.0, 10), bias=lambda y: np.cos(pi * y), kernel=1.0
        )

    grid = gauss_legendre(UNIT, 32)
    network, control = case(grid)
    run = integrate(network, control, np.zeros((32, 1)), RK4(), save="layers").trajectory
    asked = steady_state(case, lambda n: gauss_legendre(UNIT, n), 8)
    return {
        "(a, f(10)) / 10": -float(lyapunov_functional(network, control, run).energy[-1, 0]) / 10,
        "largest |Bf|": float(np.abs(grid.integrate(run.final)).max()),
        "largest |f(10) - 10 tanh(cos pi y)|": float(
            np.abs(run.final - grid.sample(lambda y: 10 * np.tanh(np.cos(pi * y)))).max()
        ),
        "share of a outside R(B)": asked.outside,
    }


ROOT = {
    "|f(1)|^2": 0.22669593384236,
    "|f(10)|^2": 2.2614364997623,
    "|f(100)|^2": 6.6148627527126,
    "|f(1000)|^2": 20.902313388867,
}


@claim(
    "LM-31",
    statement="In LM-29 |f| tends to infinity although N(B) = {0}: |f|^2 ~ (4 / sqrt pi) (1 - 1 "
    "/ sqrt 2) sqrt t.",
    paper=PAPER,
    references=ROOT,
    relative_tolerance=dict(zip(ROOT, (1e-8, 1e-6, 1e-6, 1e-4), strict=True)),
    reason="extrapolated from 200 and 400 midpoints, whose error is O(t h^2); what is left is "
    "its square",
)
def slow_growth() -> dict[str, float]:
    """|f(t)|^2, extrapolated in the width."""
    computed = {}
    for key, horizon in zip(ROOT, (1.0, 10.0, 100.0, 1000.0), strict=True):
        squares = []
        for points in (200, 400):
            network, control, initial = _half_range(midpoint(UNIT, points), horizon)
            final = integrate(network, control, initial, TIGHT).trajectory.final
            squares.append(float(network.grid.integrate(final**2)[0]))
        computed[key] = float(richardson(squares[0], squares[1], order=2)[0])
    return computed


@claim(
    "LM-32",
    statement="Equilibria have sigma(u_e) in N(B); Lemma 3.3, u_e sigma(u_e) = 0, needs B "
    "symmetric, fails for LM-11.",
    paper=PAPER,
    references={
        "LM-11: int u_e sigma(u_e)": 0.6962909296667769,
        "LM-11: the same at t = 10": 0.6962909296667769,
        "LM-11: |B sigma(u_e)|": 0.0,
        "LM-24, symmetric: int u sigma(u) at t = 40": 0.0,
    },
    tolerance=1e-12,
    reason="64 Gauss nodes are at rounding for these data",
)
def equilibria() -> dict[str, float]:
    """Along LM-11 u stays phi for ever, along LM-24 (b = 1, a = 0) it tends to 0."""
    case, grid = exact.linear_growth, gauss_legendre(UNIT, 64)
    network, control, initial = case.setup(grid, 100)
    run = integrate(network, control, initial, RK4(), save="layers").trajectory
    power = lyapunov_functional(network, control, run).power[:, 0]
    values = control.at(0.0)
    moved = network.kernel.apply(
        values["kernel"], network.velocity(initial, values, 0.0), network.weights
    )
    symmetric = WidthDepth(grid, tanh)
    still = symmetric.control(TimeMesh(40.0, 400), kernel=1.0)
    end = integrate(
        symmetric, still, grid.sample(lambda y: 1 + np.cos(pi * y)), RK4(), save="layers"
    ).trajectory
    return {
        "LM-11: int u_e sigma(u_e)": float(power[0]),
        "LM-11: the same at t = 10": float(power[-1]),
        "LM-11: |B sigma(u_e)|": float(np.sqrt(grid.integrate(moved**2)[0])),
        "LM-24, symmetric: int u sigma(u) at t = 40": float(
            lyapunov_functional(symmetric, still, end).power[-1, 0]
        ),
    }


GRAM = {
    "sym(DT), least": 0.34,
    "sym(DT), largest": 3.4,
    "sym(DT^T), least": -2.21416155,
    "sym(DT^T), largest": 5.95416155,
    "eig(DT), least": 0.54498113,
    "eig(DT), largest": 3.19501887,
    "L(0)": 0.215668992263,
    "L(1)": 0.445564405149,
    "u_1(1)": 0.97139467,
    "u_2(1)": -0.43866068,
    "V(0)": 0.12625,
    "V(1)": 0.10092963,
}


@claim(
    "LM-35",
    statement="Theorem 3.4 as corrected: DT > 0 gives decay of V = 1/2 sum (u_l / mu_l)^2, int "
    "Sigma(u) may rise.",
    paper=PAPER,
    references=GRAM,
    tolerance={key: 1e-12 if key.startswith(("sym(DT),", "L", "V(0)")) else 5e-9 for key in GRAM},
    reason="as many digits as the ledger prints; 64 Gauss nodes are at rounding for these data",
)
def gram_matrices() -> dict[str, float]:
    """D = diag(10, 1), T = 0.85 [[0.4, -0.09], [0.9, 0.4]], phi_l and psi_l among sqrt 2 cos k pi
    y.
    """
    grid = gauss_legendre(UNIT, 64)
    modes = np.stack([sqrt(2.0) * np.cos(k * pi * grid.coordinates) for k in range(1, 5)], axis=1)
    gram = 0.85 * np.array([[0.4, -0.09], [0.9, 0.4]])
    rest = np.linalg.cholesky(np.eye(2) - gram.T @ gram).T
    phi, psi = modes[:, :2], modes @ np.vstack([gram, rest])
    network = WidthDepth(grid, tanh)
    control = network.control(TimeMesh(1.0, 1000), kernel=(phi * np.array([10.0, 1.0])) @ psi.T)
    initial = psi @ np.array([[-0.05], [0.5]])
    run = integrate(network, control, initial, RK4(), save="layers").trajectory
    test = gram_test(network, control)
    u = network.preactivation(run.final, control.at(1.0))
    parts = phi.T @ (grid.weights[:, None] * u)
    potential = lyapunov_functional(network, control, run).potential[:, 0]
    v = singular_energy(network, control, run)[0][:, 0]
    return {
        "sym(DT), least": float(test.symmetric_dt[0]),
        "sym(DT), largest": float(test.symmetric_dt[1]),
        "sym(DT^T), least": float(test.symmetric_dtt[0]),
        "sym(DT^T), largest": float(test.symmetric_dtt[1]),
        "eig(DT), least": float(test.eigenvalues[0].real),
        "eig(DT), largest": float(test.eigenvalues[1].real),
        "L(0)": float(potential[0]),
        "L(1)": float(potential[-1]),
        "u_1(1)": float(parts[0, 0]),
        "u_2(1)": float(parts[1, 0]),
        "V(0)": float(v[0]),
        "V(1)": float(v[-1]),
    }
