"""Stiff equations with steps chosen by tolerances, float64: time, error and number of steps.

64 units: f' = tanh(a - b W f) on (0, 10), W = diag(w), b W symmetric with eigenvalues from 0.1 to
1000 (LM-09's kernel is the number 1000), for 1 and 16 samples: up to about t = 1 some units are
saturated, then all follow the slow modes; and small problems of `studies.stiff_problems`.  On 64
units the package's explicit DormandPrince, whose loop is compiled, stands beside the others.

Rows of the same case have the same rtol, and atol = rtol times the problem's own ratio.  All take
an exact Jacobian: SciPy is handed one, diffrax differentiates.  diffrax is compiled before the
clock starts; its root finder keeps its defaults, which follow the tolerances, and samples are
mapped over (`vmap`), so that each has steps of its own.

The error is max_i |f_i - reference_i| / (|reference_i| + atol / rtol): what is asked for is
about rtol, and more than 100 rtol is "inaccurate".  Where methods meet the same tolerance with
different errors, rows "equal error", for one sample of 64 units, give ours the loosest of the
tolerances 10^(-k/4) rtol whose error is at most diffrax's.  Notes have the number of accepted
steps (the most of all samples for diffrax).
"""

import _harness  # isort: split

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

from continuum import Interval, Network, TimeMesh, WidthDepth, gauss_legendre, tanh
from continuum.controls import ControlPath
from solvers import Auto, DormandPrince, KennedyCarpenter5, RadauIIA5, integrate
from solvers.steps.tableaux import Stepper
from studies.stiff_problems import (
    Reactions,
    StiffProblem,
    hires,
    robertson,
    van_der_pol,
)

Run = Callable[[], tuple[np.ndarray, int]]
"""Returns the last state, (N, M), and the number of accepted steps."""
METHODS = {"RadauIIA5": RadauIIA5, "KennedyCarpenter5": KennedyCarpenter5, "Auto": Auto}
PEER = "diffrax Kvaerno5"


@dataclass
class Problem:
    """f' = F(f), f(0) = initial (N, M), up to the horizon.

    ratio : atol / rtol
    known : (N, 1), the last state, or None: SciPy's Radau at 1e-11
    """

    name: str
    network: Network
    control: ControlPath
    initial: np.ndarray
    known: np.ndarray | None = None
    ratio: float = 1.0

    @property
    def horizon(self) -> float:
        return self.control.mesh.horizon

    @property
    def values(self) -> dict[str, np.ndarray]:
        return dict(self.control.at_layer(0, 0.0))

    @cached_property
    def reference(self) -> np.ndarray:
        """(N, M), each sample on its own."""
        if self.known is not None:
            return self.known
        columns = [scipy_run(self, "Radau", 1e-11, m)()[0] for m in range(self.initial.shape[1])]
        return np.concatenate(columns, axis=1)

    def error(self, found: object) -> float:
        """Relative to the size of each entry, or to `ratio` where that is larger."""
        state = found[0]  # type: ignore[index]  # what a Run returns
        size = np.abs(self.reference) + self.ratio
        return float(np.max(np.abs(state - self.reference) / size))


def layer(samples: int) -> Problem:
    """64 units, tanh, a kernel with eigenvalues from 0.1 to 1000."""
    rng, units = np.random.default_rng(1), 64
    network = WidthDepth(gauss_legendre(Interval(0.0, 1.0), units), tanh)
    vectors = np.linalg.qr(rng.standard_normal((units, units)))[0]
    matrix = vectors * np.geomspace(0.1, 1000.0, units) @ vectors.T
    control = network.control(
        TimeMesh(10.0, 1), bias=rng.standard_normal(units), kernel=matrix / network.weights
    )
    return Problem(
        f"64 x {samples}",
        network,
        control,
        rng.standard_normal((units, samples)),
    )


def small(problem: StiffProblem) -> Problem:
    """One of the literature's."""
    known = problem.final[:, None]
    return Problem(
        problem.name, problem.network, problem.control, problem.initial, known, problem.ratio
    )


def ours(problem: Problem, method: type[Stepper], rtol: float) -> Run:
    stepper = method(rtol=rtol, atol=rtol * problem.ratio)  # type: ignore[call-arg]

    def run() -> tuple[np.ndarray, int]:
        solution = integrate(problem.network, problem.control, problem.initial, stepper)
        return solution.trajectory.final, int(solution.statistics["steps"])

    return run


def scipy_run(problem: Problem, method: str, rtol: float, sample: int = 0) -> Run:
    """One sample, with the Jacobian as a matrix."""
    network, values = problem.network, problem.values
    units = len(network.weights)
    if isinstance(network, WidthDepth):
        matrix, bias = -values["kernel"] * network.weights, values["bias"]

        def velocity(t: float, f: np.ndarray) -> np.ndarray:
            return np.tanh(matrix @ f + bias)

        def jacobian(t: float, f: np.ndarray) -> np.ndarray:
            return (1.0 - velocity(t, f) ** 2)[:, None] * matrix

    else:
        eye = np.eye(units)

        def velocity(t: float, f: np.ndarray) -> np.ndarray:
            return network.velocity(f[:, None], values, t)[:, 0]

        def jacobian(t: float, f: np.ndarray) -> np.ndarray:
            return network.jvp(np.tile(f[:, None], units), values, t, eye, {})

    def run() -> tuple[np.ndarray, int]:
        found = solve_ivp(
            velocity,
            (0.0, problem.horizon),
            problem.initial[:, sample],
            method,
            jac=jacobian,
            rtol=rtol,
            atol=rtol * problem.ratio,
        )
        return found.y[:, -1:], len(found.t) - 1

    return run


def diffrax_run(problem: Problem, method: str, rtol: float) -> Run:
    import diffrax  # noqa: PLC0415
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    network, values = problem.network, problem.values
    if isinstance(network, WidthDepth):
        given = jnp.asarray(-values["kernel"] * network.weights), jnp.asarray(values["bias"])

        def velocity(t: float, f: jax.Array, args: tuple[jax.Array, ...]) -> jax.Array:
            return jnp.tanh(args[0] @ f + args[1])

    else:
        assert isinstance(network, Reactions)
        given = jnp.asarray(network.changes), jnp.asarray(values["rates"])
        factors = jnp.asarray(network.factors)

        def velocity(t: float, f: jax.Array, args: tuple[jax.Array, ...]) -> jax.Array:
            padded = jnp.concatenate([f, jnp.ones(1)])
            return args[0] @ (args[1] * jnp.prod(padded[factors], axis=1))

    solver = getattr(diffrax, method)()
    controller = diffrax.PIDController(rtol=rtol, atol=rtol * problem.ratio)

    def one(f: jax.Array, args: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            solver,
            0.0,
            problem.horizon,
            None,
            f,
            args,
            stepsize_controller=controller,
            saveat=diffrax.SaveAt(t1=True),
            adjoint=diffrax.ForwardMode(),
            max_steps=100_000,
            throw=False,
        )
        return solution.ys[-1], solution.stats["num_accepted_steps"]

    several = problem.initial.shape[1] > 1
    solve = jax.jit(jax.vmap(one, (1, None), (1, 0)) if several else one)
    start = jnp.asarray(problem.initial if several else problem.initial[:, 0])

    def run() -> tuple[np.ndarray, int]:
        state, steps = solve(start, given)
        found = np.asarray(state).reshape(problem.initial.shape)
        return found, int(np.max(steps))

    return run


def contender(
    problem: Problem, name: str, rtol: float, case: str, make: Callable[[], Run]
) -> _harness.Case:
    """With the number of steps in its note."""

    def made() -> tuple[Run, str]:
        run = make()
        return run, f"{run()[1]} steps"

    return _harness.Case(name, case, made, problem.error, 100 * rtol)


def equal_error(problem: Problem, method: type[Stepper], error: float, rtol: float) -> float:
    """The loosest tolerance of 10^(-k/4) rtol, -8 <= k <= 16, with at most this error."""
    for k in range(-8, 17):
        looser = rtol * 10 ** (-k / 4)
        if problem.error(ours(problem, method, looser)()) <= error:
            return looser
    return rtol * 1e-4


def rows_of(problem: Problem, rtol: float, rounds: int, bar: float | None) -> list[_harness.Row]:
    """All contenders at the same tolerance; and ours at the error of diffrax's Kvaerno5."""
    case = f"{problem.name}, {rtol:g}"
    makes: dict[str, Callable[[], Run]] = {
        name: partial(ours, problem, method, rtol) for name, method in METHODS.items()
    }
    makes[PEER] = partial(diffrax_run, problem, "Kvaerno5", rtol)
    if isinstance(problem.network, WidthDepth):
        makes["DormandPrince"] = partial(ours, problem, DormandPrince, rtol)
    if problem.initial.shape[1] == 1:
        for method in ("Radau", "BDF"):
            makes[f"SciPy {method}"] = partial(scipy_run, problem, method, rtol)
    found = {name: contender(problem, name, rtol, case, make) for name, make in makes.items()}
    _harness.measure(list(found.values()), rounds)
    peer, mine = found[PEER], [found[name] for name in METHODS]
    rows = [_harness.compare(x, peer, bar) for x in mine]
    rows += [_harness.own(x) for name, x in found.items() if name not in METHODS]
    if peer.accuracy is None or bar is None or problem.initial.shape[1] > 1:
        return rows
    again = [contender(problem, PEER, rtol, f"{case}, equal error", makes[PEER])]
    for name, method in METHODS.items():
        own = equal_error(problem, method, peer.accuracy, rtol)
        make = partial(ours, problem, method, own)
        again.append(contender(problem, f"{name} at {own:.1e}", rtol, again[0].case, make))
    _harness.measure(again, rounds)
    return rows + [_harness.compare(x, again[0], bar) for x in again[1:]]


def main(json_path: Path, cases: list[str]) -> None:
    """Runs the chosen cases; the file gets the rows."""
    rows: list[_harness.Row] = []
    for name in cases:
        problem, many = CASES[name](), name == "64x16"
        rounds = min(_harness.ROUNDS, 3 if many else 5)
        bar = 1.0 if name.startswith("64") else None
        for rtol in (1e-6,) if many else (1e-6, 1e-8):
            rows += rows_of(problem, rtol, rounds, bar)
    _harness.write(rows, json_path, "Stiff equations, steps chosen by tolerances, float64")


CASES: dict[str, Callable[[], Problem]] = {
    "64x1": partial(layer, 1),
    "64x16": partial(layer, 16),
    "vdp1e-3": lambda: small(van_der_pol(1e-3)),
    "robertson40": lambda: small(robertson()),
    "hires": lambda: small(hires()),
}

if __name__ == "__main__":
    _harness.run("stiff", main, tuple(CASES))
