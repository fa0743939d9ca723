"""Formats of the kernel b(y, z)."""

from .convolution import Convolution as Convolution
from .dense import Dense as Dense
from .format import KernelFormat as KernelFormat
from .low_rank import LowRank as LowRank
from .on_the_fly import KernelLaw as KernelLaw
from .on_the_fly import OnTheFly as OnTheFly
from .spectra import eigenvalues as eigenvalues
from .spectra import hilbert_schmidt_norm as hilbert_schmidt_norm
from .spectra import jump_kernel as jump_kernel
from .spectra import operator_norm as operator_norm
from .spectra import singular_values as singular_values
