"""Digits: what training by Lyapunov losses attains, and Grönwall's bound on trained networks
(LY-22, LY-08).
"""

from collections.abc import Mapping

import numpy as np

from ...bench.registry import claim
from ...datasets import Samples
from ..digits import Contender, ContenderName, Settings, contender, digits_data
from .common import PAPER

SEEDS = (0, 1, 2)
EPOCHS: Mapping[ContenderName, int] = {
    "NODE": 40,
    "MC s=3.02": 60,
    "MC s=5": 60,
    "MC s=15": 60,
    "path continuous": 40,
    "path discrete": 40,
    "tube": 40,
}
STEP = 5e-3
"""The ledger's epochs and step."""
MONTE_CARLO = ("MC s=3.02", "MC s=5", "MC s=15")
KEEPING = ("tube", "path continuous", "path discrete")


def trained(
    name: ContenderName,
    data: Samples,
    seed: int,
    epochs: int,
    hidden: tuple[int, ...] | None = None,
) -> Contender:
    """A contender with the ledger's step; hidden : widths in place of its own."""
    return contender(name, data, seed, Settings(STEP, epochs), hidden)


def nominal(name: ContenderName, epochs: int) -> tuple[float, float]:
    """Test error and share of test points that keep the rate, in percent, means over SEEDS."""
    rows = []
    for seed in SEEDS:
        data = digits_data(seed)
        found = trained(name, data, seed, epochs)
        *_, right = found.along(data.test, data.test_labels)
        kept = found.audited(data.test, data.test_labels).meeting.value
        rows.append([1.0 - np.mean(right[-1]), kept])
    error, kept = 100.0 * np.mean(rows, axis=0)
    return float(error), float(kept)


@claim(
    "LY-22",
    statement="Digits (A6), three seeds: test errors of NODE, path and tube at most 4.5 %, of "
    "Monte Carlo at most 7 %; tube and path keep V(t) <= V(0) exp(-kappa t) on at least 80 % of "
    "the test points, and on more than NODE.  No order of robustness is stated.",
    paper=PAPER,
    references={
        **{f"{n}: test error [%]": 3.5 if n in MONTE_CARLO else 2.25 for n in EPOCHS},
        **{f"{n}: keeps the rate [%]": 90.0 for n in KEEPING},
        **{f"{n}: keeps the rate, less NODE [points]": 50.0 for n in KEEPING},
    },
    tolerance={
        **{f"{n}: test error [%]": 3.5 if n in MONTE_CARLO else 2.25 for n in EPOCHS},
        **{f"{n}: keeps the rate [%]": 10.0 for n in KEEPING},
        **{f"{n}: keeps the rate, less NODE [points]": 50.0 - 1e-9 for n in KEEPING},
    },
    reason="the ledger accepts intervals: errors from 0 to 4.5 or 7 %, shares from 80 to 100 %, "
    "differences above 0; references are their middles",
    slow=True,
)
def attained() -> dict[str, float]:
    """Means over three seeds of split, start, batches and states, by the ledger's settings."""
    found = {name: nominal(name, epochs) for name, epochs in EPOCHS.items()}
    own = found["NODE"][1]
    return {
        **{f"{n}: test error [%]": error for n, (error, _) in found.items()},
        **{f"{n}: keeps the rate [%]": found[n][1] for n in KEEPING},
        **{f"{n}: keeps the rate, less NODE [points]": found[n][1] - own for n in KEEPING},
    }


STEPS = 20
"""Per layer, 200 on [0, 1]."""
SHORT = 10
"""Epochs."""
PRINTED: Mapping[ContenderName, tuple[float, float]] = {
    "path continuous": (0.195, 0.229),
    "MC s=3.02": (0.495, 0.513),
    "NODE": (0.164, 0.204),
}
"""Mean V(1), and the mean of the bound."""


@claim(
    "LY-08D",
    statement="Grönwall's bound V(1) <= exp(-kappa) V(0) + int exp(-kappa (1 - s)) max(0, r) ds on "
    "digits, networks of one hidden layer after ten epochs: no test point is above it, and the "
    "means are the ledger's.",
    paper=PAPER,
    references={
        **{f"{n}: mean V(1)": v for n, (v, _) in PRINTED.items()},
        **{f"{n}: mean bound": b for n, (_, b) in PRINTED.items()},
        **{f"{n}: largest excess, or 0": 0.0 for n in PRINTED},
    },
    tolerance={
        **{f"{n}: mean V(1)": 0.2 * v for n, (v, _) in PRINTED.items()},
        **{f"{n}: mean bound": 0.2 * b for n, (_, b) in PRINTED.items()},
        **{f"{n}: largest excess, or 0": 1e-3 for n in PRINTED},
    },
    reason="means depend on the random numbers, the ledger gives them to 20 %; 1e-3 is the "
    "trapezoid rule's share on 200 steps, where max(0, r) has kinks",
    slow=True,
)
def groenwall() -> dict[str, float]:
    """Seed 0.  The ledger does not give the network: with the two layers of its table the means are
    a third lower, with one they are these.
    """
    answer, data = {}, digits_data(0)
    for name in PRINTED:
        network = trained(name, data, 0, SHORT, hidden=(64,))
        found = network.audited(data.test, data.test_labels, STEPS)
        last = found.values[-1]
        answer[f"{name}: mean V(1)"] = float(np.mean(last))
        answer[f"{name}: mean bound"] = found.mean_bound
        answer[f"{name}: largest excess, or 0"] = max(0.0, float(np.max(last - found.bounds)))
    return answer
