"""Bounds of the velocity of any chain, from the norms of its maps.

Through the maps x_0 = f, x_(l+1) = map_l(x_l), the constants of |x_l| <= a_l |f| + b_l and of
|x_l(f) - x_l(g)| <= c_l |f - g| are carried along:

    B x                 a |B|,  b |B|,  c |B|
    x + o               a,  b + |o|,  c
    sigma(x), bounded   0,  sup |sigma| m^(1/2),  c Lip, where sup |sigma| is stated
    sigma(x), not so    a Lip,  b Lip + |sigma(0)| m^(1/2),  c Lip
    (x, r)              a,  b + |r|,  c
    NormBound(r)        0,  r,  c

with the norm of L^2(Y), m = |Y|, or that of R^n, m = n.
"""

from collections.abc import Callable
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
    integral : int_0^T of the least such `lipschitz` of each layer
    known : False where the control is made of functions of time, whose norms are taken at the ends
        and middles of layers alone
    unbounded : the names of operators that are not bounded on L^2(Y)
    unstated : the bounded activations of which `supremum` is not stated, so that `rate` and `speed`
        rest on their Lipschitz constants
    """

    lipschitz: float
    rate: float
    speed: float
    integral: float
    known: bool
    unbounded: tuple[str, ...]
    unstated: tuple[str, ...]


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
    layers, steps, known = _values(control)
    unbounded = [m for m in chain.maps if isinstance(m, Linear) and not m.operator.bounded]
    sigmas = [m.activation for m in chain.maps if isinstance(m, Pointwise)]
    a, b, c = np.ones(len(layers)), np.zeros(len(layers)), np.ones(len(layers))
    space: Space = chain.space
    for one in chain.maps:
        if isinstance(one, Linear | Adjoint | FixedLinear):
            size = _largest(layers, lambda v, one=one: _norm(one, v))
            a, b, c = _times(size, a), _times(size, b), _times(size, c)
            space = _target(one)
        elif isinstance(one, Offset):
            block, here = one.block, space
            b = b + _largest(layers, lambda v, n=block, y=here: length(y, v[n][:, None]))
        elif isinstance(one, Inputs):
            b = b + _rows(one, control.mesh.horizon)
            space = _target(one)
        elif isinstance(one, NormBound):
            a, b = 0.0 * c, np.full(len(layers), one.radius)
        elif isinstance(one, Pointwise):
            a, b, c = _bent(one.activation, sqrt(measure(space)), a, b, c)
    return ChainBound(
        float(c.max()),
        float(a.max()),
        float(b.max()),
        float(np.sum(_times(steps, c))),
        known,
        tuple(m.block for m in unbounded),
        tuple(dict.fromkeys(s.name for s in sigmas if s.bounded and s.supremum is None)),
    )


def _bent(
    sigma: Activation, root: float, a: Array, b: Array, c: Array
) -> tuple[Array, Array, Array]:
    """The constants behind an activation; root : m^(1/2)."""
    c = _times(sigma.lipschitz, c)
    if sigma.supremum is not None and isfinite(root):
        return np.zeros_like(a), np.full_like(b, sigma.supremum * root), c
    zero = abs(float(sigma.value(np.zeros(1))[0]))
    shift = root * zero if zero else 0.0
    return _times(sigma.lipschitz, a), _times(sigma.lipschitz, b) + shift, c


def length(space: Space, f: Array) -> float:
    """The largest norm of the columns of f (n, M) in a space."""
    x = to_host(f)
    weights = space.weights[:, None] if isinstance(space, Grid) else 1.0
    return float(np.sqrt(np.max(np.sum(weights * x * x, axis=0))))


def measure(space: Space) -> float:
    """|Y|, or n."""
    return space.domain.measure if isinstance(space, Grid) else float(space)


def _values(control: ControlPath) -> tuple[list[list[Values]], Array, bool]:
    """(for every layer values of the blocks at which norms are taken, the lengths of the layers,
    whether the largest norms are among them); one layer if nothing depends on time.
    """
    constant, mesh = constant_values(control), control.mesh
    if constant is not None:
        return [[constant]], np.array([mesh.horizon]), True
    found, timed = [], isinstance(control, FunctionControl)
    nodes = mesh.nodes.tolist()
    for k in range(mesh.layers):
        start, end = nodes[k], nodes[k + 1]
        times = (start, 0.5 * (start + end), end) if timed else (start, end)
        found.append([control.at_layer(k, t) for t in times])
    return found, mesh.steps, not timed


def _largest(layers: list[list[Values]], norm: Callable[[Values], float]) -> Array:
    """(K,): the largest norm on every layer."""
    return np.array([max(norm(v) for v in values) for values in layers])


def _times(x: Array | float, y: Array) -> Array:
    """x y, 0 where one of them is."""
    x, y = np.broadcast_arrays(x, y)
    found = np.zeros(y.shape)
    return np.multiply(x, y, out=found, where=(x != 0.0) & (y != 0.0))


def _unbounded(one: Map) -> bool:
    linear = one.of if isinstance(one, Adjoint) else one
    return isinstance(linear, Linear) and not linear.operator.bounded


def _norm(one: Linear | Adjoint | FixedLinear, values: Values) -> float:
    """|B|, which is |B*|, between the spaces; infinite for what is not bounded on L^2(Y)."""
    if _unbounded(one):
        return inf
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
