"""Every study, claim and portrait there is, found by lying in a folder.

Each folder of `studies` but those in `TOOLS` is searched to any depth.  A module that cannot be
imported keeps none of the others from being used; `FAILED` says which it is, and why.

Importing all of them takes seconds.  So what there is, and in which modules, is kept in a file in
the user's folder of caches, beside the hash of the code: while no file of the packages has changed,
a module is imported when something in it is asked for.
"""

import hashlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import ModuleType

import platformdirs

import studies
from continuum.doors import checked

from .bench.files import check_writable, read_json, write_text
from .bench.origins import find
from .bench.registry import FAILED, Entry, Study, entries, expect, imported
from .bench.sources import add_files, package_files

__all__ = ["FAILED", "GALLERY", "PAPERS", "TOOLS", "find_study", "found", "index_file", "load"]

TOOLS = ("bench", "draw")
GALLERY = "gallery"
_FOLDERS = [e.name for e in pkgutil.iter_modules(studies.__path__) if e.ispkg]

PAPERS = tuple(name for name in _FOLDERS if name not in (*TOOLS, GALLERY))
"""The folders of the papers."""


def found(package: str) -> Iterator[ModuleType]:
    """A package, by its full name, and the modules and packages in it, imported.

    What raises is noted in FAILED and left out, for a package with all that is in it.
    """
    module = imported(package)
    if module is not None:
        yield module
        for entry in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{package}."):
            yield from found(entry.name)


@cache
def load() -> None:
    """Makes all studies, claims and portraits known: from the file, or, if the code has changed, by
    importing them all, which writes the file anew.

    A broken file counts as absent.  None is written where there is no place for it, and none while
    a module cannot be imported: it is tried again in every process, and named in FAILED.
    """
    code, kept = _code(), index_file()
    known = _read(kept, code)
    if known is not None:
        expect(known)
        return
    names = {m.__name__ for f in (*PAPERS, GALLERY) for m in found(f"{studies.__name__}.{f}")}
    listed = [e for kind in ("study", "claim", "portrait") for e in entries(kind)]
    if not FAILED:
        rows = [asdict(entry) for entry in listed if entry.module in names]
        with suppress(OSError, ValueError):
            check_writable(kept.parent)
            write_text(kept, json.dumps({"code": code, "entries": rows}, indent=1))


@checked
def find_study(where: str | Path) -> Study:
    """A study: of this package, of one that is installed, or of your own.

    where : "paper/question", as `continuum list` names it; a file, "my_study.py", or a module,
        "my_package.my_study"; where these register several, with the question: "my_study.py:gains"
    raises ValueError if there is none, if the file or module cannot be imported, or if it registers
        several and none is chosen
    """
    load()
    return find(str(where))


def index_file() -> Path:
    """Where the list is kept: a file for each copy of the package and each Python."""
    place = hashlib.sha256(f"{studies.__path__[0]} {sys.executable}".encode()).hexdigest()
    return platformdirs.user_cache_path("continuum-networks") / f"studies-{place[:12]}.json"


def _read(path: Path, code: str) -> list[Entry] | None:
    """The list kept in a file, if it is one and was made of this code."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = read_json(path)
        if kept["code"] == code:
            return [Entry(**row) for row in kept["entries"]]  # type: ignore[union-attr]
    return None


def _code() -> str:
    """SHA-256 of the version of Python and of every Python file of the packages."""
    digest = hashlib.sha256(sys.version.encode())
    for package in ("continuum", "solvers", "studies"):
        add_files(digest, package_files(package))
    return digest.hexdigest()
