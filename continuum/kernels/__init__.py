"""Formats of the kernel b(y, z)."""

from .convolution import Convolution
from .dense import Dense
from .format import Kernel, KernelFormat
from .fractional import FractionalLaplacian
from .low_rank import LowRank
from .on_the_fly import KernelLaw, OnTheFly
from .spectra import eigenvalues, hilbert_schmidt_norm, jump_kernel, operator_norm, singular_values

__all__ = [
    "Convolution",
    "Dense",
    "FractionalLaplacian",
    "Kernel",
    "KernelFormat",
    "KernelLaw",
    "LowRank",
    "OnTheFly",
    "eigenvalues",
    "hilbert_schmidt_norm",
    "jump_kernel",
    "operator_norm",
    "singular_values",
]
