"""How near to the identity the factors of a map can be, against their number."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from continuum.checks import check_count
from solvers.convex_fits import (
    MapPath,
    factor_floor,
    flow_factors,
    increasing_path,
    linear_flow,
    straight_path,
    straight_seminorms,
)

from ..bench.parameters import Count, Doublings, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure
from ..shared import described
from .paper import PAPER

Kind: TypeAlias = Literal[
    "e x, flow",
    "x + x^3, straight",
    "x + x^(3/2), straight",
    "gradient in the plane, straight",
    "x + x^3, scaled",
    "x^3, straight",
]
LOOKS = dict(
    zip(
        Kind.__args__,
        zip((BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY), "osD^vP", strict=True),
        strict=True,
    )
)
SLOPES: dict[str, tuple[float, float]] = {
    "e x, flow": (np.e, np.e),
    "x + x^3, straight": (1.0, 4.0),
    "x + x^(3/2), straight": (1.0, 2.5),
    "x + x^3, scaled": (1.0, 4.0),
    "x^3, straight": (0.0, 3.0),
}
"""The least and the largest h' on [0, 1]."""
MATRIX = np.array([[2.0, 0.7], [0.7, 1.0]])
"""A of f = x^T A x / 2 + (x_1^4 + x_2^4) / 12 on [0, 1]^2, whose Hessian is A + diag(x_j^2)."""
POWERS = {
    "x + x^3, straight": (1.0, 3.0),
    "x + x^(3/2), straight": (1.0, 1.5),
    "x + x^3, scaled": (1.0, 3.0),
    "x^3, straight": (0.0, 3.0),
}


def path_of(kind: Kind, layers: int) -> MapPath:
    """The path of a map of one variable."""
    if kind == "e x, flow":
        return linear_flow(1.0)
    linear, power = POWERS[kind]

    def h(x: np.ndarray) -> np.ndarray:
        return linear * x + x**power

    if kind != "x + x^3, scaled":
        return straight_path(h, 0.0, 1.0)

    def scaled(t: float, x: np.ndarray) -> np.ndarray:
        """h(a x) / a, a = 1 / L on the first step and 1 at the end, in equal ratios."""
        if t == 0.0:
            return x
        a = layers ** (-(1.0 - t) * layers / max(layers - 1, 1))
        return h(a * x) / a

    return increasing_path(scaled, 0.0, 1.0)


def farthest(kind: Kind, layers: int, points: int) -> float:
    """The largest slope of h_i - Id between neighbours among points of its domain, over all i: a
    lower bound of the largest Lipschitz seminorm.

    Points lie densely near 0, where h' may vanish.
    """
    path, largest = path_of(kind, layers), 0.0
    for i, factor in enumerate(flow_factors(path, layers)):
        end = float(path.forward(i / layers, np.ones((1, 1)))[0, 0])
        y = end * np.linspace(0.0, 1.0, points) ** 4
        moved = np.diff(factor(y[None])[0]) - np.diff(y)
        largest = max(largest, float(np.abs(moved / np.diff(y)).max()))
    return largest


def farthest_in_the_plane(layers: int, points: int, rng: np.random.Generator) -> float:
    """The same for the gradient in the plane, over random pairs of points, half of them near."""
    x = rng.uniform(size=(2, points))
    other = x + np.where(np.arange(points) < points // 2, 1e-3, 1.0) * (
        rng.uniform(size=(2, points)) - x
    )
    change = [MATRIX @ z + z**3 / 3 - z for z in (x, other)]
    d, moved = other - x, change[1] - change[0]
    ratios = [
        np.linalg.norm(moved, axis=0) / np.linalg.norm(d + i / layers * moved, axis=0)
        for i in range(layers)
    ]
    return float(np.max(ratios)) / layers


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 2, width=10.6, height=4.6)
    left, right = axes[0]
    words = []
    for case in cases:
        kind = str(case_parameters(case)["kind"])
        color, marker = LOOKS[kind]
        layers, measured = case["layers"].values, case["measured"].values
        look = {"color": color, "marker": marker, "markersize": 5, "linewidth": 1.2}
        left.loglog(layers, measured, label=kind, **look)
        if kind != "x^3, straight":
            right.semilogx(layers, layers * measured, **look)
            words.append(f"{kind} {layers[-1] * measured[-1]:.3g}")
    layers = cases[0]["layers"].values.astype(float)
    left.loglog(layers, 1.0 / layers, ":", color=BLACK, label="1 / L")
    left.loglog(layers[1:], np.log(layers[1:]) / layers[1:], "--", color=BLACK, label="log L / L")
    right.semilogx(layers, np.ones_like(layers), ":", color=BLACK)
    right.semilogx(layers, np.log(layers), "--", color=BLACK)
    left.set_ylabel(r"$\max_i \|h_i - \mathrm{Id}\|$ [1]")
    right.set_ylabel(r"$L\,\max_i \|h_i - \mathrm{Id}\|$ [1]")
    for ax in (left, right):
        ax.set_xlabel("factors L")
        ax.grid(True)
    handles = left.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False)
    return [Picture("theorem3", _caption(cases, words), figure)]


def _caption(cases: Sequence[xr.Dataset], words: Sequence[str]) -> str:
    by_kind = {str(case_parameters(case)["kind"]): case for case in cases}
    last = int(cases[0]["layers"][-1])
    text = (
        "Lipschitz seminorm of the farthest of L factors of a map from the identity, by secants, "
        f"which bound it from below. L times it at L = {last}: {', '.join(words)}. "
    )
    known = [c for c in cases if np.isfinite(c["derived"].values).all()]
    if known:
        ratios = [c["measured"].values / c["derived"].values for c in known]
        text += (
            "Flow and straight paths have the shares "
            f"{min(r.min() for r in ratios):.3f} to {max(r.max() for r in ratios):.3f} of what is "
            "derived for them, e^(1/L) - 1 and at most max(M - 1, 1/m - 1) / L: no log L, and no "
            "Lipschitz D^2 f, which x + x^(3/2) has not. "
        )
    if "x + x^3, scaled" in by_kind:
        case = by_kind["x + x^3, scaled"]
        chosen = case.sel(layers=[max(1, last // 16), last])
        scaled = (chosen["layers"] * chosen["measured"]).values
        growth = float(np.diff(scaled)[0] / np.diff(np.log(chosen["layers"].values))[0])
        text += (
            f"The path h(a x) / a grows by {growth:.3g} log L: log L / L belongs to that path, "
            "not to the map. "
        )
    if "x^3, straight" in by_kind:
        stuck = by_kind["x^3, straight"]["measured"].values
        text += (
            f"x^3, the gradient of x^4 / 4, is strictly convex and C^2 but has h'(0) = 0: its "
            f"farthest factor stays at {stuck.min():.3f} or more, and no other factors do better."
        )
    return text.strip()


@study(
    "nar_sastry/theorem3",
    paper=PAPER,
    figure="Theorem 3",
    plot=_plot,
    cases=[{"kind": list(Kind.__args__)}],
)
def theorem3(
    kind: Kind = "x + x^3, straight", doublings: Doublings = 8, points: Count = 1001, seed: Seed = 0
) -> xr.Dataset:
    """How near to the identity are L factors of a map, against L?

    h = h_L o ... o h_1 with h_i = g_{i/L} o g_{(i-1)/L}^{-1} along a path g_t from the identity to
    h: the flow e^t x; straight, (1 - t) x + t h(x); scaled, h(a x) / a with a from 1/L to 1, which
    gives log L / L.  Maps of [0, 1], and the gradient of x^T A x / 2 + (x_1^4 + x_2^4) / 12 on
    [0, 1]^2.  L = 1, 2, 4, ..., 2^doublings.

    measured: the largest Lipschitz seminorm of h_i - Id, from below, by secants; derived: an upper
    bound, e^(1/L) - 1 for the flow, `straight_seminorms` for straight paths, NaN where none is
    derived; floor: below which no factors at all can have the largest one.
    """
    doublings, points = check_count("doublings", doublings), check_count("points", points, 11)
    layers = 2 ** np.arange(doublings + 1)
    plane = kind == "gradient in the plane, straight"
    eigenvalues = np.linalg.eigvalsh(MATRIX).tolist()
    least, most = (eigenvalues[0], eigenvalues[1] + 1.0) if plane else SLOPES[kind]
    rows = []
    for count in layers.tolist():
        derived = np.nan
        if kind == "e x, flow":
            derived = np.expm1(1.0 / count)
        elif "straight" in kind and least > 0.0:
            derived = float(straight_seminorms(least, most, count).max())
        measured = (
            farthest_in_the_plane(count, 20 * points, np.random.default_rng(seed))
            if plane
            else farthest(kind, count, points)
        )
        rows.append((measured, derived, factor_floor(least, most, count)))
    names = {
        "measured": "largest |h_i - Id|, from below",
        "derived": "upper bound of it",
        "floor": "lower bound for any factors",
    }
    return xr.Dataset(
        {
            name: described(name, column, "1", long_name, ("layers",))
            for (name, long_name), column in zip(names.items(), np.array(rows).T, strict=True)
        },
        coords={"layers": layers},
    )
