"""Fits by differences of convex residual networks, from many starts at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count, check_number, check_positive, check_type
from continuum.controls import Control
from continuum.convex_networks import ConvexDifference
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from ..run.iteration import Interrupted
from ..run.solution import Solution
from ..run.status import Status
from .optimality import kkt_residual
from .pairs import Pairs
from .problems import as_rows, convex_start, part_names

START_WEIGHT, START_READOUT = 0.05, 1.0
"""W = .05 / m and c = 1 at the start."""
ROWS, FALL = 400, 1e-2
"""The rows of the history, and the share that J must lose in their last tenth to be falling."""
WORK = 10**8
"""About how many layers at samples are computed between two looks for Ctrl-C."""


@dataclass(frozen=True, eq=False)
class ConvexFit:
    """Fits of one set of data from S seeds, P outputs each.

    networks : S P differences of convex networks, the outputs of the first seed first; on the box
        [0, largest x]^n
    rmse : (S,), (mean over samples and outputs of (f - y)^2)^(1/2)
    kkt_residual : (S,), |u - P(u - g)| at the end, see `kkt_residual`
    status : for each seed "stationary" (kkt_residual <= gtol, which may be a saddle), "falling"
        (the least J of the last tenth of the history is a hundredth below that before), "not
        stationary", or "not finite" (the step is too long; kept is the last row of the history
        where J is finite)
    iterations, history : (R,) and J (S, R) at these iterations
    problem, controls : what was minimised, and where each seed ended
    """

    networks: tuple[ConvexDifference, ...]
    rmse: Array
    kkt_residual: Array
    status: tuple[str, ...]
    iterations: Array
    history: Array
    problem: LearningProblem
    controls: tuple[Control, ...]

    __repr__ = short

    @property
    def lipschitz(self) -> Array:
        """(S P,): the Lipschitz constants of the networks; for n > 1 upper bounds."""
        return np.array([network.lipschitz for network in self.networks])


@checked
def fit_convex(
    x: Array,
    y: Array,
    layers: int = 10,
    hidden: int = 1,
    pairs: int = 1,
    biases: tuple[float, float] = (0.0, 0.5),
    seeds: Sequence[int] = range(20),
    *,
    step: float = 0.02,
    iterations: int = 40_000,
    offset: bool = True,
    identity_inputs: bool | None = None,
    gtol: float = 1e-6,
) -> ConvexFit:
    """Fits f_p = r_p - s_p + d_p, convex residual networks with the arguments of `convex_problem`,
    by

        u_(k+1) = P(z - step grad J(z)),   z = u_k + beta_k (u_k - u_(k-1)),

    beta_k = (k - 1) / (k + 2) for k >= 1, P the nearest point with W, V, b >= 0 and c >= 1e-3: the
    iterates of FixedStep(step, momentum="nesterov"), all seeds in compiled loops.  They start at c
    = 1, d = 0, W = .05 / m and b, then V where it is trained, drawn by default_rng(seed), r before
    s.

    x : (n, N), or (N,) for n = 1, entries >= 0, not all 0
    y : (P, N), or (N,) for P = 1
    hidden : m >= 1, the units of a layer;  pairs : P
    biases : the ends (low, high) of the uniform distribution of b, 0 <= low < high
    seeds : whole numbers >= 0
    offset : whether d is trained, or held at 0
    identity_inputs : V = I held, where m = n; done there if None
    gtol : for the status alone, training does not stop
    raises ValueError, TypeError for arguments out of range, by name; Interrupted on Ctrl-C, with
        the fit so far as `partial`
    Source: Nar and Sastry (2018), sections 3.1 and 4, Figure 4, which states neither step nor W.
    """
    x, y = as_rows("x", x), as_rows("y", y)
    if not np.any(x):
        raise ValueError("x must have an entry > 0: the fits are looked at on [0, largest x]^n")
    if check_count("pairs", pairs) != len(y):
        raise ValueError(f"pairs must be {len(y)}, the rows of y, got {pairs}")
    numbers = _seeds(seeds)
    step, gtol = check_positive("step", step), check_positive("gtol", gtol)
    iterations, layers = check_count("iterations", iterations), check_count("layers", layers)
    hidden = check_count("hidden", hidden)
    if identity_inputs is None:
        identity_inputs = hidden == len(x)
    rows = Pairs(x, y, layers, hidden, offset=offset, identity_inputs=identity_inputs)
    low, high = _ends(biases)
    starts = [
        convex_start(
            rows.problem,
            np.random.default_rng(seed),
            (low, high),
            weights=START_WEIGHT / hidden,
            readout=START_READOUT,
        )
        for seed in numbers
    ]
    run = _Training(rows, starts)
    try:
        run.go(step, iterations)
        return run.fit(gtol)
    except KeyboardInterrupt:
        fit = run.fit(gtol)
        best = int(np.argmin(fit.rmse))
        value = 0.5 * rows.outputs * float(fit.rmse[best]) ** 2
        words = f"{fit.iterations[-1]} iterations"
        raise Interrupted(
            Solution(fit.controls[best], Status.INTERRUPTED, words, value), fit
        ) from None


class _Training:
    """The rows of all seeds on their way."""

    def __init__(self, pairs: Pairs, starts: Sequence[Control]) -> None:
        self.pairs, self.starts = pairs, starts
        self.flat = np.concatenate([pairs.rows(start) for start in starts])
        self.good = self.flat.copy()
        self.history = [(0, self._by_seed(pairs.gradients(self.flat)[0]))]

    def go(self, step: float, iterations: int) -> None:
        """All iterations, with a row of the history every `iterations` / 400."""
        pairs, before = self.pairs, self.flat.copy()
        units = 2 * pairs.layers * pairs.hidden * pairs.units
        longest = max(WORK // (units * pairs.x.shape[1] * len(self.flat)), 1)
        done, every = 0, -(-iterations // ROWS)
        while done < iterations:
            row = min((done // every + 1) * every, iterations)
            count = min(longest, row - done)
            found = pairs.train(self.flat, before, step, done, count)
            done += count
            if done == row:
                values = self._by_seed(found)
                kept = np.repeat(np.isfinite(values), pairs.outputs)
                good = np.where(kept[:, None], self.flat, self.good)
                self.good, self.history = good, [*self.history, (done, values)]

    def _by_seed(self, values: Array) -> Array:
        """J (S,), infinite where it is not finite."""
        found = values.reshape(len(self.starts), -1).sum(axis=1)
        return np.where(np.isfinite(found), found, np.inf)

    def fit(self, gtol: float) -> ConvexFit:
        """The fit at the last row of the history."""
        pairs, domain = self.pairs, (0.0, float(self.pairs.x.max()))
        history, problem = np.array([values for _, values in self.history]).T, pairs.problem
        ends = self.good.reshape(len(self.starts), pairs.outputs, -1)
        controls = [pairs.control(x, like) for x, like in zip(ends, self.starts, strict=True)]
        residuals = np.array([kkt_residual(problem, control).residual for control in controls])
        squares = 2.0 * pairs.gradients(self.good)[0].reshape(len(self.starts), -1)
        network, names = problem.network, enumerate(part_names(pairs.outputs))
        own = [(p, (r, s)) for p, (r, s) in names]
        networks = [
            ConvexDifference.from_control(network, control, parts, output=p, domain=domain)
            for control in controls
            for p, parts in own
        ]
        return ConvexFit(
            tuple(networks),
            np.sqrt(squares.mean(axis=1)),
            residuals,
            tuple(_words(j, float(r), gtol) for j, r in zip(history, residuals, strict=True)),
            np.array([done for done, _ in self.history]),
            history,
            problem,
            tuple(controls),
        )


def _words(history: Array, residual: float, gtol: float) -> str:
    """The status of one seed."""
    if not np.isfinite(history[-1]):
        return "not finite"
    if residual <= gtol:
        return "stationary"
    last = int(0.9 * len(history))
    falls = len(history) > 1 and history[last:].min() < (1.0 - FALL) * history[:last].min()
    return "falling" if falls else "not stationary"


def _seeds(seeds: Sequence[int]) -> list[int]:
    if np.ndim(seeds) != 1:
        raise TypeError(f"seeds must be a sequence of whole numbers, got {seeds!r}")
    found = [check_count(f"seeds[{i}]", seed, 0) for i, seed in enumerate(seeds)]
    if not found:
        raise ValueError("seeds must not be empty")
    return found


def _ends(biases: tuple[float, float]) -> tuple[float, float]:
    if len(check_type("biases", biases, tuple)) != 2:
        raise ValueError(f"biases must be (low, high), got {biases!r}")
    low, high = (check_number("biases", end) for end in biases)
    if not 0.0 <= low < high:
        raise ValueError(f"biases must be (low, high) with 0 <= low < high, got {biases!r}")
    return low, high
