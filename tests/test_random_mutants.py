"""The mutants chosen by chance: what they change, and that the tree alone decides."""

import ast
from pathlib import Path

import pytest
from mutants import MUTANTS, TESTS
from random_mutants import Mutant, chosen, mutants, suite_of

ROOT = Path(__file__).parent.parent
SOURCE = '''"""A module."""

LIMIT = 3


class Thing:
    """It has 2 names."""

    size: int = 4

    def __repr__(self) -> str:
        return "thing" * 2

    def weigh(self, a: float = 1.0, b: float = 2.0) -> float:
        """a + b"""
        if a < b and not a:
            raise ValueError(f"{a + b}" + str(a - b))
        return max(a, -b) * (a + 2 * b)


def first(x):
    return x[0] / 2.5
'''


def changes(source: str) -> set[tuple[str, str]]:
    return {(m.function, m.after.strip()) for m in mutants(source, "thing.py")}


def test_every_kind_of_change_and_no_text():
    assert changes(SOURCE) == {
        ("Thing.weigh", "if a <= b and not a:"),
        ("Thing.weigh", "if a < b or not a:"),
        ("Thing.weigh", "if a < b and a:"),
        ("Thing.weigh", "return min(a, -b) * (a + 2 * b)"),
        ("Thing.weigh", "return max(a, b) * (a + 2 * b)"),
        ("Thing.weigh", "return max(a, -b) / (a + 2 * b)"),
        ("Thing.weigh", "return max(a, -b) * (a - 2 * b)"),
        ("Thing.weigh", "return max(a, -b) * (a)"),
        ("Thing.weigh", "return max(a, -b) * (2 * b)"),
        ("Thing.weigh", "return max(a, -b) * (a + 3 * b)"),
        ("Thing.weigh", "return max(a, -b) * (a + 2 / b)"),
        ("first", "return x[1] / 2.5"),
        ("first", "return x[0] * 2.5"),
        ("first", "return x[0] / 3.75"),
    }


def test_a_change_is_one_line_of_its_file():
    for mutant in mutants(SOURCE, "thing.py"):
        old, new = SOURCE.splitlines(), mutant.applied(SOURCE).splitlines()
        assert [n for n, (a, b) in enumerate(zip(old, new, strict=True), 1) if a != b] == [
            mutant.line
        ]
    with pytest.raises(ValueError, match="not the file"):
        Mutant("thing.py", 1, "first", "a", "b").applied(SOURCE)


def tree(folder: Path, sources: dict[str, str]) -> Path:
    for name, text in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_edits_elsewhere_choose_the_same(tmp_path: Path):
    many = "\n\n".join(f"def f{n}(x):\n    return {n} * x + {n}.5" for n in range(30)) + "\n"
    root = tree(tmp_path, {"continuum/a.py": many, "solvers/b.py": SOURCE})
    first = chosen(root, 8)
    assert len(first) == len({(m.file, m.function) for m in first}) == 8
    assert chosen(root, 8) == first
    tree(root, {"continuum/a.py": '"""Now with words."""\n\n\n' + many})
    assert [(m.function, m.after) for m in chosen(root, 8)] == [
        (m.function, m.after) for m in first
    ]


def test_the_tests_that_mention_a_module(tmp_path: Path):
    sources = {
        "continuum/deep.py": "def _hidden(x):\n    return x + 1\n",
        "continuum/middle.py": "from .deep import _hidden\n\n\ndef shown(x):\n    return x\n",
        "solvers/other.py": "def another(x):\n    return x\n",
        "tests/test_a.py": "from continuum import shown\n",
        "tests/laws/test_b.py": "from solvers import another, shown\n",
        "tests/test_docs.py": "another\n",
    }
    root = tree(tmp_path, sources)
    assert suite_of(root, "solvers/other.py") == ["tests/laws/test_b.py"]
    assert suite_of(root, "continuum/deep.py") == ["tests/laws/test_b.py", "tests/test_a.py"]


def test_those_of_this_tree_are_python_and_have_tests():
    found = chosen(ROOT, 40)
    assert len(found) == 40
    for mutant in found:
        changed = mutant.applied((ROOT / mutant.file).read_text())
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse((ROOT / mutant.file).read_text()))
        assert suite_of(ROOT, mutant.file), mutant


def test_those_picked_by_hand_are_of_this_tree():
    """Each has its line still, and is Python."""
    assert all((ROOT / name).is_file() for name in TESTS)
    for name, file, old, new in MUTANTS:
        path = ROOT / file
        assert path.is_file(), name
        text = path.read_text()
        assert old in text, f"{name}: {file} has no line with {old!r}"
        ast.parse(text.replace(old, new, 1))
