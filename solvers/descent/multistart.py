"""Where a minimizer ends from many starts, counted once if symmetries of the problem carry the ends
into each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from continuum.arrays import Array, to_host
from continuum.checks import check_count, check_positive, check_rng
from continuum.controls import Control, ControlSpace
from continuum.doors import checked
from continuum.problem import LearningProblem
from continuum.records import short

from ..run.iteration import Interrupted
from ..run.solution import Solution
from .minimize import minimize
from .objective import Composite, Objective
from .run import Minimizer, composite
from .symmetries import Symmetry

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

    __repr__ = short

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

    __repr__ = short

    @property
    def best(self) -> Solution[Control]:
        """The lowest; only the best that was found, no proof that it is global.  Raises ValueError
        if there is none.
        """
        if not self.clusters:
            raise ValueError("no run converged; their solutions are in .failed")
        return self.clusters[0].best


@checked
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
    symmetries : generators, such as those of symmetries(problem)
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
