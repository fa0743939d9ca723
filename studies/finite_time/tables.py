"""Tables 1 to 4 of the paper, beside what is computed here."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from continuum.checks import check_count, check_positive
from solvers.finite_time import neuron
from solvers.finite_time.plants import plant_of

from ..bench.parameters import Count, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import Dataset, boston_housing
from ..draw.figures import BLACK, new_figure
from ..shared import described
from .boston import LEVEL as HOUSES_LEVEL
from .courses import Method, course, law_of
from .drawing import STYLES, legend
from .housing import learned
from .iris import LEVEL, accuracy, flowers
from .paper import PAPER
from .printed import ROWS

COLUMNS = ("L1", "L2", "E", "law")
"""Plain descents, and law (3) for one neuron, law (13) for networks."""
GAINS = {"single neuron, Iris": 0.01, "k = 0.001": 0.001, "k = 0.005": 0.005, "k = 0.01": 0.01}
SHARES = {"MLP, Boston": 0.0, "M = 0.1": 0.1, "M = 0.2": 0.2, "M = 0.3": 0.3}
NAMES: dict[str, Method] = {"L1": "L1", "L2": "L2", "E": "E", "law": "law (3)"}


def one_neuron(gain: float, seed: int) -> np.ndarray:
    """(column, 3): epochs and seconds until the mean of |e| is LEVEL, and the test accuracy there.

    Setosa and versicolor, z-scored, 80 for the training.
    """
    inputs, labels, unseen, truth = flowers("setosa, z-scored", seed)
    plant, rows = plant_of(neuron(inputs, labels)), []
    for column in COLUMNS:
        law = law_of(NAMES[column], len(labels), gain)
        run = course(plant, law, 30_000, enough=LEVEL)
        rows.append((run.epochs[-1], run.seconds[-1], accuracy(run, unseen, truth)))
    return np.array(rows, dtype=float)


def houses(share: float, epochs: int, seed: int) -> np.ndarray:
    """(column, 3): epochs and seconds until the root mean square of the training is
    HOUSES_LEVEL, and that of the test at the end; inputs x + Delta, Delta uniform in |Delta_i| <=
    share |x_i|.
    """
    table = boston_housing()
    rng = np.random.default_rng(seed)
    noise = share * rng.uniform(-1.0, 1.0, table.inputs.shape)
    noisy = Dataset(table.inputs * (1.0 + noise), table.labels, table.description, table.columns)
    found = learned(noisy, epochs, 20, 0.02, 0.68, (0.1, 0.3), HOUSES_LEVEL, seed)
    rows = np.stack(
        [found[name].values for name in ("threshold", "threshold_seconds", "final_test")], axis=1
    )
    names = [str(name) for name in found["method"].values]
    return rows[[*(names.index(name) for name in COLUMNS[:3]), 0]]


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    case = cases[0]
    figure, axes = new_figure(1, 3, width=13.0, height=4.4)
    left, middle, right = axes[0]
    place = [k for k, row in enumerate(ROWS) if row.table == 2]
    gains = np.array([GAINS[ROWS[k].name] for k in place])
    for name, column in zip(COLUMNS, np.moveaxis(case["found"].values[place], 1, 0), strict=True):
        color, line = STYLES[NAMES[name]]
        left.loglog(
            gains, column[:, 0], "o", ls=line, color=color, label=f"{legend(NAMES[name])}, here"
        )
        middle.loglog(gains, column[:, 1], "o", ls=line, color=color)
    left.loglog(gains, [ROWS[k].bound for k in place], "k^-", label="printed bound")
    left.axhline(600.0, color="#777777", linewidth=1.0, label="end of the paper's runs")
    for k, name in enumerate(("L1", "L2", "law (3)")):
        color = STYLES[name][0]
        seconds = [ROWS[row].seconds[k] for row in place]
        middle.loglog(gains, seconds, "s", ls="", mfc="none", color=color)
    middle.plot([], [], "s", mfc="none", color=BLACK, label="printed")
    middle.plot([], [], "o", color=BLACK, label="here")
    _perturbed(right)
    for ax, name in ((left, "epochs, or pseudo-time"), (middle, "seconds")):
        ax.set_xlabel("gain $k$")
        ax.set_xticks(gains, [f"{gain:g}" for gain in gains])
        ax.set_xticks([], minor=True)
        ax.set_ylabel(f"{name}")
    left.set_title("Table 2: pseudo-time")
    middle.set_title("Table 2: seconds")
    for ax in axes[0]:
        ax.grid(True)
    middle.legend(fontsize=8.5)
    right.legend(fontsize=8.5, loc="lower left")
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower left", ncols=6, frameon=False
    )
    printed = [ROWS[k] for k in place]
    constant = [gain * row.bound for gain, row in zip(gains, printed, strict=True)]
    products = [float(r.name[4:]) ** 1.8 * r.bound for r in ROWS if r.table == 4]
    parameters = case_parameters(case)
    caption = (
        "Printed bounds are pseudo-time, one unit for an epoch; printed runs are seconds of "
        "another computer. Left: the bounds with the epochs until the mean of |e| is "
        f"{LEVEL:g}, here; the paper's runs end after 600 epochs, before its bounds. k T is "
        f"{min(constant):.6f} to {max(constant):.6f}: one constant for all k. Right: T M^1.8 is "
        + ", ".join(f"{product:.4g}" for product in products)
        + ", so the bounds fall with the perturbation, where (22) of the paper rises, as does 1 / "
        "(1 - M) of the corrected condition. No settling time is known for Iris or Boston, where "
        "samples exceed weights. Table 3 and IMDB-Wiki are not reproducible here: california "
        "stands for Table 3. Epochs, seconds and test metrics here, "
        f"{parameters['epochs']} epochs at most for Boston until its root mean square is "
        f"{HOUSES_LEVEL:g}, seed {parameters['seed']}, L1, L2, E plain descents: "
        + "; ".join(_row(k, case["found"].values[k]) for k in range(len(ROWS)))
        + "."
    )
    return [Picture("tables", caption, figure)]


def _perturbed(ax: Axes) -> None:
    rows = [row for row in ROWS if row.table == 4]
    shares = np.array([SHARES[row.name] for row in rows])
    bounds = np.array([row.bound for row in rows])
    line = np.linspace(0.08, 0.35, 50)
    ax.loglog(shares, bounds / bounds[0], "k^", label="printed bound")
    ax.loglog(line, (line / shares[0]) ** -1.8, "k:", label="$M^{-1.8}$")
    growth = (1.0 - shares[0]) / (1.0 - line)
    ax.loglog(line, growth, color=STYLES["law (3)"][0], label="corrected, $1 / (1 - M)$")
    ax.set_xticks(shares, [f"{share:g}" for share in shares])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("bound $M$ of the perturbation")
    ax.set_ylabel("time over that of $M = 0.1$")
    ax.set_title("Table 4: bounds")


def _row(k: int, found: np.ndarray) -> str:
    row = ROWS[k]
    name = f"Table {row.table}, {row.name}"
    if not np.isfinite(found[:, 2]).any():
        return f"{name}: not computed"
    parts = []
    for title, (epochs, seconds, metric) in zip(COLUMNS, found, strict=True):
        count = f"{epochs:.0f} epochs, {seconds:.2g} s" if np.isfinite(epochs) else "not reached"
        parts.append(f"{title} {count}, {row.metric} {metric:.3g}")
    return f"{name}: " + ", ".join(parts)


@study("finite_time/tables", paper=PAPER, figure="Tables 1 to 4", plot=_plot)
def tables(epochs: Count = 1000, seed: Seed = 1) -> xr.Dataset:
    """What do the printed times mean, and what are those of the same tasks here?

    Iris: setosa and versicolor, z-scored, 80 for the training, until the mean of |e| is 0.1.
    Boston: 13-20-1 tanh, `epochs` epochs, until the root mean square of the training is 0.1, with
    random perturbations of the inputs for Table 4.  Splits and starts by seed.

    found: (row, column, what), epochs, seconds, and the metric of the test; NaN where a level is
    not reached, and in the row of IMDB-Wiki.
    raises DataError, which says what to do, if the data of Boston cannot be had
    """
    check_count("epochs", epochs)
    found = np.full((len(ROWS), len(COLUMNS), 3), np.nan)
    known = {name: one_neuron(check_positive("gain", k), seed) for name, k in GAINS.items()}
    known |= {name: houses(share, epochs, seed) for name, share in SHARES.items()}
    for k, row in enumerate(ROWS):
        found[k] = known.get(row.name, found[k])
    return xr.Dataset(
        {
            "found": described(
                "found", found, "epochs, s, 1", "epochs, seconds, metric", ("row", "column", "what")
            )
        },
        coords={
            "row": ("row", [f"Table {row.table}, {row.name}" for row in ROWS]),
            "column": ("column", list(COLUMNS)),
            "what": ("what", ["epochs", "seconds", "metric"]),
        },
    )
