"""What is read off a state: output = readout(state, its own parameters), with its adjoints."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from .activations import Activation, identity
from .arrays import Array, like, namespace, to_host
from .blocks import Block, Coefficient
from .checks import check_array, check_count, check_name, store
from .doors import checked
from .networks import Network
from .networks.network import Values
from .records import short

WEIGHT, OFFSET = "readout.W", "readout.mu"


class Readout(ABC):
    """A map from states (N, M), and blocks of the control that are constant in time, to outputs (P,
    M).

    One of your own, the mean of the units, o = (f_1 + ... + f_N) / N:

        class Mean(Readout):
            def measure(self, network): return np.ones(1)
            def output(self, network, f, c): return f.mean(axis=0, keepdims=True)
            def jvp(self, network, f, c, df, dc): return self.output(network, df, c)
            def vjp(self, network, f, c, q): return np.ones_like(f) / len(f) * q, {}
            def vjp_derivative(self, network, f, c, q, df, dc, dq):
                return self.vjp(network, f, c, dq)
            def formula(self): return "mean f"

        problem = LearningProblem(network, initial, target, mesh, readout=Mean())

    On a grid the adjoint of the state is divided by the weights of the units, since (p, df) =
    sum_i w_i p_i df_i.  With parameters, `blocks` returns a static Block "readout.NAME" for each,
    `output` reads c["readout.NAME"], and `vjp` returns its adjoint under that name.
    `check_derivatives(Tracking(SquaredError(), Mean(), target), network)` says what does not fit.

    Adjoints are with respect to the measure of the outputs, the weights of the units and those of
    the blocks. `fixed` holds the values of blocks that are not to be trained.

    `broadcasts` says whether output, jvp, vjp and vjp_derivative take many points at once: states
    (L, N, M) with values of the control (*block.shape) or (L, *block.shape), and return (L, P, M),
    (L, N, M) and cotangents of each point (L, *block.shape).  False unless a class says so.
    """

    broadcasts: ClassVar[bool] = False
    fixed: Mapping[str, Coefficient] = MappingProxyType({})

    def blocks(self, network: Network) -> tuple[Block, ...]:
        """The blocks it adds to the control, all of them static."""
        return ()

    @abstractmethod
    def measure(self, network: Network) -> Array:
        """(P,): the weights v of the outputs' inner product sum_i v_i o_i q_i."""

    @abstractmethod
    def output(self, network: Network, f: Array, c: Values) -> Array:
        """The outputs of states f: (P, M)."""

    @abstractmethod
    def jvp(self, network: Network, f: Array, c: Values, df: Array, dc: Values) -> Array:
        """The derivative of `output` in the direction (df, dc): (P, M).  Blocks missing from dc are
        not varied.
        """

    @abstractmethod
    def vjp(
        self, network: Network, f: Array, c: Values, q: Array
    ) -> tuple[Array, dict[str, Array]]:
        """The adjoints of q (P, M): in the state, (N, M), and by block, summed over samples."""

    @abstractmethod
    def vjp_derivative(
        self, network: Network, f: Array, c: Values, q: Array, df: Array, dc: Values, dq: Array
    ) -> tuple[Array, dict[str, Array]]:
        """The derivative of `vjp` at (f, c, q) in the direction (df, dc, dq)."""

    @abstractmethod
    def formula(self) -> str:
        """How `print(problem)` writes the output."""

    def affine(self, network: Network, c: Values) -> tuple[Array, Array]:
        """W (P, N), quadrature weights inside, and mu (P,) of output = h(W f + mu).

        raises TypeError for a readout that is not of this form, such as one of your own
        """
        raise TypeError(f"readout must be an affine map of the state, with a link, got {self!r}")


@checked
@dataclass(frozen=True)
class State(Readout):
    """The state itself: output = f."""

    broadcasts: ClassVar[bool] = True

    def measure(self, network: Network) -> Array:
        return network.weights

    def output(self, network: Network, f: Array, c: Values) -> Array:
        return f

    def jvp(self, network: Network, f: Array, c: Values, df: Array, dc: Values) -> Array:
        return df

    def vjp(
        self, network: Network, f: Array, c: Values, q: Array
    ) -> tuple[Array, dict[str, Array]]:
        return q, {}

    def vjp_derivative(
        self, network: Network, f: Array, c: Values, q: Array, df: Array, dc: Values, dq: Array
    ) -> tuple[Array, dict[str, Array]]:
        return dq, {}

    def formula(self) -> str:
        return "f"

    def affine(self, network: Network, c: Values) -> tuple[Array, Array]:
        return np.eye(len(network.weights)), np.zeros(len(network.weights))


@checked
@dataclass(frozen=True, eq=False)
class Projection(Readout):
    """Fixed linear functionals: output_i = int P_i(z) f(z) dz = sum_j P_ij w_j f_j, with Euclidean
    measure.

    matrix : (P, N); raises ValueError for another number of columns than the network has units
    """

    broadcasts: ClassVar[bool] = True
    matrix: Array

    __repr__ = short

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", check_array("matrix", self.matrix, ("P", "N")))

    def measure(self, network: Network) -> Array:
        check_array("matrix of the Projection", self.matrix, ("P", len(network.weights)))
        return np.ones(self.matrix.shape[0])

    def output(self, network: Network, f: Array, c: Values) -> Array:
        return like(self.matrix, f) @ (network.weights_like(f)[:, None] * f)

    def jvp(self, network: Network, f: Array, c: Values, df: Array, dc: Values) -> Array:
        return self.output(network, df, c)

    def vjp(
        self, network: Network, f: Array, c: Values, q: Array
    ) -> tuple[Array, dict[str, Array]]:
        return like(self.matrix, q).T @ q, {}

    def vjp_derivative(
        self, network: Network, f: Array, c: Values, q: Array, df: Array, dc: Values, dq: Array
    ) -> tuple[Array, dict[str, Array]]:
        return self.vjp(network, f, c, dq)

    def formula(self) -> str:
        return "sum_j w_j P_j f_j"

    def affine(self, network: Network, c: Values) -> tuple[Array, Array]:
        matrix = to_host(self.matrix) * network.weights
        return matrix, np.zeros(len(matrix))


@dataclass(frozen=True, eq=False)
class TrainableReadout(Readout):
    """O = h(int W(., z) f(z) dz + mu): blocks "readout.W" (P, N) and "readout.mu" (P,).

    link : h, an Activation applied entrywise; identity unless said otherwise
    fixed : values of blocks that are not trained
    raises TypeError for a link that is no Activation, ValueError for names that are not its blocks
    """

    broadcasts: ClassVar[bool] = True
    link: Activation = field(default=identity, kw_only=True)
    fixed: Mapping[str, Coefficient] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.link, Activation):
            raise TypeError(f"link must be an Activation, got {self.link!r}")
        for name in self.fixed:
            check_name("block of the readout", name, (WEIGHT, OFFSET))

    def _masked(self, weight: Array) -> Array:
        """The matrix that acts on states, from the entries of "readout.W"; linear and its own
        adjoint.
        """
        return weight

    def _linear(self, network: Network, f: Array, c: Values) -> Array:
        matrix = self._masked(c[WEIGHT])
        return matrix @ (network.weights_like(f)[:, None] * f) + c[OFFSET][..., None]

    def _linear_change(self, network: Network, f: Array, c: Values, df: Array, dc: Values) -> Array:
        w = network.weights_like(f)[:, None]
        change = self._masked(c[WEIGHT]) @ (w * df)
        if WEIGHT in dc:
            change = change + self._masked(dc[WEIGHT]) @ (w * f)
        return change + dc[OFFSET][..., None] if OFFSET in dc else change

    def _linked(self, z: Array) -> Array:
        """h(z)."""
        return self.link.value(z)

    def _sloped(self, z: Array, q: Array) -> Array:
        """h'(z) q, which is its own adjoint."""
        return self.link.derivative(z) * q

    def _bent(self, z: Array, q: Array, dz: Array) -> Array:
        """The derivative of h'(z) q in the direction dz, q held."""
        return self.link.second(z) * q * dz

    def output(self, network: Network, f: Array, c: Values) -> Array:
        return self._linked(self._linear(network, f, c))

    def jvp(self, network: Network, f: Array, c: Values, df: Array, dc: Values) -> Array:
        z = self._linear(network, f, c)
        return self._sloped(z, self._linear_change(network, f, c, df, dc))

    def vjp(
        self, network: Network, f: Array, c: Values, q: Array
    ) -> tuple[Array, dict[str, Array]]:
        r = self._sloped(self._linear(network, f, c), q)
        return self._adjoint(network, c[WEIGHT], r), {
            WEIGHT: self._masked(r @ _transposed(f)),
            OFFSET: namespace(r).sum(r, axis=-1),
        }

    def vjp_derivative(
        self, network: Network, f: Array, c: Values, q: Array, df: Array, dc: Values, dq: Array
    ) -> tuple[Array, dict[str, Array]]:
        z = self._linear(network, f, c)
        r = self._sloped(z, q)
        dr = self._sloped(z, dq) + self._bent(z, q, self._linear_change(network, f, c, df, dc))
        p = self._adjoint(network, c[WEIGHT], dr)
        if WEIGHT in dc:
            p = p + self._adjoint(network, dc[WEIGHT], r)
        return p, {
            WEIGHT: self._masked(dr @ _transposed(f) + r @ _transposed(df)),
            OFFSET: namespace(dr).sum(dr, axis=-1),
        }

    def _adjoint(self, network: Network, weight: Array, r: Array) -> Array:
        """int W(y, .) r(y) dy."""
        weight = self._masked(weight)
        return _transposed(weight) @ (like(self.measure(network), r)[:, None] * r)

    def affine(self, network: Network, c: Values) -> tuple[Array, Array]:
        return to_host(self._masked(c[WEIGHT])) * network.weights, to_host(c[OFFSET])

    def formula(self) -> str:
        inner = "mu + sum_j w_j W_j f_j"
        return inner if self.link is identity else f"{self.link}({inner})"


@checked
@dataclass(frozen=True, eq=False)
class Integral(TrainableReadout):
    """O(y) = h(int_Y W(y, z) f(z) dz + mu(y)): outputs are functions on Y, in L^2(Y).

    Blocks "readout.W" (N, N), with weights w_i w_j, and "readout.mu" (N,), with weights w_i.
    Source: Liu and Markowich (2.9), with W(y, z) as there (Remark 4.3 swaps its arguments).
    """

    __repr__ = short

    def blocks(self, network: Network) -> tuple[Block, ...]:
        if network.grid is None:
            raise TypeError(
                f"an Integral readout needs a network on a grid, such as WidthDepth, got "
                f"{network!r}"
            )
        grid, w, size = network.grid, network.weights, len(network.weights)
        return (
            Block(
                WEIGHT,
                (size, size),
                "static",
                w[:, None] * w,
                positions=2,
                last=w,
                evaluate=partial(grid.evaluate_kernel, name=WEIGHT),
            ),
            Block(
                OFFSET,
                (size,),
                "static",
                w,
                positions=1,
                evaluate=partial(grid.evaluate, name=OFFSET),
            ),
        )

    def measure(self, network: Network) -> Array:
        return network.weights


@checked
@dataclass(frozen=True, eq=False)
class Affine(TrainableReadout):
    """O_c = h(int W_c(z) f(z) dz + mu_c), c = 1, ..., classes, in R^classes: a linear classifier on
    the state.

    Blocks "readout.W" (classes, N), with weights w_j, and "readout.mu" (classes,).

    classes : how many outputs; raises ValueError if < 1
    """

    classes: int

    __repr__ = short

    def __post_init__(self) -> None:
        store(self, check_count, "classes")
        super().__post_init__()

    def blocks(self, network: Network) -> tuple[Block, ...]:
        w, units = network.weights, len(network.weights)
        return (
            Block(WEIGHT, (self.classes, units), "static", np.ones((self.classes, 1)) * w, last=w),
            Block(OFFSET, (self.classes,), "static", np.ones(self.classes)),
        )

    def measure(self, network: Network) -> Array:
        return np.ones(self.classes)


@checked
@dataclass(frozen=True, eq=False)
class SignedReadout(TrainableReadout):
    """O_i = h(sum_j w_j S_ij W_ij f_j + mu_i), in R^P, with fixed signs S and trained sizes W.

    Blocks "readout.W" (P, N), with weights w_j, and "readout.mu" (P,), so that "every size is at
    least 1e-3" is Box({"readout.W": (1e-3, inf)}). An entry of W where S is 0 does not matter, and
    its derivative is 0.

    signs : S (P, N), entries -1, 0 or 1
    raises ValueError for other entries, or another number of columns than the network has units
    Source: Nar and Sastry (2018), (7): sizes c > 0 of convex parts and of parts to subtract.
    """

    signs: Array

    __repr__ = short

    def __post_init__(self) -> None:
        super().__post_init__()
        signs = check_array("signs", self.signs, ("P", "N"))
        xp = namespace(signs)
        if not bool(xp.all((signs == 0) | (xp.abs(signs) == 1))):
            raise ValueError(f"signs must have entries -1, 0 or 1, got {signs}")
        object.__setattr__(self, "signs", signs)

    def blocks(self, network: Network) -> tuple[Block, ...]:
        w = network.weights
        check_array("signs of the SignedReadout", self.signs, ("P", len(w)))
        count = self.signs.shape[0]
        return (
            Block(WEIGHT, (count, len(w)), "static", np.ones((count, 1)) * w, last=w),
            Block(OFFSET, (count,), "static", np.ones(count)),
        )

    def measure(self, network: Network) -> Array:
        return np.ones(self.signs.shape[0])

    def _masked(self, weight: Array) -> Array:
        return like(self.signs, weight) * weight

    def formula(self) -> str:
        return super().formula().replace("W_j", "S_j W_j")


@checked
@dataclass(frozen=True, eq=False)
class Softmax(Affine):
    """O = softmax(z), O_c = exp z_c / sum_k exp z_k, of the scores z_c = int W_c(s) f(s) ds + mu_c:
    probabilities of `classes` classes, for losses of them such as SquaredError.

    Its blocks are those of Affine.  With p = O the derivative is dO = p (dz - (p, dz)), symmetric.
    Where the loss is the cross-entropy, take Affine(classes) and CrossEntropy(), which are exact
    for scores of any size: the gradient of SquaredError of probabilities vanishes like p where a
    sample is far on the wrong side, and log O of this readout loses accuracy there.
    raises TypeError for a link
    """

    __repr__ = short

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.link is not identity:
            raise TypeError(f"Softmax takes no link, it is one, got {self.link}")

    def _linked(self, z: Array) -> Array:
        xp = namespace(z)
        e = xp.exp(z - xp.max(z, axis=-2, keepdims=True))
        return e / xp.sum(e, axis=-2, keepdims=True)

    def _sloped(self, z: Array, q: Array) -> Array:
        return _centred(self._linked(z), q)

    def _bent(self, z: Array, q: Array, dz: Array) -> Array:
        p = self._linked(z)
        dp = _centred(p, dz)
        # p (q - (p, q)), differentiated in p
        return _centred(p, q) * (dz - _mean(p, dz)) - p * _mean(dp, q)

    def formula(self) -> str:
        return f"softmax({super().formula()})"


def _mean(p: Array, q: Array) -> Array:
    """(p, q) = sum_c p_c q_c, with one row."""
    return namespace(p).sum(p * q, axis=-2, keepdims=True)


def _centred(p: Array, q: Array) -> Array:
    """p (q - (p, q))."""
    return p * (q - _mean(p, q))


def _transposed(x: Array) -> Array:
    """The last two axes exchanged."""
    return namespace(x).matrix_transpose(x)
