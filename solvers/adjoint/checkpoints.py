"""Binomial checkpointing: the steps of a run, visited backwards, with few of the states kept.

With c states kept at a time, the first one included, l blocks of steps are reversed with

    t(l, c) = r l - beta(c + 1, r - 1),  beta(c, r) = binomial(c + r, c),
    beta(c, r - 1) < l <= beta(c, r),

blocks advanced besides the l that are recorded, which is the least possible.
Source: Griewank and Walther, Algorithm 799: revolve (2000).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

from continuum.arrays import Array


def _beta(c: int, r: int) -> int:
    return comb(c + r, c) if r >= 0 else 0


def _repeats(blocks: int, kept: int) -> int:
    """The least r with blocks <= beta(kept, r)."""
    r = 0
    while _beta(kept, r) < blocks:
        r += 1
    return r


def binomial_cost(blocks: int, kept: int) -> int:
    """t(l, c): how many blocks are advanced, besides the recorded ones, to reverse `blocks` with
    `kept` states.
    """
    r = _repeats(blocks, kept)
    return r * blocks - _beta(kept + 1, r - 1)


def _split(blocks: int, kept: int) -> int:
    """After how many blocks the next state is kept; 0 < split < blocks."""
    r = _repeats(blocks, kept)
    return max(1, _beta(kept, r - 2), blocks - _beta(kept - 1, r))


@dataclass(frozen=True)
class Plan:
    """Blocks of `length` steps (the last one may be shorter), of which `kept` states are kept at a
    time.

    advanced : how many steps are made besides those recorded once
    """

    length: int
    blocks: int
    kept: int

    @property
    def advanced(self) -> int:
        """An upper bound of the steps made besides those that are recorded, exact if all blocks are
        equally long.
        """
        return binomial_cost(self.blocks, self.kept) * self.length

    @staticmethod
    def within(memory: int, steps: int, state: int, slopes: int) -> "Plan":
        """The plan with the fewest steps whose states, and the record of one block, fit into
        `memory` bytes.

        state : bytes of a state
        slopes : how many arrays of a state's size are recorded with each step besides the state
            after it
        raises ValueError if not even one step at a time fits
        """
        best = None
        for length in range(1, steps + 1):
            record = (1 + (1 + slopes) * length) * state
            if record > memory:
                break
            blocks = -(-steps // length)
            plan = Plan(length, blocks, min(blocks, 1 + (memory - record) // state))
            if best is None or plan.advanced <= best.advanced:
                best = plan
        if best is None:
            least = (2 + slopes) * state
            raise ValueError(
                f"memory must be at least {least} bytes, the record of one step, got {memory}"
            )
        return best

    def reverse(
        self,
        first: Array,
        steps: int,
        advance: Callable[[Array, int, int], Array],
        turn: Callable[[Array, int, int], None],
    ) -> None:
        """Calls turn(state, start, stop) for every block of steps, the last one first.

        first : the state before the first step
        advance : (state, start, stop) -> the state after the steps start, ..., stop - 1
        """
        kept = [(0, first)]
        for last in range(self.blocks, 0, -1):
            at, state = kept[-1]
            while last - at > 1:
                free = self.kept - len(kept)
                ahead = _split(last - at, free + 1) if free else last - 1 - at
                state = advance(state, at * self.length, (at + ahead) * self.length)
                at += ahead
                if free:
                    kept.append((at, state))
            turn(state, at * self.length, min(last * self.length, steps))
            if kept[-1][0] == last - 1:
                kept.pop()
            del state
