"""How a block of a control depends on time: its basis functions, their Gram matrix, and the adjoint
of both.

A block with coefficients x stands for v(t) = sum_k phi_k(t) x_k.  On layer k, at t = t_k + theta
tau_k,

    "layers"  v = x_k                                  K coefficients, piecewise constant
    "nodes"   v = (1 - theta) x_k + theta x_{k+1}      K + 1 coefficients, piecewise linear
    "static"  v = x                                    no time axis

The inner product in time is int phi_k phi_l dt ("static": none), plus int phi_k' phi_l' dt in the
norm "H1".  With its Cholesky factor, G = L L^T, the flat coordinates of x are L^T x.

The derivative of a functional of v at many times is collected by `scatter` and made a gradient by
`riesz`. Where G is diagonal, its inverse is applied while collecting: a pass over the kernels of
all layers is not cheap.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, TypeAlias

import numpy as np

from .arrays import Array, like, namespace
from .checks import check_name
from .meshes import TimeMesh

Index: TypeAlias = int | Array
"""A layer, or L of them: NumPy's integers (L,)."""

Real: TypeAlias = float | Array
"""A number, or one for each of L layers (L,), NumPy's."""

TimeKind = Literal["layers", "nodes", "static"]
Norm = Literal["L2", "H1"]


class TimeAxis(Protocol):
    """One of the three kinds, on a mesh."""

    @property
    def length(self) -> tuple[int, ...]:
        """The leading shape of the coefficients: (K,), (K + 1,) or ()."""
        ...

    @property
    def sample_times(self) -> Array:
        """The times at which a function of time gives the coefficients."""
        ...

    @property
    def gram(self) -> tuple[Array, Array]:
        """The diagonal of G and the one beside it, which is empty if G is diagonal; ((1,), ()) for
        "static".
        """
        ...

    def at(self, x: Array, layer: Index, theta: Real) -> Array:
        """v at t_layer + theta tau_layer: (*block.shape).  Of L layers and L theta at once
        (L, *block.shape), without L if v is constant.
        """
        ...

    def scatter(self, x: Array, layer: Index, theta: Real, c: Array, factor: Real) -> None:
        """Adds factor phi_k(t) c to every x_k, in place; divided by G_kk if G is diagonal.

        Of L layers, theta and factors at once c is (L, *block.shape).
        """
        ...

    def flatten(self, x: Array) -> Array:
        """L^T x."""
        ...

    def unflatten(self, y: Array) -> Array:
        """The x with L^T x = y."""
        ...

    def riesz(self, c: Array) -> Array:
        """The function that represents what was collected, G^{-1} c, or c if G is diagonal, in the
        place of c.
        """
        ...

    def mass(self, x: Array) -> Array:
        """Mx with M_kl = int phi_k phi_l dt, the Gram matrix of "L2" whatever the norm."""
        ...

    def stiffness(self, x: Array) -> Array:
        """Sx with S_kl = int phi_k' phi_l' dt.  Raises ValueError for functions that are not
        piecewise linear.
        """
        ...

    def prox(self, x: Array, mass: float, stiffness: float) -> Array:
        """The z with (G + mass M + stiffness S) z = G x."""
        ...

    def from_l2(self, x: Array) -> Array:
        """G^{-1} M x, the gradient in this norm whose gradient in "L2" is x."""
        ...


@dataclass(frozen=True)
class Layers:
    """Piecewise constant, sampled in the middle of the layers."""

    mesh: TimeMesh

    @property
    def length(self) -> tuple[int, ...]:
        return (self.mesh.layers,)

    @property
    def sample_times(self) -> Array:
        return self.mesh.nodes[:-1] + 0.5 * self.mesh.steps

    @property
    def gram(self) -> tuple[Array, Array]:
        return self.mesh.steps, np.empty(0)

    def at(self, x: Array, layer: Index, theta: Real) -> Array:
        return _entries(x, layer)

    def scatter(self, x: Array, layer: Index, theta: Real, c: Array, factor: Real) -> None:
        _add(x, layer, c, factor / self.mesh.steps[layer])

    def flatten(self, x: Array) -> Array:
        return x * _column(np.sqrt(self.mesh.steps), x)

    def unflatten(self, y: Array) -> Array:
        return y / _column(np.sqrt(self.mesh.steps), y)

    def riesz(self, c: Array) -> Array:
        return c

    def mass(self, x: Array) -> Array:
        return x * _column(self.mesh.steps, x)

    def stiffness(self, x: Array) -> Array:
        raise ValueError("piecewise constant functions have no derivative in L2")

    def prox(self, x: Array, mass: float, stiffness: float) -> Array:
        return x / (1.0 + mass) if stiffness == 0.0 else self.stiffness(x)

    def from_l2(self, x: Array) -> Array:
        return x


@dataclass(frozen=True)
class Nodes:
    """Piecewise linear, sampled at the ends of the layers."""

    mesh: TimeMesh
    norm: Norm = "L2"

    @property
    def length(self) -> tuple[int, ...]:
        return (self.mesh.layers + 1,)

    @property
    def sample_times(self) -> Array:
        return self.mesh.nodes

    @property
    def gram(self) -> tuple[Array, Array]:
        return self._gram(1.0, float(self.norm == "H1"))

    def _gram(self, mass: float, stiffness: float) -> tuple[Array, Array]:
        """The diagonal and the side diagonal of mass M + stiffness S."""
        tau = self.mesh.steps
        own, off = mass * tau / 3 + stiffness / tau, mass * tau / 6 - stiffness / tau
        diagonal = np.append(own, 0.0) + np.append(0.0, own)
        return diagonal, off

    @cached_property
    def _cholesky(self) -> tuple[Array, Array]:
        """The diagonal d and subdiagonal e of L."""
        return _factor(self.gram)

    def at(self, x: Array, layer: Index, theta: Real) -> Array:
        after = _factors(theta, x)
        return (1.0 - after) * _entries(x, layer) + after * _entries(x, layer + 1)

    def scatter(self, x: Array, layer: Index, theta: Real, c: Array, factor: Real) -> None:
        _add(x, layer, c, (1.0 - theta) * factor)
        _add(x, layer + 1, c, theta * factor)

    def flatten(self, x: Array) -> Array:
        d, e = self._cholesky
        y = x * _column(d, x)
        y[:-1, ...] += x[1:, ...] * _column(e, x)
        return y

    def unflatten(self, y: Array) -> Array:
        d, e = self._cholesky
        return _back(d, e, y / _column(d, y))

    def riesz(self, c: Array) -> Array:
        return _solved(*self._cholesky, c)

    def _apply_gram(self, x: Array) -> Array:
        """Gx."""
        return self.mass(x) + self.stiffness(x) if self.norm == "H1" else self.mass(x)

    def mass(self, x: Array) -> Array:
        tau = _column(self.mesh.steps, x)
        result = namespace(x).zeros_like(x)
        result[:-1, ...] += tau * (x[:-1, ...] / 3.0 + x[1:, ...] / 6.0)
        result[1:, ...] += tau * (x[:-1, ...] / 6.0 + x[1:, ...] / 3.0)
        return result

    def stiffness(self, x: Array) -> Array:
        slope = (x[1:, ...] - x[:-1, ...]) / _column(self.mesh.steps, x)
        result = namespace(x).zeros_like(x)
        result[1:, ...] += slope
        result[:-1, ...] -= slope
        return result

    def prox(self, x: Array, mass: float, stiffness: float) -> Array:
        d, e = _factor(self._gram(1.0 + mass, float(self.norm == "H1") + stiffness))
        return _solved(d, e, self._apply_gram(x))

    def from_l2(self, x: Array) -> Array:
        return x if self.norm == "L2" else self.riesz(self.mass(x))


@dataclass(frozen=True)
class Static:
    """Constant in time: a readout, a kernel that all layers share.  Its product has no time in
    it.
    """

    mesh: TimeMesh

    @property
    def length(self) -> tuple[int, ...]:
        return ()

    @property
    def sample_times(self) -> Array:
        return np.empty(0)

    @property
    def gram(self) -> tuple[Array, Array]:
        return np.ones(1), np.empty(0)

    def at(self, x: Array, layer: Index, theta: Real) -> Array:
        return x

    def scatter(self, x: Array, layer: Index, theta: Real, c: Array, factor: Real) -> None:
        found = _factors(factor, c) * c
        x += namespace(c).sum(found, axis=0) if isinstance(layer, np.ndarray) else found

    def flatten(self, x: Array) -> Array:
        return x

    def unflatten(self, y: Array) -> Array:
        return y

    def riesz(self, c: Array) -> Array:
        return c

    def mass(self, x: Array) -> Array:
        return x

    def stiffness(self, x: Array) -> Array:
        raise ValueError("constants have no time axis")

    def prox(self, x: Array, mass: float, stiffness: float) -> Array:
        return x / (1.0 + mass) if stiffness == 0.0 else self.stiffness(x)

    def from_l2(self, x: Array) -> Array:
        return x


def time_axis(kind: TimeKind, mesh: TimeMesh, norm: Norm = "L2") -> TimeAxis:
    """The axis of this kind.  Raises ValueError for an unknown kind or norm, and for "layers" in
    "H1".
    """
    check_name("time dependence", kind, ("layers", "nodes", "static"))
    check_name("norm", norm, ("L2", "H1"))
    if kind == "nodes":
        return Nodes(mesh, norm)
    if kind == "static":
        return Static(mesh)
    if norm == "H1":
        raise ValueError(
            "piecewise constant functions are not in H1: use in_time='nodes' with norm='H1'"
        )
    return Layers(mesh)


def _entries(x: Array, layer: Index) -> Array:
    """x_layer; of many layers (L, *block.shape)."""
    if not isinstance(layer, np.ndarray):
        return x[layer, ...]
    return x[layer] if type(x) is np.ndarray else namespace(x).take(x, like(layer, x), axis=0)


def _add(x: Array, layer: Index, c: Array, factor: Real) -> None:
    """Adds factor c to x_layer, in place; of many layers, which may be the same, each its own."""
    found = _factors(factor, c) * c
    if not isinstance(layer, np.ndarray):
        x[layer, ...] += found
    elif type(x) is np.ndarray:
        np.add.at(x, layer, found)
    else:
        for n, k in enumerate(layer.tolist()):
            x[k, ...] += found[n, ...]


def _factors(values: Real, x: Array) -> Array | float:
    """One number, or one for each entry of the leading axis of x."""
    return _column(values, x) if isinstance(values, np.ndarray) else float(values)


def _column(values: Array, x: Array) -> Array:
    """(K,) values shaped to multiply the leading axis of x, in the library of x."""
    shaped = values.reshape((-1,) + (1,) * (len(x.shape) - 1))
    return like(shaped, x)


def _factor(matrix: tuple[Array, Array]) -> tuple[Array, Array]:
    """Cholesky's d and e of a tridiagonal matrix: diagonal_k = d_k^2 + e_{k-1}^2, off_k = d_k
    e_k.
    """
    diagonal, off = matrix
    d, e = np.empty_like(diagonal), np.empty_like(off)
    for k in range(len(diagonal)):
        d[k] = np.sqrt(diagonal[k] - (e[k - 1] ** 2 if k else 0.0))
        if k < len(off):
            e[k] = off[k] / d[k]
    return d, e


def _back(d: Array, e: Array, x: Array) -> Array:
    """The solution of L^T x = y, in the place of y / d."""
    for k in range(len(e) - 1, -1, -1):
        x[k, ...] -= float(e[k] / d[k]) * x[k + 1, ...]
    return x


def _solved(d: Array, e: Array, c: Array) -> Array:
    """The x with L L^T x = c, in the place of c."""
    column = _column(d, c)
    c /= column
    for k in range(len(e)):
        c[k + 1, ...] -= float(e[k] / d[k + 1]) * c[k, ...]
    c /= column
    return _back(d, e, c)
