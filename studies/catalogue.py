"""Every study, claim and portrait there is, found by lying in a folder: importing this module
registers them all.

Each folder of `studies` but those in `TOOLS` is searched to any depth.  A module that cannot be
imported keeps none of the others from being used; `FAILED` says which it is, and why.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import studies

from .bench.registry import describe

TOOLS = ("bench", "draw")
GALLERY = "gallery"

FAILED: dict[str, str] = {}
"""Modules that could not be imported, by their full names, and the exceptions in one line."""


def found(package: str) -> Iterator[ModuleType]:
    """A package, by its full name, and the modules and packages in it, imported.

    What raises is noted in FAILED and left out, for a package with all that is in it.
    """
    try:
        module = importlib.import_module(package)
    # a study may do anything at its import: one that breaks must not hide the others
    except Exception as error:
        FAILED[package] = describe(error)
        return
    yield module
    for entry in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{package}."):
        yield from found(entry.name)


def _folders() -> dict[str, tuple[ModuleType, ...]]:
    names = [e.name for e in pkgutil.iter_modules(studies.__path__) if e.ispkg]
    return {n: tuple(found(f"{studies.__name__}.{n}")) for n in names if n not in TOOLS}


_FOUND = _folders()

PAPERS = {name: modules for name, modules in _FOUND.items() if name != GALLERY}
"""The modules of each paper."""
