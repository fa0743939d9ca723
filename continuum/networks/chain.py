"""Velocities that are chains of maps, and what follows from the maps."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

from ..activations import Activation, identity
from ..arrays import Array, like
from ..blocks import Block
from ..checks import check_count, check_name
from ..doors import checked
from ..kernels import Kernel, KernelFormat
from ..quadrature import Grid
from ..records import short
from ..time_axes import TimeKind
from .fixed_maps import Inputs, NormBound
from .maps import Linear, Map, Offset, Pointwise, Product, Space, describe, measure
from .maps import same_space as same
from .network import Network, Time, Values


@dataclass(frozen=True, eq=False)
class Rows:
    """F_i = psi(a_i + sum_j c_ij r_j), r_j = sign w_j phi(f_j): every unit reads a row of its own.

    phi, psi : activations before and after the linear map, None for none
    block : the name of c (N, N);  offset : that of a (N,), None for none
    sign : 1 or -1;  weights : w (N,), None for 1
    """

    phi: Activation | None
    block: str
    sign: int
    weights: Array | None
    offset: str | None
    psi: Activation | None

    __repr__ = short

    def inputs(self, f: Array) -> Array:
        """r: (N, M), or (L, N, M) for stacked states."""
        r = f if self.phi is None else self.phi.value(f)
        if self.weights is not None:
            return self.sign * like(self.weights, f)[:, None] * r
        return r if self.sign > 0 else -r


@checked
@dataclass(frozen=True, eq=False)
class Chain(Network):
    """d/dt f = F(f, c(t), t), F = x_L, x_0 = f, x_(l+1) = map_l(x_l).

        Chain(3, (Linear("w1", 8), Offset("b1"), Pointwise(tanh), Linear("w2", 3), Offset("b2")))

    is w2 tanh(w1 x + b1) + b2 in R^3 with 8 hidden units.  With the cotangents p_L = p, p_l =
    (D_x map_l)* p_(l+1): (D_f F)* p = p_0, and that of a block is the sum of (D_b map_l)* p_(l+1)
    over the maps that use it.  Preactivations are computed once in each call.

    space : a Grid, or the number of units of R^d
    maps : Linear, Adjoint, Offset, Pointwise, FixedLinear, NormBound, and Inputs as the first; they
        end where they begin.
        Afterwards `maps` are these maps bound to their spaces, plain data that compiled loops read:
        Linear (block, operator, sign, weights, source, target), Adjoint (block, sign, of: a
        Linear), Offset (block, space), Pointwise (activation), Inputs (time, data, units),
        FixedLinear (matrix), NormBound (radius, space)
    order : the names of the blocks as controls list them; that of the maps if empty
    raises ValueError or TypeError for maps that do not fit each other
    """

    space: Space
    maps: tuple[Map, ...]
    order: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.space, Grid):
            object.__setattr__(self, "space", check_count("space", self.space))
        space, bound = self.space, ()
        for given in self.maps:
            if not isinstance(given, Map):
                raise TypeError(f"maps must be Linear, Offset, Pointwise, ..., got {given!r}")
            one, space = given.bind(space, bound)
            bound += (one,)
        if not bound:
            raise ValueError("maps must not be empty")
        if not same(space, self.space):
            raise ValueError(
                f"maps must lead back to {describe(self.space)}, they end in {describe(space)}"
            )
        object.__setattr__(self, "maps", bound)
        object.__setattr__(self, "_weights", measure(self.space))
        read = [n for n, one in enumerate(bound) if one.reads_argument]
        object.__setattr__(self, "_last_read", max(read, default=0))
        object.__setattr__(self, "_shapes", super().block_shapes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.formula()})"

    @property
    def grid(self) -> Grid | None:
        return self.space if isinstance(self.space, Grid) else None

    @property
    def weights(self) -> Array:
        return self._weights  # type: ignore[attr-defined]

    @property
    def units(self) -> int:
        """N."""
        return len(self.weights)

    @property
    def kernel(self) -> Kernel:
        """The kernel of its first operator on the grid; AttributeError in R^d."""
        for one in self.maps:
            if isinstance(one, Linear) and isinstance(one.into, Kernel):
                return one.into
        raise AttributeError(f"{self!r} has no kernel")

    @property
    def activation(self) -> Activation:
        """The activation, where it has one only; AttributeError otherwise."""
        found = {id(m.activation): m.activation for m in self.maps if isinstance(m, Pointwise)}
        if len(found) != 1:
            raise AttributeError(f"{self!r} has {len(found)} activations")
        return next(iter(found.values()))

    def weights_like(self, example: Array) -> Array:
        return (
            self.space.weights_like(example)
            if isinstance(self.space, Grid)
            else like(self.weights, example)
        )

    def on(self, grid: Grid) -> Self:
        """The same chain of kernels on another grid."""
        return self._changed(space=grid)

    def batch(self, indices: Sequence[int] | Array) -> Self:
        """The chain with the columns `indices` of the data that its first map holds; itself where
        it holds none of each sample.
        """
        first = self.maps[0]
        some = first.batch(indices) if isinstance(first, Inputs) else first
        if some is first:
            return self
        changed = copy(self)  # whose maps are bound, and of the same shapes
        object.__setattr__(changed, "maps", (some, *self.maps[1:]))
        return changed

    def _changed(self, **fields: object) -> Self:
        changed = copy(self)
        for name, value in fields.items():
            object.__setattr__(changed, name, value)
        changed.__post_init__()
        return changed

    def check_state(self, name: str, state: Array) -> Array:
        state, first = super().check_state(name, state), self.maps[0]
        data = first.data if isinstance(first, Inputs) else None
        if data is not None and data.shape[1] not in (1, state.shape[1]):
            raise ValueError(
                f"{name} has {state.shape[1]} samples, the data of this network {data.shape[1]}"
            )
        return state

    @property
    def block_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._shapes  # type: ignore[attr-defined]

    def blocks(self, in_time: TimeKind = "layers") -> tuple[Block, ...]:
        found: dict[str, Block] = {}
        for one in self.maps:
            block = one.own_block(in_time)
            if block is not None and found.setdefault(block.name, block).shape != block.shape:
                raise ValueError(
                    f"block {block.name!r} is used with the shapes {found[block.name].shape} and "
                    f"{block.shape}"
                )
        for name in self.order:
            check_name("block", name, list(found))
        return tuple(found[name] for name in dict.fromkeys((*self.order, *found)))

    @property
    def affine_in_control(self) -> bool:
        degree = 0
        for one in self.maps:
            if isinstance(one, Offset):
                degree = max(degree, 1)
            elif isinstance(one, Pointwise | NormBound) and degree:
                bends = isinstance(one, NormBound) or one.activation is not identity
                degree = 2 if bends else degree
            elif isinstance(one, Product):
                kernel = _linear(one).operator
                if isinstance(kernel, KernelFormat):
                    degree = 2 if degree or not kernel.linear else 1
        return degree < 2

    @property
    def timed(self) -> bool:
        """True if the first map reads the time."""
        first = self.maps[0]
        return isinstance(first, Inputs) and first.time

    @property
    def broadcasts(self) -> bool:
        return not self.timed and self.stacks

    @property
    def stacks(self) -> bool:
        products = (one for one in self.maps if isinstance(one, Product))
        return all(_linear(one).operator.is_matrix for one in products)

    @property
    def derived(self) -> bool:
        """True if the maps say all: no subclass has replaced the velocity or a derivative.

        Only then may compiled loops and closed forms read the maps instead of asking the network.
        """
        names = ("velocity", "jvp", "vjp", "vjp_derivative")
        return all(getattr(type(self), name) is getattr(Chain, name) for name in names)

    @property
    def rows(self) -> Rows | None:
        """Where one Dense kernel or matrix stands between activations, or none: F_i = psi(a_i +
        sum_j c_ij phi(f_j)), else None.
        """
        if not self.derived:
            return None
        rest = list(self.maps)

        def take(kind: type[Map]) -> Map | None:
            return rest.pop(0) if rest and isinstance(rest[0], kind) else None

        phi, linear, offset, psi = (take(kind) for kind in (Pointwise, Linear, Offset, Pointwise))
        if rest or not isinstance(linear, Linear) or not linear.operator.is_matrix:
            return None
        return Rows(
            phi.activation if isinstance(phi, Pointwise) else None,
            linear.block,
            linear.sign,
            linear.weights,
            offset.block if offset is not None else None,
            psi.activation if isinstance(psi, Pointwise) else None,
        )

    def formula(self) -> str:
        x = "f"
        for one in self.maps:
            x = one.formula(x)
        kernels = {
            m.block: f", {m.operator.formula(m.block)}"
            for m in self.maps
            if isinstance(m, Linear) and isinstance(m.source, Grid)
        }
        return f"f_t = {x}{''.join(kernels.values())}"

    def preactivation(self, f: Array, c: Values, t: Time = 0.0) -> Array:
        """What the first activation is applied to; the velocity if there is none."""
        x = f
        for one in self.maps:
            if isinstance(one, Pointwise):
                break
            x = one.value(x, c, t)
        return x

    def velocity(self, f: Array, c: Values, t: Time) -> Array:
        x = f
        for one in self.maps:
            x = one.value(x, c, t)
        return x

    def jvp(self, f: Array, c: Values, t: Time, df: Array, dc: Values) -> Array:
        dx = df
        for one, x in zip(self.maps, self._arguments(f, c, t), strict=True):
            dx = one.jvp(x, c, dx, dc)
        return dx

    def vjp(self, f: Array, c: Values, t: Time, p: Array) -> tuple[Array, dict[str, Array]]:
        cotangents: dict[str, Array] = {}
        arguments = list(self._arguments(f, c, t))
        for one in reversed(self.maps):
            x = arguments.pop()  # and freed
            _add(cotangents, one.block, one.cotangent(x, c, p))
            p = one.back(x, c, p)
        return p, cotangents

    def vjp_derivative(
        self, f: Array, c: Values, t: Time, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        points: list[tuple[Map, Array, Array]] = []
        dx = df
        for one, x in zip(self.maps, self._arguments(f, c, t), strict=True):
            points.append((one, x, dx))
            dx = one.jvp(x, c, dx, dc) if one is not self.maps[-1] else dx
        cotangents: dict[str, Array] = {}
        while points:
            one, x, dx = points.pop()
            _add(cotangents, one.block, one.cotangent_derivative(x, c, p, dx, dc, dp))
            dp = one.back_derivative(x, c, p, dx, dc, dp)
            p = one.back(x, c, p) if one is not self.maps[0] else p
        return dp, cotangents

    def _arguments(self, f: Array, c: Values, t: Time) -> Iterator[Array]:
        """x_0, ..., x_(L-1), each map's argument; f instead where no derivative reads it."""
        x = f
        for n, one in enumerate(self.maps):
            yield x if one.reads_argument else f
            if n < self._last_read:  # type: ignore[attr-defined]
                x = one.value(x, c, t)


def _linear(one: Product) -> Linear:
    return one if isinstance(one, Linear) else one.of  # type: ignore[attr-defined]


def _add(sums: dict[str, Array], name: str | None, term: Array | None) -> None:
    if name is not None and term is not None:
        sums[name] = sums[name] + term if name in sums else term
