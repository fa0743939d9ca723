"""Loss and error against the time at which a neural ODE is stopped."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, TypeAlias, get_args

import numpy as np
import xarray as xr
from annotated_types import Ge, Le

from continuum.checks import check_count
from solvers.lyapunov import exact_loss

from ..bench.parameters import Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION, new_figure
from ..shared import described
from .digits import KAPPA, chosen, contender, digits_data
from .paper import PAPER

Stopped: TypeAlias = Literal["NODE", "MC s=3.02", "MC s=5", "path continuous", "tube"]
STYLES = {
    "NODE": (BLACK, "o", "-"),
    "MC s=3.02": (BLUE, "s", "--"),
    "MC s=5": (VERMILION, "D", "-."),
    "path continuous": (ORANGE, "^", ":"),
    "tube": (GREEN, "v", "-"),
}
ENOUGH = 0.25
"""The loss of the ledger's claim LY-23."""
NEAR = 0.01
"""How near the error at an early time must be to the last one."""


def first_below(times: np.ndarray, values: np.ndarray, level: float) -> float:
    """The first of the times (S,) at which a value (S,) is at most `level`, NaN if none is."""
    below = np.flatnonzero(values <= level)
    return float(times[below[0]]) if len(below) else np.nan


def _curves(cases: Sequence[xr.Dataset], what: str) -> dict[str, np.ndarray]:
    """Loss or error (S,) by name, means over the seeds."""
    rows: dict[str, list[np.ndarray]] = {}
    for case in cases:
        rows.setdefault(str(case_parameters(case)["name"]), []).append(case[what].values)
    return {name: np.mean(found, axis=0) for name, found in rows.items()}


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 2, width=10.2, height=4.4)
    left, right = axes[0]
    losses, errors = _curves(cases, "loss"), _curves(cases, "error")
    t, notes = cases[0]["time"].values, []
    for name, loss in losses.items():
        error = errors[name]
        color, marker, line = STYLES[name]
        style = {"color": color, "marker": marker, "linestyle": line, "label": name}
        left.semilogy(t, loss, markersize=4.5, **style)
        right.plot(t[1:], 100.0 * error[1:], markersize=4.5, **style)
        early = first_below(t, loss, ENOUGH)
        when = f"from t = {early:.2g} on" if np.isfinite(early) else "never"
        same = first_below(t, error, float(error[-1]) + NEAR)
        notes.append(
            f"{name}: loss at most {ENOUGH:g} {when}, {loss[1]:.2g} at t = {t[1]:.2g} and "
            f"{loss[-1]:.2g} at t = 1; error {100 * error[1]:.2g} % at t = {t[1]:.2g} and "
            f"{100 * error[-1]:.2g} % at t = 1, within a point of that from t = {same:.2g} on"
        )
    whole = np.linspace(0.0, 1.0, 101)
    bound = exact_loss(whole, KAPPA, 10)
    left.semilogy(whole, bound, color=PURPLE, linewidth=1.0, label=r"$\log 10\; e^{-\kappa t}$")
    left.set_ylabel("mean test loss")
    right.set_ylabel("test error [%]")
    right.set_ylim(0.0, 140.0 * max(float(np.max(error[1:])) for error in errors.values()))
    for ax in (left, right):
        ax.set_xlabel("time $t$ at which the network is stopped")
        ax.set_xlim(-0.03, 1.03)
        ax.grid(True, which="both", axis="y")
    handles = left.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=6, frameon=False)
    given = case_parameters(cases[0])
    seeds = sorted({int(case_parameters(case)["seed"]) for case in cases})
    length = f"{given['epochs']} epochs" if given["epochs"] else "the settings of digits_table"
    caption = (
        "Cross-entropy and error of the state at t on the 360 test digits, of which one is 0.28 %, "
        f"seeds {', '.join(map(str, seeds))}, {length}. {'; '.join(notes)}. "
        f"{_verdict(losses, errors)}"
    )
    return [Picture("inference_speed", caption, figure)]


def _verdict(loss: dict[str, np.ndarray], error: dict[str, np.ndarray]) -> str:
    """What stopping at the first node costs in loss and in error."""
    dear = max(100.0 * float(e[1] - e[-1]) for e in error.values())
    text = f"Stopping at the first node costs at most {dear:.2g} points of error"
    sampled = [name for name in loss if name.startswith("MC")]
    if "NODE" in loss and sampled:
        ratio = min(float(loss["NODE"][1] / loss[name][1]) for name in sampled)
        text += (
            f", while the loss of NODE is there at least {ratio:.2g} times that of Monte Carlo: "
            "the loss measures the scale of the scores"
        )
    return text + "."


@study(
    "lyanet/inference_speed",
    paper=PAPER,
    figure="3",
    plot=_plot,
    cases=[{"name": get_args(Stopped), "seed": [0, 1, 2]}],
)
def inference_speed(
    name: Stopped = "MC s=5", epochs: Annotated[int, Ge(0), Le(1000)] = 0, seed: Seed = 0
) -> xr.Dataset:
    """Does a Lyapunov loss let a neural ODE be stopped early?

    eta' = f(eta, x, t), eta(0) = 0 in R^10, on scikit-learn's digits, trained as in `digits_table`:
    loss, error: mean cross-entropy of eta(t), and the share of test points whose largest entry of
    eta(t) is another than the label's, at the ends of the ten layers.  At t = 0 all entries are
    equal and say nothing; the error there is that of an undecided network.

    epochs : of Adam; 0 for those of the committed settings, 40 or 60
    """
    check_count("epochs", epochs, 0)
    settings = replace(chosen(name), epochs=epochs) if epochs else chosen(name)
    data = digits_data(seed)
    trained = contender(name, data, seed, settings)
    times, loss, right = trained.along(data.test, data.test_labels)
    return xr.Dataset(
        {
            "loss": described("loss", np.mean(loss, axis=1), "1", "test loss", ("time",)),
            "error": described("error", np.mean(~right, axis=1), "1", "test error", ("time",)),
            "seconds": described("seconds", trained.seconds, "s", "of the processor"),
        },
        coords={"time": ("time", times, {"units": "time", "long_name": "t"})},
    )
