"""How fast products of numbers converge from w_i = 1: Propositions 2 and 3."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from continuum import Control, LearningProblem
from continuum.checks import check_count, check_number, check_positive
from solvers import FixedStep, Monitor, Record, minimize
from solvers.linear_networks import (
    deep_linear,
    linear_start,
    monotone_rate,
    monotone_step,
    vanishing_step,
)

from ..bench.parameters import Count, NonNegative
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER

COLORS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE)


def trained(
    problem: LearningProblem, step: float, iterations: int, start: Control
) -> tuple[np.ndarray, np.ndarray]:
    """(K + 1, L) |w_i[k]| and (K + 1,) the loss, K <= iterations."""
    records = [
        Record(f"w_{i}", lambda snapshot, i=i: float(abs(1.0 + snapshot.state[i])))
        for i in range(problem.mesh.layers)
    ]
    run = minimize(
        problem,
        FixedStep(step, gtol=1e-300, max_iterations=iterations),
        initial=start,
        monitors=[Monitor(record) for record in records],
        raise_on_failure=False,
    )
    return np.stack([record.values for record in records], axis=1), run.history["objective"]


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(2, 2, width=11.0, height=8.4)
    depths = sorted({int(case_parameters(case)["layers"]) for case in cases})
    looks = {
        depth: {"color": color, "marker": marker, "markersize": 4.5}
        for depth, color, marker in zip(depths, cycle(COLORS), cycle("osD^v"), strict=False)
    }
    positive = sorted({_eigenvalue(case) for case in cases if _eigenvalue(case) > 0}, reverse=True)
    for ax, lam in zip(axes[0], positive, strict=False):
        for case in (case for case in cases if _eigenvalue(case) == lam):
            layers = int(case_parameters(case)["layers"])
            _with_bound(ax, case, looks[layers] | {"markevery": (3 * depths.index(layers), 15)})
        ax.plot([], [], "--", color=BLACK, label="bound of Proposition 2")
        ax.set_yscale("log")
        ax.set(xlim=(0, 120), ylim=(1e-14, 3.0), xlabel="iteration k")
        ax.set_title(f"$\\lambda$ = {lam:g}, step {_share(cases[0]):g} $\\delta_c$")
        ax.legend(fontsize=8, loc="upper right" if lam > 1 else "lower left")
    axes[0][0].set_ylabel("$|w[k] - \\lambda^{1/L}|$")
    left, right = axes[1]
    negative = [case for case in cases if _eigenvalue(case) < 0]
    for case in negative:
        layers = int(case_parameters(case)["layers"])
        look, color = looks[layers], looks[layers]["color"]
        k = case["iteration"]
        label, apart = f"L = {layers}", 0.03 * depths.index(layers)
        left.loglog(k[1:], case["weight"][1:], **look, markevery=(apart, 0.15), label=label)
        left.loglog(k[1:], case["law"][1:], "--", color=color, linewidth=0.9)
        loss = np.maximum(case["signed_loss"], 1e-32)
        right.semilogy(k, loss, color=color)
        mirror = np.maximum(case["mirror_loss"], 1e-32)
        places = slice(2 * depths.index(layers), None, 12)
        hollow = look | {"fillstyle": "none", "linestyle": "none", "label": label}
        right.semilogy(k[places], mirror[places], **hollow)
    left.plot([], [], "--", color=BLACK, label="law of decay")
    left.set(xlabel="iteration k", ylabel="$|w[k]|$", ylim=(1e-8, 2.0))
    left.legend(fontsize=8, loc="lower left")
    right.plot([], [], color=BLACK, label="one $w_i = -1$; marks: $|\\lambda|$, identity")
    right.set(xlim=(0, 120), ylim=(1e-32, 10.0), xlabel="iteration k", ylabel="loss")
    right.legend(fontsize=8, loc="upper right")
    if negative:
        lam = _eigenvalue(negative[0])
        left.set_title(f"$\\lambda$ = {lam:g}, from the identity: to 0")
        right.set_title(f"$\\lambda$ = {lam:g}, one $w_i = -1$ at the start")
    return [Picture("scalar_convergence", _caption(cases), figure)]


def _eigenvalue(case: xr.Dataset) -> float:
    return float(case_parameters(case)["eigenvalue"])


def _share(case: xr.Dataset) -> float:
    return float(case_parameters(case)["share"])


def _with_bound(ax: Axes, case: xr.Dataset, look: dict) -> None:
    away = np.maximum(np.abs(case["weight"] - float(case["limit"])), 1e-17)
    layers = int(case_parameters(case)["layers"])
    label = f"L = {layers}: $\\rho$ = {float(case['rate']):.3f}, late {float(case['late']):.3f}"
    ax.plot(case["iteration"], away, **look, label=label)
    ax.plot(case["iteration"], case["law"], "--", color=look["color"], linewidth=0.9)


def _caption(cases: Sequence[xr.Dataset]) -> str:
    positive = [case for case in cases if _eigenvalue(case) > 0]
    negative = [case for case in cases if _eigenvalue(case) < 0]
    above = max((float(case["above"]) for case in positive), default=np.nan)
    words = [
        "Gradient descent of a product of L numbers against lambda. Above: the distance of w_i "
        "from lambda^(1/L), all w_i = 1 at the start, and the bound rho^k |1 - lambda^(1/L)|, "
        f"which no iterate exceeds by more than {max(above, 0.0):.1e} of it while it is above "
        "1e-12. The late factor is 1 - delta sigma L lambda^(2(L-1)/L): that of the bound for "
        "lambda < 1, better for lambda > 1, where rho is the first step's, 1 - delta sigma "
        "(lambda - 1) / (lambda^(1/L) - 1)."
    ]
    if negative:
        signs = ", ".join(
            f"{float(case['apart']):.1e} (L = {case_parameters(case)['layers']})"
            for case in negative
        )
        laws = ", ".join(
            f"{float(case['weight'][-1] / case['law'][-1]):.4f} "
            f"(L = {case_parameters(case)['layers']})"
            for case in negative
            if int(case_parameters(case)["layers"]) > 2
        )
        grown = any(
            int(case_parameters(case)["layers"]) == 2
            and float(case["weight"][-1]) > 10.0 * float(case["weight"].min())
            for case in negative
        )
        again = ", where rounding then breaks the symmetry and |w| grows again" if grown else ""
        words.append(
            f"Below left: for a negative lambda w_i goes to 0, geometrically for L = 2{again}, for "
            "L > 2 like ((L-2) delta |lambda| k)^(-1/(L-2)): |w| over that law at the end is "
            f"{laws}. Below right: with an odd number of w_i = -1 at the start the losses (lines) "
            "are those of |lambda| from the identity (marks); the largest difference of |w_i| in "
            f"all iterations: {signs}."
        )
    return " ".join(words)


@study(
    "nar_sastry/scalar_convergence",
    paper=PAPER,
    figure="Propositions 2 and 3",
    plot=_plot,
    cases=[{"eigenvalue": [3.0, 0.2, -1.5], "layers": [2, 3, 4, 8, 20]}],
)
def scalar_convergence(
    eigenvalue: float = 3.0,
    layers: Count = 4,
    share: NonNegative = 0.5,
    iterations: Count = 1000,
) -> xr.Dataset:
    """How fast does a product of L numbers, all 1 at the start, go to lambda, or where else?

    The step is `share` times delta_c, for lambda < 0 times 1 / (1 - lambda), the longest for which
    Proposition 3 says that w goes to 0.  For lambda < 0 there are two more runs, with `share` times
    delta_c of |lambda|: from w_1 = -1, the others 1, and for |lambda| from the identity.

    weight: w_1[k]; limit: lambda^(1/L), or 0; law: for lambda > 0 the bound on the distance from
    it, rho^k |1 - lambda^(1/L)|, for lambda < 0 w[k] of the law of decay, (1 - delta |lambda|)^k (L
    = 2) or ((L-2) delta |lambda| k)^(-1/(L-2)); rate: rho; late: the factor at the limit; above: by
    how much of it an iterate exceeds the bound, at most, where that is above 1e-12; signed_loss,
    mirror_loss: of the two runs; apart: the largest difference of their |w_i|. NaN where there is
    none.
    """
    lam, layers = check_number("eigenvalue", eigenvalue), check_count("layers", layers, 2)
    share, iterations = check_positive("share", share), check_count("iterations", iterations)
    if lam == 0.0:
        raise ValueError("eigenvalue must not be 0")
    problem = deep_linear(lam, layers)
    k = np.arange(iterations + 1)
    found = dict.fromkeys(("rate", "late", "above", "apart"), np.nan)
    signed = mirror = np.full(iterations + 1, np.nan)
    longest = monotone_step(lam, layers) if lam > 0 else vanishing_step(lam)
    step = share * longest
    weight = _padded(trained(problem, step, iterations, linear_start(problem))[0][:, 0], k)
    if lam > 0:
        limit = lam ** (1 / layers)
        found["rate"] = monotone_rate(lam, layers, step)
        found["late"] = 1.0 - step * layers * lam ** (2.0 - 2.0 / layers)
        law = found["rate"] ** k * abs(1.0 - limit)
        inside = law > 1e-12
        found["above"] = float(np.max(np.abs(weight - limit)[inside] / law[inside])) - 1.0
    else:
        limit, rate = 0.0, step * abs(lam)
        decay = (layers - 2) * rate * np.maximum(k, 1)
        law = (1.0 - rate) ** k if layers == 2 else decay ** (-1.0 / max(layers - 2, 1))
        positive = deep_linear(-lam, layers)
        own = share * monotone_step(-lam, layers)
        odd = trained(problem, own, iterations, linear_start(problem, "signs"))
        even = trained(positive, own, iterations, linear_start(positive))
        rows = min(len(odd[0]), len(even[0]))
        found["apart"] = float(np.max(np.abs(odd[0][:rows] - even[0][:rows])))
        signed, mirror = _padded(odd[1], k), _padded(even[1], k)
    words = {
        "weight": (weight, "|w_1|"),
        "law": (law, "bound, or law of decay"),
        "signed_loss": (signed, "loss from an odd number of -1"),
        "mirror_loss": (mirror, "loss of |lambda| from the identity"),
    }
    numbers = {
        "limit": (limit, "lambda^(1/L), or 0"),
        "step": (step, "step"),
        "rate": (found["rate"], "rho"),
        "late": (found["late"], "factor at the limit"),
        "above": (found["above"], "largest share by which the bound is exceeded"),
        "apart": (found["apart"], "largest difference of |w_i|"),
    }
    return xr.Dataset(
        {
            **{n: described(n, v, "1", long, ("iteration",)) for n, (v, long) in words.items()},
            **{n: described(n, v, "1", long) for n, (v, long) in numbers.items()},
        },
        coords={"iteration": k},
    )


def _padded(values: np.ndarray, k: np.ndarray) -> np.ndarray:
    """One value for each k: the last one goes on where a run has come to rest."""
    return values[np.minimum(k, len(values) - 1)]
