"""A price on int |u| and a bound on |u|: full speed, then rest, and the time between them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from continuum import L1, Amplitude, LearningProblem, TimeMesh
from continuum.blocks import joint_norm
from solvers import RK4, Euler, ProximalNewton, SolveError, discretize, free_switch, minimize
from solvers.steps.tableaux import RungeKutta

from ..bench.parameters import Count, Horizon, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, OKABE_ITO, new_figure
from ..shared import described
from .paper import PAPER, errors, scalar, xor

Data: TypeAlias = Literal["line", "affine", "xor in three dimensions"]
STRENGTH = {"line": 0.5, "affine": 0.5, "xor in three dimensions": 0.05}


def posed(data: Data, bound: float, horizon: float, layers: int) -> LearningProblem:
    """min int_0^T |P x - y|^2 + lambda |u| dt, |u(t)| <= M, the mean over samples.

    "line": x' = u from 0 to 1, lambda = 1/2 (TP-29); "affine": x' = w x + b from 0 to 2, lambda =
    1/2 (TP-30); "xor in three dimensions": lambda = 0.05 (TP-33).
    """
    mesh = TimeMesh(horizon, layers)
    if data == "xor in three dimensions":
        smooth = xor(0.0, mesh, along=True, units=3)
    else:
        straight = data == "line"
        smooth = scalar(1.0 if straight else 2.0, mesh, affine=not straight)
    penalty = L1(STRENGTH[data], groups="joint")
    return replace(smooth, penalty=penalty, admissible=Amplitude(bound))


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    groups: dict[str, list[xr.Dataset]] = {}
    for case in cases:
        groups.setdefault(str(case_parameters(case)["data"]), []).append(case)
    figure, axes = new_figure(len(groups), 3, width=11.5, height=3.3 * len(groups))
    notes = []
    for (speed, error, switch), (data, group) in zip(axes, groups.items(), strict=True):
        group.sort(key=lambda case: float(case_parameters(case)["bound"]))
        bounds = np.array([float(case_parameters(case)["bound"]) for case in group])
        for bound, case, color in zip(bounds, group, OKABE_ITO, strict=False):
            t, phi = case["time"].values, np.maximum(case["error"].values, 1e-16)
            speed.stairs(case["size"].values, t, color=color, label=f"M = {bound:g}")
            error.semilogy(t, phi, color=color, label=f"M = {bound:g}")
            time = float(case["switching_time"])
            if np.isfinite(time):
                error.axvline(time, color=color, linewidth=0.8, linestyle=":")
        times = np.array([float(case["switching_time"]) for case in group])
        known = np.isfinite(times)
        switch.plot(bounds[known], times[known], "o", color=BLACK, label="$T^*$")
        if np.any(known):
            last = np.flatnonzero(known)[-1]
            switch.plot(
                bounds, times[last] * bounds[last] / bounds, "--", color=BLACK, label="const$/M$"
            )
        speed.set_ylabel("$|u(t)|$")
        error.set_ylabel("training error $\\varphi$")
        switch.set_ylabel("switching time $T^*$")
        switch.set_xlabel("bound $M$")
        switch.set_xscale("log", base=2)
        switch.set_yscale("log", base=2)
        switch.set_xticks(bounds, [f"{m:g}" for m in bounds])
        if np.any(known):
            switch.set_yticks(times[known], [f"{x:.3g}" for x in times[known]])
            for ax in (speed, error):
                ax.set_xlim(0.0, min(2.0 * float(np.max(times[known])), float(t[-1])))
        speed.set_title(data)
        for ax in (speed, error):
            ax.set_xlabel("time $t$ [layers $\\times \\tau$]")
        for ax in (speed, error, switch):
            ax.grid(True)
        speed.legend()
        switch.legend()
        texts = [
            f"M = {bound:g}: T* = {float(case['switching_time']):.6g}, phi(T*) = "
            f"{float(case['rest']):.3g}, M T* = {bound * float(case['switching_time']):.4g}"
            if np.isfinite(case["switching_time"])
            else f"M = {bound:g}: not on and then off ({case.attrs['status']})"
            for bound, case in zip(bounds, group, strict=True)
        ]
        notes.append(f"{data}: {'; '.join(texts)}")
    caption = (
        "Controls that a proximal Newton method found for int phi + lambda |u| with |u| <= M "
        "(stationary, one start each), the training error along the depth, which does not vanish "
        "after T* (dotted), and T* with its own mesh, extrapolated, against M; dashed: a constant "
        "over M, through the largest M. " + ". ".join(notes) + "."
    )
    return [Picture("bang_off", caption, figure)]


@study(
    "turnpike/bang_off",
    paper=PAPER,
    figure="L1 controls",
    plot=_plot,
    cases=[
        {"data": ["line"], "bound": [1.0, 2.0, 4.0, 8.0]},
        {"data": ["xor in three dimensions"], "bound": [2.0, 4.0, 8.0, 16.0], "horizon": [8.0]},
    ],
)
def bang_off(
    data: Data = "line",
    bound: Positive = 2.0,
    horizon: Horizon = 4.0,
    per_unit: Count = 20,
    scale: Positive = 0.5,
    seed: Seed = 0,
) -> xr.Dataset:
    """When is a network under an L1 price switched off?

    min int_0^T phi(x) + lambda |u| dt with |u| <= M: any optimum moves at full speed |u| = M on
    (0, T*) and rests after that, before phi is 0 where the loss has no slope there.  By
    `ProximalNewton` on equal layers, from a start constant in time with normal entries of size
    `scale`; then T* as an unknown.

    size: |u| on each layer; error: phi at the nodes; switching_time: T*, NaN where the control
    found is not on and then off; switching_error: how much the last extrapolation changed it;
    rest: phi after T*, on the finest mesh of that search; objective: J with T*, extrapolated.
    """
    if not bound > 0.0 or not horizon > 0.0 or not 2 <= per_unit <= 1000 or not scale > 0.0:
        raise ValueError(
            f"bound, horizon and scale must be > 0 and per_unit from 2 to 1000, got {bound}, "
            f"{horizon}, {scale}, {per_unit}"
        )
    problem = posed(data, bound, horizon, round(per_unit * horizon))
    rng = np.random.default_rng(seed)
    start = problem.space.sample(
        **{b.name: scale * rng.standard_normal(b.shape) for b in problem.space.trained}
    )
    method = ProximalNewton(max_iterations=300)
    best = minimize(problem, method, initial=start, raise_on_failure=False)
    time, change, objective, control, last = np.nan, np.nan, best.objective, best.control, problem
    stepper: RungeKutta = Euler()
    try:
        found = free_switch(problem, best.control)
        time, change, objective = found.time, found.error, found.objective
        control, last, stepper = found.control, found.problem, RK4()
    except (SolveError, ValueError):
        pass  # it is not on and then off: there is no T*

    # a penalty without gradient has no run with costates
    path = discretize(replace(problem, penalty=None)).run(best.control)
    end = discretize(replace(last, penalty=None), stepper).run(control)
    size = joint_norm(problem.space.trained, best.control)
    return xr.Dataset(
        {
            "objective": described("objective", objective, "1", "J"),
            "switching_time": described("switching_time", time, "time", "T*"),
            "switching_error": described("switching_error", change, "time", "its change"),
            "rest": described("rest", errors(last, end)[-1], "1", "phi at rest"),
            "size": described("size", size, "1/time", "|u|", ("layer",)),
            "error": described("error", errors(problem, path), "1", "phi", ("time",)),
        },
        coords={"time": ("time", problem.mesh.nodes, {"units": "time", "long_name": "t"})},
        attrs={"status": best.status.name.lower()},
    )
