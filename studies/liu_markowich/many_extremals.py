"""One problem, several controls that satisfy the maximum principle: which of them are minima, and
who finds them.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from continuum import Control, LearningProblem
from solvers import LBFGS, RK4, Extremal, Multistart, discretize, multistart, shoot, symmetries

from ..bench.parameters import Count, Seed
from ..bench.registry import Picture, study
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER, boxed, pushed

NAMES = ("switching", "singular arc", "mirror image")
COLORS = (BLUE, ORANGE, GREEN)
LINES, MARKERS = ("-", "--", "-."), "osD"


def extremals(problem: LearningProblem) -> list[Extremal]:
    """The three of LM-55, in the order of NAMES."""
    return [shoot(problem, initial=pushed(problem, [1.0, side])) for side in (1.0, 0.0, -1.0)]


def corners(found: Sequence[Extremal]) -> np.ndarray:
    """(extremal, S, 2): f at the ends of the steps, switches among them, the last repeated to equal
    length.
    """
    most = max(len(one.state.times) for one in found)
    return np.stack(
        [
            np.pad(one.state.states[:, :, 0], ((0, most - len(one.state.times)), (0, 0)), "edge")
            for one in found
        ]
    )


def table(found: Multistart) -> tuple[np.ndarray, np.ndarray]:
    """Objectives of the clusters, the lowest first, and how many starts led to each."""
    return np.array([c.best.objective for c in found.clusters]), np.array(
        [c.count for c in found.clusters]
    )


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for n, case in enumerate(cases):
        figure, axes = new_figure(1, 3, width=12.6, height=4.3)
        ax = axes[0, 0]
        ax.plot(case["along"], case["landscape"], color=BLACK)
        for x, (marker, color, y) in enumerate(
            zip(MARKERS, COLORS, case["landscape_at"].values, strict=True)
        ):
            ax.plot(x, y, marker, color=color, markersize=8)
        ax.set_xticks([0, 1, 2], ["switching", "singular", "mirror"])
        ax.margins(x=0.12)
        ax.set_xlabel("along the segments of controls")
        ax.set_ylabel("objective $J$")
        ax.set_title("a ridge between two minima")
        ax.grid(True)
        ax = axes[0, 1]
        for k, (name, color) in enumerate(zip(NAMES, COLORS, strict=True)):
            style = {"linestyle": LINES[k], "marker": MARKERS[k], "markevery": [-1]}
            ax.plot(*case["path"].values[k].T, color=color, label=name, **style)
        ax.plot(*case.attrs["target"], "*", color=VERMILION, markersize=13, label="target")
        ax.set_xlabel("block 1, $f_1$")
        ax.set_ylabel("block 2, $f_2$")
        ax.set_title("states of the two blocks")
        ax.grid(True)
        handles, labels = ax.get_legend_handles_labels()
        ax = axes[0, 2]
        plain, folded = case["clusters"].values, case["folded_clusters"].values
        for k, (value, color) in enumerate(zip(case["objective"].values, COLORS, strict=True)):
            # dashes in the gaps of each other: two extremals have the same J
            ax.axhline(value, color=color, linewidth=1.4, linestyle=(2.0 * k, (4.0, 4.0)))
        for values, counts, x in (
            (plain, case["counts"].values, 0),
            (folded, case["folded_counts"].values, 1),
        ):
            for rank, (value, count) in enumerate(zip(values, counts, strict=True)):
                twins = np.flatnonzero(np.abs(values[:rank] - value) < 1e-6)
                at = x + 0.18 * len(twins)
                ax.plot(at, value, "o", color=BLACK, markersize=8)
                ax.annotate(
                    f"{int(count)}",
                    (at, value),
                    xytext=(0, 8),
                    textcoords="offset points",
                    ha="center",
                )
        ax.set_xticks([0, 1], ["as they are", "up to\nsign flips"])
        ax.set_xlim(-0.5, 1.5)
        ax.set_xlabel("ends counted")
        ax.set_ylabel("objective $J$")
        ax.margins(y=0.2)
        ax.set_title("ends of descents; numbers count starts")
        ax.grid(True, axis="y")
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        rows = "; ".join(
            f"{k + 1}. J = {value:.7f} from {int(count)} starts"
            for k, (value, count) in enumerate(
                zip(folded, case["folded_counts"].values, strict=True)
            )
        )
        shot = ", ".join(
            f"{name} {float(j):.9f}"
            for name, j in zip(NAMES, case["objective"].values, strict=True)
        )
        switching = float(case["switching_time"])
        caption = (
            f"Extremals by shooting: {shot}; block 2 switches at {switching:.9f}. Descents on "
            f"{case.attrs['layers']} "
            f"layers, ranked, up to the sign of block 2: {rows}. Without that symmetry there are "
            f"{len(plain)} ends. "
            "The zero control never leaves the singular arc, which is no minimum. Dashed lines are "
            "at J of the extremals. "
            f"{int(case['failed'])} starts did not converge."
        )
        pictures.append(
            Picture("extremals" if len(cases) == 1 else f"extremals_{n}", caption, figure)
        )
    return pictures


@study("liu_markowich/many_extremals", paper=PAPER, figure="Section 4.2", plot=_plot)
def many_extremals(
    target: float = 6.0, layers: Count = 40, starts: Count = 10, seed: Seed = 0, points: Count = 41
) -> xr.Dataset:
    """The maximum principle has several solutions, and only some are minima (LM-55).

    minimise |f(T) - (target, 0)|^2 / 2 over -1 <= a, b <= 1, f_t = a - Bf on two halves of (0, 1),
    f(0) = 0, T = 2. With block 2 at rest f_1 = 2 (e^t - 1) cannot be exceeded by block 1 alone;
    pushing block 2 either way and back speeds block 1 up.  Changing the sign of block 2 changes
    nothing in J.

    objective, path: of the three extremals, by shooting; landscape: J (RK4, `layers`) along the
    segments switching -> singular -> mirror image of their controls averaged over layers; clusters,
    counts: ends of L-BFGS from zero and from `starts` - 1 random controls, the lowest first;
    folded_...: the same up to the sign of block 2; failed: how many did not converge.
    """
    if not 6 <= layers <= 400 or not 2 <= starts <= 200 or points < 3:
        raise ValueError(
            f"layers must be from 6 to 400, starts from 2 to 200, points >= 3, got {layers}, "
            f"{starts}, {points}"
        )
    problem = boxed([0.0, 0.0], [target, 0.0], horizon=2.0, layers=layers)
    objective = discretize(problem, RK4())
    found = extremals(problem)
    shares = np.linspace(0.0, 2.0, points)
    ends = [one.value if isinstance(one.value, Control) else problem.space.zeros() for one in found]

    def between(s: float) -> float:
        n = min(int(s), 1)
        return objective.value(ends[n] * (1.0 - (s - n)) + ends[n + 1] * (s - n))

    rng = np.random.default_rng(seed)
    begins = [problem.space.zeros(), *(problem.space.random(rng) for _ in range(starts - 1))]
    method = LBFGS(gtol=1e-6, max_iterations=2000)
    plain = multistart(objective, method, begins, rtol=1e-2)
    ends_found = [cluster.best.control for cluster in plain.clusters]
    # the ends of the first runs are minimisers already: their counts carry over to the clusters up
    # to symmetry
    folded = multistart(objective, method, ends_found, symmetries=symmetries(problem), rtol=1e-2)
    values, counts = table(plain)
    folded_values = np.array([c.best.objective for c in folded.clusters])
    folded_counts = np.array([sum(counts[i] for i in c.starts) for c in folded.clusters])
    return xr.Dataset(
        {
            "objective": described(
                "objective", [one.objective for one in found], "1", "J", ("extremal",)
            ),
            "switching_time": described(
                "switching_time", found[0].switching_times()[0], "time", "block 2 turns"
            ),
            "final": described(
                "final",
                [one.state.final[:, 0] for one in found],
                "1",
                "f(T)",
                ("extremal", "block"),
            ),
            "path": described(
                "path", corners(found), "1", "f along the extremals", ("extremal", "step", "block")
            ),
            "landscape": described(
                "landscape", [between(s) for s in shares], "1", "J along segments", ("along",)
            ),
            "landscape_at": described(
                "landscape_at", [between(s) for s in range(3)], "1", "J there", ("extremal",)
            ),
            "clusters": described("clusters", values, "1", "J of the minimisers", ("cluster",)),
            "counts": described("counts", counts, "1", "starts", ("cluster",)),
            "folded_clusters": described(
                "folded_clusters", folded_values, "1", "J up to symmetry", ("folded",)
            ),
            "folded_counts": described("folded_counts", folded_counts, "1", "starts", ("folded",)),
            "failed": described("failed", len(plain.failed), "1", "starts that did not converge"),
        },
        coords={
            "along": (
                "along",
                shares,
                {"units": "1", "long_name": "0 switching, 1 singular, 2 mirror image"},
            )
        },
        attrs={"target": [target, 0.0], "layers": layers},
    )
