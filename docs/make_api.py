"""Writes docs/api.md: one line per public name, the first sentence of its docstring.

python docs/make_api.py        # after names or docstrings have changed; a test compares
"""

import ast
import importlib
import inspect
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("continuum", "solvers", "studies")


def rooms() -> list[str]:
    """The packages, and the folders in them that publish names of their own."""
    found: list[str] = [*PACKAGES, "studies.datasets"]
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("__init__.py")):
            name = ".".join(path.parent.relative_to(ROOT).parts)
            if name not in found and "__all__" in path.read_text():
                found.append(name)
    return sorted(found)


def first_sentence(doc: str) -> str:
    """Up to the first full stop or colon that ends a line or a sentence, in one line."""
    paragraph = " ".join(doc.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[^.][.])\s+(?=[A-Z(`])|:$", paragraph)[0].rstrip(".")


@cache
def values(package: str) -> dict[str, str]:
    """The texts that stand behind assignments to names, of a package and all its folders."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        for node, after in pairwise(ast.parse(path.read_text()).body):
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found |= {t.id: str(after.value.value) for t in targets if isinstance(t, ast.Name)}
    return found


def documented(package: str, name: str) -> str:
    """The docstring of a name; of a value, the text that stands behind its assignment."""
    value = getattr(importlib.import_module(package), name)
    if inspect.isclass(value) or inspect.isfunction(value) or inspect.ismodule(value):
        return value.__doc__ or ""
    return values(package.split(".")[0]).get(name, "")


def page() -> str:
    """The whole page."""
    lines = [
        "# All public names",
        "",
        "One line each; `help(name)` has the rest. `docs/make_api.py` writes it from docstrings.",
    ]
    for room in rooms():
        module = importlib.import_module(room)
        lines += ["", f"## {room}", "", first_sentence(module.__doc__ or "") + ".", ""]
        for name in sorted(module.__all__, key=str.lower):
            text = first_sentence(documented(room, name)).replace("*", "\\*")
            lines.append(f"- `{name}`: {text}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "api.md").write_text(page())
