"""Section D of the ledger, linear: spectra, conditioning, and what they do not say."""

from itertools import pairwise
from math import cos, pi, sin

import numpy as np
from scipy.integrate import simpson

from continuum import (
    FunctionControl,
    TimeMesh,
    WidthDepth,
    arctan,
    exact,
    gauss_legendre,
    identity,
    midpoint,
    partition,
    tanh,
)
from continuum.arrays import Array
from solvers import (
    RK4,
    Trajectory,
    energy_identity,
    growth_class,
    integrate,
    linearize,
    linearized_spectrum,
    operator_matrix,
    propagator,
    richardson,
)

from ...bench.registry import claim
from .common import PAPER, TIGHT, UNIT


def _unstable(horizon: float) -> tuple[WidthDepth, FunctionControl, Array]:
    network = WidthDepth(gauss_legendre(UNIT, 1), tanh)
    return network, network.control(TimeMesh(horizon, 1), kernel=-1.0), np.array([[0.1]])


@claim(
    "LM-23",
    statement="A negative eigenvalue of B: f' = tanh f, f(0) = 0.1 grows like e^t, then "
    "linearly, below the bound.",
    paper=PAPER,
    references={
        "largest real part of -sigma'(0) B": 1.0,
        "f(3)": 1.44894600175735968,
        "f(20) - f(19)": 1.0,
        "slope of the bound": 1.0,
        "bound at t = 3": 3.1,
    },
    tolerance=1e-11,
    reason="a scalar equation integrated with a tolerance of 1e-13 per step, amplified by e^3 "
    "while it is exponential",
)
def negative_eigenvalue() -> dict[str, float]:
    """asinh(e^t sinh 0.1), and |f| <= |f_I| + t sup |sigma| |Y|^1/2."""
    network, control, initial = _unstable(20.0)
    states = integrate(network, control, initial, TIGHT, save=[19.0, 20.0]).trajectory.states
    bound = growth_class(network, control, initial)
    return {
        "largest real part of -sigma'(0) B": float(
            linearized_spectrum(network, control).eigenvalues[0].real
        ),
        "f(3)": float(integrate(*_unstable(3.0), TIGHT).trajectory.final[0, 0]),
        "f(20) - f(19)": float(states[1, 0, 0] - states[0, 0, 0]),
        "slope of the bound": bound.slope,
        "bound at t = 3": bound.bound(3.0),
    }


@claim(
    "LM-24",
    statement="B symmetric with a null space: stable, not asymptotically; components in N(B) "
    "persist exactly.",
    paper=PAPER,
    references={
        "f(0, 1)": 1.419885257562055,
        "largest change of f - mean f": 0.0,
        "largest eigenvalue of -sigma'(0) B": 0.0,
        "least eigenvalue of -sigma'(0) B": -1.0,
    },
    tolerance=1e-12,
    reason="16 Gauss nodes integrate cos pi y to rounding; the scalar equation for the mean has "
    "tolerance 1e-13",
)
def persistent_null_space() -> dict[str, float]:
    """b = 1, a = 0, tanh, f_I = 1 + cos pi y: f = cos pi y + asinh(e^-t sinh 1)."""
    grid = gauss_legendre(UNIT, 16).observed_at(np.array([[0.0]]))
    network = WidthDepth(grid, tanh)
    control = network.control(TimeMesh(1.0, 1), kernel=1.0)
    initial = grid.sample(lambda y: 1 + np.cos(pi * y))
    final = integrate(network, control, initial, TIGHT).trajectory.final
    change = (final - grid.integrate(final)) - (initial - grid.integrate(initial))
    eigenvalues = linearized_spectrum(network, control).eigenvalues
    return {
        "f(0, 1)": float(final[-1, 0]),
        "largest change of f - mean f": float(np.abs(change).max()),
        "largest eigenvalue of -sigma'(0) B": float(eigenvalues[0].real),
        "least eigenvalue of -sigma'(0) B": float(eigenvalues[-1].real),
    }


def _frozen(points: int) -> tuple[WidthDepth, FunctionControl, Array]:
    """u = (y^2 + 2y)^1/2, so sigma'(u) = (1 + y)^-2 for arctan, and b = min(y, z)."""
    network = WidthDepth(midpoint(UNIT, points), arctan)
    control = network.control(
        TimeMesh(1.0, 1), bias=lambda y: np.sqrt(y * y + 2 * y), kernel=np.minimum
    )
    return network, control, np.zeros((points, 1))


def _frozen_jacobian(points: int) -> Array:
    """-sigma'(u) B as a matrix on nodal values, column by column."""
    network, control, state = _frozen(points)
    return network.jvp(np.repeat(state, points, axis=1), control.at(0.0), 0.0, np.eye(points), {})


FROZEN = {
    "lambda_1": 0.1485472360910877,
    "lambda_2": 0.02087706787640793,
    "lambda_3": 0.007687750033848766,
    "lambda_1, midpoint 400": 0.14854749,
    "largest imaginary part": 0.0,
}


@claim(
    "LM-25",
    statement="The frozen spectrum of sigma'(u) B is real, >= 0 for B symmetric >= 0, sigma' > "
    "0: arctan, min(y, z).",
    paper=PAPER,
    references=FROZEN,
    tolerance=dict(zip(FROZEN, (1e-10, 1e-10, 2e-10, 5e-9, 1e-12), strict=True)),
    reason="extrapolating the midpoint rule from 200 and 400 nodes leaves O(h^4); the fourth is "
    "printed to 8 digits",
)
def frozen_spectrum() -> dict[str, float]:
    """lambda = 1 / (nu^2 + 1/4) with sin(nu ln 2) / 2 + nu cos(nu ln 2) = 0."""
    leading = []
    for points in (200, 400):
        network, control, state = _frozen(points)
        leading.append(-np.real(linearized_spectrum(network, control, state).eigenvalues)[::-1][:3])
    limit = np.asarray(richardson(leading[0], leading[1], order=2)[0])
    computed = {f"lambda_{k + 1}": float(limit[k]) for k in range(3)}
    imaginary = np.abs(np.imag(np.linalg.eigvals(_frozen_jacobian(200)))).max()
    return {
        **computed,
        "lambda_1, midpoint 400": float(leading[1][0]),
        "largest imaginary part": float(imaginary),
    }


NO_RATE = {
    "|f(1)|^2": 0.540544218561489,
    "|f(10)|^2": 0.122703413550761,
    "|f(100)|^2": 0.039906645469743,
    "|f(1000)|^2": 0.0126156625646144,
}


@claim(
    "LM-26",
    statement="No exponential rate in infinite rank: b = min(y, z), linear, f_I = 1: |f|^2 ~ (2 "
    "pi t)^-1/2.",
    paper=PAPER,
    references=NO_RATE,
    relative_tolerance=dict(zip(NO_RATE, (1e-9, 1e-8, 1e-6, 1e-4), strict=True)),
    reason="the midpoint rule errs by t h^2 / 2 (its B has a spectral gap); extrapolating leaves "
    "about (t h^2)^2",
)
def no_exponential_rate() -> dict[str, float]:
    """|f(t)|^2, extrapolated from 200 and 400 midpoints."""
    computed = {}
    for key, horizon in zip(NO_RATE, (1.0, 10.0, 100.0, 1000.0), strict=True):
        squares = []
        for points in (200, 400):
            network = WidthDepth(midpoint(UNIT, points), identity)
            control = network.control(TimeMesh(horizon, 1), kernel=np.minimum)
            final = integrate(network, control, np.ones((points, 1)), TIGHT).trajectory.final
            squares.append(float(network.grid.integrate(final**2)[0]))
        computed[key] = float(richardson(squares[0], squares[1], order=2)[0])
    return computed


@claim(
    "LM-27",
    statement="Remark 3.1 needs more than b(t) -> 0: f' = f / (1 + t) has f(100) = 101 f_I.",
    paper=PAPER,
    references={"f(100)": 101.0, "frozen eigenvalue at t = 100": 1 / 101},
    tolerance=1e-9,
    reason="the tolerance of 1e-13 per step is amplified by the growth of 101",
)
def decaying_kernel() -> dict[str, float]:
    """b = -1 / (1 + t), linear."""
    network = WidthDepth(gauss_legendre(UNIT, 1), identity)
    control = network.control(
        TimeMesh(100.0, 1), kernel=lambda y, z, t: -1.0 / (1.0 + t) + 0.0 * y * z
    )
    final = integrate(network, control, np.ones((1, 1)), TIGHT).trajectory.final
    spectrum = linearized_spectrum(network, control, final, t=100.0)
    return {
        "f(100)": float(final[0, 0]),
        "frozen eigenvalue at t = 100": float(spectrum.eigenvalues[0].real),
    }


def _moving(layers: int) -> tuple[WidthDepth, FunctionControl, FunctionControl, Trajectory, Array]:
    """The network of LM-38 and LM-39, its control, the control's rate, its run and w(0)."""
    grid = gauss_legendre(UNIT, 32)
    network, mesh = WidthDepth(grid, tanh), TimeMesh(2.0, layers)
    control = network.control(
        mesh,
        bias=lambda y, t: np.sin(y + t) + 0.5 * np.cos(2 * pi * y),
        kernel=lambda y, z: np.cos(3 * (y - 2 * z)) + 0.5,
    )
    rate = network.control(mesh, bias=lambda y, t: np.cos(y + t))
    run = integrate(network, control, grid.sample(lambda y: y**2), RK4(), save="layers").trajectory
    return network, control, rate, run, grid.sample(lambda y: np.cos(pi * y))


ENERGY = {
    "E(0)": 0.435368061886,
    "E(2)": 0.267067221929,
    "integral of the rate": -0.168300839957,
    "integral with u for u_t": 1.063692663710,
}


@claim(
    "LM-38",
    statement="Energy identity of the linearised equation: the rate with u_t integrates to E(2) "
    "- E(0), with u not.",
    paper=PAPER,
    references=ENERGY,
    tolerance=2e-12,
    reason="twelve digits are printed; 1000 steps of RK4 and Simpson's rule leave 1e-12",
)
def energy() -> dict[str, float]:
    """E = 1/2 int w^2 / sigma'(u) on 32 Gauss nodes."""
    network, control, rate, run, w = _moving(1000)
    perturbations = linearize(network, control, run, w)
    identity_ = energy_identity(network, control, run, perturbations, control_rate=rate)
    printed = []
    for t, f, v in zip(run.times, run.states, perturbations.states, strict=True):
        values = control.at(float(t))
        u = network.preactivation(f, values)
        correction = 0.5 * v * v * tanh.second(u) * u / tanh.derivative(u) ** 2
        bv = network.kernel.apply(values["kernel"], v, network.weights)
        printed.append(-float(network.grid.integrate(v * bv + correction)[0]))
    return {
        "E(0)": float(identity_.energy[0, 0]),
        "E(2)": float(identity_.energy[-1, 0]),
        "integral of the rate": float(simpson(identity_.rate[:, 0], x=run.times)),
        "integral with u for u_t": float(simpson(printed, x=run.times)),
    }


@claim(
    "LM-39",
    statement="The propagators of perturbations and of costates have the same norm in L^2(Y).",
    paper=PAPER,
    references={
        "LM-01: |M(1, 0)|": 0.5210567336486777,
        "LM-01: |M(1, 0)*|": 0.5210567336486777,
        "LM-38: |M(2, 0)| - |M(2, 0)*|": 0.0,
    },
    tolerance=1e-11,
    reason="each is integrated on its own, by 100 or 200 layers of 4 steps of RK4, to about 1e-12",
)
def conditioning() -> dict[str, float]:
    """Each norm from an integration of its own."""
    network, control, initial = exact.scalar_decay.setup(gauss_legendre(UNIT, 1), 100)
    run = integrate(network, control, initial, RK4(), save="layers", steps_per_layer=4).trajectory
    scalar = propagator(network, control, run, 0.0, 1.0, substeps=4)
    network, control, _, run, _ = _moving(200)
    moving = propagator(network, control, run, 0.0, 2.0, substeps=4)
    return {
        "LM-01: |M(1, 0)|": scalar.norm,
        "LM-01: |M(1, 0)*|": scalar.adjoint_norm,
        "LM-38: |M(2, 0)| - |M(2, 0)*|": moving.norm - moving.adjoint_norm,
    }


NORMS = {
    "|B|": 0.4052847345693511,
    "|b| in L^2(Y x Y)": 0.408248290463863,
    "chain of inequalities violated by": 0.0,
}


@claim(
    "LM-40",
    statement="lambda_1 <= |sigma'(u) B| <= sup sigma' |B| <= sup sigma' |b|, for the data of "
    "LM-25.",
    paper=PAPER,
    references=NORMS,
    tolerance=dict(zip(NORMS, (1e-9, 1e-9, 0.0), strict=True)),
    reason="extrapolated from 100 and 200 midpoints; inequalities hold by margins far above "
    "rounding",
)
def norms() -> dict[str, float]:
    """Norms of operators in L^2(Y) on midpoints, whose equal weights make them those of
    matrices.
    """
    operator, kernel = [], []
    for points in (100, 200):
        s = operator_matrix(*_frozen(points)[:2])
        operator.append(float(np.linalg.norm(s, 2)))
        kernel.append(float(np.linalg.norm(s)))
    middle = float(np.linalg.norm(_frozen_jacobian(200), 2))
    leading = -float(linearized_spectrum(*_frozen(200)).eigenvalues[-1].real)
    chain = (leading, middle, operator[1], kernel[1])
    return {
        "|B|": float(richardson(operator[0], operator[1], order=2)[0]),
        "|b| in L^2(Y x Y)": float(richardson(kernel[0], kernel[1], order=2)[0]),
        "chain of inequalities violated by": max(0.0, *(x - y for x, y in pairwise(chain))),
    }


def _turning(y: Array, z: Array, t: float) -> Array:
    """2 B_ij(t) on two halves: -B = [[-1 + 3/2 c^2, 1 - 3/2 s c], [-1 - 3/2 s c, -1 + 3/2 s^2]]."""
    c, s = cos(t), sin(t)
    minus = np.array([[-1 + 1.5 * c * c, 1 - 1.5 * s * c], [-1 - 1.5 * s * c, -1 + 1.5 * s * s]])
    rows, columns = np.broadcast_arrays((y > 0.5).astype(int), (z > 0.5).astype(int))
    return -2.0 * minus[rows, columns]


@claim(
    "LM-41",
    statement="Frozen spectra mislead: eigenvalues -1/4 +- 0.66144 i at all times, and a "
    "solution like e^(t/2).",
    paper=PAPER,
    references={
        "f_1(10)": 124.52925634,
        "f_2(10)": -80.73989169,
        "real part at t = 7": -0.25,
        "imaginary part at t = 7": 0.66144,
        "real part at t = 0": -0.25,
    },
    tolerance={
        "f_1(10)": 6e-9,
        "f_2(10)": 6e-9,
        "real part at t = 7": 1e-14,
        "imaginary part at t = 7": 5e-6,
        "real part at t = 0": 1e-14,
    },
    reason="as many digits as the ledger prints; the tolerance of 1e-13 per step is amplified by "
    "e^5",
)
def turning_kernel() -> dict[str, float]:
    """e^(t/2) (-cos t, sin t)."""
    network = WidthDepth(partition([0.0, 0.5, 1.0]), identity)
    control = network.control(TimeMesh(10.0, 1), kernel=_turning)
    initial = np.array([[-1.0], [0.0]])
    final = integrate(network, control, initial, TIGHT).trajectory.final
    late, early = (
        linearized_spectrum(network, control, initial, t=t).eigenvalues for t in (7.0, 0.0)
    )
    return {
        "f_1(10)": float(final[0, 0]),
        "f_2(10)": float(final[1, 0]),
        "real part at t = 7": float(late[0].real),
        "imaginary part at t = 7": float(np.abs(np.imag(late)).max()),
        "real part at t = 0": float(early[0].real),
    }
