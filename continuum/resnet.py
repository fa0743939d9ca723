"""Residual networks from controls, controls from residual networks, and what a residual network is
between its layers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .arrays import Array, namespace, to_host
from .checks import check_array, check_count, check_listed, check_type
from .controls import Control, ControlPath
from .doors import checked
from .meshes import TimeMesh
from .networks import Chain, Network
from .records import short
from .sublayers import Layer, apply, block_values, carried, check_chain, check_layer, frozen_layers


@checked
@dataclass(frozen=True, eq=False)
class ResNet:
    """Layers z <- z + tau_k F_k(z): the explicit Euler steps of a chain.

    mesh : horizon and layers; tau_k are its steps
    layers : F_k for every k, a tuple of sub-layers sigma(W x + a), one after the other.  With the
        paper's sign and the quadrature weights, W = -b diag(w) for WidthDepth; z + tau W_2
        sigma(W_1 z + a_1) + tau a_2 for Bottleneck
    units : N
    raises ValueError for other than K layers, or one that does not lead from R^N to R^N
    Source: Liu and Markowich, (2.1) and (2.9).
    """

    mesh: TimeMesh
    layers: Sequence[Layer]
    units: int

    __repr__ = short

    def __post_init__(self) -> None:
        units = check_count("units", self.units)
        check_type("mesh", self.mesh, TimeMesh)
        check_listed("layers", self.layers)
        if len(self.layers) != self.mesh.layers:
            raise ValueError(
                f"layers must be as many as those of the mesh, {self.mesh.layers}, got "
                f"{len(self.layers)}"
            )
        checked = []
        for k, given in enumerate(self.layers):
            layer, outputs = check_layer(f"layers[{k}]", given, units)
            if outputs != units:
                raise ValueError(f"layers[{k}] must lead to {units} units, it leads to {outputs}")
            checked.append(layer)
        object.__setattr__(self, "layers", tuple(checked))

    @staticmethod
    @checked
    def from_control(network: Network, control: ControlPath) -> "ResNet":
        """The ResNet with one layer per layer of the control, coefficients at the left ends t_k.

        Agrees with integrate(network, control, initial, Euler()) to rounding; as there, a layer
        inside which a control of functions has a breakpoint becomes two.
        raises TypeError for a network that is no Chain of the package's maps; a Staged one has a
            ResNet for each of its stages
        """
        mesh, layers = frozen_layers(network, control)
        return ResNet(mesh, layers, len(network.weights))

    @checked
    def to_control(self, network: Chain) -> Control:
        """The control of `network`, constant on layers, of which this is the ResNet.

        Matrices are divided by their quadrature weights: b_k = -W_k diag(1/w) for WidthDepth.
        raises TypeError for a kernel that is not Dense, ValueError for layers of another network or
            weights of zero; both name the block
        """
        if len(check_chain(network).weights) != self.units:
            raise ValueError(
                f"network has {len(network.weights)} units, the layers have {self.units}"
            )
        space = network.controls(self.mesh, in_time="layers")
        starts = self.mesh.nodes[:-1].tolist()
        values = [block_values(network, *pair) for pair in zip(self.layers, starts, strict=True)]
        return space.sample(
            **{name: namespace(x).stack([c[name] for c in values]) for name, x in values[0].items()}
        )

    def __call__(self, initial: Array) -> Array:
        """The last layer's output for inputs (N, M): (N, M), where the inputs are."""
        return self.outputs(initial)[-1]

    @checked
    def outputs(self, initial: Array) -> list[Array]:
        """The input and the output of every layer: K + 1 arrays (N, M)."""
        z = check_array("initial", initial, (self.units, "M"))
        return [z, *self._run(self.layers, z)]

    @checked
    def at(self, initial: Array, times: Sequence[float] | Array) -> Array:
        """(S, N, M): the states at times (S,) in [0, T], linear in t on every layer.

            z(t_k + theta tau_k) = (1 - theta) z_k + theta z_(k+1)

        raises ValueError for times outside [0, T]
        """
        t, z = self._times(times), self.outputs(initial)
        k = self.mesh.layers_of(t)
        share = (t - self.mesh.nodes[k]) / self.mesh.steps[k]
        found = [
            (1.0 - s) * z[n] + s * z[n + 1] for n, s in zip(k.tolist(), share.tolist(), strict=True)
        ]
        return namespace(z[0]).stack(found)

    @checked
    def lagged(self, initial: Array, times: Sequence[float] | Array) -> Array:
        """(S, N, M): the extended recursion with lag tau at times (S,) in [0, T],

            z(t + tau) = z(t) + tau F(z(t), c(t)),   z = initial on [0, tau),

        c linear between the coefficients W_k, a_k of the layers at t_k.  z(t_k) = z_k, and z jumps
        at t_1, ..., t_K by `jumps`.

        raises ValueError for layers of different lengths, times outside [0, T]
        Source: Liu and Markowich (2.2), with the half-open interval that it needs.
        """
        t, z0 = self._times(times), check_array("initial", initial, (self.units, "M"))
        layers, mesh = self._equal(), self.mesh
        k = np.where(t == mesh.horizon, mesh.layers, mesh.layers_of(t))
        share = np.round((t - mesh.nodes[k]) / mesh.steps[0], 12)
        found: dict[tuple[int, float], Array] = {}
        for s in np.unique(share).tolist():
            wanted = set(k[share == s].tolist())
            blended = layers if s == 0.0 else self._blended(layers, s)
            for n, z in enumerate([z0, *self._run(blended, z0)]):
                if n in wanted:
                    found[n, s] = z
        keys = zip(k.tolist(), share.tolist(), strict=True)
        return namespace(z0).stack([found[key] for key in keys])

    @checked
    def jumps(self, initial: Array) -> Array:
        """(K, N, M): z(t_k) - z(t_k -) of `lagged`, k = 1, ..., K.

        With the coefficients of functions of time, and z the limit in depth, jumps / tau tend to
        w(t), w' = D_f F(z, t) w, w(0) = F(z(0), 0): both one-sided values come from the recursion
        over the same layers 1, ..., k - 1, started from z_1 and from z_0.  Where F does not depend
        on time, w = z'.
        raises ValueError for layers of different lengths
        """
        z0 = check_array("initial", initial, (self.units, "M"))
        layers = self._equal()
        before = [z0, *self._run(layers[1:], z0)]
        after = self._run(layers, z0)
        return namespace(z0).stack([z - y for z, y in zip(after, before, strict=True)])

    def _run(self, layers: Sequence[Layer], z: Array) -> Iterator[Array]:
        """z_1, z_2, ... from z = z_0."""
        for layer, tau in zip(carried(layers, z), self.mesh.steps, strict=False):
            z = z + float(tau) * apply(layer, z)
            yield z

    def _blended(self, layers: Sequence[Layer], share: float) -> list[Layer]:
        """The layers with the coefficients at t_k + share tau, k = 0, ..., K - 2."""
        return [
            tuple(a.blended(b, share) for a, b in zip(one, two, strict=True))
            for one, two in pairwise(layers)
        ]

    def _equal(self) -> Sequence[Layer]:
        """The layers, if all are of one length."""
        steps = self.mesh.steps
        if np.ptp(steps) > 1e-12 * self.mesh.horizon:
            raise ValueError(
                f"a recursion with one lag needs layers of equal length, those of the mesh go from "
                f"{steps.min():g} to {steps.max():g}"
            )
        return self.layers

    def _times(self, times: Sequence[float] | Array) -> Array:
        """(S,), on the host, in [0, T]."""
        t = to_host(check_array("times", times, ("S",)))  # type: ignore[arg-type]  # lists, too
        if np.any(t < 0.0) or np.any(t > self.mesh.horizon):
            raise ValueError(f"times must be in [0, {self.mesh.horizon:g}], got {times}")
        return t
