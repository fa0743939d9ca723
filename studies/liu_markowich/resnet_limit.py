"""Digits through ResNets and through their limit: the theorems on depth and width, on real data."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import xarray as xr

from continuum import Grid, Interval, TimeMesh, WidthDepth, gauss_legendre, midpoint, tanh
from solvers import DormandPrince, Euler, integrate, observed_orders
from solvers.steps.tableaux import Stepper

from ..bench.parameters import Count, Horizon, Positive
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import Dataset, load_digits
from ..draw.figures import convergence_plot, new_figure

SQUARE = Interval(0, 1) * Interval(0, 1)
PIXELS = 8
SHOWN = 3
"""Which image the pictures show."""


def pixel_function(images: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Images as continuous functions on the unit square, at some points.

    f is bilinear on every pixel, with the mean of the adjacent pixels at each pixel's corners, so
    its kinks lie on the lines y_i = k / 8.  images : (M, 8, 8), rows downwards along y[0]; nodes :
    (N, 2); returns (N, M)
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    corners = (
        padded[:, :-1, :-1] + padded[:, 1:, :-1] + padded[:, :-1, 1:] + padded[:, 1:, 1:]
    ) / 4
    at = np.clip(nodes, 0.0, 1.0) * images.shape[1]
    cell = np.minimum(at.astype(int), images.shape[1] - 1)
    (i, j), (s, t) = cell.T, (at - cell).T
    top = (1 - t) * corners[:, i, j] + t * corners[:, i, j + 1]
    bottom = (1 - t) * corners[:, i + 1, j] + t * corners[:, i + 1, j + 1]
    return ((1 - s) * top + s * bottom).T


def flow(
    grid: Grid, digits: Dataset, images: int, mesh: TimeMesh, length: float, stepper: Stepper
) -> np.ndarray:
    """The first images at the horizon: (N, images).

    f_t = tanh(a - int b f), a the mean image, b(y, z) = exp(-|y - z|^2 / (2 length^2)) + phi(y)
    psi(z) / 2 with phi = sin(2 pi y_1) and psi = cos(pi z_0).
    """

    def kernel(y: np.ndarray, z: np.ndarray) -> np.ndarray:
        distance = (y[0] - z[0]) ** 2 + (y[1] - z[1]) ** 2
        return np.exp(-distance / (2 * length**2)) + 0.5 * np.sin(2 * np.pi * y[1]) * np.cos(
            np.pi * z[0]
        )

    network = WidthDepth(grid, tanh)
    mean = pixel_function(digits.inputs.mean(axis=0, keepdims=True), grid.nodes)[:, 0]
    control = network.control(mesh, bias=mean, kernel=kernel)
    initial = pixel_function(digits.inputs[:images], grid.nodes)
    return integrate(network, control, initial, stepper).trajectory.final


@lru_cache(maxsize=1)
def limits(width: int, images: int, horizon: float, length: float) -> tuple[np.ndarray, np.ndarray]:
    """The states of the differential equation on width x width nodes at the horizon, (N, images),
    by Dormand-Prince with tolerances 1e-10 and 1e-8: the same for every depth.
    """
    grid, digits, mesh = midpoint(SQUARE, width), load_digits(), TimeMesh(horizon, 1)
    fine, rough = (
        flow(grid, digits, images, mesh, length, DormandPrince(rtol=tol, atol=tol))
        for tol in (1e-10, 1e-8)
    )
    return fine, rough


def distance(grid: Grid, f: np.ndarray, g: np.ndarray) -> float:
    """The root of the mean over images of |f - g|^2 in L^2(Y)."""
    return float(np.sqrt(np.mean(grid.integrate((f - g) ** 2))))


def nearest_mean_labels(grid: Grid, f: np.ndarray, means: np.ndarray) -> np.ndarray:
    """For every column of f the class whose mean, a column of `means`, is nearest in L^2(Y)."""
    return np.argmin([grid.integrate((f - m[:, None]) ** 2) for m in means.T], axis=0)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    by_depth = _series(cases, along="depth")
    by_width = _series(cases, along="width")
    series = [s for s in ((by_depth, "depth"), (by_width, "width")) if len(s[0]) >= 2]
    if series:
        figure, axes = new_figure(1, len(series), width=4.4 * len(series), height=4.0)
        notes = []
        for ax, (sizes, along) in zip(axes[0], series, strict=True):
            errors = [float(case[f"{along}_error"]) for case in sizes.values()]
            floor = max(float(case[f"{along}_reference_error"]) for case in sizes.values())
            unit = "layers" if along == "depth" else "nodes per side"
            convergence_plot(
                ax,
                list(sizes),
                errors,
                order={"depth": 1.0, "width": 2.0}[along],
                floor=floor,
                xlabel=f"{along} [{unit}]",
                ylabel=r"$L^2$ error at $T$, RMS over images",
            )
            other = "width" if along == "depth" else "depth"
            ax.set_title(
                f"{along} at fixed {other} {case_parameters(next(iter(sizes.values())))[other]}"
            )
            orders = ", ".join(f"{order:.2f}" for order in observed_orders(list(sizes), errors))
            fitted = -np.polyfit(np.log(list(sizes)), np.log(errors), 1)[0]
            notes.append(f"Observed orders in {along}: {orders} (fitted line: {fitted:.2f})")
        caption = (
            "Errors of ResNets against the limit. "
            + "; ".join(notes)
            + ". The triangles have slopes 1 and 2."
        )
        pictures.append(Picture("convergence", caption, figure))
    if by_depth:
        pictures.append(_digit(by_depth))
    if len(by_depth) >= 2:
        figure, axes = new_figure(1, 1, width=6.4, height=3.6)
        images = int(case_parameters(next(iter(by_depth.values())))["images"])
        changed = [100 * float(case["labels_changed"]) for case in by_depth.values()]
        axes[0, 0].plot(list(by_depth), changed, "o-")
        for depth, share in zip(by_depth, changed, strict=True):
            axes[0, 0].annotate(
                f"{round(share / 100 * images)}",
                (depth, share),
                xytext=(5, 5),
                textcoords="offset points",
                fontsize=9,
            )
        axes[0, 0].margins(x=0.08, y=0.15)
        axes[0, 0].set_xscale("log", base=2)
        axes[0, 0].set_xticks(list(by_depth), [str(depth) for depth in by_depth])
        axes[0, 0].set_xlabel("depth [layers]")
        axes[0, 0].set_ylabel(f"labels changed [% of {images} images]")
        axes[0, 0].grid(True)
        caption = (
            f"Share of the {images} images whose nearest class mean the ResNet changes against its "
            "limit in depth, and how many these are."
        )
        pictures.append(Picture("labels", caption, figure))
    return pictures


def _series(cases: Sequence[xr.Dataset], along: str) -> dict[int, xr.Dataset]:
    """The longest run of cases that differ in one parameter alone, by that parameter."""
    groups: dict[tuple[object, ...], dict[int, xr.Dataset]] = {}
    for case in cases:
        parameters = case_parameters(case)
        rest = tuple(value for name, value in sorted(parameters.items()) if name != along)
        groups.setdefault(rest, {})[int(parameters[along])] = case
    longest = max(groups.values(), key=len, default={})
    return dict(sorted(longest.items()))


def _digit(by_depth: dict[int, xr.Dataset]) -> Picture:
    """One digit through some depths and the continuum, and what is left between them."""
    depths = [d for d in (8, 32, 128) if d in by_depth] or list(by_depth)[:3]
    limit = by_depth[depths[-1]]
    columns = [("input", limit["input"]), *((f"{d} layers", by_depth[d]["resnet"]) for d in depths)]
    columns.append(("continuum", limit["continuum"]))
    gaps = [image - limit["continuum"] for _, image in columns[1:-1]]
    low, high = (float(f([float(f(image)) for _, image in columns])) for f in (np.min, np.max))
    largest = max(float(np.abs(gap).max()) for gap in gaps)
    figure, axes = new_figure(2, len(columns), width=1.75 * len(columns), height=4.1)
    for ax, (title, image) in zip(axes[0], columns, strict=True):
        ax.set_title(title)
        states = ax.imshow(image, vmin=low, vmax=high)
    for ax, gap in zip(axes[1, 1:-1], gaps, strict=True):
        differences = ax.imshow(gap, cmap="RdBu_r", vmin=-largest, vmax=largest)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    for ax in (axes[1, 0], axes[1, -1]):
        ax.axis("off")
    figure.colorbar(states, ax=list(axes[0]), label="$f$", shrink=0.9)
    figure.colorbar(differences, ax=list(axes[1]), label="ResNet $-$ continuum", shrink=0.9)
    caption = (
        "The same digit, on the nodes of the network, through ResNets and through the continuum; "
        "below, what each ResNet leaves to the limit."
    )
    return Picture("digit", caption, figure)


@study(
    "liu_markowich/resnet_limit",
    paper="Liu and Markowich, Selection dynamics for deep neural networks",
    figure="Theorems 2.1 and 2.2",
    plot=_plot,
    cases=[
        {"depth": [8, 16, 32, 64, 128, 256, 512], "width": [16]},
        {"depth": [64], "width": [8, 16, 24, 32]},
    ],
)
def resnet_limit(
    depth: Count = 64,
    width: Count = 16,
    images: Count = 800,
    horizon: Horizon = 2.0,
    length: Positive = 0.15,
) -> xr.Dataset:
    """ResNets on images of digits, against their limits in depth and in width.

    The images of scikit-learn's digits are functions on the unit square, bilinear on every pixel.
    They go through f_t = tanh(a - int b f) to the time T, with a the mean image and b a Gaussian of
    a given length plus half an asymmetric product. A case is one ResNet: `depth` Euler steps on
    width x width midpoint nodes, aligned with pixels.

    depth_error: against the differential equation on the same nodes (Dormand-Prince, tolerance
    1e-10); its reference error is the distance to a run with tolerance 1e-8. width_error: against
    as many Euler steps on 8 x 8 panels of 3 x 3 Gauss nodes, which carry the ResNet's nodes with
    weight zero; its reference error is the distance to panels of 4 x 4, on a tenth of the images.
    Errors are root mean squares over images of the norm in L^2. labels_changed: the share of images
    whose nearest class mean (means of the limit in depth) changes between the limit and the ResNet.
    """
    if width < PIXELS or width % PIXELS:
        raise ValueError(
            f"width must be a multiple of {PIXELS}, so that pixels are whole cells, got {width}"
        )
    digits = load_digits()
    if not 1 <= images <= len(digits.labels):
        raise ValueError(f"images must be from 1 to {len(digits.labels)}, got {images}")
    mesh = TimeMesh(horizon, depth)
    grid = midpoint(SQUARE, width)
    resnet = flow(grid, digits, images, mesh, length, Euler())
    limit, rough = limits(width, images, horizon, length)
    few = math.ceil(images / 10)
    wide, wider = (
        flow(panels.observed_at(grid.nodes), digits, count, mesh, length, Euler())[len(panels) :]
        for panels, count in (
            (gauss_legendre(SQUARE, 3, panels=PIXELS), images),
            (gauss_legendre(SQUARE, 4, panels=PIXELS), few),
        )
    )
    labels = digits.labels[:images]
    means = np.stack([limit[:, labels == c].mean(axis=1) for c in np.unique(labels)], axis=1)
    before, after = (nearest_mean_labels(grid, f, means) for f in (limit, resnet))
    shown = min(SHOWN, images - 1)
    pixels = ("row", "column")
    square = (width, width)
    return xr.Dataset(
        {
            "depth_error": distance(grid, resnet, limit),
            "depth_reference_error": distance(grid, limit, rough),
            "width_error": distance(grid, resnet, wide),
            "width_reference_error": distance(grid, wide[:, :few], wider),
            "labels_changed": float(np.mean(before != after)),
            "labels_right": float(np.mean(np.unique(labels)[after] == labels)),
            "input": (
                pixels,
                pixel_function(digits.inputs[shown : shown + 1], grid.nodes).reshape(square),
            ),
            "resnet": (pixels, resnet[:, shown].reshape(square)),
            "continuum": (pixels, limit[:, shown].reshape(square)),
        }
    )
