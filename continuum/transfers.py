"""The same control on another grid or mesh, finer or coarser in width or in depth."""

import itertools
from typing import Literal

import numpy as np

from .arrays import Array, like, namespace
from .checks import check_name
from .controls import Control
from .domains import Circle, Interval, factors
from .doors import checked
from .kernels import KernelFormat
from .meshes import TimeMesh
from .networks import Chain
from .networks.maps import Linear
from .quadrature import Grid

Beyond = Literal["constant", "linear"]


def prolongation(coarse: Grid, fine: Grid, beyond: Beyond = "constant") -> Array:
    """(N_fine, N_coarse): values at fine nodes from coarse ones, multilinear between them.

    Periodic on circles; rows sum to 1.  Of order 2 for smooth functions, but for the cells at the
    ends of an interval where `beyond` is "constant".

    beyond : the outermost nodes of an interval: "constant", or "linear", the line through the last
        two nodes (entries then leave [0, 1])
    raises ValueError if the domains differ or `coarse` is not a product of one-dimensional grids
    """
    check_name("beyond", beyond, ("constant", "linear"))
    if coarse.domain != fine.domain:
        raise ValueError(f"the grids have different domains, {coarse.domain} and {fine.domain}")
    axes = [np.unique(coarse.nodes[:, k]) for k in range(coarse.dimension)]
    product = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, coarse.dimension)
    if product.shape != coarse.nodes.shape or not np.array_equal(product, coarse.nodes):
        raise ValueError("coarse must be a product of one-dimensional grids with increasing nodes")
    parts = factors(coarse.domain)
    ends = [_neighbours(x, fine.nodes[:, k], parts[k], beyond) for k, x in enumerate(axes)]
    matrix = np.zeros((len(fine), len(coarse)))
    shape = tuple(len(x) for x in axes)
    for corner in itertools.product((0, 1), repeat=coarse.dimension):
        index = np.ravel_multi_index(tuple(ends[k][side] for k, side in enumerate(corner)), shape)
        share = np.prod(
            [ends[k][2] if side else 1.0 - ends[k][2] for k, side in enumerate(corner)], axis=0
        )
        np.add.at(matrix, (np.arange(len(fine)), index), share)
    return matrix


def _neighbours(x: Array, at: Array, part: object, beyond: Beyond) -> tuple[Array, Array, Array]:
    """(left node, right node, share of the right one) of every point."""
    if isinstance(part, Circle):
        following = np.append(x[1:], x[0] + part.length)
        shifted = x[0] + np.mod(at - x[0], part.length)
        left = np.clip(np.searchsorted(x, shifted, side="right") - 1, 0, len(x) - 1)
        return left, (left + 1) % len(x), (shifted - x[left]) / (following[left] - x[left])
    inside = np.clip(at, x[0], x[-1]) if beyond == "constant" else at
    left = np.clip(np.searchsorted(x, inside, side="right") - 1, 0, max(len(x) - 2, 0))
    right = np.minimum(left + 1, len(x) - 1)
    gap = np.where(right > left, x[right] - x[left], 1.0)
    return left, right, (inside - x[left]) / gap


def nearest(coarse: Grid, fine: Grid) -> Array:
    """(N_fine, N_coarse): the value of the nearest coarse node, the first of two: of order 1.

    On an interval; raises ValueError for other domains, or if the domains differ.
    """
    if coarse.domain != fine.domain or not isinstance(coarse.domain, Interval):
        raise ValueError(f"the grids must be on one interval: {coarse.domain} and {fine.domain}")
    distance = np.abs(fine.nodes[:, :1] - coarse.nodes[:, 0])
    found = np.argmin(distance, axis=1)
    return np.eye(len(coarse))[found]


def restriction(fine: Grid, coarse: Grid) -> Array:
    """(N_coarse, N_fine): W_coarse^-1 P^T W_fine, the adjoint of prolongation in L^2(Y).

    Integrals are unchanged by it.

    raises ValueError as `prolongation`, or if `coarse` has nodes of weight zero
    """
    if np.any(coarse.weights == 0):
        raise ValueError("coarse has nodes of weight zero")
    return prolongation(coarse, fine).T * fine.weights / coarse.weights[:, None]


@checked
def change_width(control: Control, source: Chain, target: Chain) -> Control:
    """The control of a network on one grid as a control of it on another: T b T*, T a.

    T is the prolongation to a grid with at least as many nodes, else the restriction over its row
    sums.
    The number of a FractionalLaplacian stays.
    raises ValueError if the networks differ in more than their grid, or for other formats than
    Dense, LowRank and FractionalLaplacian
    """
    source.check_control("control", control)
    old, new = source.grid, target.grid
    if old is None or new is None:
        raise TypeError(f"source and target must be networks on grids, got {source!r}, {target!r}")
    kernels, others = _kernels(source), _kernels(target)
    if source.formula() != target.formula() or kernels != others:
        raise ValueError("source and target must be the same network on different grids")
    if len(new) >= len(old):
        transfer = prolongation(old, new)
    else:
        transfer = restriction(old, new)
        transfer = transfer / transfer.sum(axis=1, keepdims=True)
    space = control.space
    kind = space.blocks[0].time
    if any(b.time != kind for b in space.blocks) or space.fixed:
        raise ValueError("control must have all its blocks trained, and of one kind in time")
    blocks = {}
    for name, x in control.items():
        t = like(transfer, x)
        kernel = kernels.get(name)
        moved = x @ t.T if kernel is None else kernel.transfer(x, t)
        if moved is None:
            raise ValueError(
                f"kernel must be Dense or LowRank, or a FractionalLaplacian, to change grids, "
                f"got {kernel!r}"
            )
        blocks[name] = moved
    return Control(target.controls(space.mesh, in_time=kind, norm=space.time_norm), blocks)


def _kernels(network: Chain) -> dict[str, KernelFormat]:
    """The formats of the blocks that are kernels."""
    found = ((m.block, m.operator) for m in network.maps if isinstance(m, Linear))
    return {name: kernel for name, kernel in found if isinstance(kernel, KernelFormat)}


@checked
def change_depth(control: Control, mesh: TimeMesh) -> Control:
    """The control on other layers of the same horizon.

    "layers": its averages over the new layers, so refining changes nothing; "nodes": its values at
    the new nodes; "static": itself.  raises ValueError for another horizon
    """
    space, old = control.space, control.space.mesh
    if mesh.horizon != old.horizon:
        raise ValueError(
            f"mesh must have the horizon {old.horizon:g} of the control, got {mesh.horizon:g}"
        )
    change = {"layers": _averages, "nodes": _interpolated}
    blocks = {}
    for block in space.trained:
        x = control[block.name]
        blocks[block.name] = change[block.time](x, old, mesh) if block.time in change else x
    return Control(type(space)(mesh, space.blocks, space.fixed, space.time_norm), blocks)


def _averages(x: Array, old: TimeMesh, new: TimeMesh) -> Array:
    """(K_new, ...): the averages over new layers of what is constant on old ones, (K_old, ...).

    One addition per interval of the common refinement, at most K_old + K_new of them.
    """
    times = np.union1d(old.nodes, new.nodes)
    middles, lengths = 0.5 * (times[1:] + times[:-1]), np.diff(times)
    source = np.searchsorted(old.nodes, middles, side="right") - 1
    target = np.searchsorted(new.nodes, middles, side="right") - 1
    parts = lengths / np.bincount(target, lengths, new.layers)[target]  # of each layer, sum 1
    result = like(np.zeros((new.layers, *x.shape[1:])), x)
    for k, j, part in zip(target.tolist(), source.tolist(), parts.tolist(), strict=True):
        result[k, ...] += part * x[j, ...]
    return result


def _interpolated(x: Array, old: TimeMesh, new: TimeMesh) -> Array:
    """(K_new + 1, ...): the values at new nodes of what is linear between old ones."""
    left = np.clip(np.searchsorted(old.nodes, new.nodes, side="right") - 1, 0, old.layers - 1)
    part = (new.nodes - old.nodes[left]) / old.steps[left]
    xp, share = namespace(x), like(part.reshape((-1,) + (1,) * (len(x.shape) - 1)), x)
    before, after = (xp.take(x, like(k, x), axis=0) for k in (left, left + 1))
    return (1.0 - share) * before + share * after
