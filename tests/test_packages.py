"""The packages as such: what they import, what they publish, what the two lists of requirements
say.
"""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    p for name in ("continuum", "solvers", "studies") for p in (ROOT / name).rglob("*.py")
)
BLOCKED = [
    "h5py",
    "h5netcdf",
    "xarray",
    "pandas",
    "matplotlib",
    "typer",
    "rich",
    "pydantic",
    "pooch",
    "sklearn",
    "threadpoolctl",
    "cupy",
    "torch",
    "jax",
]


def test_continuum_and_solvers_need_only_numpy_scipy_and_numba():
    code = f"""
import sys
for name in {BLOCKED}:
    sys.modules[name] = None
import continuum, solvers, continuum.exact, continuum.io
import numpy as np
for package in (continuum, solvers):
    assert {{getattr(package, name) is None for name in package.__all__}} == {{False}}
grid = continuum.gauss_legendre(continuum.Interval(0, 1), 4)
network = continuum.WidthDepth(grid, continuum.tanh)
control = network.control(continuum.TimeMesh(1.0, 3), kernel=1.0)
print(solvers.integrate(network, control, np.ones((4, 1)), solvers.RK4()).status.name)
try:
    continuum.io.load_states(__file__ if '__file__' in globals() else 'x')
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.stdout.split("\n")[:2] == [
        "FINISHED",
        "saving and loading needs h5py: pip install h5py",
    ], done.stderr


@pytest.mark.parametrize(
    "folder", ["continuum", "continuum/kernels", "continuum/networks", "solvers", "studies"]
)
def test_names_that_are_loaded_later(folder):
    """All of `__all__` can be had, is shown by dir(), and hides no module of the package."""
    package = importlib.import_module(folder.replace("/", "."))
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert not (ROOT / folder / f"{name}.py").exists(), name
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = package.nothing


def test_environment_yml_is_in_step_with_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = re.findall(r"^  - (\S+)$", (ROOT / "environment.yml").read_text(), flags=re.MULTILINE)
    conda = {line for line in lines if not line.startswith(("pip", "conda-forge"))}
    assert conda == {*project["dependencies"], f"python{project['requires-python']}"}


def overload(item):
    """True for the signature alone of a function whose answer depends on what it is given."""
    names = [getattr(one, "id", "") for one in getattr(item, "decorator_list", [])]
    return "overload" in names


def public_names():
    """Every public function, class and method: its file, its syntax tree."""
    for path in MODULES:
        tree = ast.parse(path.read_text())
        for node in tree.body:
            for item in [node, *(node.body if isinstance(node, ast.ClassDef) else [])]:
                if not isinstance(item, ast.FunctionDef | ast.ClassDef) or overload(item):
                    continue
                if not item.name.startswith("_"):
                    yield path, item


def faults(path, node):
    """No `Any` in a public signature; top-level names have docstrings."""
    compiled = (
        "chain_adjoint.py",
        "chain_second_order.py",
        "chain_linear_quadratic.py",
        "compiled.py",
    )
    loops = path.name.endswith("_loops.py") or path.name in compiled
    if isinstance(node, ast.FunctionDef) and not loops:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        hints = [a.annotation for a in arguments if a.annotation is not None] + (
            [node.returns] if node.returns else []
        )
        names = {n.id for h in hints for n in ast.walk(h) if isinstance(n, ast.Name)}
        if names & {"Any"}:
            yield "Any in its signature"
        if node.returns is None:
            yield "no return type"
    if node.col_offset == 0 and not ast.get_docstring(node):
        yield "no docstring"


def test_public_signatures():
    known = list(public_names())
    assert len(known) > 3000
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {fault}"
        for path, node in known
        for fault in faults(path, node)
    ]
    assert not found, "\n".join(found)


def test_a_public_signature_at_fault():
    (node,) = ast.parse("def f(x: Any): pass").body
    assert list(faults(Path("f.py"), node)) == [
        "Any in its signature",
        "no return type",
        "no docstring",
    ]


def test_every_file_says_what_it_is_and_reads_in_one_sitting():
    for path in MODULES:
        text = path.read_text()
        assert path.name == "__init__.py" or ast.get_docstring(ast.parse(text)), path
        assert text.count("\n") <= 600, path
