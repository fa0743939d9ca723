"""The radius within which no perturbation of the input changes the class of a sample, with the word
"proved" where every hypothesis was.

Barrier.  Trajectories of eta' = f(eta, x'(t), t), eta(0) = 0, |x'(t) - x| <= e for every t, stay in
the cone of their label y if on each of its faces, eta_y = eta_j >= eta_l, f_y - f_j > 0: the least
difference eta_y - eta_j is 0 at t = 0 and rises, and where it first came back to 0 it could not
rise.  The face is searched as far as trajectories reach; with two classes and a centred field it is
the point 0.

    eta = s 1 - sum_l q_l e_l,   l not y nor j,   0 <= q_l <= Q,   |s| <= R

R bounds |eta_i|, Q = 2 R; s = sum q_l / k where the field is centred, so that sum eta = 0.

Scalar kinds (`certificates.py`).  They need V' <= -kappa V wherever V <= V(0), at x itself, and a
Lipschitz constant in x there; with two classes both are enclosed on q = eta_y - eta_j in [0, Q],
where V = log(1 + e^(-q)) and -V' / V = (f_y - f_j) phi(q), phi = (1 - e^(-V)) / V.

What is proved is proved of the differential equation, not of a method with steps: Euler's steps are
covered where h times the slope of f_y - f_j in eta_y - eta_j is >= -1 too, which is not looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count, check_name, check_positive, check_rng, check_type
from continuum.controls import Control
from continuum.doors import checked
from continuum.losses import CrossEntropy
from continuum.problem import LearningProblem
from continuum.readouts import State
from continuum.records import plain, short

from .bounds import Enclosed, Layers, Row, estimated_lipschitz, least
from .certificates import SCALAR_KINDS, ScalarCertificate, ScalarKind
from .outcomes import labels_of

Kind = Literal["barrier"] | ScalarKind
Status = Literal["proved", "estimated", "none"]
_DEEPEST = 2
"""The most free coordinates of a face for which branch and bound is tried."""
_ROUNDS, _DRAWS, _PIECES, _FAR = 60, 256, 8, 1e3


@dataclass(frozen=True, eq=False)
class Certificates:
    """One certificate per sample; `print` counts them.

    kind : of all of them
    radii : (M,), in the maximum norm, in the units of the data; 0 where there is none
    status : (M,), "proved", "estimated" where a hypothesis was only sampled, or "none"
    reasons : (M,), why there is none, or why it is no proof; empty for a proof
    kappa : (M,), of the decay that was used; None for the barrier
    """

    kind: Kind
    radii: Array
    status: tuple[Status, ...]
    reasons: tuple[str, ...]
    kappa: Array | None = None

    __repr__ = short
    to_dict = plain

    @property
    def proved(self) -> Array:
        """(M,): which are."""
        return np.array([s == "proved" for s in self.status])

    def __str__(self) -> str:
        lines = [f"{self.kind} certificates of {len(self.radii)} samples, maximum norm"]
        for status in ("proved", "estimated"):
            radii = self.radii[np.array([s == status for s in self.status])]
            if radii.size:
                low, middle, high = np.min(radii), np.median(radii), np.max(radii)
                lines.append(
                    f"  {status:10s} {radii.size:5d}   radius from {low:.4g} to {high:.4g}, median "
                    f"{middle:.4g}"
                )
        none = [r for r, s in zip(self.reasons, self.status, strict=True) if s == "none"]
        for reason in sorted(set(none)):
            lines.append(f"  none       {none.count(reason):5d}   {reason}")
        for reason in sorted(
            {r for r, s in zip(self.reasons, self.status, strict=True) if s == "estimated"}
        ):
            lines.append(f"  estimated means: {reason}")
        lines.append(
            "Of the differential equation with inputs that may move in time within the radius; "
            "steps of a method are not covered."
        )
        return "\n".join(lines)


@checked
def certify(
    problem: LearningProblem,
    control: Control,
    radius: float | None = None,
    *,
    kind: Kind = "barrier",
    kappa: float | None = None,
    proof: bool = False,
    rtol: float = 1e-2,
    boxes: int = 2000,
    rng: np.random.Generator | None = None,
) -> Certificates:
    """For each sample a radius in the maximum norm within which its class does not change.

    problem : its network made by `LearnedField.at`, its readout the state, its initial states 0
    radius : > 0, the one wanted; None for the largest that is found, to `rtol`
    kind : "barrier", or "additive", "multiplicative", "sharp" (see the head of this file)
    kappa : > 0, of the scalar kinds; None for the largest at which V' <= -kappa V is proved
    proof : True refuses certificates that are only estimated
    boxes : of one face that branch and bound looks at, at most
    rng : for hypotheses that are sampled; the Generator of seed 0 if None
    raises ValueError for another readout or start, kappa <= 0, and with proof=True for a
        certificate whose hypothesis was only sampled; TypeError for a network without inputs
    """
    check_type("problem", problem, LearningProblem)
    control = problem.space.check("control", control)
    check_name("kind", kind, ("barrier", *SCALAR_KINDS))
    if radius is not None:
        radius = check_positive("radius", radius)
    if kappa is not None:
        kappa = check_positive("kappa", kappa)
    boxes, rtol = check_count("boxes", boxes), check_positive("rtol", rtol)
    if not 0.0 < rtol < 1.0:
        raise ValueError(f"rtol must be below 1, got {rtol}")
    task = _task(problem, control, boxes, rng)
    if kind != "barrier" and task.layers.field.norm_bound is not None:
        raise ValueError(f"{kind} certificates are not known for a field with a norm bound")
    if kind == "barrier":
        found = _barrier(task, radius, rtol)
    else:
        found = _scalar(task, kind, radius, kappa, rtol)
    sampled = [r for r, s in zip(found.reasons, found.status, strict=True) if s == "estimated"]
    if proof and sampled:
        raise ValueError(
            f"a certificate whose hypothesis was only sampled is no proof: {sampled[0]} "
            f"({len(sampled)} of {len(found.radii)} samples)"
        )
    return found


@checked
def estimated_radii(
    problem: LearningProblem, control: Control, rng: np.random.Generator | None = None
) -> Array:
    """(M,): an estimate of the radius of the barrier, proved of nothing: the least of (f_y - f_j) /
    |D_x (f_y - f_j)|_1 at states and times of the faces that are sampled, f taken as linear in x;
    0 where f_y - f_j <= 0 at one of them.

    problem : as in `certify`, and raises as it
    """
    check_type("problem", problem, LearningProblem)
    task = _task(problem, control, 1, rng)
    return _estimated_barrier(task, _faces(task), None)


@dataclass(frozen=True, eq=False)
class _Task:
    """What all certificates of a problem share."""

    problem: LearningProblem
    layers: Layers
    labels: Array
    boxes: int
    rng: np.random.Generator

    @property
    def classes(self) -> int:
        return self.layers.field.units

    @property
    def samples(self) -> int:
        return len(self.labels)

    @property
    def horizon(self) -> float:
        return self.problem.mesh.horizon

    @property
    def x(self) -> Array:
        """(n, M)."""
        return np.broadcast_to(self.layers.inputs, (len(self.layers.inputs), self.samples))

    @property
    def free(self) -> int:
        """How many coordinates a face has."""
        return self.classes - 2 + (not self.layers.field.centred)

    def boxed(self, low: Array, high: Array, radius: Array, chosen: Array) -> tuple[Array, Array]:
        """Centres and radii (D, I) of the boxes with free coordinates from low to high (d, I),
        inputs within `radius` (I,) of those of the samples chosen (I,), all times.
        """
        x, half = self.x[:, chosen], np.full((1, len(chosen)), 0.5 * self.horizon)
        time = [half] if self.layers.field.timed else []
        spread = np.broadcast_to(radius, x.shape)
        return (
            np.concatenate([0.5 * (low + high), x, *time]),
            np.concatenate([0.5 * (high - low), spread, *time]),
        )

    def reach(self, radius: Array) -> Array:
        """(M,): a bound of |eta_i(t)| for all inputs within `radius` (M,), infinite if none is
        found.

        From |f| <= b + a |eta|, or a bounded last layer; a bound R of the states makes one of |f|,
        whose product with T is the next R.
        """
        layers, k, horizon = self.layers, self.classes, self.horizon
        everyone, rows = np.arange(self.samples), [layers.row(v) for v in np.eye(k)]

        def fastest(bound: Array) -> Array:
            high = np.broadcast_to(bound, (k, self.samples))
            boxes = self.boxed(-high, high, radius, everyone)
            ends = [np.maximum(np.abs(u), np.abs(v)) for u, v in (r.between(*boxes) for r in rows)]
            return np.max(ends, axis=0)

        still, steep = fastest(np.zeros(self.samples)), layers.growth()
        if steep * horizon < 300.0:
            factor = np.expm1(steep * horizon) / steep if steep > 0.0 else horizon
            bound = still * factor * (1.0 + 1e-9)
        else:
            bound = np.full(self.samples, np.inf)
        bound = np.minimum(bound, horizon * layers.speed())
        if np.all(np.isfinite(bound)):
            for _ in range(4):
                bound = np.minimum(bound, horizon * fastest(bound) * (1.0 + 1e-12))
        return bound


def _task(
    problem: LearningProblem, control: Control, boxes: int, rng: np.random.Generator | None
) -> _Task:
    if not isinstance(problem.readout, State) or np.any(problem.initial != 0.0):
        raise ValueError("problem: certificates need readout=State() and initial states 0")
    layers, labels = Layers.of(problem, control), labels_of(problem)
    return _Task(problem, layers, labels, boxes, check_rng("rng", rng))


# -- the barrier


@dataclass(frozen=True, eq=False)
class _Face:
    """eta_y = eta_j >= eta_l for the samples of one label.

    row : f_y - f_j of (free coordinates, x, t);  chosen : the samples, (I,)
    """

    task: _Task
    row: Row
    chosen: Array

    def boxes(self, radius: Array, reach: Array) -> tuple[Array, Array]:
        """Centres and radii for inputs within `radius` (M,), states within `reach` (M,)."""
        task, far = self.task, reach[self.chosen]
        low = np.zeros((task.free, len(far)))
        high = np.broadcast_to(2.0 * far, low.shape).copy()
        if not task.layers.field.centred:
            low[-1], high[-1] = -far, far
        return task.boxed(low, high, radius[self.chosen], self.chosen)


def _faces(task: _Task) -> list[_Face]:
    """Every face of every label that occurs."""
    k, faces = task.classes, []
    for y in np.unique(task.labels):
        chosen = np.flatnonzero(task.labels == y)
        for j in range(k):
            if j == y:
                continue
            others = [i for i in range(k) if i not in (y, j)]
            columns = -np.eye(k)[:, others]
            if task.layers.field.centred:
                embedding = columns + 1.0 / k
            else:
                embedding = np.concatenate([columns, np.ones((k, 1))], axis=1)
            v = np.zeros(k)
            v[y], v[j] = 1.0, -1.0
            faces.append(_Face(task, task.layers.row(v, embedding), chosen))
    return faces


def _barrier(task: _Task, radius: float | None, rtol: float) -> Certificates:
    faces = _faces(task)
    estimate = _estimated_barrier(task, faces, radius)
    if task.free > _DEEPEST:
        why = (
            f"the faces of {task.classes} classes were sampled, at {_DRAWS} states each, and the "
            "velocity taken as linear in x"
        )
        return _from_estimates(estimate, radius, why)

    def proves(trial: Array, open_: Array) -> tuple[Array, Array]:
        """(M,) each: for which samples the barrier holds, and for which it fails somewhere."""
        reach, fails = task.reach(trial), np.zeros(task.samples, dtype=bool)
        holds = open_ & (np.isfinite(reach) | (task.free == 0))  # a point needs no reach
        for face in faces:
            sub = replace(face, chosen=face.chosen[holds[face.chosen]])
            if not sub.chosen.size:
                continue
            centre, half = sub.boxes(trial, reach)

            def bounded(items: Array, c: Array, r: Array, row: Row = sub.row) -> Enclosed:
                return row.enclosed(c, r)

            found = least(bounded, centre, half, target=0.0, most=task.boxes)
            holds[sub.chosen] = found.low > 0.0
            fails[sub.chosen] = found.high <= 0.0
        return holds, fails

    everyone = np.ones(task.samples, dtype=bool)
    if radius is not None:
        trial = np.full(task.samples, radius)
        holds, fails = proves(trial, everyone)
        known = np.isfinite(task.reach(trial)) | (task.free == 0)
        return _given_radius(radius, holds, fails, known, estimate)
    start, _ = proves(np.zeros(task.samples), everyone)
    low = _largest(lambda trial, open_: proves(trial, open_)[0], start, estimate, rtol)
    status = tuple[Status, ...]("proved" if r > 0.0 else "none" for r in low)
    fails = "the barrier fails at the input itself, or is not proved there"
    return Certificates("barrier", low, status, tuple("" if r > 0.0 else fails for r in low))


def _given_radius(
    radius: float, holds: Array, fails: Array, known: Array, estimate: Array
) -> Certificates:
    """known : (M,), whether the states that are reached have a bound."""
    radii, status, reasons = np.zeros(len(holds)), list[Status](), list[str]()
    for m, (yes, no) in enumerate(zip(holds, fails, strict=True)):
        if yes or (not no and estimate[m] >= radius):
            radii[m] = radius
        if yes:
            status.append("proved")
            reasons.append("")
        elif no:
            status.append("none")
            reasons.append("the barrier fails for an input within the radius")
        else:
            status.append("estimated" if radii[m] else "none")
            reasons.append(
                "branch and bound ended at its largest number of boxes"
                if known[m]
                else "no bound of the states that are reached is known"
            )
    return Certificates("barrier", radii, tuple(status), tuple(reasons))


def _largest(
    proves: Callable[[Array, Array], Array], start: Array, guess: Array, rtol: float
) -> Array:
    """(M,): the largest radius for which `proves(radii, open)` holds, to rtol, by bisection; 0 for
    samples not in `start`.
    """
    low, high = np.zeros(len(start)), np.full(len(start), np.inf)
    guess = np.where(guess > 0.0, 0.98 * guess, 1e-3)
    for _ in range(_ROUNDS):
        open_ = start & (high - low > rtol * low) & (high > 1e-9 * guess)
        if not open_.any():
            break
        grown = np.where(low > 0.0, 1.25 * low, guess)
        middle = np.where(
            low > 0.0, 0.5 * (low + np.where(np.isfinite(high), high, 0.0)), 0.25 * high
        )
        trial = np.where(np.isfinite(high), middle, grown)
        trial = np.where(open_, trial, 0.0)
        good = proves(trial, open_)
        low = np.where(open_ & good, trial, low)
        high = np.where(open_ & ~good, trial, high)
    return low


def _estimated_barrier(task: _Task, faces: list[_Face], radius: float | None) -> Array:
    """(M,): the least of (f_y - f_j) / |D_x (f_y - f_j)|_1 over states and times of the faces that
    were sampled, 0 where f_y - f_j <= 0 at one of them.
    """
    at = np.full(task.samples, 0.0 if radius is None else radius)
    found, reach = np.full(task.samples, np.inf), np.minimum(task.reach(at), _FAR)
    n, draws = len(task.x), _DRAWS
    for face in faces:
        centre, half = face.boxes(at, reach)
        half[task.free : task.free + n] = 0.0
        place = task.rng.uniform(-1.0, 1.0, (draws, len(centre), 1))
        place[:, -1, 0] = np.linspace(-1.0, 1.0, draws)  # the time, where there is one
        z = np.moveaxis(centre + half * place, 1, 0).reshape(len(centre), -1)
        low, high = face.row.between(z, np.zeros_like(z))
        slope = face.row.slopes(z, np.zeros_like(z))[0][task.free : task.free + n]
        size = np.sum(np.abs(slope), axis=0)
        ratio = np.maximum(0.5 * (low + high), 0.0) / np.maximum(size, 1e-300)
        ratio = np.min(ratio.reshape(draws, -1), axis=0)
        found[face.chosen] = np.minimum(found[face.chosen], ratio)
    return found


def _from_estimates(
    estimate: Array, radius: float | None, why: str, kind: Kind = "barrier"
) -> Certificates:
    good = estimate > 0.0 if radius is None else estimate >= radius
    radii = np.where(good, estimate if radius is None else radius, 0.0)
    fails = "the hypothesis fails at a state that was sampled, or gives a smaller radius"
    return Certificates(
        kind,
        radii,
        tuple[Status, ...]("estimated" if g else "none" for g in good),
        tuple(why if g else fails for g in good),
    )


# -- the scalar kinds


def _scalar(
    task: _Task, kind: ScalarKind, radius: float | None, kappa: float | None, rtol: float
) -> Certificates:
    if task.problem.terminal != CrossEntropy():
        raise ValueError(
            f"problem: {kind} certificates need terminal=CrossEntropy(), of weight 1, whole"
        )
    start = float(np.log(task.classes))

    def limits(kappas: Array) -> Array:
        """(M,): what L e must stay below, rounded down."""
        found = np.zeros(len(kappas))
        for m, one in enumerate(kappas):
            if one > 0.0 and np.isfinite(one):
                certificate = ScalarCertificate(kind, one, start, task.horizon)
                found[m] = certificate.limit() * (1.0 - 1e-10)
        return found

    if task.classes > 2 or task.free > 1:
        kappas, steep = _sampled_decay(task, radius)
        asked = kappas if kappa is None else np.where(kappas >= kappa, kappa, 0.0)
        why = f"decay and Lipschitz constant were sampled at {_DRAWS} states"
        estimate = limits(asked) / np.maximum(steep, 1e-300)
        return replace(_from_estimates(estimate, radius, why, kind), kappa=kappas)

    def proves(trial: Array, open_: Array) -> Array:
        kappas = _proved_decay(task, trial, kappa)
        return open_ & (trial * _proved_lipschitz(task, trial) < limits(kappas))

    everyone = np.ones(task.samples, dtype=bool)
    kappas = _proved_decay(task, np.zeros(task.samples), kappa)
    if radius is not None:
        low = np.where(proves(np.full(task.samples, radius), everyone), radius, 0.0)
    else:
        guess = limits(kappas) / np.maximum(_proved_lipschitz(task, np.zeros(task.samples)), 1e-300)
        low = _largest(proves, kappas > 0.0, guess, rtol)
    status = tuple[Status, ...]("proved" if r > 0.0 else "none" for r in low)
    why = [
        "V' <= -kappa V fails, or is not proved, at x itself"
        if one <= 0.0
        else "the proved decay and Lipschitz constant allow no such radius"
        for one in kappas
    ]
    reasons = tuple("" if r > 0.0 else w for r, w in zip(low, why, strict=True))
    return Certificates(kind, low, status, reasons, kappas)


def _rate(q: Array) -> Array:
    """phi(q) = (1 - e^(-V)) / V, V = log(1 + e^(-q)): it rises from 1 / (2 log 2) at 0 to 1."""
    e = np.exp(-np.abs(q))
    return np.where(q > 0.0, e, 1.0) / (1.0 + e) / np.logaddexp(0.0, -q)


@dataclass(frozen=True, eq=False)
class _Half:
    """The states of two classes with V <= log 2 for the samples of one label: eta = (q / 2) (e_y -
    e_j) + s 1, q in [0, Q].
    """

    embedding: Array
    v: Array
    chosen: Array

    @classmethod
    def all(cls, task: _Task) -> "list[_Half]":
        halves = []
        for y in np.unique(task.labels):
            v = np.array([1.0, -1.0]) * (1 - 2 * int(y))
            columns = [0.5 * v] if task.layers.field.centred else [0.5 * v, np.ones(2)]
            halves.append(cls(np.stack(columns, axis=1), v, np.flatnonzero(task.labels == y)))
        return halves

    def boxes(self, task: _Task, reach: Array, radius: Array) -> tuple[Array, Array]:
        bound = reach[self.chosen]
        low = [np.zeros_like(bound), -bound][: self.embedding.shape[1]]
        high = [2.0 * bound, bound][: self.embedding.shape[1]]
        return task.boxed(np.stack(low), np.stack(high), radius[self.chosen], self.chosen)


def _proved_decay(task: _Task, radius: Array, kappa: float | None) -> Array:
    """(M,): a kappa with V' <= -kappa V at x on the half, as far as inputs within `radius` reach;
    0 where none > 0, or not the one asked for, is proved.
    """
    reach, found = task.reach(radius), np.zeros(task.samples)
    if not np.all(np.isfinite(reach)):
        return found
    for half in _Half.all(task):
        row = task.layers.row(half.v, half.embedding)
        centre, size = half.boxes(task, reach, np.zeros(task.samples))

        def bounded(items: Array, c: Array, r: Array, row: Row = row) -> Enclosed:
            velocity = row.enclosed(c, r)
            lower, _ = row.between(c, r)
            q_low, q_high = np.maximum(c[0] - r[0], 0.0), c[0] + r[0]
            below = np.maximum(lower, velocity.low)
            slow, fast = _rate(q_low) * (1.0 - 1e-12), _rate(q_high) * (1.0 + 1e-12)
            low = np.where(below > 0.0, below * slow, below * fast)
            # the whole box is cut: the product is not least where the velocity is
            high = row.between(c, np.zeros_like(r))[1] * _rate(np.maximum(c[0], 0.0))
            high = high + 1e-12 * np.abs(high)
            slopes = np.maximum(*(np.abs(s) for s in row.slopes(c, r)))
            changes = slopes * r
            changes[0] += np.abs(below) * (fast - slow)
            return Enclosed(low, high, c, r, np.where(r > 0.0, changes, 0.0))

        proved = least(bounded, centre, size, target=kappa, gap=1e-2, most=task.boxes)
        if kappa is None:
            found[half.chosen] = np.maximum(proved.low, 0.0)
        else:
            found[half.chosen] = np.where(proved.low > kappa, kappa, 0.0)
    return found


def _proved_lipschitz(task: _Task, radius: Array) -> Array:
    """(M,): a bound of |D_x f| in the maximum norm on the half, for inputs within `radius`: the
    largest of those on pieces of it.
    """
    reach, found = task.reach(radius), np.full(task.samples, np.inf)
    if not np.all(np.isfinite(reach)):
        return found
    n = len(task.x)
    for half in _Half.all(task):
        centre, size = half.boxes(task, reach, radius)
        d, worst = half.embedding.shape[1], np.zeros(len(half.chosen))
        cut = [0] if not task.layers.field.timed else [0, len(centre) - 1]
        rows = [task.layers.row(v, half.embedding) for v in np.eye(2)]
        for piece in np.ndindex(*[_PIECES] * len(cut)):
            c, r = centre.copy(), size.copy()
            for axis, number in zip(cut, piece, strict=True):
                c[axis] += size[axis] * ((2 * number + 1) / _PIECES - 1.0)
                r[axis] = size[axis] / _PIECES * (1.0 + 1e-12)
            for row in rows:
                low, high = row.slopes(c, r)
                steep = np.sum(np.maximum(np.abs(low), np.abs(high))[d : d + n], axis=0)
                worst = np.maximum(worst, steep * (1.0 + 1e-12))
        found[half.chosen] = worst
    return found


def _sampled_decay(task: _Task, radius: float | None) -> tuple[Array, Array]:
    """(M,) and a number: the least -V' / V, and the largest |D_x f|, at states that were sampled
    within reach where V <= V(0).
    """
    k, horizon = task.classes, task.horizon
    at = np.full(task.samples, 0.0 if radius is None else radius)
    reach = np.minimum(task.reach(at), _FAR)
    found, steep = np.full(task.samples, np.inf), np.zeros(task.samples)
    control_rows = [task.layers.row(v) for v in np.eye(k)]
    for m, (y, bound) in enumerate(zip(task.labels, reach, strict=True)):
        states = task.rng.uniform(-bound, bound, (k, 8 * _DRAWS))
        if task.layers.field.centred:
            states = states - np.mean(states, axis=0)
        value = np.log(np.sum(np.exp(states - states[y]), axis=0))
        near = np.argsort(value)[:_DRAWS]
        states, value = states[:, near], value[near]
        states, value = states[:, value <= np.log(k)], value[value <= np.log(k)]
        states = np.concatenate([np.zeros((k, 1)), states], axis=1)
        value = np.append(np.log(k), value)
        times = task.rng.uniform(0.0, horizon, states.shape[1])
        inputs = np.repeat(task.x[:, m : m + 1], states.shape[1], axis=1)
        z = np.concatenate([states, inputs, times[None, :]][: 2 + task.layers.field.timed])
        still = np.zeros_like(z)
        f = np.stack([0.5 * sum(r.between(z, still)) for r in control_rows])
        p = np.exp(states - states[y])
        p = p / np.sum(p, axis=0)
        g = p - (np.arange(k)[:, None] == y)
        found[m] = np.min(-np.sum(g * f, axis=0) / value)
        steep[m] = estimated_lipschitz(task.layers, states, inputs, times)
    return np.maximum(found, 0.0), steep
