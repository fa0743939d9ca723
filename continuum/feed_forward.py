"""A plain feed-forward chain with rectangular layers, to compare residual networks with."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .activations import Activation
from .arrays import Array, like
from .checks import check_array, check_count


@dataclass(frozen=True, eq=False)
class FeedForward:
    """x_{k+1} = sigma(W_k x_k + b_k): no step and no identity, hence no limit in depth.

    weights : W_k (n_{k+1}, n_k); biases : b_k (n_{k+1},)
    raises ValueError for layers that do not fit each other
    """

    weights: Sequence[Array]
    biases: Sequence[Array]
    activation: Activation

    def __post_init__(self) -> None:
        if not self.weights or len(self.weights) != len(self.biases):
            raise ValueError(
                f"weights and biases must be equally many, got {len(self.weights)} and "
                f"{len(self.biases)}"
            )
        inputs: int | str = "N"
        for k, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            rows, _ = check_array(f"weights[{k}]", w, ("P", inputs)).shape
            inputs = check_array(f"biases[{k}]", b, (rows,)).shape[0]

    @staticmethod
    def random(
        widths: Sequence[int], activation: Activation, rng: np.random.Generator
    ) -> "FeedForward":
        """Normal weights of variance 1 / n_k, zero biases.

        raises ValueError for fewer than two widths or one < 1
        """
        if len(widths) < 2:
            raise ValueError(f"widths must be at least two, got {list(widths)}")
        sizes = [check_count("widths", n) for n in widths]
        pairs = list(itertools.pairwise(sizes))
        weights = [rng.standard_normal((n, m)) / np.sqrt(m) for m, n in pairs]
        return FeedForward(weights, [np.zeros(n) for _, n in pairs], activation)

    def __call__(self, initial: Array) -> Array:
        """The last layer's output (n_K, M) for inputs (n_0, M), where the inputs are."""
        return self.layers(initial)[-1]

    def layers(self, initial: Array) -> list[Array]:
        """The input and the output of every layer."""
        outputs = [check_array("initial", initial, (self.weights[0].shape[1], "M"))]
        for w, b in zip(self.weights, self.biases, strict=True):
            x = outputs[-1]
            outputs.append(self.activation(like(w, x) @ x + like(b, x)[:, None]))
        return outputs
