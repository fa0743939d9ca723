"""Bounds of the velocity of any chain, from the norms of its maps.

Through the maps x_0 = f, x_(l+1) = map_l(x_l), the constants of |x_l| <= a_l |f| + b_l and of
|x_l(f) - x_l(g)| <= c_l |f - g| are carried along:

    B x                 a |B|,  b |B|,  c |B|
    x + o               a,  b + |o|,  c
    sigma(x), bounded   0,  sup |sigma| m^(1/2),  c Lip
    sigma(x), not so    a Lip,  b Lip + |sigma(0)| m^(1/2),  c Lip
    (x, r)              a,  b + |r|,  c
    NormBound(r)        0,  r,  c

with the norm of L^2(Y), m = |Y|, or that of R^n, m = n.
"""

from dataclasses import dataclass
from math import inf, isfinite, sqrt

import numpy as np

from continuum.activations import Activation
from continuum.arrays import Array, to_host
from continuum.checks import check_type
from continuum.controls import ControlPath, FunctionControl
from continuum.networks import (
    Adjoint,
    Chain,
    FixedLinear,
    Inputs,
    Linear,
    Map,
    NormBound,
    Offset,
    Pointwise,
)
from continuum.networks.maps import Space
from continuum.networks.network import Values
from continuum.quadrature import Grid

from .stability import constant_values

_KNOWN = (Adjoint, FixedLinear, Inputs, Linear, NormBound, Offset, Pointwise)


@dataclass(frozen=True)
class ChainBound:
    """|F(f, t) - F(g, t)| <= lipschitz |f - g| and |F(f, t)| <= rate |f| + speed, at all t.

    lipschitz, rate, speed : infinite where there is none
    known : False where the control is made of functions of time, whose norms are taken at the ends
        and middles of layers alone
    unbounded : the names of operators that are not bounded on L^2(Y)
    """

    lipschitz: float
    rate: float
    speed: float
    known: bool
    unbounded: tuple[str, ...]


def check_maps(network: object) -> Chain:
    """`network`, if it is a chain of maps whose norms are known.

    raises TypeError for what is no Chain, a chain that replaces its velocity, or another map
    """
    chain = check_type("network", network, Chain)
    if not chain.derived:
        raise TypeError(
            f"network is a {type(chain).__name__}, which replaces the velocity of its chain: no "
            "theorem here covers it"
        )
    for one in chain.maps:
        if not isinstance(one, _KNOWN):
            raise TypeError(f"no theorem here covers the map {type(one).__name__} of the network")
    return chain


def chain_bound(network: Chain, control: ControlPath) -> ChainBound:
    """The bounds of a chain with a control: of every map the largest norm over time.

    A control with coefficients is linear on layers, where norms are largest at the ends.
    raises TypeError for what is no chain of known maps, ValueError for a control of another network
    """
    chain = check_maps(network)
    chain.check_control("control", control)
    values, known = _values(control)
    unbounded = [m for m in chain.maps if isinstance(m, Linear) and not m.operator.bounded]
    a = c = 1.0
    b = 0.0
    space: Space = chain.space
    for one in chain.maps:
        if isinstance(one, Linear | Adjoint | FixedLinear):
            size = inf
            if not _unbounded(one):
                size = max(_norm(one, v) for v in values)
            a, b, c = _times(size, a), _times(size, b), _times(size, c)
            space = _target(one)
        elif isinstance(one, Offset):
            b += max(length(space, v[one.block][:, None]) for v in values)
        elif isinstance(one, Inputs):
            b += _rows(one, control.mesh.horizon)
            space = _target(one)
        elif isinstance(one, NormBound):
            a, b = 0.0, one.radius
        elif isinstance(one, Pointwise):
            sigma, root = one.activation, sqrt(measure(space))
            c = _times(sigma.lipschitz, c)
            if sigma.bounded and isfinite(root):
                a, b = 0.0, supremum(sigma) * root
            else:
                zero = abs(float(sigma.value(np.zeros(1))[0]))
                a, b = _times(sigma.lipschitz, a), _times(sigma.lipschitz, b) + _times(root, zero)
    return ChainBound(c, a, b, known, tuple(m.block for m in unbounded))


def length(space: Space, f: Array) -> float:
    """The largest norm of the columns of f (n, M) in a space."""
    x = to_host(f)
    weights = space.weights[:, None] if isinstance(space, Grid) else 1.0
    return float(np.sqrt(np.max(np.sum(weights * x * x, axis=0))))


def measure(space: Space) -> float:
    """|Y|, or n."""
    return space.domain.measure if isinstance(space, Grid) else float(space)


def supremum(sigma: Activation) -> float:
    """sup |sigma| of a bounded activation, from its values on [-40, 40] and far away."""
    s = np.concatenate([np.linspace(-40.0, 40.0, 4001), [-1e150, 1e150]])
    return float(np.abs(sigma.value(s)).max())


def _values(control: ControlPath) -> tuple[list[Values], bool]:
    """Values of the blocks at which norms are taken, and whether the largest are among them."""
    constant = constant_values(control)
    if constant is not None:
        return [constant], True
    found, timed = [], isinstance(control, FunctionControl)
    nodes = control.mesh.nodes.tolist()
    for k in range(control.mesh.layers):
        start, end = nodes[k], nodes[k + 1]
        times = (start, 0.5 * (start + end), end) if timed else (start, end)
        found += [control.at_layer(k, t) for t in times]
    return found, not timed


def _times(x: float, y: float) -> float:
    """x y, 0 if one of them is."""
    return x * y if x and y else 0.0


def _unbounded(one: Map) -> bool:
    linear = one.of if isinstance(one, Adjoint) else one
    return isinstance(linear, Linear) and not linear.operator.bounded


def _norm(one: Linear | Adjoint | FixedLinear, values: Values) -> float:
    """|B|, which is |B*|, between the spaces."""
    if isinstance(one, FixedLinear):
        return float(np.linalg.norm(to_host(one.matrix), 2))
    linear = one.of if isinstance(one, Adjoint) else one
    b = values[linear.block]
    if isinstance(linear.source, Grid) and isinstance(linear.target, Grid):
        return linear.operator.norm(b, linear.source)
    weights = 1.0 if linear.weights is None else np.sqrt(linear.weights)
    return float(np.linalg.norm(to_host(b) * weights, 2))


def _target(one: Map) -> Space:
    """The space behind a map."""
    if isinstance(one, Adjoint):
        return one.of.source
    if isinstance(one, FixedLinear):
        return int(one.matrix.shape[0])
    if isinstance(one, Inputs):
        return one.units + int(one.time) + (0 if one.data is None else int(one.data.shape[0]))
    return one.target  # type: ignore[attr-defined]


def _rows(one: Inputs, horizon: float) -> float:
    """The largest norm of what stands below the state."""
    data = 0.0 if one.data is None else length(int(one.data.shape[0]), one.data)
    return sqrt(data**2 + (horizon**2 if one.time else 0.0))
