"""Laws and plain descents on one perceptron, from one start."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from continuum import Control, LearningProblem
from solvers.finite_time import Law, settling_bound
from solvers.finite_time.laws import Moment
from solvers.finite_time.plants import plant_of

from ..shared import described
from .courses import Course, course, first_below, law_of
from .drawing import log_spaced, names_of, sampled

UNITS = {"threshold": "epochs", "threshold_seconds": "s", "rises": "steps", "seconds": "s"}


def five_laws(
    samples: int, gain: float, alpha: float, betas: tuple[float, float]
) -> dict[str, Law]:
    """Law (13) with two beta, and plain descents, of means over the samples."""
    laws = {f"law (13), beta = {b:g}": law_of("law (13)", samples, gain, alpha, b) for b in betas}
    return {
        **laws,
        "L1": law_of("L1", samples, gain),
        "L2": law_of("L2", samples, gain),
        "E": law_of("E", samples, gain, alpha),
    }


def compared(
    known: LearningProblem,
    unseen: LearningProblem,
    start: Control,
    laws: Mapping[str, Law],
    epochs: int,
    level: float,
    alpha: float,
    every: int = 10,
) -> tuple[xr.Dataset, list[Control]]:
    """Root mean squares of the errors along the epochs, explicit steps of length 1.

    level : of the training, up to which epochs are counted;  every : how often errors are looked at
    laws : the first of which is compared with "E" at the start and at its own end, see `push`
    train, test: (method, epoch); final_...: at the end; threshold: epochs until the level, NaN if
    never; threshold_seconds: its seconds; rises: steps in which the method's own loss rose;
    seconds: of the run, looks included.
    returns them, and the last controls
    """
    moments = log_spaced(epochs, every)
    columns: dict[str, list] = {}
    details, controls = [], []
    first, descent = next(iter(laws.values())), laws["E"]
    pushes = [push(known, start, first, descent)]
    plant, others = plant_of(known), plant_of(unseen)
    for law in laws.values():
        run = course(plant, law, epochs, start=start, test=others, every=every, alpha=alpha)
        for name, value in (
            ("train", sampled(run, "rms", moments)),
            ("test", sampled(run, "test_rms", moments)),
            ("final_train", run.seen["rms"][-1]),
            ("final_test", run.seen["test_rms"][-1]),
            ("threshold", first_below(run, "rms", level)),
            ("threshold_seconds", _seconds_at(run, first_below(run, "rms", level))),
            ("rises", run.rises),
            ("seconds", run.seconds[-1]),
        ):
            columns.setdefault(name, []).append(value)
        details.append(run.detail)
        controls.append(run.control)
        if law is first:
            pushes.append(push(known, run.control, first, descent))
    answer = xr.Dataset(
        {
            name: described(
                name,
                np.array(values),
                UNITS.get(name, "1"),
                name,
                ("method", "epoch") if name in ("train", "test") else ("method",),
            )
            for name, values in columns.items()
        }
        | {"push": described("push", np.array(pushes), "1", "law over descent", ("end",))},
        coords={
            "method": ("method", list(laws)),
            "epoch": ("epoch", moments, {"units": "epochs", "long_name": "epoch"}),
        },
        attrs={"details": " | ".join(details)},
    )
    return answer, controls


def why_no_bound(problem: LearningProblem, start: Control, law: Law) -> str:
    """The settling time that is known before the run, or the reason why there is none."""
    try:
        bound = settling_bound(problem, start, law)
    except ValueError as error:
        return str(error)
    return bound.reason if bound.time is None else f"T <= {bound.time:.4g}: {bound.reason}"


def sentences(cases: Sequence[xr.Dataset], level: float) -> str:
    """The numbers, method by method: means over the cases, of epochs the range."""
    rows = []
    for k, name in enumerate(names_of(cases[0])):
        train, test, rises, seconds = (
            np.mean([case[what].values[k] for case in cases])
            for what in ("final_train", "final_test", "rises", "seconds")
        )
        reached = np.sort([case["threshold"].values[k] for case in cases])  # NaN last
        ends = [f"{n:.0f}" if np.isfinite(n) else "never" for n in reached[[0, -1]]]
        rows.append(
            f"{name}: {train:.3f}/{test:.3f}, {level:g} after {' to '.join(dict.fromkeys(ends))}, "
            f"rises {rises:.0f}, {seconds:.1f} s"
        )
    return "; ".join(rows)


def _seconds_at(run: Course, epoch: float) -> float:
    return float(run.seconds[run.epochs == epoch][0]) if np.isfinite(epoch) else float("nan")


def outputs(problem: LearningProblem, control: Control) -> np.ndarray:
    """o (P, M)."""
    plant = plant_of(problem)
    return plant.outputs(plant.space.flatten(control)).reshape(-1, plant.samples)


def push(problem: LearningProblem, control: Control, law: Law, descent: Law) -> float:
    """The length of a law's update over that of a plain descent, at one place."""
    plant = plant_of(problem)
    w = plant.space.flatten(control)
    e = plant.errors(w)
    at = Moment(w, e, plant, plant, w, e)
    return float(np.linalg.norm(law.velocity(at)) / np.linalg.norm(descent.velocity(at)))
