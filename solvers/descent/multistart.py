"""Where a minimizer ends from many starts, counted once if symmetries of the problem carry the ends
into each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from continuum.arrays import Array, to_host
from continuum.checks import check_count, check_positive, check_rng
from continuum.controls import Control, ControlSpace
from continuum.functional import Tracking
from continuum.losses import AbsoluteError, SquaredError
from continuum.networks.width_depth import WidthDepth
from continuum.problem import LearningProblem
from continuum.readouts import State

from ..run.iteration import Interrupted
from ..run.solution import Solution
from .minimize import minimize
from .objective import Composite, Objective
from .run import Minimizer, composite

Symmetry: TypeAlias = Callable[[Control], Control]
"""A map of controls that leaves the objective and the admissible set as they are, and the norm of
the space.
"""

ORBIT = 20000
"""The largest number of images of one control that are compared."""


@dataclass(frozen=True, eq=False)
class Cluster:
    """Runs that ended at one stationary point, up to symmetry.

    best : the Solution with the lowest objective among them
    starts : which of the starts led there, in order
    spread : the highest of their objectives less the lowest
    """

    best: Solution[Control]
    starts: tuple[int, ...]
    spread: float

    @property
    def count(self) -> int:
        """How many starts led there."""
        return len(self.starts)


@dataclass(frozen=True, eq=False)
class Multistart:
    """What many starts found.

    clusters : the distinct ends, the lowest objective first; stationary, which need not be minima
    failed : start and Solution of every run that did not converge; they are in no cluster
    """

    clusters: tuple[Cluster, ...]
    failed: dict[int, Solution[Control]] = field(default_factory=dict)

    @property
    def best(self) -> Solution[Control]:
        """The lowest; only the best that was found, no proof that it is global.  Raises ValueError
        if there is none.
        """
        if not self.clusters:
            raise ValueError("no run converged; their solutions are in .failed")
        return self.clusters[0].best


def multistart(
    objective: LearningProblem | Objective | Composite,
    minimizer: Minimizer,
    starts: int | Sequence[Control] = 20,
    rng: np.random.Generator | None = None,
    *,
    scale: float = 1.0,
    symmetries: Sequence[Symmetry] = (),
    rtol: float = 1e-3,
) -> Multistart:
    """The distinct stationary points that a minimizer reaches from many starts.

    If S is a symmetry, J(Sx) = J(x), then stationary points come in orbits, and a run that ends in
    Sx* has found nothing but x*.  Two ends x, y are one if |x - z| <= rtol (1 + |x|) in the norm of
    the space for some z in the orbit of y, all images of y under products of the given maps.  The
    orbit is enumerated, at most 20000 points.

    starts : how many, or the controls themselves; random ones have independent normal coefficients
    scale : their standard deviation
    rng : their Generator, that of seed 0 if None
    symmetries : generators, such as sign_flips(problem) and permutations(problem)
    rtol : must exceed the accuracy of the runs, gtol over the least curvature at a minimum; flat
        directions of J, along which stationary points form continua, give clusters without end
    raises ValueError for a map under which J, the set or the norm is not the same, at the ends
        found, and for orbits that are larger; Interrupted on Ctrl-C, which carries the lowest
        Solution so far and, in `partial`, the Multistart of the runs that had ended
    """
    problem = composite(objective)
    scale, rtol = check_positive("scale", scale), check_positive("rtol", rtol)
    generator = check_rng("rng", rng)
    if isinstance(starts, int | np.integer):
        begins = [
            problem.space.random(generator, scale) for _ in range(check_count("starts", starts))
        ]
    else:
        begins = [problem.space.check(f"starts[{n}]", x) for n, x in enumerate(starts)]
    ends: list[Solution[Control]] = []
    try:
        for x in begins:
            ends.append(minimize(problem, minimizer, initial=x, raise_on_failure=False))
    except Interrupted as stopped:
        lowest = min([*ends, stopped.solution], key=lambda end: end.objective)
        partial = _gathered(problem, ends, symmetries, rtol)
        raise Interrupted(lowest, partial) from stopped
    return _gathered(problem, ends, symmetries, rtol)


def _gathered(
    problem: Composite,
    ends: Sequence[Solution[Control]],
    symmetries: Sequence[Symmetry],
    rtol: float,
) -> Multistart:
    """The clusters of the ends that are answers."""
    good = sorted(
        (i for i, end in enumerate(ends) if end.status.ok), key=lambda i: ends[i].objective
    )
    orbits: list[Array] = []
    members: list[list[int]] = []
    for i in good:
        x = to_host(problem.space.flatten(ends[i].control))
        near = rtol * (1.0 + float(np.linalg.norm(x)))
        for images, cluster in zip(orbits, members, strict=True):
            if np.min(np.linalg.norm(images - x, axis=1)) <= near:
                cluster.append(i)
                break
        else:
            _check_symmetries(problem, ends[i], symmetries)
            orbits.append(orbit(problem.space, ends[i].control, symmetries))
            members.append([i])
    clusters = [
        Cluster(
            ends[m[0]], tuple(sorted(m)), max(ends[i].objective for i in m) - ends[m[0]].objective
        )
        for m in members
    ]
    return Multistart(tuple(clusters), {i: end for i, end in enumerate(ends) if not end.status.ok})


def _check_symmetries(problem: Composite, end: Solution, symmetries: Sequence[Symmetry]) -> None:
    space = problem.space
    for n, symmetry in enumerate(symmetries):
        image = symmetry(end.control)
        value, size = problem.value(image), space.norm(end.control)
        if not abs(value - end.objective) <= 1e-9 * (1.0 + abs(end.objective)):
            raise ValueError(
                f"symmetries[{n}] changes the objective from {end.objective:.10g} to {value:.10g}"
            )
        if problem.admissible is not None and not problem.admissible.contains(image, 1e-9):
            raise ValueError(f"symmetries[{n}] leads out of {problem.admissible!r}")
        if not abs(space.norm(image) - size) <= 1e-9 * (1.0 + size):
            raise ValueError(f"symmetries[{n}] changes the norm of a control")


def orbit(space: ControlSpace, control: Control, symmetries: Sequence[Symmetry]) -> Array:
    """(images, size): the flat images of a control under all products of the maps, which generate a
    finite group.

    raises ValueError if there are more than 20000
    """
    flatten = space.flatten
    found = [to_host(flatten(control))]
    seen, fresh = {_key(found[0])}, [control]
    while fresh:
        images = [symmetry(x) for x in fresh for symmetry in symmetries]
        fresh = []
        for image in images:
            x = to_host(flatten(image))
            if _key(x) not in seen:
                seen.add(_key(x))
                found.append(x)
                fresh.append(image)
                if len(found) > ORBIT:
                    raise ValueError(
                        f"the symmetries give a control more than {ORBIT} images: name fewer units"
                    )
    return np.array(found)


def _key(x: Array) -> bytes:
    return (np.round(x, 9) + 0.0).tobytes()  # + 0.0: one zero


def sign_flips(problem: LearningProblem, units: Sequence[int] | None = None) -> list[Symmetry]:
    """One symmetry per unit i whose initial value and target vanish for every sample, sigma being
    odd.

    With S the diagonal matrix of ones but S_ii = -1: if f' = sigma(a - BWf), then g = Sf has
    g' = S sigma(a - BWf) = sigma(Sa - (SBS) W g), because S commutes with W and, sigma being odd,
    with sigma; and g(0) = f(0) where f_i(0) = 0.  The loss sees |f_i - 0| = |-f_i - 0|.  So bias_i,
    row i and column i of the kernel change sign, but for b_ii; norms and penalties do not notice.

    units : which; every unit of which it holds if None
    raises TypeError for another network than a dense WidthDepth, another readout than State(), a
        loss that is not even, or an activation that is not odd; ValueError for units of which it
        does not hold, and for blocks that are fixed at values the flip would change
    """
    _check_kind(problem, "sign_flips")
    _check_odd(problem)
    still = [i for i in range(len(problem.network.weights)) if not _data(problem)[i].any()]
    chosen = _units(problem, still if units is None else units)
    for i in chosen:
        if i not in still:
            raise ValueError(
                f"unit {i} has an initial value or a target that is not zero, so flipping its "
                f"sign counts"
            )

    def flip(unit: int) -> Symmetry:
        def image(name: str, x: Array) -> Array:
            sign = np.ones(len(problem.network.weights))
            sign[unit] = -1.0
            return x * sign if name == "bias" else x * sign[:, None] * sign

        return _symmetry(problem, image, f"flipping unit {unit}")

    return [flip(i) for i in chosen]


def permutations(problem: LearningProblem, units: Sequence[int] | None = None) -> list[Symmetry]:
    """The exchanges of units of equal weight, equal initial values and equal targets, that generate
    their permutations.

    With P the exchange of i and j: if f' = sigma(a - BWf), then g = Pf has g' = sigma(Pa - (P B P)
    W g), because P commutes with sigma, and with W where w_i = w_j; and g(0) = f(0), |g - y| = |f -
    y| where the data are equal. So entries i and j of the bias, rows and columns i and j of the
    kernel change places.

    units : among which; all if None.  Each class of interchangeable units i < j < ... gives (i j),
        (j ...), ...
    raises TypeError for another network than a dense WidthDepth, or another readout than State();
        ValueError for units that are none, and for blocks that are fixed at values an exchange
        would change
    """
    _check_kind(problem, "permutations")
    data, weights = _data(problem), problem.network.weights
    classes: dict[bytes, list[int]] = {}
    for i in _units(problem, range(len(weights)) if units is None else units):
        key = np.append(data[i], np.float64(f"{weights[i]:.12e}")) + 0.0
        classes.setdefault(key.tobytes(), []).append(i)

    def exchange(i: int, j: int) -> Symmetry:
        order = np.arange(len(weights))
        order[[i, j]] = j, i

        def image(name: str, x: Array) -> Array:
            return x[..., order] if name == "bias" else x[..., order, :][..., order]

        return _symmetry(problem, image, f"exchanging units {i} and {j}")

    return [exchange(i, j) for alike in classes.values() for i, j in pairwise(alike)]


def _symmetry(
    problem: LearningProblem, image: Callable[[str, Array], Array], what: str
) -> Symmetry:
    for name, value in problem.space.fixed.items():
        if not np.array_equal(image(name, to_host(value)), to_host(value)):
            raise ValueError(f"{what} would change {name!r}, which is fixed")

    def apply(control: Control) -> Control:
        return control.replaced(**{name: image(name, to_host(x)) for name, x in control.items()})

    return apply


def _check_kind(problem: LearningProblem, name: str) -> None:
    if not isinstance(problem, LearningProblem):
        raise TypeError(f"{name} needs a LearningProblem, got {problem!r}")
    network = problem.network
    if not isinstance(network, WidthDepth) or not network.kernel.is_matrix:
        raise TypeError(f"{name} is known for WidthDepth with a Dense() kernel, got {network!r}")
    if not isinstance(problem.readout, State):
        raise TypeError(f"{name} is known for the readout State(), got {problem.readout!r}")
    running = problem.functional.running
    if running is not None and not (
        isinstance(running, Tracking) and running.shared and isinstance(running.readout, State)
    ):
        raise TypeError(
            f"{name} is known for a running loss of the state and the problem's target, got "
            f"{running!r}"
        )


def _check_odd(problem: LearningProblem) -> None:
    activation = problem.network.activation  # type: ignore[attr-defined]
    s = np.array([0.0, 1e-3, 0.3, 1.0, 2.7, 9.0])
    if not np.allclose(activation.value(-s), -activation.value(s), rtol=0, atol=1e-14):
        raise TypeError(f"sign_flips needs an odd activation, such as tanh, got {activation}")
    for cost in (problem.functional.terminal, problem.functional.running):
        loss = cost.loss if isinstance(cost, Tracking) else None
        if loss is not None and not isinstance(loss, SquaredError | AbsoluteError):
            raise TypeError(f"sign_flips needs a loss of |output - target|, got {loss!r}")


def _data(problem: LearningProblem) -> Array:
    """(N, 2 M): initial values and targets of each unit."""
    known = [to_host(x) for x in (problem.initial, problem.target) if x is not None]
    return np.concatenate(known, axis=1)


def _units(problem: LearningProblem, units: Sequence[int]) -> list[int]:
    count = len(problem.network.weights)
    for i in units:
        if check_count("unit", i, 0) >= count:
            raise ValueError(f"units must be 0, ..., {count - 1}, got {i}")
    return sorted({int(i) for i in units})
