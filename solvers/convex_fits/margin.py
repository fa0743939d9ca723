"""Spectral complexity and margins of classifiers made of convex residual networks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from continuum.arrays import Array
from continuum.checks import check_array, check_positive, check_type
from continuum.convex_networks import ConvexDifference, ConvexNetwork
from continuum.doors import checked
from continuum.records import plain, short

Scorer = ConvexNetwork | ConvexDifference


@dataclass(frozen=True)
class MarginBound:
    """With probability >= 1 - delta over N samples, for every margin gamma > 0,

    P(wrong class) <= violated + C (complexity |X| / (gamma N) ln(width) + sqrt(ln(1/delta) / N)),

    up to a further factor that is logarithmic in N and gamma; the constants C are not stated here,
    so this is no number below which the error lies, but what compares one network with another.

    complexity : R_A, see `spectral_margin_bound`
    data_norm : |X|, the Frobenius norm of the data as the network copies them
    margin, violated : gamma, and the share of the samples with a smaller margin
    term : complexity |X| ln(width) / (gamma N)
    width : the largest number of rows or columns of a layer
    spectral_norms, distances : (K,) of the K layers: |A_i|_2 and |(A_i - M_i)^T|_{2,1}
    """

    complexity: float
    data_norm: float
    margin: float
    violated: float
    term: float
    width: int
    spectral_norms: Array
    distances: Array

    __repr__ = short
    to_dict = plain


@checked
def spectral_margin_bound(
    scores: Sequence[Scorer],
    x: Array,
    labels: Array,
    margin: float,
    reference: Sequence[Scorer] | None = None,
    frozen_biases: bool = False,
) -> MarginBound:
    """The terms of the margin bound for a classifier that takes the largest score f_p(x).

    R_A = (prod_i |A_i|_2) (sum_i (|(A_i - M_i)^T|_{2,1} / |A_i|_2)^(2/3))^(3/2),   |B^T|_{2,1} the
    sum of the norms of the rows of B, is for chains x -> A_K sigma(... sigma(A_1 x)) with maps
    sigma that are 1-Lipschitz and 0 at 0. Convex residual networks are such chains, two matrices to
    a layer: with z = (h, 1), all parts one below the other and one coordinate 1 for the biases,

    (z, u) = A z = (z, V^T h - b),   sigma = (identity, [.]_+),   A' (z, u) = (h + W u, 1),

    and a last one, (c, d). The theorem knows no residual layers: the identity in A and A' counts in
    their norms, (1 + |(V^T, -b)|_2^2)^(1/2) and (1 + |W|_2^2)^(1/2), but not in the distances, as
    M_i contains it. The product of norms is well above the Lipschitz constant of the networks.

    scores : one network, or difference of two, for each of P >= 2 classes, all of L layers
    x : (n, N);  labels : (N,), 0 to P - 1;  margin : gamma > 0
    reference : networks of the same shape that do not depend on the data, such as the start of the
        training, for the M_i; V = W = b = c = 0 if None
    frozen_biases : whether the b do not depend on the data either. Then they are part of the maps,
        u -> [u - b]_+, which is 0 at 0 because b >= 0, and A has (V^T, 0), with a smaller norm
    raises ValueError for fewer classes, other shapes or labels
    Source: Bartlett, Foster and Telgarsky (2017), Theorem 1.1; the residual form derived here.
    """
    data = check_array("x", x, ("n", "N"))
    samples = data.shape[1]
    if len(scores) < 2:
        raise ValueError(f"scores must be of at least 2 classes, got {len(scores)}")
    if reference is not None and len(reference) != len(scores):
        raise ValueError("reference must be networks of the same shapes as scores, one for each")
    for name, given in (("scores", scores), ("reference", reference or ())):
        for i, one in enumerate(given):
            if not isinstance(one, Scorer):
                raise TypeError(
                    f"{name}[{i}] must be a ConvexNetwork or ConvexDifference, got {one!r}"
                )
    wanted = check_array("labels", labels, (samples,))
    classes = wanted.astype(int)
    if np.any(wanted != classes) or np.any(classes < 0) or np.any(classes >= len(scores)):
        raise ValueError(f"labels must be 0, ..., {len(scores) - 1}")
    margin = check_positive("margin", margin)
    frozen = check_type("frozen_biases", frozen_biases, bool)
    layers, parts = _layers(scores, frozen)
    still = [np.zeros_like(m) for m in layers]
    if reference is not None:
        still, _ = _layers(reference, frozen)
    if [m.shape for m in still] != [m.shape for m in layers]:
        raise ValueError("reference must be networks of the same shapes as scores")
    values = np.stack([f.value(data) for f in scores])
    own = np.take_along_axis(values, classes[None, :], axis=0)[0]
    others = np.where(np.arange(len(scores))[:, None] == classes, -np.inf, values).max(axis=0)
    norms = np.array([np.linalg.norm(m, 2) for m in layers])
    norms[:-1] = np.sqrt(1.0 + norms[:-1] ** 2)
    distances = np.array(
        [np.linalg.norm(m - ref, axis=1).sum() for m, ref in zip(layers, still, strict=True)]
    )
    complexity = float(np.prod(norms) * np.sum((distances / norms) ** (2 / 3)) ** 1.5)
    data_norm = float(np.sqrt(parts * np.sum(data**2) + samples))
    width = max(sum(layers[0].shape), len(scores))
    return MarginBound(
        complexity,
        data_norm,
        margin,
        float(np.mean(own - others < margin)),
        float(complexity * data_norm * np.log(width) / (margin * samples)),
        width,
        norms,
        distances,
    )


def _layers(scores: Sequence[Scorer], frozen: bool) -> tuple[list[Array], int]:
    """The blocks (V^T, -b), or (V^T, 0) with frozen biases, and W, layer by layer, and (c, d), for
    all parts of all scores together, the identity left out; and how many parts there are.
    """
    pairs = [
        [(f.r, 1.0), (f.s, -1.0)] if isinstance(f, ConvexDifference) else [(f, 1.0)] for f in scores
    ]
    parts = [part for pair in pairs for part, _ in pair]
    if len({part.weight1.shape for part in parts}) > 1:
        raise ValueError("scores must be networks with as many layers and units each")
    found = []
    for k in range(len(parts[0].weight1)):
        v = block_diag(*(part.weight1[k] for part in parts))
        b = np.concatenate([part.bias1[k] for part in parts])
        found += [
            np.c_[v, 0.0 * b if frozen else b],
            block_diag(*(part.weight2[k] for part in parts)),
        ]
    rows = block_diag(
        *(np.concatenate([sign * part.readout for part, sign in pair])[None, :] for pair in pairs)
    )
    offsets = [sum(sign * part.offset for part, sign in pair) for pair in pairs]
    return [*found, np.c_[rows, offsets]], len(parts)
