"""What trained fields do: rings (LY-21) and where a network may be stopped (LY-23)."""

import numpy as np

from ...bench.registry import claim
from ..digits import ContenderName, digits_data
from ..planar import Contender, measures, plane, train
from .common import PAPER
from .digits import EPOCHS, SEEDS, trained

LENGTH = 286
"""2002 steps with batches of 64 of 400 points."""
SAMPLED: tuple[Contender, ...] = ("MC s=3", "MC s=1.49")
LOCAL: tuple[Contender, ...] = ("NODE", "path continuous", "path discrete")
BANDS = {
    "largest test error": (0.0, 0.01),
    "least basin, Monte Carlo": (0.95, 1.0),
    "largest basin, NODE and path": (0.0, 0.75),
    "largest ratio of widths, NODE to Monte Carlo": (0.0, 0.25),
}
"""What the ledger accepts."""
STOPPED_NAMES: tuple[ContenderName, ...] = ("NODE", "MC s=3.02", "MC s=5")
STOPPED = {
    "MC s=5: loss at t = 0.1": (0.0, 0.25),
    "MC s=3.02: loss at t = 0.2": (0.0, 0.25),
    "NODE: loss at t = 0.5": (0.0, 0.25),
    "NODE: error at t = 0.1": (0.03, 0.05),
}


@claim(
    "LY-21",
    statement="On rings, Monte Carlo training makes one basin of the cube and a boundary at least "
    "four times as wide as end-point training; path training makes no such basin.",
    paper=PAPER,
    references={name: 0.5 * (low + high) for name, (low, high) in BANDS.items()},
    tolerance={name: 0.5 * (high - low) for name, (low, high) in BANDS.items()},
    reason="the intervals that the ledger accepts, at the worst of three seeds; that a ratio is at "
    "least four says that its inverse lies in [0, 1/4]",
    slow=True,
)
def basins_of_rings() -> dict[str, float]:
    """Errors and basins of all five contenders of the ledger's table, 2000 steps each."""
    found: dict[Contender, list[dict[str, float]]] = {name: [] for name in (*SAMPLED, *LOCAL)}
    for seed in SEEDS:
        data = plane("rings", 400, seed)
        for name, rows in found.items():
            fitted = train(name, data, epochs=LENGTH, kappa=3.0, width=32, centred=False, seed=seed)
            rows.append(measures(fitted, data, 3.0, seed))
    ratios = [
        narrow["width"] / wide["width"]
        for name in SAMPLED
        for narrow, wide in zip(found["NODE"], found[name], strict=True)
    ]
    return {
        "largest test error": max(row["error"] for rows in found.values() for row in rows),
        "least basin, Monte Carlo": min(row["basin"] for name in SAMPLED for row in found[name]),
        "largest basin, NODE and path": max(row["basin"] for name in LOCAL for row in found[name]),
        "largest ratio of widths, NODE to Monte Carlo": max(ratios),
    }


@claim(
    "LY-23",
    statement="On digits the test loss of Monte Carlo training falls early, that of end-point "
    "training late, but the error of the latter is small early, too.",
    paper=PAPER,
    references={name: 0.5 * (low + high) for name, (low, high) in STOPPED.items()},
    tolerance={name: 0.5 * (high - low) for name, (low, high) in STOPPED.items()},
    reason="the intervals that the ledger gives, for means over test points and three seeds",
    slow=True,
)
def losses_along_the_way() -> dict[str, float]:
    """Trained with the ledger's settings."""
    rows: dict[str, list[float]] = {name: [] for name in STOPPED}
    for seed in SEEDS:
        data = digits_data(seed)
        curves = {
            str(name): trained(name, data, seed, EPOCHS[name]).along(data.test, data.test_labels)
            for name in STOPPED_NAMES
        }
        for what, row in rows.items():
            name, rest = what.split(": ")
            times, loss, right = curves[name]
            node = int(np.argmin(np.abs(times - float(rest.split()[-1]))))
            row.append(float(np.mean((loss if "loss" in rest else ~right)[node])))
    return {what: float(np.mean(row)) for what, row in rows.items()}
