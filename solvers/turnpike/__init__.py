"""The turnpike of problems on long horizons: static optimum, rates, arcs, dissipativity."""

from .static import NoStaticOptimum, StaticOptimum, static_optimum

__all__ = ["NoStaticOptimum", "StaticOptimum", "static_optimum"]
