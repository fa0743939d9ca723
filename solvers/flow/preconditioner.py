"""The inverse of I - g D_f F with mean coefficients, diagonal in Fourier space."""

from collections.abc import Callable

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_type
from continuum.controls import ControlPath
from continuum.kernels import FractionalLaplacian
from continuum.networks import Adjoint, Chain, Linear, Offset, Pointwise


def spectral_preconditioner(
    network: Chain, control: ControlPath
) -> Callable[[float, Array, float], Callable[[Array], Array]]:
    """P = (I - g m)^-1 for the equations of implicit stages with FractionalLaplacian kernels.

    D_f F is a product of operators +-c (-d_yy)^s and of slopes sigma'(u).  With every slope
    replaced by its mean over the nodes it is diagonal in Fourier space, with a symbol m, which for
    WidthDepth is -mean(sigma'(u)) c lambda_k^s.  P costs O(N log N), and the number of GMRES
    iterations depends on how sigma'(u) varies, not on N.

        newton = Newton(preconditioner=spectral_preconditioner(network, control))
        integrate(network, control, initial, RadauIIA5(newton=newton))

    returns (t, f, g) -> (x -> P x), f and x of shape (N, 1); where m > 0, -m is taken
    raises TypeError for a network with other maps than Linear and Adjoint of FractionalLaplacian,
        Offset and Pointwise; ValueError for kernels with different modes, or another's control
    """
    check_type("network", network, Chain)
    network.check_blocks("control", control.blocks)
    found = []
    for one in network.maps:
        linear = one.of if isinstance(one, Adjoint) else one
        if isinstance(linear, Linear) and isinstance(linear.operator, FractionalLaplacian):
            found.append(linear.operator)
        elif not isinstance(one, Offset | Pointwise):
            raise TypeError(
                f"network must be made of FractionalLaplacian kernels, offsets and activations, "
                f"got {network!r}"
            )
    if not found or len({kernel.boundary for kernel in found}) > 1:
        raise ValueError("network must have FractionalLaplacian kernels with the same modes")
    modes, mesh = found[0].bind(network.space).modes, control.mesh  # type: ignore[arg-type]

    def preconditioner(t: float, f: Array, g: float) -> Callable[[Array], Array]:
        values = control.at_layer(mesh.layer_of(t), t)
        symbol, x = np.ones(len(modes.powers)), f
        for one in network.maps:
            if isinstance(one, Linear | Adjoint):
                linear = one if isinstance(one, Linear) else one.of
                symbol = one.sign * float(values[one.block][0]) * symbol
                symbol = symbol * linear.operator.modes.powers
            elif isinstance(one, Pointwise):
                symbol = symbol * float(np.mean(one.activation.derivative(x)))
            x = one.value(x, values, t)
        factor = 1.0 / (1.0 + g * np.abs(symbol))

        def apply(v: Array) -> Array:
            if np.iscomplexobj(v):
                return modes.multiply(np.real(v), factor) + 1j * modes.multiply(np.imag(v), factor)
            return modes.multiply(v, factor)

        return apply

    return preconditioner
