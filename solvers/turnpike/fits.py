"""Rates fitted to amplitudes, with their windows and an error bar that means something.

A line is fitted to log a(t) on a window: after the first 2/rate (transients of the nonlinear
problem), not in the last 3/rate before the other end, and only while a > 100 atol.  The interval is
the span of the slopes on the window's three thirds: the residuals' own error bar is far too small
where a curve bends slowly (TP-22).
Source: section 5.7 of the ledger.
"""

from dataclasses import dataclass

import numpy as np

from continuum.arrays import Array
from continuum.records import short

_THIRDS = 3
_LEAST = 4
"""Points that a third of a window needs."""


@dataclass(frozen=True)
class Fit:
    """A rate fitted to one amplitude.

    what : "entry" or "exit", and the mode's number, or "distance"
    rate : nan where no window is left, for the reason in `note`
    interval : the least and the largest slope of the window's thirds
    window : the times it was fitted on
    predicted : the rate of the linearised differential equation;  scheme : that of the scheme, nan
        where it is not known
    """

    what: str
    rate: float
    interval: tuple[float, float]
    window: tuple[float, float]
    predicted: float
    scheme: float
    note: str = ""

    __repr__ = short

    def __str__(self) -> str:
        if self.note:
            return f"{self.what}: no fit ({self.note}); predicted {self.predicted:.6g}"
        low, high = self.interval
        text = f"{self.what}: {self.rate:.6g} in [{low:.6g}, {high:.6g}] on "
        text += f"({self.window[0]:.3g}, {self.window[1]:.3g}), predicted {self.predicted:.6g}"
        return text if np.isnan(self.scheme) else f"{text}, scheme {self.scheme:.6g}"


def fit_decay(
    times: Array, amplitude: Array, rate: float, atol: float, stop: float
) -> tuple[float, tuple[float, float], tuple[float, float], str]:
    """(rate, interval, window, why not) of an amplitude that falls from times[0] on.

    times : (S,), increasing, from 0 to the horizon;  rate : what is expected, for the window alone
    stop : the window's last time at most
    """
    none = float("nan")
    start = 2.0 / rate
    if stop <= start:
        note = f"the horizon {times[-1]:.3g} is too short for the rate {rate:.3g}"
        return none, (none, none), (start, stop), note
    inside = (times >= start) & (times <= stop)
    below = inside & ~(amplitude > 100.0 * atol)
    if np.any(below):
        inside &= times < times[np.argmax(below)]
    chosen = np.flatnonzero(inside)
    if len(chosen) < _THIRDS * _LEAST or times[chosen[-1]] - times[chosen[0]] < 1.0 / rate:
        note = (
            f"fewer than {_THIRDS * _LEAST} points, or less than 1 / rate, above {100 * atol:.1e}"
        )
        return none, (none, none), (start, stop), note
    slopes = [_slope(times[part], amplitude[part]) for part in np.array_split(chosen, _THIRDS)]
    window = float(times[chosen[0]]), float(times[chosen[-1]])
    if min(slopes) <= 0.0:
        return none, (none, none), window, "it rises on a third of the window"
    whole = _slope(times[chosen], amplitude[chosen])
    return whole, (min(slopes), max(slopes)), window, ""


def _slope(times: Array, amplitude: Array) -> float:
    """The r of the least-squares line log a = c - r t."""
    return -float(np.polyfit(times - times[0], np.log(amplitude), 1)[0])
