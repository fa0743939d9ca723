"""What is read off the final state: output = readout(state), with its adjoints."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from .arrays import Array, like
from .checks import check_array
from .networks import Network


class Readout(ABC):
    """A linear map from states (N, M) to outputs (P, M), each with its measure."""

    @abstractmethod
    def measure(self, network: Network) -> Array:
        """(P,): the weights v of the outputs' inner product sum_i v_i o_i q_i."""

    @abstractmethod
    def output(self, network: Network, f: Array) -> Array:
        """The outputs of states f: (P, M)."""

    @abstractmethod
    def adjoint(self, network: Network, q: Array) -> Array:
        """The state p (N, M) with (p, f) = (q, output(f)) in the two inner products."""

    @abstractmethod
    def formula(self) -> str:
        """How `print(problem)` writes the output."""


@dataclass(frozen=True)
class State(Readout):
    """The state itself: output = f."""

    def measure(self, network: Network) -> Array:
        return network.weights

    def output(self, network: Network, f: Array) -> Array:
        return f

    def adjoint(self, network: Network, q: Array) -> Array:
        return q

    def formula(self) -> str:
        return "f"


@dataclass(frozen=True, eq=False)
class Projection(Readout):
    """Fixed linear functionals: output_i = int P_i(z) f(z) dz = sum_j P_ij w_j f_j, with Euclidean measure.

    matrix : (P, N); raises ValueError for another number of columns than the network has units
    """

    matrix: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", check_array("matrix", self.matrix, ("P", "N")))

    def measure(self, network: Network) -> Array:
        check_array("matrix of the Projection", self.matrix, ("P", len(network.weights)))
        return np.ones(self.matrix.shape[0])

    def output(self, network: Network, f: Array) -> Array:
        return like(self.matrix, f) @ (network.weights_like(f)[:, None] * f)

    def adjoint(self, network: Network, q: Array) -> Array:
        return like(self.matrix, q).T @ q

    def formula(self) -> str:
        return "sum_j w_j P_j f_j"
