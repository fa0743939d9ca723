"""The scalar equation e' = -c spow(e, nu), spow(e, nu) = sign(e) |e|^nu, and its steps.

For 0 <= nu < 1 it reaches 0 at T = |e(0)|^(1 - nu) / (c (1 - nu)) and stays there.
"""

import numpy as np

from continuum.arrays import Array
from continuum.doors import checked


@checked
def spow(x: Array, power: float) -> Array:
    """sign(x) |x|^power, 0 at 0, also for power 0."""
    x = np.asarray(x, dtype=np.float64)
    return np.sign(x) * np.where(x == 0.0, 0.0, np.abs(x) ** power)


def power_loss(e: Array, alpha: float) -> float:
    """E = sum_s |e_s|^(alpha + 1) / (alpha + 1), the loss whose gradient in e is spow(e, alpha)."""
    return float(np.sum(np.abs(e) ** (alpha + 1.0)) / (alpha + 1.0))


def reaching_time(size: Array, rate: Array | float, power: float) -> Array:
    """T of |e(0)| = size; infinite for a rate that is not > 0."""
    rate, size = np.broadcast_arrays(np.asarray(rate, float), np.asarray(size, float))
    time = np.full(size.shape, np.inf)
    fast = rate > 0.0
    time[fast] = size[fast] ** (1.0 - power) / (rate[fast] * (1.0 - power))
    return np.where(size == 0.0, 0.0, time)


def exact_step(e: Array, rate: Array | float, power: float, time: float) -> Array:
    """e after `time`, for any power >= 0 and any rate.

    For power != 1 this is |e|^(1 - nu) <- max(0, |e|^(1 - nu) - c (1 - nu) t); a rate < 0 makes
    errors grow.
    """
    if power == 1.0:
        return e * np.exp(-np.asarray(rate) * time)
    size = np.where(e == 0.0, 1.0, np.abs(e))
    left = size ** (1.0 - power) - np.asarray(rate) * (1.0 - power) * time
    return np.where(e == 0.0, 0.0, np.sign(e) * np.maximum(left, 0.0) ** (1.0 / (1.0 - power)))


def implicit_step(e: Array, rate: float, power: float, time: float) -> Array:
    """Backward Euler: r with r + c t r^nu = |e| and the sign of e; max(0, |e| - c t) for nu = 0."""
    size, speed = np.abs(e), rate * time
    if power == 0.0:
        return np.sign(e) * np.maximum(0.0, size - speed)
    r = np.where(size > 0.0, size, 1.0)
    # with r = exp(s) the equation is convex in s, and Newton's iteration from the right falls
    s = np.log(r)
    for _ in range(200):
        a, b = np.exp(s), speed * np.exp(power * s)
        change = (a + b - r) / (a + power * b)
        s = s - change
        if np.all(np.abs(change) <= 1e-15 * (1.0 + np.abs(s))):
            break
    return np.where(size > 0.0, np.sign(e) * np.exp(s), 0.0)
