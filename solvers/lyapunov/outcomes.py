"""What a problem of classes says of last states: outputs, labels, margins."""

import numpy as np

from continuum.arrays import Array
from continuum.controls import Control
from continuum.problem import LearningProblem


def labels_of(problem: LearningProblem) -> Array:
    """(M,) whole numbers: the class of each sample, where its target is largest.

    raises ValueError for a problem without targets, with one output, or whose targets have no
        single largest entry
    """
    target = problem.target
    if target is None or target.shape[0] < 2:
        raise ValueError("problem must have classes: targets of two rows or more")
    top = np.max(target, axis=0)
    if np.any(np.sum(target == top, axis=0) > 1):
        raise ValueError("problem must have classes: a target has two largest entries")
    return np.argmax(target, axis=0)


def outputs_of(problem: LearningProblem, control: Control, states: Array) -> Array:
    """(P, M), or (L, P, M) for (L, N, M): the readout of states."""
    values, readout = control.at(problem.mesh.horizon), problem.readout
    if states.ndim == 2 or readout.broadcasts:
        return readout.output(problem.network, states, values)
    return np.stack([readout.output(problem.network, f, values) for f in states])


def margins_of(outputs: Array, labels: Array) -> Array:
    """(M,) of (P, M): o_y - max_(j != y) o_j, positive where the label is the only largest
    output.
    """
    own = np.arange(outputs.shape[0])[:, None] == labels
    rest = np.max(np.where(own, -np.inf, outputs), axis=0)
    return np.sum(np.where(own, outputs, 0.0), axis=0) - rest
