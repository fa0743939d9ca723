"""Chains with frozen coefficients as dense sub-layers sigma(W x + a): what ResNets, feed-forward
chains and architectures are made of.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .activations import Activation, identity
from .arrays import Array, is_array, like, namespace, to_host
from .checks import check_array, check_listed, check_type
from .controls import ControlPath
from .doors import checked
from .meshes import TimeMesh
from .networks import (
    Adjoint,
    Chain,
    FixedLinear,
    Inputs,
    Linear,
    Map,
    Network,
    Offset,
    Pointwise,
    Staged,
)
from .networks.maps import factor
from .networks.network import Values
from .quadrature import Grid
from .records import short


@checked
@dataclass(frozen=True, eq=False)
class Sublayer:
    """y = sigma(W [x; r] + a), [x; r] being x (n, M) with the rows r below.

    activation : sigma; `identity` where there is none
    matrix : W (m, n + P), quadrature weights and signs inside; None for the identity
    bias : a (m,); None for 0
    rows : r (P, M), or (P, 1) for all samples: the time and the data that `Inputs` adds; None for
        none
    raises TypeError for what is no Activation, ValueError for arrays that do not fit each other
    """

    activation: Activation
    matrix: Array | None = None
    bias: Array | None = None
    rows: Array | None = None

    __repr__ = short

    def __post_init__(self) -> None:
        check_type("activation", self.activation, Activation)
        outputs: int | str = "m"
        if self.matrix is not None:
            outputs = self._checked("matrix", ("m", "n")).shape[0]
        if self.bias is not None:
            self._checked("bias", (outputs,))
        if self.rows is not None:
            self._checked("rows", ("P", "M"))

    def _checked(self, name: str, shape: tuple[int | str, ...]) -> Array:
        array = check_array(name, getattr(self, name), shape)
        object.__setattr__(self, name, array)
        return array

    def __call__(self, x: Array) -> Array:
        """sigma(W [x; r] + a): (m, M), where x is.

        raises TypeError for what is no array, ValueError if it does not fit, or r has other samples
        """
        return self.activation.value(self._argument(x))

    def tangent(self, x: Array, dx: Array) -> Array:
        """sigma'(W [x; r] + a) W [dx; 0], for x and dx of the same columns."""
        slope = self.activation.derivative(self._argument(x))
        if self.rows is not None:
            zeros = namespace(dx).zeros_like(dx[:1, :])
            dx = namespace(dx).concat([dx] + [zeros] * self.rows.shape[0], axis=0)
        return slope * (dx if self.matrix is None else like(self.matrix, dx) @ dx)

    def outputs(self, inputs: int) -> int:
        """m for n = `inputs`.  Raises ValueError for an n that does not fit."""
        total = inputs + (0 if self.rows is None else self.rows.shape[0])
        wanted = total
        for array in (self.bias, self.matrix):
            wanted = wanted if array is None else array.shape[-1]
        if wanted != total:
            raise ValueError(f"it takes {wanted} numbers, but is given {total}")
        return total if self.matrix is None else self.matrix.shape[0]

    def blended(self, other: "Sublayer", share: float) -> "Sublayer":
        """(1 - share) times this one's W, a, r, and share times the other's."""

        def mixed(one: Array | None, two: Array | None) -> Array | None:
            return one if one is None or two is None else (1.0 - share) * one + share * two

        return Sublayer(
            self.activation,
            mixed(self.matrix, other.matrix),
            mixed(self.bias, other.bias),
            mixed(self.rows, other.rows),
        )

    def formula(self, x: str, name: str = "W") -> str:
        """How it is written, for an argument x; name : of W."""
        text = f"({x}, r)" if self.rows is not None else x
        if self.matrix is not None:
            text = f"{name} {factor(text)}"
        text += " + a" if self.bias is not None else ""
        return text if self.activation is identity else f"{self.activation}({text})"

    def _argument(self, x: Array) -> Array:
        if not is_array(x):
            raise TypeError(f"x must be an array (n, M), got {x!r}")
        if len(x.shape) != 2:
            raise ValueError(f"x has shape {tuple(x.shape)}, expected (n, M)")
        if self.rows is not None:
            xp, r = namespace(x), like(self.rows, x)
            if r.shape[1] not in (1, x.shape[1]):
                raise ValueError(
                    f"the state has {x.shape[1]} columns, but this layer holds data of "
                    f"{r.shape[1]} samples: a stepper that is implicit takes other "
                    "columns, and data that all samples share"
                )
            x = xp.concat([x, xp.broadcast_to(r, (r.shape[0], x.shape[1]))], axis=0)
        if self.matrix is not None:
            if x.shape[0] != self.matrix.shape[1]:
                raise ValueError(f"W takes {self.matrix.shape[1]} numbers, x has {x.shape[0]}")
            x = like(self.matrix, x) @ x
        return x if self.bias is None else x + like(self.bias, x)[:, None]


Layer = tuple[Sublayer, ...]
"""Sub-layers, one after the other: F(x) = y_S, y_0 = x, y_s = sublayer_s(y_(s-1))."""


def apply(layer: Layer, x: Array) -> Array:
    """F(x)."""
    for one in layer:
        x = one(x)
    return x


def apply_tangent(layer: Layer, x: Array, dx: Array) -> Array:
    """D F(x) dx."""
    for one in layer:
        x, dx = one(x), one.tangent(x, dx)
    return dx


def check_layer(name: str, layer: Iterable[Sublayer], inputs: int) -> tuple[Layer, int]:
    """(the layer, how many numbers it leads to), if it takes `inputs` numbers.

    raises TypeError for what is no Sublayer, ValueError, with the place, for sizes that do not fit
    """
    check_listed(name, layer)
    layer = tuple(layer)
    for n, one in enumerate(layer):
        if not isinstance(one, Sublayer):
            raise TypeError(f"{name}[{n}] must be a Sublayer, got {one!r}")
        try:
            inputs = one.outputs(inputs)
        except ValueError as error:
            raise ValueError(f"{name}[{n}] does not fit what is before it: {error}") from None
    return layer, inputs


def carried(layers: Sequence[Layer], example: Array) -> list[Layer]:
    """The layers with their arrays where `example` is; what they share is carried once."""
    there: dict[int, Array] = {}

    def carry(x: Array | None) -> Array | None:
        if x is not None and id(x) not in there:
            there[id(x)] = like(x, example)
        return None if x is None else there[id(x)]

    def moved(one: Sublayer) -> Sublayer:
        arrays = {name: getattr(one, name) for name in ("matrix", "bias", "rows")}
        found = {name: carry(x) for name, x in arrays.items()}
        return one if all(found[n] is x for n, x in arrays.items()) else replace(one, **found)

    return [tuple(moved(one) for one in layer) for layer in layers]


_RANKS: dict[type[Map], int] = {
    Inputs: 0,
    Linear: 1,
    Adjoint: 1,
    FixedLinear: 1,
    Offset: 2,
    Pointwise: 3,
}


def check_chain(network: object) -> Chain:
    """`network`, if it is a chain whose velocity is its maps, each of a kind that is known here.

    raises TypeError, with the name of what is not
    """
    if isinstance(network, Staged):
        raise TypeError(
            f"network must be a Chain, got {type(network).__name__}, whose stages have layers of "
            "their own: take its stages one by one, with network.part(control, stage) for the "
            "control and network.transfers between them"
        )
    if not isinstance(network, Chain):
        raise TypeError(f"network must be a Chain, got {type(network).__name__}")
    if not network.derived:
        raise TypeError(
            f"network is a {type(network).__name__}, which replaces the velocity of its chain, so "
            "its maps do not say what a layer is"
        )
    for one in network.maps:
        if type(one) not in _RANKS:
            raise TypeError(
                f"the map {type(one).__name__} of the network is no part of sigma(W x + a): "
                f"{', '.join(kind.__name__ for kind in _RANKS)} are"
            )
    return network


def _groups(chain: Chain) -> list[list[int]]:
    """The numbers of the maps of every sub-layer: further inputs, a product, an offset, an
    activation, in this order, where they are there.
    """
    groups: list[list[int]] = []
    last = max(_RANKS.values())
    for n, one in enumerate(chain.maps):
        rank = _RANKS[type(one)]
        if rank <= last:
            groups.append([])
        groups[-1].append(n)
        last = rank
    return groups


class Frozen:
    """The velocity of a chain at one moment after the other, as sub-layers; values of blocks that
    do not change give the same arrays.

    raises TypeError for what `check_chain` refuses
    """

    def __init__(self, network: Network) -> None:
        self.network = check_chain(network)
        self._groups = _groups(self.network)
        self._latest: dict[int, tuple[Array, Array]] = {}

    def at(self, values: Values, t: float) -> Layer:
        """F(., values, t)."""
        return tuple(self._sublayer(group, values, t) for group in self._groups)

    def _sublayer(self, group: Sequence[int], values: Values, t: float) -> Sublayer:
        parts: dict[str, Array | None] = {}
        activation = identity
        for n in group:
            one = self.network.maps[n]
            if isinstance(one, Inputs):
                parts["rows"] = one.rows(t)
            elif isinstance(one, Linear | Adjoint):
                parts["matrix"] = self._shared(n, one, values[one.block])
            elif isinstance(one, FixedLinear):
                parts["matrix"] = one.matrix
            elif isinstance(one, Offset):
                parts["bias"] = self._shared(n, one, values[one.block])
            elif isinstance(one, Pointwise):
                activation = one.activation
        return Sublayer(activation, **parts)

    def _shared(self, n: int, one: Linear | Adjoint | Offset, value: Array) -> Array:
        if n in self._latest:
            before, made = self._latest[n]
            if before is value or (is_array(value) and bool(namespace(value).all(before == value))):
                return made
        made = value if isinstance(one, Offset) else _matrix(one, value)
        self._latest[n] = (value, made)
        return made


def _matrix(one: Linear | Adjoint, b: Array) -> Array:
    """The matrix of x -> sign Bx, or sign B*x: quadrature weights of the space of x inside."""
    linear = one.of if isinstance(one, Adjoint) else one
    matrix, space = linear.operator.matrix(b), linear.source
    if isinstance(one, Adjoint):
        matrix, space = matrix.T, linear.target
    if isinstance(space, Grid):
        matrix = matrix * space.weights_like(matrix)
    return matrix if one.sign > 0 else -matrix


def frozen_layers(network: Network, control: ControlPath) -> tuple[TimeMesh, list[Layer]]:
    """(mesh, F(., c(t_k), t_k) of its layers): what explicit Euler takes of a control.

    The mesh is the control's, cut in two where a breakpoint lies inside a layer, as `integrate`
    cuts it.
    raises TypeError for what `check_chain` refuses, ValueError for a control of another network
    """
    frozen = Frozen(network)
    network.check_control("control", control)
    mesh = control.mesh
    cuts = [t for t in control.breakpoints if np.abs(mesh.nodes - t).min() > 1e-12 * mesh.horizon]
    if cuts:
        mesh = TimeMesh.through(np.sort(np.append(mesh.nodes, cuts)))
    layers = []
    for t, tau in zip(mesh.nodes[:-1].tolist(), mesh.steps.tolist(), strict=True):
        middle = t + 0.5 * tau
        values = control.around(middle).at_layer(control.mesh.layer_of(middle), t)
        layers.append(frozen.at(values, t))
    return mesh, layers


def block_values(chain: Chain, layer: Layer, t: float) -> dict[str, Array]:
    """The values of the blocks of which `layer` is the velocity at t: what undoes `Frozen.at`.

    Sub-layers of the package's own maps can be undone where every kernel is Dense, or a matrix,
    and no quadrature weight is zero.
    raises ValueError for a layer of another chain, TypeError for a kernel of another format; both
        name the block
    """
    groups = _groups(check_chain(chain))
    if len(layer) != len(groups):
        raise ValueError(f"a layer has {len(layer)} sub-layers, the network's {len(groups)}")
    found: dict[str, Array] = {}
    for one, group in zip(layer, groups, strict=True):
        maps = [chain.maps[n] for n in group]
        last = maps[-1]
        activation = last.activation if isinstance(last, Pointwise) else identity
        wanted = ((Linear, Adjoint, FixedLinear), Offset, Inputs)
        kinds = [any(isinstance(m, kind) for m in maps) for kind in wanted]
        given = [x is not None for x in (one.matrix, one.bias, one.rows)]
        if kinds != given or one.activation.name != activation.name:
            raise ValueError(
                f"the sub-layer {one.formula('x')} is none of the network {chain.formula()}"
            )
        for m in maps:
            if isinstance(m, Linear | Adjoint) and one.matrix is not None:
                _put(found, m.block, _block(m, one.matrix))
            elif isinstance(m, Offset) and one.bias is not None:
                _put(found, m.block, one.bias)
            elif isinstance(m, FixedLinear) and not _same(one.matrix, m.matrix):
                raise ValueError(f"the layer at t = {t:g} has another matrix than {m.name}")
            elif isinstance(m, Inputs) and not _same(one.rows, m.rows(t)):
                raise ValueError(
                    f"the layer at t = {t:g} has other rows below the state than the inputs of the "
                    "network"
                )
    return found


def _same(one: Array | None, two: Array | None) -> bool:
    """Whether two arrays, wherever they are, hold the same numbers."""
    if one is None or two is None:
        return one is two
    return np.array_equal(to_host(one), to_host(two))


def _block(one: Linear | Adjoint, matrix: Array) -> Array:
    """The b of which `matrix` is `_matrix`."""
    linear = one.of if isinstance(one, Adjoint) else one
    if not linear.operator.is_matrix:
        raise TypeError(
            f"the block {one.block!r} is stored as {linear.operator!r}, whose numbers a matrix "
            "does not say: use Dense()"
        )
    space = linear.target if isinstance(one, Adjoint) else linear.source
    b = matrix if one.sign > 0 else -matrix
    if isinstance(space, Grid):
        if np.any(space.weights == 0):
            raise ValueError(
                f"network has nodes of weight zero, on which the block {one.block!r} does not act: "
                "W = b diag(w) cannot be undone"
            )
        b = b / space.weights_like(b)
    return b.T if isinstance(one, Adjoint) else b


def _put(found: dict[str, Array], name: str, value: Array) -> None:
    """Keeps the value of a block; a block that several maps use must be the same in all."""
    if name in found:
        one, two = to_host(found[name]), to_host(value)
        if one.shape != two.shape or np.abs(one - two).max() > 1e-12 * np.abs(one).max(initial=1.0):
            raise ValueError(f"two maps share the block {name!r}, but give it different values")
    else:
        found[name] = value
