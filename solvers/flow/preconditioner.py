"""The inverse of I - g D_f F for fractional Laplacians, in Fourier space."""

from collections.abc import Callable

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_type
from continuum.controls import ControlPath
from continuum.doors import checked
from continuum.kernels import FractionalLaplacian
from continuum.networks import Adjoint, Chain, Linear, Offset, Pointwise

from ..steps.newton import Preconditioner

_LEAST = 1e-3
"""Slopes below this share of the largest are raised to it."""
_RATIO = 6.0
"""Between the slopes for which the inverse is computed."""


@checked
def spectral_preconditioner(network: Chain, control: ControlPath) -> Preconditioner:
    """P near (I - g D_f F)^-1 for the equations of implicit stages, B = c (-d_yy)^s.

        newton = Newton(preconditioner=spectral_preconditioner(network, control))
        integrate(network, control, initial, RadauIIA5(newton=newton))

    For WidthDepth -D_f F = d(y) c (-d_yy)^s with d = sigma'(u).  With d constant the inverse of
    I - g D_f F is diagonal in Fourier space; P freezes d at each node,

        (P x)(y) = sum_k (1 + g d(y) c lambda_k^s)^-1 (phi_k, x) phi_k(y),

    which is right up to terms of lower order in frequency if d is smooth.  The sum is computed for
    a few slopes d_i, a factor of 6 apart at most, and interpolated between them, linearly in 1 / d,
    which is exact at both ends of the frequencies: a few transforms, O(N log N).  So the number of
    GMRES iterations does not grow with N.  For other chains d is the product of all sigma' and
    c lambda_k^s that of all kernels.

    raises TypeError for a network with other maps than Linear and Adjoint of FractionalLaplacian,
        Offset and Pointwise; ValueError for kernels with different modes, or another's control
    """
    check_type("network", network, Chain)
    network.check_control("control", control)
    kernels: dict[str, FractionalLaplacian] = {}
    for one in network.maps:
        linear = one.of if isinstance(one, Adjoint) else one
        if isinstance(linear, Linear) and isinstance(linear.operator, FractionalLaplacian):
            kernels[linear.block] = linear.operator
        elif not isinstance(one, Offset | Pointwise):
            raise TypeError(
                f"network must be made of FractionalLaplacian kernels, offsets and activations, "
                f"got {network!r}"
            )
    if len({kernel.boundary for kernel in kernels.values()}) != 1:
        raise ValueError("network must have FractionalLaplacian kernels, all with the same modes")
    bound = {name: kernel.bound_modes for name, kernel in kernels.items()}
    modes, mesh = next(iter(bound.values())), control.mesh

    def preconditioner(t: float, f: Array, g: float) -> Callable[[Array], Array]:
        values = control.at_layer(mesh.layer_of(t), t)
        symbol, slope, x = np.full(len(modes.powers), g), np.ones(f.shape), f
        for one in network.maps:
            if isinstance(one, Linear | Adjoint):
                symbol = symbol * np.abs(values[one.block][0]) * bound[one.block].powers
            elif isinstance(one, Pointwise):
                slope = slope * np.abs(one.activation.derivative(x))
            x = one.value(x, values, t)
        chosen, shares = _interpolation(slope)
        factors = [1.0 / (1.0 + d * symbol) for d in chosen]

        def apply(v: Array) -> Array:
            result = shares[0] * modes.multiply(v, factors[0])
            for share, factor in zip(shares[1:], factors[1:], strict=True):
                result = result + share * modes.multiply(v, factor)
            return result

        return apply

    return preconditioner


def _interpolation(slope: Array) -> tuple[Array, Array]:
    """A few slopes d_i (K,), and shares (K, N, 1) >= 0 of sum 1 with sum_i shares_i / d_i = 1 / d
    at every node, at most two of them positive.
    """
    most = float(np.max(slope))
    if most == 0.0:
        return np.zeros(1), np.ones((1, *slope.shape))
    d = np.maximum(slope, _LEAST * most)
    ratio = most / float(np.min(d))
    if ratio < 1.0 + 1e-6:
        return np.array([most]), np.ones((1, *slope.shape))
    chosen = np.geomspace(float(np.min(d)), most, 2 + int(np.log(ratio) / np.log(_RATIO)))
    knots = 1.0 / chosen[::-1]
    place = np.clip(np.searchsorted(knots, 1.0 / d) - 1, 0, len(knots) - 2)
    right = (1.0 / d - knots[place]) / (knots[place + 1] - knots[place])
    shares = np.zeros((len(knots), *slope.shape))
    np.put_along_axis(shares, place[None], (1.0 - right)[None], axis=0)
    np.put_along_axis(shares, place[None] + 1, right[None], axis=0)
    return chosen, shares[::-1]
