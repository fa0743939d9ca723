"""Where a control given on layers switches, and where it rests between its bounds.

H is affine in the entries of a block that no penalty counts.  With g its slope, the minimiser is at
the bound that the sign of the switching function -g says, and it switches where that function
crosses zero.  Where the function rests at zero H does not determine the entry: a singular arc.  A
control that is optimal among those on layers of length tau meets g = 0 there on the mean of each
layer alone, so functions are not zero on arcs, but small, and it is the control that shows them: at
a crossing an entry is between its bounds on one layer, on an arc on all layers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array
from continuum.controls import Control
from continuum.meshes import TimeMesh
from continuum.problem import LearningProblem

from ..adjoint.discretize import Path, ReducedObjective
from .extremals import SingularArc, Switch, entry_name
from .hamiltonian import Hamiltonian
from .minimisers import sets

Values = Mapping[str, Array]

_LEAST = 3
"""Layers in a row on which an entry is between its bounds that make an arc: a switch leaves one,
two that fall on neighbouring layers leave two.
"""

_CHANGE = 0.1
"""Share of what a switching function changes on a layer at most, above which it is not near zero:
one that crosses zero is there for less than a layer, unless it does so ten times more slowly.
"""

_SMALL = 1e-2
"""Share of its largest value above which a switching function is not near zero."""

_MARGIN = 1e-6
"""Share of the width of an interval up to which an entry counts as at its bound."""

_SHOWN = 4
"""Entries that are named of those that switch together."""


def points_of_layer(
    objective: ReducedObjective, control: Control, path: Path, layer: int
) -> tuple[Hamiltonian, dict[str, Array]]:
    """H at the n + 1 ends of the steps of a layer, and the layer's control there."""
    size = objective.steps_per_layer
    ends = slice(layer * size, (layer + 1) * size + 1)
    values = [control.variation(layer, float(t)) for t in path.times[ends]]
    stacked = {n: np.stack([v[n] for v in values]) for n in values[0]}
    there = path.times[ends], path.states[ends], path.remaining[ends]
    return Hamiltonian(objective.problem, *there), stacked


@dataclass(frozen=True, eq=False)
class Course:
    """A switching function along the layers, (K, *shape) each.

    low, high : its least and largest value at the ends of the steps
    inside : the entry is strictly between its bounds, on the layer
    """

    low: Array
    high: Array
    inside: Array

    @property
    def peak(self) -> Array:
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def rests(self, mesh: TimeMesh, level: float, slopes: Array | None) -> Array:
        """(K, *shape): where the entry is between its bounds on `_LEAST` layers in a row and more,
        and the function near zero on them.

        Near zero: it crosses zero on the layer, as for controls that are optimal on layers; or it
        is small by `_CHANGE` and `_SMALL`; or the slope of the objective on Euler's layers is,
        since a control trained on those is stationary there.
        """
        steps = mesh.steps.reshape((-1,) + (1,) * (self.low.ndim - 1))
        steep = np.max((self.high - self.low) / steps, axis=0)
        small = np.minimum(_CHANGE * steps * steep, _SMALL * np.max(self.peak, axis=0))
        near = ((self.low <= 0.0) & (self.high >= 0.0)) | (self.peak <= np.maximum(small, level))
        rest = _in_a_row(self.inside & near)
        if slopes is not None and slopes.shape == self.low.shape:
            # on its own: the two cross zero on neighbouring layers
            rest |= _in_a_row(self.inside & (np.abs(slopes) <= small))
        return rest


def courses(
    objective: ReducedObjective, control: Control, path: Path
) -> tuple[dict[str, Course], dict[str, float]]:
    """The switching functions of a run by block, and the largest size of each."""
    rows: list[dict[str, tuple[Array, Array, Array]]] = []
    for layer in range(objective.problem.mesh.layers):
        here, values = points_of_layer(objective, control, path, layer)
        rows.append(
            {
                n: (x.min(axis=0), x.max(axis=0), _between(objective.problem, n, values, x))
                for n, x in here.switching(values).items()
            }
        )
    found = {}
    for name in rows[0]:
        columns = zip(*(row[name] for row in rows), strict=True)
        found[name] = Course(*(np.stack(column) for column in columns))
    return found, {n: float(np.max(c.peak, initial=0.0)) for n, c in found.items()}


def _between(problem: LearningProblem, name: str, values: Values, functions: Array) -> Array:
    """Which entries of a block lie strictly between their bounds, where these are intervals."""
    for part in sets(problem):
        if name in part.named(problem.space):
            bounds = part.interval(name, problem.space)
            if bounds is not None:
                margin = _MARGIN * (bounds[1] - bounds[0])
                x = values[name]
                return np.all((x > bounds[0] + margin) & (x < bounds[1] - margin), axis=0)
    return np.zeros(functions.shape[1:], dtype=bool)


def _in_a_row(mask: Array) -> Array:
    """Where a mask (K, ...) is true on at least `_LEAST` layers one after the other."""
    count = len(mask) - _LEAST + 1
    kept = np.zeros_like(mask)
    if count > 0:
        begins = np.all([mask[i : i + count] for i in range(_LEAST)], axis=0)
        for i in range(_LEAST):
            kept[i : i + count] |= begins
    return kept


def switches_and_arcs(
    objective: ReducedObjective,
    control: Control,
    path: Path,
    rtol: float,
    slopes: Values | None,
) -> tuple[tuple[Switch, ...], tuple[SingularArc, ...]]:
    """Where the switching functions of a run cross zero, in order, and the arcs.

    rtol : share of the largest value of a block's functions below which they are zero
    slopes : the gradient of the objective of Euler's layers, (K, *block.shape), None where unknown
    """
    problem, mesh = objective.problem, objective.problem.mesh
    found, sizes = courses(objective, control, path)
    switches, arcs = [], []
    for name, course in found.items():
        level = rtol * sizes[name]
        both = (course.low.min(axis=0) < -level) & (course.high.max(axis=0) > level)
        if np.any(both):
            crossings = _crossings(_samples(objective, control, path, name), level)
            switches += [Switch(t, name, index) for t, index in crossings]
        rest = course.peak <= level
        rest |= course.rests(mesh, level, None if slopes is None else slopes.get(name))
        arcs += [SingularArc(name, *place) for place in _intervals(rest, mesh)]
    order = [b.name for b in problem.space.blocks]
    place = {n: order.index(n) if n in order else 0 for n in found}
    return (
        tuple(sorted(switches, key=lambda s: (s.time, place[s.block], s.index))),
        tuple(sorted(arcs, key=lambda a: (place[a.block], a.index, a.start))),
    )


def resting_entries(
    objective: ReducedObjective, control: Control, path: Path, slopes: Values | None
) -> tuple[int, list[tuple[float, float]]]:
    """How many coefficients of a control rest between their bounds on arcs, and on which intervals
    of time some do.
    """
    mesh = objective.problem.mesh
    found, _ = courses(objective, control, path)
    count, some = 0, np.zeros(mesh.layers, dtype=bool)
    for name, course in found.items():
        rest = course.rests(mesh, 0.0, None if slopes is None else slopes.get(name))
        count += int(np.count_nonzero(rest))
        some |= np.any(rest, axis=tuple(range(1, rest.ndim)))
    return count, [(start, end) for _, start, end in _intervals(some, mesh)]


def _samples(
    objective: ReducedObjective, control: Control, path: Path, name: str
) -> Iterator[tuple[float, Array]]:
    for layer in range(objective.problem.mesh.layers):
        here, values = points_of_layer(objective, control, path, layer)
        yield from zip(np.asarray(here.times).tolist(), here.switching(values)[name], strict=True)


def _crossings(
    samples: Iterator[tuple[float, Array]], level: float
) -> list[tuple[float, tuple[int, ...]]]:
    """Where entries change sign, by linear interpolation; the middle of a rest between two
    signs.
    """
    before, x = next(samples)
    seen = np.abs(x) > level
    last, at = np.where(seen, x, 0.0), np.where(seen, before, 0.0)
    rest = np.where(seen, np.nan, before)  # since when the entry has been at zero
    found = []
    for t, x in samples:
        seen = np.abs(x) > level
        for place in np.argwhere(seen & (x * last < 0.0)):
            i = tuple(int(k) for k in place)
            share = last[i] / (last[i] - x[i])
            inside = float(at[i] + (t - at[i]) * share)
            found.append((inside if np.isnan(rest[i]) else 0.5 * float(rest[i] + before), i))
        last, at = np.where(seen, x, last), np.where(seen, t, at)
        rest = np.where(seen, np.nan, np.where(np.isnan(rest), t, rest))
        before = t
    return found


def _intervals(mask: Array, mesh: TimeMesh) -> list[tuple[tuple[int, ...], float, float]]:
    """(index, start, end) of the runs of true layers in a mask (K, ...), entry by entry."""
    edge = np.zeros((1, *mask.shape[1:]), dtype=bool)
    padded = np.concatenate([edge, mask, edge])
    found = []
    for place in np.argwhere(padded[1:] & ~padded[:-1]):
        first, index = int(place[0]), tuple(int(i) for i in place[1:])
        length = int(np.argmin(padded[(slice(first + 1, None), *index)]))
        found.append((index, float(mesh.nodes[first]), float(mesh.nodes[first + length])))
    return found


def told_switches(switches: Sequence[Switch], together: float) -> list[str]:
    """ "0.536456: bias[1], kernel[1, 0]": those whose times lie within `together` in one line."""
    groups: list[list[Switch]] = []
    for s in switches:
        if groups and s.time - groups[-1][0].time <= together:
            groups[-1].append(s)
        else:
            groups.append([s])
    return [
        f"{group[0].time:.6g}: {_names(sorted(group, key=lambda s: (s.block, s.index)))}"
        for group in groups
    ]


def told_arcs(arcs: Sequence[SingularArc]) -> list[str]:
    """ "bias[1], kernel[1, 0] on (0, 2)", in the order in which they start."""
    groups: dict[tuple[float, float], list[SingularArc]] = {}
    for arc in arcs:
        groups.setdefault((arc.start, arc.end), []).append(arc)
    return [f"{_names(groups[a, b])} on ({a:.6g}, {b:.6g})" for a, b in sorted(groups)]


def _names(entries: Sequence[Switch] | Sequence[SingularArc]) -> str:
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return ", ".join(entry_name(e.block, e.index) for e in entries[:_SHOWN]) + more
