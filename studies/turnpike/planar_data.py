"""Points in the plane with labels +1 and -1: rings, moons, spirals and the corners of a square."""

from typing import Literal, TypeAlias

import numpy as np

Data: TypeAlias = Literal["rings", "moons", "spirals", "corners"]


def points(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """(x (2, M), labels (M,)), without noise (the sets of TP-38).

    "rings": 10 points at radius 0.4, label -1, and 20 at 1.25, +1; "moons": 10 points on each of
    two half circles that interlock; "spirals": 12 on r = 0.3 t and 12 opposite; "corners": (+-1,
    +-1) with the product of the coordinates.  The first class has the label -1.
    """
    if data == "corners":
        x = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
        return x, x[0] * x[1]
    if data == "rings":
        inner, outer = 2 * np.pi * np.arange(10) / 10, 2 * np.pi * (np.arange(20) + 0.5) / 20
        first, second = 0.4 * _circle(inner), 1.25 * _circle(outer)
    elif data == "moons":
        t = np.linspace(0.0, np.pi, 10)
        shift = np.array([[0.5], [0.25]])
        first, second = _circle(t) - shift, np.array([1 - np.cos(t), 0.5 - np.sin(t)]) - shift
    else:
        t = np.linspace(0.5, 1.5 * np.pi, 12)
        first = 0.3 * t * _circle(t)
        second = -first
    labels = np.concatenate([-np.ones(first.shape[1]), np.ones(second.shape[1])])
    return np.concatenate([first, second], axis=1), labels


def padded(x: np.ndarray, units: int) -> np.ndarray:
    """x with further coordinates that are 0."""
    return np.concatenate([x, np.zeros((units - len(x), x.shape[1]))])


def _circle(t: np.ndarray) -> np.ndarray:
    return np.array([np.cos(t), np.sin(t)])
