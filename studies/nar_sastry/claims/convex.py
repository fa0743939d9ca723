"""Convex residual networks: what they can represent, and in how many pieces (NS-18, N8, N9, N12,
Theorem 3).
"""

from collections.abc import Callable

import numpy as np

from continuum import ConvexDifference, ConvexNetwork
from solvers.convex_fits import (
    Decomposition,
    HessianBounds,
    decomposition,
    flow_factors,
    linear_flow,
    nearest_representable,
    straight_path,
    supermodular_floor,
)

from ...bench.registry import claim
from .common import PAPER

BOUNDS = HessianBounds(curvature=0.0, mixed=-2.0)
"""Of the Hessian [[2, -2], [-2, 2]] of `saddle`."""


def saddle(x: np.ndarray) -> np.ndarray:
    """(x - y)^2 + 3 (x + y) at points (2, N)."""
    return (x[0] - x[1]) ** 2 + 3 * (x[0] + x[1])


def unit_square(size: int) -> np.ndarray:
    """(2, size^2): a grid of [0, 1]^2, in the order of a matrix."""
    x = np.linspace(0.0, 1.0, size)
    return np.stack([one.ravel() for one in np.meshgrid(x, x, indexing="ij")])


def distance(values: np.ndarray) -> float:
    """From values on a square grid to the nearest ones that a network may have."""
    size = round(len(values) ** 0.5)
    return nearest_representable(values.reshape(size, size))[0]


@claim(
    "NS-18",
    statement="(x - y)^2 + 3 (x + y) is convex with a positive gradient at 0, and no convex "
    "residual network comes nearer to it than 1/2 on [0, 1]^2: they are supermodular.",
    paper=PAPER,
    references={
        "floor by rectangles": 0.5,
        "linear programme on a 41 x 41 grid": 0.5,
        "error of the network 3 (x + y) + 1/2": 0.5,
    },
    tolerance={
        "floor by rectangles": 1e-14,
        "linear programme on a 41 x 41 grid": 1e-9,
        "error of the network 3 (x + y) + 1/2": 1e-14,
    },
    reason="exact; rounding, and what the linear programme is solved to",
)
def supermodular() -> dict[str, float]:
    """The corners of the square are the proof; W = 0, c = (3, 3), d = 1/2 attains it."""
    x = unit_square(41)
    nothing = np.zeros((1, 1, 2)), np.zeros((1, 1)), np.zeros((1, 2, 1))
    best = ConvexNetwork(*nothing, np.array([3.0, 3.0]), 0.5)
    return {
        "floor by rectangles": supermodular_floor(saddle(x).reshape(41, 41)),
        "linear programme on a 41 x 41 grid": distance(saddle(x)),
        "error of the network 3 (x + y) + 1/2": float(np.abs(best.value(x) - saddle(x)).max()),
    }


@claim(
    "NS-N8",
    statement="The networks (7) are supermodular; f = r - s with s = alpha/2 |x|^2 + beta.x leaves "
    "r as far from them as f, and alpha'/2 (1.x)^2 in both mends it.",
    paper=PAPER,
    references={
        "floor of 50 random networks": 0.0,
        "r of the paper": 0.5,
        "r with alpha' = 2": 0.0,
        "s with alpha' = 2": 0.0,
    },
    tolerance={
        "floor of 50 random networks": 1e-12,
        "r of the paper": 1e-9,
        "r with alpha' = 2": 1e-9,
        "s with alpha' = 2": 1e-9,
    },
    reason="rounding of sums of 4 values of size 10 to 100; what a linear programme is solved to",
)
def repaired() -> dict[str, float]:
    """Least distances on a 21 x 21 grid; the largest floor of 50 networks, 3 layers of 4 units."""
    x, rng, floors = unit_square(21), np.random.default_rng(0), []
    for _ in range(50):
        network = ConvexNetwork(
            rng.uniform(size=(3, 4, 2)),
            -rng.uniform(size=(3, 4)),
            rng.uniform(size=(3, 2, 4)),
            rng.uniform(0.1, 1.0, 2),
        )
        floors.append(supermodular_floor(network.value(x).reshape(21, 21)))
    split = decomposition(saddle, np.array([3.0, 3.0]), BOUNDS, margin=0.1)
    papers = Decomposition(saddle, split.alpha, 0.0, split.beta, BOUNDS)
    return {
        "floor of 50 random networks": max(floors),
        "r of the paper": distance(papers.r(x)),
        "r with alpha' = 2": distance(split.r(x)),
        "s with alpha' = 2": distance(split.s(x)),
    }


@claim(
    "NS-N9",
    statement="beta > 0 is not enough: for f = -x, alpha = 1 and beta = 1/2 < -f'(0), the part "
    "r = x^2/2 - x/2 falls by 1/8, so a nondecreasing network is 1/16 from it.",
    paper=PAPER,
    references={"beta = 1/2": 0.0625, "beta above 1": 0.0},
    tolerance=1e-9,
    reason="exact on a grid that has the minimum; what a linear programme is solved to",
)
def slope_at_zero() -> dict[str, float]:
    """On [0, 1], 41 points."""
    x = np.linspace(0.0, 1.0, 41)[None]
    bounds = HessianBounds(0.0, np.inf)
    papers = Decomposition(lambda x: -x[0], 1.0, 0.0, np.array([0.5]), bounds)
    split = decomposition(lambda x: -x[0], np.array([-1.0]), bounds)
    return {
        "beta = 1/2": nearest_representable(papers.r(x))[0],
        "beta above 1": nearest_representable(split.r(x))[0],
    }


@claim(
    "NS-N12",
    statement="Ten scalar layers have up to 11 pieces, not 10, and a pair of them up to 21; with "
    "the biases of Figure 4 and weights > 0 all of them are there.",
    paper=PAPER,
    references={"fewest of 40 networks": 11.0, "most of 40 networks": 11.0, "of 20 pairs": 21.0},
    tolerance=0.0,
    reason="a count",
)
def pieces() -> dict[str, float]:
    """Biases uniform in (0, 1/2), weights 0.05: kinks lie in (0, b], so in [0, 1]."""
    counts, pairs = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        r, s = (
            ConvexNetwork(
                np.ones((10, 1, 1)),
                -rng.uniform(0.0, 0.5, (10, 1)),
                np.full((10, 1, 1), 0.05),
                np.ones(1),
                domain=(0.0, 1.0),
            )
            for _ in range(2)
        )
        counts += [len(r.slopes), len(s.slopes)]
        pairs.append(len(ConvexDifference(r, s).slopes))
    return {
        "fewest of 40 networks": float(min(counts)),
        "most of 40 networks": float(max(counts)),
        "of 20 pairs": float(min(pairs)),
    }


def seminorm(
    factor: Callable[[np.ndarray], np.ndarray], ends: tuple[float, float], points: int
) -> float:
    """The largest slope of h - Id between neighbours among points of an interval."""
    y = np.linspace(*ends, points)
    moved = factor(y[None])[0] - y
    return float(np.abs(np.diff(moved) / np.diff(y)).max())


@claim(
    "NS-T3",
    statement="Theorem 3: the factors of e x are exactly e^(1/L) - 1 from the identity; on a "
    "straight path those of h with 1/2 <= h' <= 7/2 are within (7/2 - 1)/L, without log L; one "
    "factor of x^3 is 1 from it for every L.",
    paper=PAPER,
    references={
        "e x, L = 1": np.e - 1.0,
        "e x, L = 10": 0.10517091807564763,
        "e x, L = 1000": 0.0010005001667083417,
        "x/2 + x^3, 16 times the farthest": 2.5,
        "x/2 + x^3, 256 times the farthest": 2.5,
        "x^3, L = 16": 1.0,
        "x^3, L = 256": 1.0,
    },
    relative_tolerance={
        "e x, L = 1": 1e-13,
        "e x, L = 10": 1e-12,
        "e x, L = 1000": 1e-10,
        "x/2 + x^3, 16 times the farthest": 1e-3,
        "x/2 + x^3, 256 times the farthest": 1e-3,
        "x^3, L = 16": 1e-9,
        "x^3, L = 256": 1e-9,
    },
    reason="rounding of differences of size 1/L; secants on 5001 points miss the last half step of "
    "h' = 1/2 + 3 x^2 at 1, a share of 3e-4 of h' - 1; x^3 is looked at below 1e-9 of its range",
)
def near_the_identity() -> dict[str, float]:
    """All factors of e x are one map; the farthest of a straight path is its first or its last."""
    found = {}
    for layers in (1, 10, 1000):
        factor = flow_factors(linear_flow(1.0), layers)[0]
        found[f"e x, L = {layers}"] = seminorm(factor, (0.0, 1.0), 2)
    bent = straight_path(lambda x: 0.5 * x + x**3, 0.0, 1.0)
    flat = straight_path(lambda x: x**3, 0.0, 1.0)
    for layers in (16, 256):
        factors = flow_factors(bent, layers)
        ends = [bent.forward(i / layers, np.ones(1))[0] for i in (0, layers - 1)]
        most = max(
            seminorm(factors[i], (0.0, float(end)), 5001)
            for i, end in zip((0, layers - 1), ends, strict=True)
        )
        found[f"x/2 + x^3, {layers} times the farthest"] = layers * most
        found[f"x^3, L = {layers}"] = seminorm(flow_factors(flat, layers)[-1], (0.0, 1e-9), 11)
    return found
