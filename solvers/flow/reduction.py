"""Exact reduction: a network whose kernel has rank r moves in r dimensions."""

from dataclasses import dataclass

import numpy as np
import scipy

from continuum.activations import Activation
from continuum.arrays import Array, to_host
from continuum.checks import check_array, check_positive
from continuum.controls import Control, FunctionControl
from continuum.doors import checked
from continuum.networks import Bottleneck, WidthDepth
from continuum.records import short


@dataclass(frozen=True, eq=False)
class Reduction:
    """m' = Psi* sigma(a - Phi m), m_l = (psi_l, f), for f' = sigma(a - Bf) with B = sum_l phi_l
    (psi_l, .).

    The equation for m is closed (a projection of f is not), and u = a - Bf = a - Phi m is known
    from m alone.

    network, control : the r-dimensional flow, a Bottleneck with N hidden units, ready for
        `integrate` and portraits
    left, right : (N, r), phi and psi at the nodes;  bias : (N,);  weights : (N,)
    """

    network: Bottleneck
    control: FunctionControl
    activation: Activation
    left: Array
    right: Array
    bias: Array
    weights: Array

    __repr__ = short

    @property
    def rank(self) -> int:
        """r."""
        return self.left.shape[1]

    def project(self, f: Array) -> Array:
        """m (r, M) of states f (N, M): sum_i w_i psi_l(y_i) f_i."""
        f = check_array("f", f, (len(self.weights), "M"))
        return self.right.T @ (self.weights[:, None] * f)

    def preactivation(self, m: Array) -> Array:
        """u = a - Phi m (N, M) of coordinates m (r, M), exactly."""
        m = check_array("m", m, (self.rank, "M"))
        return self.bias[:, None] - self.left @ m

    def lift(self, initial: Array, times: Array, path: Array) -> Array:
        """f (S, N, M) at `times` (S,) from a path m (S, r, M): f_I + int_0^t sigma(a - Phi m) ds,
        by Simpson's rule.

        raises ValueError if the path does not start at the projection of `initial`, or shapes do
        not fit
        """
        initial = check_array("initial", initial, (len(self.weights), "M"))
        times = check_array("times", times, ("S",))
        path = check_array("path", path, (len(times), self.rank, initial.shape[1]))
        gap = float(np.max(np.abs(path[0] - self.project(initial))))
        if times[0] != 0.0 or gap > 1e-8 * (1.0 + float(np.max(np.abs(path[0])))):
            raise ValueError(
                f"path must start at t = 0 at the projection of initial, it is off by {gap:.3g}"
            )
        speeds = self.activation.value(
            self.bias[:, None] - np.einsum("nr,srm->snm", self.left, path)
        )
        return initial + scipy.integrate.cumulative_simpson(speeds, x=times, axis=0, initial=0.0)


@checked
def exact_reduction(
    network: WidthDepth, control: Control | FunctionControl, rtol: float = 1e-12
) -> Reduction:
    """The r-dimensional flow of a width-depth network whose data are constant in time.

    A kernel that stores factors, such as LowRank, gives its own phi and psi; any other is factored
    by the singular values of W^1/2 b W^1/2 above rtol times the largest, phi carrying the singular
    value and psi orthonormal in L^2(Y).
    raises TypeError for another network; ValueError for data that depend on time, a kernel that is
    zero, or rtol <= 0
    """
    if not isinstance(network, WidthDepth):
        raise TypeError(f"network must be a WidthDepth, got {network!r}")
    rtol = check_positive("rtol", rtol)
    network.check_control("control", control)
    mesh = control.mesh
    values = control.at_layer(0, 0.0)
    times = np.concatenate([mesh.nodes, mesh.nodes[:-1] + 0.5 * mesh.steps])
    if any(
        bool(np.any(to_host(control.at(float(t))[n]) != to_host(x)))
        for t in times
        for n, x in values.items()
    ):
        raise ValueError("control must be constant in time for the reduction to be autonomous")
    b, w = to_host(values["kernel"]), network.weights
    stored = network.kernel.factors(b)
    if stored is not None:
        left, right = stored
    else:
        root, used = np.sqrt(w), w > 0
        matrix = to_host(network.kernel.matrix(values["kernel"]))
        _, s, vt = np.linalg.svd(root[used, None] * matrix[np.ix_(used, used)] * root[used])
        rank = int(np.sum(s > rtol * s[0])) if s[0] > 0 else 0
        if rank == 0:
            raise ValueError(
                "control: its kernel is zero, f = f_I + t sigma(a), there is nothing to reduce to"
            )
        right = np.zeros((len(w), rank))
        right[used] = vt[:rank].T / root[used, None]
        left = matrix @ (w[:, None] * right)  # B psi_l, at nodes of weight zero too
    bias = to_host(values["bias"])
    inner = Bottleneck(left.shape[1], network.activation, hidden=len(w))
    reduced = inner.control(
        mesh,
        weight1=-left,
        bias1=bias,
        weight2=right.T * w,
        bias2=0.0,
    )
    return Reduction(inner, reduced, network.activation, left, right, bias, w)
