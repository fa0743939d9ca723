"""How long the steps of an explicit method may be."""

from math import inf, isfinite

import numpy as np

from continuum.controls import ControlPath
from continuum.doors import checked
from continuum.networks import WidthDepth

from ..steps.tableaux import Euler, RungeKutta
from .stability import constant_values, values_at

_FARTHEST = 100.0
"""Stability intervals are looked for up to here."""


@checked
def explicit_step_limit(
    network: WidthDepth, control: ControlPath, stepper: RungeKutta | None = None
) -> float:
    """beta / (sup sigma' max_t |B(t)|): the longest stable steps on f_t = sigma(a - Bf) for
    B = B* >= 0.

    With sigma' >= 0 the eigenvalues of D_f F = -sigma'(u) B are then in
    [-sup sigma' |B|, 0], and a method with the stability function R amplifies none of them if
    |R(-x)| <= 1 on [0, beta]: beta = 2 for Euler, Heun and ExplicitMidpoint, 2.785 for RK4.  For
    sigma(s) = s and constant B longer steps do amplify the fastest mode; for other B, or with
    sigma' small where the state is, the number is only a scale.  For B = c (-d_yy)^s it is
    beta / (sup sigma' c lambda_N^s), of order N^(-2 s): use an implicit method.  If sigma is
    bounded, longer steps do not blow up, and no status tells: they leave a sawtooth in the fastest
    modes on a state that is wrong.

    |B| is taken at the ends and middles of layers if it depends on time.

    stepper : an explicit method, Euler() unless said otherwise
    returns the length of a step; infinite if B = 0
    raises TypeError for an implicit method or another network, ValueError for an activation
        without a Lipschitz constant
    """
    stepper = Euler() if stepper is None else stepper
    if not isinstance(stepper, RungeKutta):
        raise TypeError(f"stepper must be an explicit method such as RK4(), got {stepper!r}")
    constant, times = constant_values(control) is not None, np.zeros(1)
    if not constant:
        nodes = control.mesh.nodes
        times = np.union1d(nodes, 0.5 * (nodes[1:] + nodes[:-1]))
    kernels = [values_at(network, control, float(t))["kernel"] for t in times]
    fastest = max(network.kernel.norm(b, network.grid) for b in kernels)
    if not isfinite(network.activation.lipschitz):
        raise ValueError(f"activation {network.activation} has no finite sup |sigma'|")
    fastest *= network.activation.lipschitz
    return real_stability(stepper) / fastest if fastest > 0.0 else inf


def real_stability(stepper: RungeKutta) -> float:
    """The largest beta with |R(-x)| <= 1 on [0, beta], R(z) = 1 + sum_k z^k b A^(k-1) 1."""
    coefficients, powers = [1.0], np.ones(len(stepper.b))
    for _ in stepper.b:
        coefficients.append(float(stepper.b @ powers))
        powers = stepper.a @ powers
    polynomial = np.polynomial.Polynomial(coefficients)

    def amplifies(x: float) -> bool:
        return bool(abs(polynomial(-x)) > 1.0 + 1e-12)

    grid = np.arange(0.0, _FARTHEST, 1e-3)
    beyond = np.flatnonzero(np.abs(polynomial(-grid)) > 1.0 + 1e-12)
    if not len(beyond):
        return _FARTHEST
    high = float(grid[beyond[0]])
    low = high - 1e-3
    while high - low > 1e-13 * high:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if amplifies(middle) else (middle, high)
    return low
