"""Mutants chosen by chance: one operator, comparison, number, index or term of the core is changed.

Which ones follows from the tree alone: every possible change inside a function of `continuum` and
`solvers` is ranked by a hash of the seed and of its text, one is taken from a function, and the
first so many are the mutants.  An edit changes them only by the changes that it adds or removes:
new code displaces some.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEED = 8
PACKAGES = ("continuum", "solvers")

JUDGED: dict[tuple[str, str, str], str] = {
    (
        "solvers/pontryagin/row_problems.py",
        "low, high = low[chosen] - width, high[chosen] + width  # the zero may lie at an end",
        "low, high = low[chosen], high[chosen] + width  # the zero may lie at an end",
    ): "the zero lies in the chosen interval or, to rounding, at its end: of 10000 problems for "
    "each of 10 activations mu moves by at most 3.5e-14 |p| sup |psi'|, a width, and r stays below "
    "6e-13 of that where psi is smooth, of which tests allow 1e-12",
    (
        "solvers/pontryagin/shooting.py",
        "weights = np.where(problem.sample_weights > 0.0, problem.sample_weights, 1.0)",
        "weights = np.where(problem.sample_weights > 0.0, problem.sample_weights, 1.5)",
    ): "the number divides costates of samples without weight alone, which the Hamiltonian "
    "multiplies by their weight 0",
    (
        "solvers/flow/chain_loops.py",
        "fours = matrix.shape[0] // 4 * 4",
        "fours = matrix.shape[0] // 4 / 4",
    ): "Numba cuts the quotient to an integer: fewer rows go four at a time, the second loop takes "
    "the others, and the products agree to 2e-16 of their sizes for 1 to 69 rows; 0.83 in place of "
    "0.70 microseconds for 64 rows",
    (
        "solvers/pontryagin/hamiltonian.py",
        "return x.reshape((-1,) + (1,) * (example.ndim - 1))",
        "return x.reshape((-2,) + (1,) * (example.ndim - 1))",
    ): "NumPy takes any negative length for the one that follows from the others",
}
"""Survivors that change nothing that could be tested: (file, line before, line after), stripped ->
the reason."""

OPERATORS = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*")}
COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", ">"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
}
OPPOSITES = {"min": "max", "minimum": "maximum", "argmin": "argmax", "any": "all"}
OPPOSITES |= {after: before for before, after in OPPOSITES.items()}
LEFT_OUT = (
    r"test_(docs|liu|bench|crosscheck|code_cache|random_mutants|turnpike_|studies_(?!infinity))"
)
"""Test files of other things than the core."""

TEXT = ("__repr__", "__str__", "formula", "_formula")
"""Functions that write sentences, which are tested by reading."""


@dataclass(frozen=True)
class Mutant:
    """One line of a file, before and after; `function` is where it is."""

    file: str
    line: int
    function: str
    before: str
    after: str

    @property
    def rank(self) -> str:
        """By which mutants are chosen."""
        text = f"{SEED}\0{self.file}\0{self.function}\0{self.before.strip()}\0{self.after.strip()}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def judged(self) -> str:
        """Why it may survive; empty if it may not."""
        return JUDGED.get((self.file, self.before.strip(), self.after.strip()), "")

    def __str__(self) -> str:
        where = f"{self.file}:{self.line} in {self.function}"
        return f"{where}\n      - {self.before.strip()}\n      + {self.after.strip()}"

    def applied(self, text: str) -> str:
        """The text of the file with the change made."""
        lines = text.splitlines(keepends=True)
        if lines[self.line - 1].rstrip("\n") != self.before:
            raise ValueError(f"{self.file} is not the file that the mutant was made of")
        lines[self.line - 1] = self.after + "\n"
        return "".join(lines)


def chosen(root: Path, count: int) -> list[Mutant]:
    """The first `count` mutants of a tree, at most one in a function."""
    seen: set[tuple[str, str]] = set()
    found: list[Mutant] = []
    for mutant in sorted(_all(root), key=lambda m: m.rank):
        if len(found) == count:
            break
        place = (mutant.file, mutant.function)
        if place not in seen and _parses(mutant.applied((root / mutant.file).read_text())):
            seen.add(place)
            found.append(mutant)
    return found


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def _all(root: Path) -> Iterator[Mutant]:
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            yield from mutants(path.read_text(), path.relative_to(root).as_posix())


def mutants(source: str, file: str) -> Iterator[Mutant]:
    """Every mutant of one file; now and then one that is no Python."""
    lines = source.splitlines()
    for function, node in _nodes(ast.parse(source)):
        for line, start, stop, new in _changes(node, lines):
            before = lines[line - 1]
            if before.isascii():  # columns are counted in bytes
                yield Mutant(file, line, function, before, before[:start] + new + before[stop:])


def _nodes(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """The expressions in bodies of functions, with the function's name; neither those of raised
    errors and texts, nor annotations and defaults."""

    def inside(node: ast.AST, name: str) -> Iterator[tuple[str, ast.AST]]:
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.arguments):
            return
        if isinstance(node, ast.FunctionDef):
            if node.name in TEXT:
                return
            inner = f"{name}.{node.name}" if name else node.name
            for child in node.body:
                yield from inside(child, inner)
            return
        if isinstance(node, ast.ClassDef):
            name = f"{name}.{node.name}" if name else node.name
            for child in node.body:
                if isinstance(child, ast.FunctionDef | ast.ClassDef):
                    yield from inside(child, name)
            return
        if isinstance(node, ast.AnnAssign):
            if node.value is not None:
                yield from inside(node.value, name)
            return
        if isinstance(node, ast.expr):
            yield name, node
        for child in ast.iter_child_nodes(node):
            yield from inside(child, name)

    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from inside(node, "")


def _changes(node: ast.AST, lines: list[str]) -> Iterator[tuple[int, int, int, str]]:
    """(line, first column, last column, new text) of the changes of one expression."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        old, new = OPERATORS[type(node.op)]
        yield from _between(node.left, node.right, old, new, lines)
        if old in "+-" and _on_one_line(node):
            yield _at(node, _text(node.left, lines))
            if old == "+":
                yield _at(node, _text(node.right, lines))
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        old, new = COMPARISONS[type(node.ops[0])]
        yield from _between(node.left, node.comparators[0], old, new, lines)
    elif isinstance(node, ast.BoolOp):
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        yield from _between(node.values[0], node.values[1], old, new, lines)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        if _on_one_line(node):
            yield _at(node, _text(node.operand, lines))
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = node.value
        other = value + 1 if isinstance(value, int) else 1.5 * value if value else 1.0
        yield _at(node, repr(other))
    elif isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        if name in OPPOSITES and _on_one_line(node):
            text = _text(node, lines)
            yield _at(node, text[: len(text) - len(name)] + OPPOSITES[name])


def _on_one_line(node: ast.expr) -> bool:
    return node.lineno == node.end_lineno


def _at(node: ast.expr, new: str) -> tuple[int, int, int, str]:
    return node.lineno, node.col_offset, node.end_col_offset or 0, new


def _text(node: ast.expr, lines: list[str]) -> str:
    return lines[node.lineno - 1][node.col_offset : node.end_col_offset]


def _between(
    left: ast.expr, right: ast.expr, old: str, new: str, lines: list[str]
) -> Iterator[tuple[int, int, int, str]]:
    """The operator between two expressions on one line; parentheses may stand beside it."""
    if left.end_lineno != right.lineno:
        return
    line = lines[right.lineno - 1]
    start, stop = left.end_col_offset or 0, right.col_offset
    found = re.search(rf"(?<![\w*/<>=]){re.escape(old)}(?![*/=])", line[start:stop])
    if found is not None:
        yield right.lineno, start + found.start(), start + found.end(), new


def suite_of(root: Path, file: str) -> list[str]:
    """The test files that import the module of `file`, or mention a public name of it.

    Where none does, those of the modules that import it, and so on.  Tests of studies, of
    documents and of programs are left out.
    """
    texts = {
        path.relative_to(root).as_posix(): path.read_text()
        for path in sorted((root / "tests").rglob("test_*.py"))
        if not re.match(LEFT_OUT, path.name)
    }
    sources = {
        path.relative_to(root).as_posix(): path.read_text()
        for package in (*PACKAGES, "studies")
        for path in sorted((root / package).rglob("*.py"))
        if path.name != "__init__.py"
    }
    asked, seen = {file}, {file}
    while asked:
        words = {w for name in asked for w in _public(sources[name])}
        dotted = {name.removesuffix(".py").replace("/", ".") for name in asked}
        pattern = re.compile("|".join(rf"\b{re.escape(w)}\b" for w in sorted(words | dotted)))
        found = [name for name, text in texts.items() if pattern.search(text)]
        if found:
            return found
        stems = "|".join(re.escape(Path(name).stem) for name in asked)
        imports = re.compile(rf"(from|import) [\w., ]*\b({stems})\b")
        asked = {name for name, text in sources.items() if imports.search(text)} - seen
        seen |= asked
    return []


def _public(source: str) -> set[str]:
    """The names of the functions and classes that a module defines for others."""
    return {
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
