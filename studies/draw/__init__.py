"""Plotting functions: figures and phase portraits."""

from typing import TYPE_CHECKING

from continuum.lazy import lazy_names

if TYPE_CHECKING:
    from . import disc, figures, portraits, results
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = ["disc", "figures", "portraits", "results"]
