"""The coefficients of a control as columns: those of a layer first, then those that all share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from continuum.arrays import Array
from continuum.blocks import Block
from continuum.controls import Control, ControlSpace


@dataclass(frozen=True, eq=False)
class Columns:
    """The coefficients as columns: those of blocks on layers first, m of them, then the static
    ones, p; in the order of the space's trained blocks.

    places : name of each trained block -> its first column
    """

    space: ControlSpace
    places: dict[str, int]
    m: int
    p: int

    @staticmethod
    def of(space: ControlSpace) -> "Columns":
        places, count = {}, {"layers": 0, "static": 0}
        for kind in count:
            for block in space.trained:
                if block.time == kind:
                    places[block.name] = sum(count.values())
                    count[kind] += prod(block.shape)
        return Columns(space, places, count["layers"], count["static"])

    def __len__(self) -> int:
        return self.m + self.p

    def part(self, block: Block) -> slice:
        """The columns of a block."""
        return slice(self.places[block.name], self.places[block.name] + prod(block.shape))

    def read(self, blocks: Mapping[str, Array]) -> tuple[Array, Array]:
        """(u (K, m), s (p,)): the coefficients of blocks, time first; 0 for blocks missing."""
        return self.split(self.vector(blocks))

    def vector(self, blocks: Mapping[str, Array]) -> Array:
        """(K m + p,): the same as one vector, u_0, ..., u_{K-1}, s."""
        found = np.zeros(self.size)
        u, s = self.split(found)
        for block in self.space.trained:
            if block.name not in blocks:
                continue
            part, x = self.part(block), blocks[block.name]
            if block.time == "static":
                s[part.start - self.m : part.stop - self.m] = x.reshape(-1)
            else:
                u[:, part] = x.reshape(len(u), -1)
        return found

    def split(self, x: Array) -> tuple[Array, Array]:
        """(u (K, m), s (p,)): views of a vector."""
        count = self.space.mesh.layers * self.m
        return x[:count].reshape(self.space.mesh.layers, self.m), x[count:]

    def write(self, u: Array, s: Array | None = None) -> Control:
        """The control with these coefficients; s = 0 unless given."""
        blocks = {}
        for block in self.space.trained:
            part = self.part(block)
            if block.time != "static":
                own = u[:, part]
            elif s is None:
                own = np.zeros(prod(block.shape))
            else:
                own = s[part.start - self.m : part.stop - self.m]
            blocks[block.name] = np.array(own).reshape(self.space.shape(block))
        return Control(self.space, blocks, trusted=True)

    @property
    def size(self) -> int:
        """K m + p."""
        return self.space.mesh.layers * self.m + self.p

    def units(self) -> Iterator[Control]:
        """The directions that are 1 in one column, on all layers, and 0 elsewhere."""
        for a in range(len(self)):
            u, s = self.split(np.zeros(self.size))
            if a < self.m:
                u[:, a] = 1.0
            else:
                s[a - self.m] = 1.0
            yield self.write(u, s)

    @cached_property
    def none(self) -> Control:
        """The direction 0."""
        return self.write(*self.split(np.zeros(self.size)))

    def collect(self, bars: Mapping[str, Array], factor: float, into: Array) -> None:
        """Adds to into (m + p,) the derivative in the coefficients that cotangents, represented in
        the blocks' weights, stand for.
        """
        for block in self.space.trained:
            if block.name in bars:
                raw = factor * block.weights * bars[block.name]
                into[self.part(block)] += np.broadcast_to(raw, block.shape).reshape(-1)

    @cached_property
    def weights(self) -> Array:
        """(K m + p,): the squares of the coefficients, weighed by these, sum to the square of the
        norm of the space; the root of the weights times the coefficients are flat coordinates.
        """
        found = {}
        for block in self.space.trained:
            w = np.broadcast_to(block.weights, block.shape)
            steps = self.space.mesh.steps.reshape((-1,) + (1,) * len(block.shape))
            found[block.name] = w if block.time == "static" else steps * w
        return self.vector(found)
