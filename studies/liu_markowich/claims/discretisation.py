"""Section A of the ledger: the limit in depth, well-posedness, stiffness."""

import numpy as np

from continuum import (
    Activation,
    Control,
    TimeMesh,
    WidthDepth,
    exact,
    gauss_legendre,
    identity,
    operator_norm,
    relu,
    tanh,
)
from continuum.arrays import Array
from solvers import (
    RK4,
    Euler,
    Heun,
    ImplicitMidpoint,
    RadauIIA5,
    integrate,
    observed_orders,
    picard,
)
from solvers.steps.tableaux import Stepper

from ...bench.registry import claim
from .common import FINEST, HALF_A_UNIT, PAPER, UNIT, printed

DEPTH, DEPTH_WITHIN = printed(
    {
        "f(1)": "0.419885257562054924",
        "Euler 10": "-1.332143e-2",
        "Euler 20": "-6.562326e-3",
        "Euler 40": "-3.257214e-3",
        "Euler 80": "-1.622698e-3",
        "Heun 10": "4.607935e-4",
        "Heun 20": "1.114206e-4",
        "Heun 40": "2.739671e-5",
        "Heun 80": "6.792725e-6",
        "ImplicitMidpoint 10": "-2.157332e-4",
        "ImplicitMidpoint 20": "-5.390434e-5",
        "ImplicitMidpoint 40": "-1.347427e-5",
        "ImplicitMidpoint 80": "-3.368455e-6",
        "RK4 10": "1.765000e-7",
        "RK4 20": "1.075353e-8",
        "RK4 40": "6.635352e-10",
        "RK4 80": "4.120533e-11",
    },
    rounding=5e-16,
)
"""From 40 digits; the ledger has 6.635353e-10 and 4.120509e-11 for 40 and 80 steps of RK4, from
double precision.
"""


@claim(
    "LM-01",
    statement="Depth limit (Theorem 2.1): f' = -tanh f, f(0) = 1: error at T = 1 of n steps of "
    "each method.",
    paper=PAPER,
    references={**DEPTH, "Euler, 40 to 80: order of the largest error of all layers": 1.0},
    tolerance={**DEPTH_WITHIN, "Euler, 40 to 80: order of the largest error of all layers": 0.02},
    reason=f"{HALF_A_UNIT}, and 5e-16 for the rounding of states near 1/2; the order is 1 up to "
    "O(tau)",
)
def depth_limit() -> dict[str, float]:
    """f(1) = asinh(e^-1 sinh 1) by steps without error, f_n(1) - f(1), and max_l |z_l - z(t_l)|."""
    case, grid = exact.scalar_decay, gauss_legendre(UNIT, 1)
    largest = []
    for n in (40, 80):
        run = integrate(*case.setup(grid, n), Euler(), save="layers").trajectory
        along = [float(case.solution(np.zeros(1), float(t))[0]) for t in run.times]
        largest.append(float(np.abs(run.states[:, 0, 0] - along).max()))
    computed = {
        f"{type(stepper).__name__} {n}": float(
            (integrate(*case.setup(grid, n), stepper).trajectory.final - case.final(grid))[0, 0]
        )
        for stepper in (Euler(), Heun(), ImplicitMidpoint(), RK4())
        for n in (10, 20, 40, 80)
    }
    return {
        "f(1)": float(integrate(*case.setup(grid, 1), FINEST).trajectory.final[0, 0]),
        **computed,
        "Euler, 40 to 80: order of the largest error of all layers": float(
            observed_orders([40, 80], largest)[0]
        ),
    }


MOVING, MOVING_WITHIN = printed(
    {
        "Euler 10": "3.842351e-2",
        "Euler 20": "1.886794e-2",
        "Euler 40": "9.352545e-3",
        "ImplicitMidpoint 10": "1.949064e-3",
        "ImplicitMidpoint 20": "4.864262e-4",
        "ImplicitMidpoint 40": "1.215541e-4",
        "RK4 10": "-5.672179e-6",
        "RK4 20": "-3.413552e-7",
        "RK4 40": "-2.092308e-8",
        "RK4, left values per layer 10": "2.840964e-2",
        "RK4, left values per layer 20": "1.439579e-2",
        "RK4, left values per layer 40": "7.238123e-3",
        "RK4, middle values per layer 10": "1.675766e-3",
        "RK4, middle values per layer 20": "4.193459e-4",
        "RK4, middle values per layer 40": "1.048604e-4",
    },
    rounding=5e-16,
)


@claim(
    "LM-02",
    statement="Coefficients that move with time: error at T = 2 of n steps, and what freezing a "
    "on layers costs.",
    paper=PAPER,
    references=MOVING,
    tolerance=MOVING_WITHIN,
    reason=f"{HALF_A_UNIT}, and 5e-16 for the rounding of states near 1",
)
def moving_coefficients() -> dict[str, float]:
    """f_n(y, 2) - y - sin(2) / 2, the same for all y."""
    case, grid = exact.moving_bias, gauss_legendre(UNIT, 3)
    computed = {}
    for n in (10, 20, 40):
        network, control, initial = case.setup(grid, n)
        middle = network.controls(control.mesh).sample(bias=case.bias, kernel=case.kernel)
        starts = np.stack([grid.evaluate(case.bias, float(t)) for t in control.mesh.nodes[:-1]])
        left = Control(middle.space, {"bias": starts, "kernel": middle["kernel"]})
        for name, path, stepper in (
            ("Euler", control, Euler()),
            ("ImplicitMidpoint", control, ImplicitMidpoint()),
            ("RK4", control, RK4()),
            ("RK4, left values per layer", left, RK4()),
            ("RK4, middle values per layer", middle, RK4()),
        ):
            error = integrate(network, path, initial, stepper).trajectory.final - case.final(grid)
            computed[f"{name} {n}"] = float(error[0, 0])
    return computed


FLOW_ROOT = Activation(
    "signed root",
    value=lambda s: np.sign(s) * np.sqrt(np.abs(s)),
    derivative=lambda s: 0.5 / np.sqrt(np.abs(s)),
    second=lambda s: -0.25 * np.sign(s) * np.abs(s) ** -1.5,
    antiderivative=lambda s: np.abs(s) ** 1.5 / 1.5,
    lipschitz=float("inf"),
    smooth=False,
    bounded=False,
    vanishes_at_zero=True,
)
"""sgn(s) sqrt|s|, continuous but not Lipschitz at 0."""


def _scalar(activation: Activation) -> WidthDepth:
    """One unit of weight 1: data constant in y."""
    return WidthDepth(gauss_legendre(UNIT, 1), activation)


LIMITS, LIMITS_WITHIN = printed(
    {"a = tau^2, tau = 1e-4": "0.24988726758", "a = tau^2, tau = 1e-5": "0.24998296974"},
    rounding=1e-13,
)


@claim(
    "LM-03",
    statement="Without a Lipschitz sigma the limit in depth is not unique (E03): sigma = sgn "
    "sqrt, a^tau = 0 or tau^2.",
    paper=PAPER,
    references={"a = 0": 0.0, **LIMITS},
    tolerance={"a = 0": 0.0, **LIMITS_WITHIN},
    reason=f"{HALF_A_UNIT}, and 1e-13 for the rounding of 1e5 steps; 0 stays 0 exactly",
)
def two_limits() -> dict[str, float]:
    """z(1) of the ResNet z <- z + tau sigma(a + z)."""
    network = _scalar(FLOW_ROOT)

    def final(layers: int, bias: float) -> float:
        control = network.control(TimeMesh(1.0, layers), bias=bias, kernel=-1.0)
        return float(integrate(network, control, np.zeros((1, 1)), Euler()).trajectory.final[0, 0])

    return {
        "a = 0": final(10_000, 0.0),
        "a = tau^2, tau = 1e-4": final(10_000, 1e-8),
        "a = tau^2, tau = 1e-5": final(100_000, 1e-10),
    }


@claim(
    "LM-04",
    statement="Weak convergence of the coefficients is not enough: a_l = (-1)^l, B = 0, ReLU: "
    "z(T) - z(0) = T / 2.",
    paper=PAPER,
    references={"L = 10": 1.5, "L = 100": 1.5, "L = 1000": 1.5},
    tolerance=1e-13,
    reason="sums of equal steps, exact up to rounding: at most 4.4e-16 in each of up to 1000",
)
def weak_is_not_enough() -> dict[str, float]:
    """z(3) - z(0), whose weak limit a = 0 would give 0."""
    network = _scalar(relu)
    computed = {}
    for layers in (10, 100, 1000):
        space = network.controls(TimeMesh(3.0, layers))
        control = space.sample(bias=(-1.0) ** np.arange(layers)[:, None])
        computed[f"L = {layers}"] = float(
            integrate(network, control, np.full((1, 1), 7.0), Euler()).trajectory.final[0, 0] - 7.0
        )
    return computed


ITERATES, ITERATES_WITHIN = printed(
    {"n = 10": "146.38060102513228", "n = 25": "148.41315909805004", "limit": "148.41315910257660"},
    rounding=1e-11,
)


@claim(
    "LM-05",
    statement="Picard's iteration converges on any horizon (E08): f' = f, T = 5: f^n(5) = sum of "
    "5^k / k!, k <= n.",
    paper=PAPER,
    references=ITERATES,
    tolerance=ITERATES_WITHIN,
    reason="polynomials of degree below 48 are integrated exactly, up to rounding: 1e-11 is 7e-14 "
    "of numbers near 148",
)
def picard_iterates() -> dict[str, float]:
    """The iterates at T = 5, and e^5 by many of them."""
    network = _scalar(identity)
    control = network.control(TimeMesh(5.0, 1), kernel=-1.0)
    iterates = {"n = 10": 10, "n = 25": 25, "limit": 45}
    return {
        name: float(picard(network, control, np.ones((1, 1)), n).trajectory.final[0, 0])
        for name, n in iterates.items()
    }


SINGULAR, SINGULAR_WITHIN = printed(
    {
        "uniform, n = 100": "-0.080855",
        "uniform, n = 1000": "-0.025870",
        "uniform, n = 10000": "-0.0082089",
    }
)


@claim(
    "LM-06",
    statement="The stability factor exp(Lip int |B|) is attained (E06): b = -t^-1/2 / 2, "
    "implicit midpoint, T = 1.",
    paper=PAPER,
    references={
        **SINGULAR,
        "factor on graded layers": 2.718281828459045,
        "ln(factor) / t at t = 1e-4": 100.0,
    },
    tolerance={
        **SINGULAR_WITHIN,
        "factor on graded layers": 5e-10,
        "ln(factor) / t at t = 1e-4": 2e-8,
    },
    reason=f"{HALF_A_UNIT}; Radau's method of order 5 on 400 layers graded by t = s^10 errs by "
    "1e-10 of the logarithm of the factor",
)
def singular_in_time() -> dict[str, float]:
    """f(1) - e on uniform layers (order 1/2), and f(t) / f(0) = exp(sqrt t) on graded ones."""
    network = _scalar(identity)

    def factor(mesh: TimeMesh, stepper: Stepper) -> float:
        control = network.control(
            mesh, kernel=lambda y, z, t: -0.5 * t**-0.5 + 0.0 * y * z if t > 0 else -1.0 + 0.0 * y
        )
        return float(integrate(network, control, np.ones((1, 1)), stepper).trajectory.final[0, 0])

    computed = {
        f"uniform, n = {n}": factor(TimeMesh(1.0, n), ImplicitMidpoint()) - np.e
        for n in (100, 1000, 10_000)
    }
    early = factor(TimeMesh(1e-4, 400, grading=10.0), RadauIIA5())
    return {
        **computed,
        "factor on graded layers": factor(TimeMesh(1.0, 400, grading=10.0), RadauIIA5()),
        "ln(factor) / t at t = 1e-4": float(np.log(early)) / 1e-4,
    }


KINK, KINK_WITHIN = printed(
    {"n = 8": "-2.083333e-4", "n = 16": "5.208333e-5", "n = 32": "-1.302083e-5"}, rounding=1e-15
)


@claim(
    "LM-08",
    statement="A kink in time makes RK4 second order unless a step ends there: f' = max(t - 0.3, "
    "0), T = 1.",
    paper=PAPER,
    references={**KINK, "n = 10, a step ends at the kink": 0.0},
    tolerance={**KINK_WITHIN, "n = 10, a step ends at the kink": 1e-15},
    reason=f"{HALF_A_UNIT}; rounding where a step ends at the kink",
)
def kink_in_time() -> dict[str, float]:
    """f_n(1) - 0.245."""
    network = _scalar(identity)
    computed = {}
    for name, n in (
        ("n = 8", 8),
        ("n = 16", 16),
        ("n = 32", 32),
        ("n = 10, a step ends at the kink", 10),
    ):
        control = network.control(TimeMesh(1.0, n), bias=lambda y, t: max(t - 0.3, 0.0) + 0.0 * y)
        computed[name] = (
            float(integrate(network, control, np.zeros((1, 1)), RK4()).trajectory.final[0, 0])
            - 0.245
        )
    return computed


STIFF, STIFF_WITHIN = printed(
    {
        "f(0.5)": "0.5000000000000000",
        "f(0.999)": "1.114001496806324e-3",
        "f(1)": "4.812118250596034e-4",
        "f(1.001)": "1.829179711641315e-4",
        "Euler, tau = 0.02, f(0) = 1.005: f(2)": "5.043526349990519e-3",
        "Euler, tau = 0.003: size of the chatter": "1.287839454960166e-3",
    },
    rounding=2e-15,
)
"""The closed form from 40 digits; the ledger has ...6367e-3, ...6027e-4 and 1.829179710e-4, from
double precision.  Euler's are its map iterated in 40 digits, and the root of 2 x = tau
tanh(1000 x).
"""
STEPS_OF_EULER = {
    "Euler, tau = 0.02, f(0) = 1: |f(2) - f(1.98)|": (0.02, 2e-5),
    "largest tau with which Euler decays near 0": (2e-3, 1e-12),
    "2 / (sup sigma' |B|)": (2e-3, 1e-17),
}


@claim(
    "LM-09",
    statement="A stiff kernel: f' = tanh(-1000 f), f(0) = 1, adaptively; Euler chatters for steps "
    "above 2 / (sup sigma' |B|).",
    paper=PAPER,
    references={**STIFF, **{key: x for key, (x, _) in STEPS_OF_EULER.items()}},
    tolerance={**STIFF_WITHIN, **{key: tol for key, (_, tol) in STEPS_OF_EULER.items()}},
    reason="the last digit, and 2e-15 for rounding. From f(0) = 1 Euler with tau = 0.02 comes "
    "within 1e-18 of 0, and then each step multiplies rounding by -19: f(2) is -4.06249e-3 (the "
    "ledger's) or -3.77782e-3 in double precision, by the order of operations, and 1.318942e-2 in "
    "40 digits; only its last step, tau tanh(1000 |f|), is the same, above 0.999 tau for these. "
    "From f(0) = 1.005 rounding is not amplified. Near 0 is f = 1e-8: which moves it by 1e-13",
)
def stiff_kernel() -> dict[str, float]:
    """The state before, in and after the layer at t = 1, Euler's chatter and its limit by
    bisection.
    """
    network = _scalar(tanh)
    control = network.control(TimeMesh(1.001, 1), kernel=1000.0)
    times = [0.5, 0.999, 1.0, 1.001]
    states = integrate(network, control, np.ones((1, 1)), FINEST, save=times).trajectory.states
    computed = {f"f({t:g})": float(x) for t, x in zip(times, states[:, 0, 0], strict=True)}

    def euler(start: float, tau: float, steps: int) -> Array:
        path = network.control(TimeMesh(steps * tau, steps), kernel=1000.0)
        run = integrate(network, path, np.full((1, 1), start), Euler(), save="layers")
        return run.trajectory.states[:, 0, 0]

    chatter = euler(1.0, 0.02, 100)
    low, high = 1e-3, 4e-3
    while high - low > 1e-14:
        tau = 0.5 * (low + high)
        path = np.abs(euler(1e-8, tau, 1000))
        low, high = (tau, high) if path[-1] < path[0] else (low, tau)
    b = control.at(0.0)["kernel"]
    return {
        **computed,
        "Euler, tau = 0.02, f(0) = 1.005: f(2)": float(euler(1.005, 0.02, 100)[-1]),
        "Euler, tau = 0.003: size of the chatter": float(abs(euler(1.0, 0.003, 1000)[-1])),
        "Euler, tau = 0.02, f(0) = 1: |f(2) - f(1.98)|": float(abs(chatter[-1] - chatter[-2])),
        "largest tau with which Euler decays near 0": low,
        "2 / (sup sigma' |B|)": 2.0
        / (tanh.lipschitz * operator_norm(network.kernel, b, network.grid)),
    }
