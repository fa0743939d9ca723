"""Public names of a package that are loaded when they are first asked for.

`import continuum, solvers` would otherwise load 160 files and much of SciPy for a script that needs
a few of them.
"""

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path


def lazy_names(package: str, file: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package.

    Which names there are, and in which modules, is read in the relative imports of `file`, the
    `__init__.py` of the package, which stand under `if TYPE_CHECKING:` and are not executed:
    people, type checkers and Python read one list.  `from . import name` is a module of the
    package; no other name may be that of a module, which would hide it once it is loaded.
    """
    homes = {
        alias.name: node.module
        for node in ast.walk(ast.parse(Path(file).read_bytes()))
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{homes[name] or name}")
        value = getattr(module, name) if homes[name] else module
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return load, names
