"""A solution of the two-point problem at any time, by the continuous extensions of its steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array

from .extremals import ExtremalPoints
from .hamiltonian import Hamiltonian
from .two_point import Piece, TwoPoint, Values


@dataclass(frozen=True, eq=False)
class DenseExtremal:
    """What `Extremal.at` asks.

    system : the equations; pieces : the steps from 0 to T, in order, at least one
    """

    system: TwoPoint
    pieces: tuple[Piece, ...]

    def __call__(self, times: Array) -> ExtremalPoints:
        """The points at times (L,).  Raises ValueError for times outside [0, T]."""
        horizon = self.system.mesh.horizon
        if np.any((times < 0.0) | (times > horizon)):
            raise ValueError(f"times must be in [0, {horizon:g}], got {times}")
        system = self.system
        ends = np.array([piece.t1 for piece in self.pieces[:-1]])
        own = [self.pieces[i] for i in np.searchsorted(ends, times, side="right")]
        points = np.stack([np.asarray(p.z(float(t))) for p, t in zip(own, times, strict=True)])
        control = controls_along(system, times, points, [p.signs for p in own])
        rows = [
            system.switching(float(t), z) if system.held else {}
            for t, z in zip(times, points, strict=True)
        ]
        switching = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        states, costates = paths_of(system, points)
        energies = hamiltonian_along(system, times, points).value(control)
        return ExtremalPoints(times, states, costates, control, switching, energies)


def controls_along(
    system: TwoPoint, times: Array, points: Array, signs: Sequence[Values]
) -> dict[str, Array]:
    """The trained blocks (L, *block.shape) at points z = (f, p), as vectors (L, 2 N M), with the
    signs that are held there.
    """
    rows = [
        system.control(float(t), z, held) for t, z, held in zip(times, points, signs, strict=True)
    ]
    return {b.name: np.stack([row[b.name] for row in rows]) for b in system.space.trained}


def hamiltonian_along(system: TwoPoint, times: Array, points: Array) -> Hamiltonian:
    """H at points (L, 2 N M), whose costates are shares of the mean over samples."""
    weights = system.problem.sample_weights
    states, costates = paths_of(system, points)
    return Hamiltonian(
        system.problem, times, states, costates / np.where(weights > 0.0, weights, 1.0)
    )


def paths_of(system: TwoPoint, points: Array) -> tuple[Array, Array]:
    """(states, costates), each (L, N, M), of points (L, 2 N M)."""
    both = points.reshape(len(points), 2, system.units, system.samples)
    return both[:, 0], both[:, 1]
