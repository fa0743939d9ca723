"""The workbench of studies: registry, sweep, store, report, verification of claims."""

from typing import TYPE_CHECKING

from continuum.lazy import lazy_names

if TYPE_CHECKING:
    from . import (
        benches,
        cluster,
        collect,
        environment,
        listing,
        loops,
        origins,
        parameters,
        registry,
        report,
        sweep,
        verify,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "benches",
    "cluster",
    "collect",
    "environment",
    "listing",
    "loops",
    "origins",
    "parameters",
    "registry",
    "report",
    "sweep",
    "verify",
]
