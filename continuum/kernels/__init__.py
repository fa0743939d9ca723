"""Formats of the kernel b(y, z)."""

from .dense import Dense as Dense
from .format import KernelFormat as KernelFormat
from .low_rank import LowRank as LowRank
