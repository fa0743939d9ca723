"""Formats of the kernel b(y, z)."""

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .convolution import Convolution
    from .dense import Dense
    from .format import Kernel, KernelFormat
    from .fractional import FractionalLaplacian
    from .low_rank import LowRank
    from .on_the_fly import KernelLaw, OnTheFly
    from .spectra import (
        eigenvalues,
        hilbert_schmidt_norm,
        jump_kernel,
        operator_norm,
        singular_values,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

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
