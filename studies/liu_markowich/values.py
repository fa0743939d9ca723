"""What the studies on value functions share: the two examples of the box, and
extremals in closed form.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from continuum import LearningProblem
from solvers import Extremal, shoot

from .bang_bang import along, between
from .many_extremals import pushed
from .paper import boxed

Example: TypeAlias = Literal["one switch", "mirror images"]
EXAMPLES: Mapping[Example, tuple[tuple[float, float], tuple[float, float], float]] = (
    MappingProxyType(
        {
            "one switch": ((0.5, 0.5), (4.0, 0.0), 1.0),
            "mirror images": ((0.0, 0.0), (6.0, 0.0), 2.0),
        }
    )
)
"""Start, target and horizon of LM-54 and LM-55."""


def posed(example: Example, layers: int = 100) -> LearningProblem:
    """LM-54 or LM-55."""
    start, target, horizon = EXAMPLES[example]
    return boxed(start, target, horizon=horizon, layers=layers)


def optimum(example: Example) -> Extremal:
    """The extremal of least cost, by shooting; of the two mirror images the one with f_2 >= 0."""
    problem = posed(example, 40)
    if example == "one switch":
        return shoot(problem, atol=1e-11)
    return shoot(problem, initial=pushed(problem, 1.0), atol=1e-11)


def path(extremal: Extremal) -> tuple[np.ndarray, np.ndarray]:
    """Times (P,) and states (P, 2) of an extremal, twelve in each step of shooting."""
    times, control = along(extremal)
    kernels = 0.5 * control[:, 2:].reshape(-1, 2, 2)
    return between(extremal.state.states[:, :, 0], control[:, :2], kernels, times)


def extremals(
    weights: np.ndarray, f: np.ndarray, q: np.ndarray, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """States and q = dV/df, (S, N, L) each, at S times that rise or fall, from f, q (N, L) at the
    first of them: the equations of Pontryagin for units with -1 <= a, b <= 1 and identity,

        f_i' = -sign(q_i) v,  v = 1 + sum_j w_j |f_j|,    q_j' = w_j sign(f_j) Q, Q = sum_i |q_i|,

    without error of discretisation: while no sign changes, v = v_0 e^{kt} and Q = Q_0 e^{-kt}, with
    k = -sum_j w_j sign(f_j) sign(q_j), and the time of the next change follows from the integrals
    of v and Q.  Singular arcs, f_j = q_j = 0, are not among them.
    """
    w = weights[:, None]
    ahead = 1.0 if times[-1] >= times[0] else -1.0
    f, q = f.astype(float), q.astype(float)
    toward = np.where(q != 0.0, np.sign(q), 0.0)
    side = np.where(f != 0.0, np.sign(f), -ahead * toward)
    toward = np.where(q != 0.0, toward, ahead * side)
    states, costates = [f], [q]
    for length in np.abs(np.diff(times)):
        left = np.full(f.shape[1], length)
        while np.any(left > 0.0):
            v, total = 1.0 + np.sum(w * np.abs(f), axis=0), np.sum(np.abs(q), axis=0)
            k = -ahead * np.sum(w * side * toward, axis=0)
            to_f = np.where(ahead * side * toward > 0.0, _time(np.abs(f), v, k), np.inf)
            to_q = np.where(ahead * side * toward < 0.0, _time(np.abs(q), w * total, -k), np.inf)
            step = np.minimum(left, np.min(np.minimum(to_f, to_q), axis=0))
            moved = f - ahead * toward * v * _integral(step, k)
            turned = q + ahead * w * side * total * _integral(step, -k)
            f = np.where(to_f <= step, 0.0, moved)
            q = np.where(to_q <= step, 0.0, turned)
            side = np.where(to_f <= step, -side, side)
            toward = np.where(to_q <= step, -toward, toward)
            left = left - step
        states.append(f)
        costates.append(q)
    return np.stack(states), np.stack(costates)


def _integral(t: np.ndarray, k: np.ndarray) -> np.ndarray:
    """int_0^t e^{ks} ds."""
    return np.where(k == 0.0, t, np.expm1(k * t) / np.where(k == 0.0, 1.0, k))


def _time(distance: np.ndarray, speed: np.ndarray, k: np.ndarray) -> np.ndarray:
    """When speed int_0^t e^{ks} ds = distance; inf if never."""
    share = distance / speed
    inside = np.maximum(k * share, -1.0 + 1e-300)
    with np.errstate(divide="ignore"):
        grown = np.log1p(inside) / np.where(k == 0.0, 1.0, k)
    return np.where(k == 0.0, share, np.where(k * share > -1.0, grown, np.inf))
