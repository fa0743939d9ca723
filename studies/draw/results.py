"""Pictures of what solvers return: runs, the course of an optimisation, extremals."""

from collections.abc import Mapping, Sequence
from itertools import cycle, product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from continuum.arrays import Array, to_host
from continuum.checks import check_count, check_type
from continuum.doors import checked
from solvers import Extremal, ExtremalPoints, Solution, Trajectory
from solvers.pontryagin.extremals import entry_name

from .figures import BLACK, axes_for, draw_legend, new_figure, styled

_LINES = 8
"""More lines than colours are drawn as a map."""

_FINE = 401
"""Times at which an extremal is drawn."""


@checked
def plot_solution(
    solution: Solution, ax: Axes | None = None, *, sample: int = 0, legend: bool = True
) -> Figure:
    """A run of `integrate`: the states of all units along the time, as lines, or as a map where
    they are more than 8.  The solution of an optimizer: what it recorded, such as the objective and
    the norm of the gradient, along its iterations, logarithmic where all of it is positive.

    sample : of which input the states are shown
    ax : where to draw, the legend inside it; None for a new figure, with the legend below
    legend : False leaves it out
    returns the figure drawn on
    raises TypeError for what is no Solution, ValueError for a sample that it does not have or one
        without anything to draw
    """
    with styled():
        figure, target = axes_for(ax)
        if isinstance(solution.value, Trajectory):
            _draw_states(target, solution.value, sample)
        else:
            _draw_history(target, solution)
        draw_legend(target, legend, ax is not None)
    return figure


def plot_extremal(
    extremal: Extremal,
    ax: Sequence[Axes] | Array | None = None,
    *,
    times: Sequence[float] | Array | None = None,
    sample: int = 0,
    legend: bool = True,
) -> Figure:
    """State, costate, control, and switching functions with the Hamiltonian, in four panels; dotted
    lines are at the times at which the control switches.

    times : (S,), where it is drawn; None for 401 even ones and the switching times
    sample : of which input states and costates are shown
    ax : four axes, in any array, the legends inside them; None for a new figure, with the legends
        below
    legend : False leaves them out
    returns the figure drawn on
    raises TypeError for what is no Extremal, ValueError for other than four axes, a sample that it
        does not have, times outside [0, T], and where the answer is the control that started the
        search
    """
    extremal = check_type("extremal", extremal, Extremal)
    check_type("legend", legend, bool)
    switches = sorted({s.time for s in extremal.switches})
    if times is None:
        even = np.linspace(0.0, float(extremal.state.times[-1]), _FINE)
        beside = [t + side for t in switches for side in (-1e-9, 0.0)]
        times = np.union1d(even, [t for t in beside if even[0] <= t <= even[-1]])
    points = extremal.at(times)
    with styled():
        if ax is None:
            figure, axes = new_figure(2, 2, width=9.6, height=8.4)
            panels = list(axes.flat)
        else:
            panels = [check_type("ax", one, Axes) for one in np.ravel(np.asarray(ax, dtype=object))]
            if len(panels) != 4:
                raise ValueError(f"ax must be four axes, got {len(panels)}")
            figure = axes_for(panels[0])[0]
        _draw_states(panels[0], Trajectory(points.times, points.states), sample)
        _draw_states(panels[1], Trajectory(points.times, points.costates), sample, "costate")
        _draw_entries(panels[2], points.times, points.control, "value of the control")
        _draw_last(panels[3], points)
        for panel in panels:
            for t in switches:
                panel.axvline(t, color=BLACK, linestyle=":", linewidth=0.9)
            draw_legend(panel, legend, ax is not None)
    return figure


def _draw_states(ax: Axes, run: Trajectory, sample: int, what: str = "state") -> None:
    states = to_host(run.states)
    if not len(states):
        raise ValueError("solution has no states at any time: there is nothing to draw")
    sample = check_count("sample", sample, 0)
    if sample >= states.shape[2]:
        raise ValueError(f"sample must be below {states.shape[2]}, got {sample}")
    _draw_lines(ax, run.times, states[:, :, sample], f"{what} of the unit")
    many = f", sample {sample} of {states.shape[2]}" if states.shape[2] > 1 else ""
    ax.set_title(f"{what}s{many}")


def _draw_lines(ax: Axes, times: Array, values: Array, ylabel: str) -> None:
    """Units (S, n) along the time: lines if they are few, else a map; they count from 0, as
    indices of arrays.
    """
    ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
    if values.shape[1] <= _LINES and len(times) > 1:
        for i, column in enumerate(values.T):
            ax.plot(times, column, label=f"unit {i}", linewidth=_width(i))
        ax.set_ylabel(ylabel)
        ax.grid(True)
        return
    if len(times) < 2:
        ax.plot(np.arange(values.shape[1]), values[-1], "o-", markersize=3)
        ax.set_xlabel("unit")
        ax.set_ylabel(f"{ylabel} at t = {float(times[-1]):.4g}")
        ax.grid(True)
        return
    units = np.arange(values.shape[1])
    drawn = ax.pcolormesh(times, units, values.T, shading="nearest", rasterized=True)
    ax.figure.colorbar(drawn, ax=ax, label=ylabel)
    ax.set_ylabel("unit")


def _width(i: int) -> float:
    """Of the i-th line: thinner than those before it, so that lines at one place are seen."""
    return max(1.2, 3.6 - 0.4 * i)


def _draw_entries(ax: Axes, times: Array, blocks: Mapping[str, Array], ylabel: str) -> int:
    """The entries of blocks (S, ...) along the time, the first ones if they are many, which the
    title then says; returns how many were drawn.
    """
    entries = [(n, i) for n, x in blocks.items() for i in product(*map(range, np.shape(x)[1:]))]
    for i, (block, index) in enumerate(entries[:_LINES]):
        values = blocks[block][(slice(None), *index)]
        ax.plot(times, values, label=entry_name(block, index), linewidth=_width(i))
    ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
    ax.set_ylabel(ylabel)
    ax.set_title(
        ylabel if len(entries) <= _LINES else f"{ylabel}: {_LINES} of {len(entries)} entries"
    )
    ax.grid(True)
    return min(len(entries), _LINES)


def _draw_last(ax: Axes, points: ExtremalPoints) -> None:
    """Switching functions, if there are any, and the Hamiltonian less its first value."""
    count = _draw_entries(ax, points.times, points.switching, "switching functions")
    first = float(points.hamiltonian[0])
    ax.plot(
        points.times,
        points.hamiltonian - first,
        color=BLACK,
        linestyle="--",
        linewidth=1.0,
        label=f"$H$ less {first:.4g}",
    )
    ax.axhline(0.0, color=BLACK, linewidth=0.6)
    if not count:
        ax.set_title("Hamiltonian; the control does not switch")
        ax.set_ylabel("$H(t) - H(0)$")


def _draw_history(ax: Axes, solution: Solution) -> None:
    rows = len(solution.history.get("seconds", ()))
    columns = {
        name: to_host(numbers)
        for name, numbers in solution.history.items()
        if len(numbers) == rows and name not in ("seconds", "evaluations")
    }
    if not rows or not columns:
        raise ValueError("solution has no states and recorded nothing: there is nothing to draw")
    finite = [x[np.isfinite(x)] for x in columns.values()]
    positive = all(len(x) and np.all(x > 0.0) for x in finite)
    for (name, numbers), line in zip(columns.items(), cycle(("-", "--", "-.", ":")), strict=False):
        ax.plot(np.arange(rows), numbers, line, label=name.replace("_", " "))
    if positive:
        ax.set_yscale("log")
    ax.set_xlabel("iteration")
    ax.set_ylabel("recorded numbers")
    ax.set_title(solution.status.name.lower().replace("_", " "))
    ax.grid(True)
