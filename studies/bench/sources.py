"""The Python files that a file imports, directly or through others, as far as they are the user's
own.
"""

import ast
import hashlib
import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

Search = list[str] | None
"""Folders in which a module is looked for; None for wherever Python looks."""


def local_imports(source: Path, apart: Collection[str] = ()) -> dict[str, Path]:
    """The files that `source` imports, to any depth, by name, without itself.

    The import statements are read, those inside functions too; nothing is executed.  The
    `__init__.py` of a package counts when something of the package is imported.  A module imported
    under a computed name (importlib) is not seen.  Left out are the standard library and installed
    packages, unless `source` lies in that package itself.

    apart : dotted names of modules and packages that are left out, with all below them
    returns name -> file, the name being the path from the folder of its topmost package, so that
        it does not depend on where the tree lies
    """
    own = _top(source)
    found: dict[Path, str] = {source: ""}
    waiting = [source]
    while waiting:
        file = waiting.pop()
        for imported in _imported(file, apart):
            if imported in found or (is_installed(imported) and _top(imported) != own):
                continue
            found[imported] = imported.relative_to(_top(imported).parent).as_posix()
            if imported.suffix == ".py":
                waiting.append(imported)
    return {name: path for path, name in found.items() if name}


def module_of(file: Path) -> tuple[str, Path]:
    """The name under which a Python file is imported, and the folder in which Python must look."""
    names = _dotted(file.parent) if _is_package(file.parent) else []
    if file.name != "__init__.py":
        names = [*names, file.stem]
    return ".".join(names), _top(file).parent


def is_installed(file: Path) -> bool:
    """True for the standard library and for what is installed beside it."""
    if {"site-packages", "dist-packages"} & set(file.parts):
        return True
    roots = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    return any(file.is_relative_to(Path(root).resolve()) for root in roots if root)


def package_files(package: str) -> Iterator[tuple[str, Path]]:
    """Every Python file of a package, with a name that does not depend on where it lies; imports
    none.
    """
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        root = Path(folder)
        for path in sorted(root.rglob("*.py")):
            yield f"{package}/{path.relative_to(root).as_posix()}", path


def add_files(digest: "hashlib._Hash", files: Iterable[tuple[str, Path]]) -> None:
    """Adds files to a hash: their names, lengths and contents."""
    for name, path in files:
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)


def _imported(file: Path, apart: Collection[str]) -> Iterator[Path]:
    """The files of the modules that the import statements of `file` name, and their packages'."""
    tree = ast.parse(file.read_bytes(), filename=str(file))
    package = _dotted(file.parent) if _is_package(file.parent) else []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [(alias.name.split("."), []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module.split(".") if node.module else []
            if node.level:
                base = package[: len(package) - node.level + 1] + base
            names = [(base, [alias.name for alias in node.names])]
        else:
            continue
        for module, members in names:
            for parts in (module, *([*module, member] for member in members)):
                if not _below(".".join(parts), apart):
                    yield from _files(parts, file)


def _files(parts: list[str], importer: Path) -> Iterator[Path]:
    """The file of a module and those of its packages; none for what is no module on disk."""
    search: Search = None
    for n in range(len(parts)):
        spec = _find(".".join(parts[: n + 1]), search, importer)
        if spec is None:
            return
        if spec.has_location and spec.origin and os.path.isfile(spec.origin):
            yield Path(spec.origin).resolve()
        if spec.submodule_search_locations is None:
            return
        search = list(spec.submodule_search_locations)


def _find(name: str, search: Search, importer: Path) -> importlib.machinery.ModuleSpec | None:
    """The spec of a module: of the one that is loaded, or of the one that would be."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if loaded is not None:
        return loaded
    if search is not None:
        return importlib.machinery.PathFinder.find_spec(name, search)
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a loaded module without a spec, such as __main__
        spec = None
    beside = importlib.machinery.PathFinder
    return spec if spec is not None else beside.find_spec(name, [str(importer.parent)])


def _below(name: str, apart: Collection[str]) -> bool:
    return any(name == other or name.startswith(f"{other}.") for other in apart)


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def _dotted(folder: Path) -> list[str]:
    """The name of the package in a folder, from its topmost package down."""
    names: list[str] = []
    while _is_package(folder):
        names.insert(0, folder.name)
        folder = folder.parent
    return names


def _top(file: Path) -> Path:
    """The folder of the topmost package that a file is in, or the file itself."""
    top = file
    while _is_package(top.parent):
        top = top.parent
    return top
