"""Studies, claims and portraits register by lying in their folder; a broken one is named.  What
there is, is kept in a file as long as the code is the same.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from studies_toys import empty_registry

from studies import catalogue
from studies.bench import registry
from studies.bench.registry import claims, portrait, portraits
from studies.bench.registry import studies as registered
from studies.cli import main

STUDY = '''
import xarray as xr
from studies import study

@study("fresh/NAME", paper="Fresh")
def ask(*, n: int = 1) -> xr.Dataset:
    """Is it found?"""
    return xr.Dataset({"n": n})
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of studies as a paper's folder is, one of them at the third level."""
    empty_registry(monkeypatch)
    failed: dict[str, str] = {}
    monkeypatch.setattr(registry, "FAILED", failed)
    monkeypatch.setattr(catalogue, "FAILED", failed)
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "fresh_paper"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner" / "__init__.py").write_text("")
    (package / "one.py").write_text(STUDY.replace("NAME", "one"))
    (package / "inner" / "two.py").write_text(STUDY.replace("NAME", "two"))
    (package / "helper.py").write_text("x = 1\n")
    yield package
    for name in [m for m in sys.modules if m.startswith("fresh_paper")]:
        del sys.modules[name]


def test_what_lies_in_the_folders_is_registered():
    catalogue.load()
    assert catalogue.FAILED == {}
    files = set((Path(catalogue.__file__).parent / "liu_markowich").rglob("*.py"))
    assert len(claims(slow=True)) >= 60
    modules = {entry.module for entry in registry.entries("study")}
    assert {p.stem for p in files if "@study(" in p.read_text()} == {
        m.rpartition(".")[2] for m in modules if m.startswith("studies.liu_markowich.")
    }
    assert set(portraits()) >= {"saddle", "saddle_disc", "centre", "wide_ring", "relu_disc"}


def test_a_new_file_needs_no_list(folder: Path):
    names = {m.__name__ for m in catalogue.found("fresh_paper")}
    inner = {"fresh_paper.inner", "fresh_paper.inner.two"}
    assert names == {"fresh_paper", "fresh_paper.one", "fresh_paper.helper"} | inner
    assert [s.name for s in registered()] == ["fresh/one", "fresh/two"]
    assert registry.FAILED == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f(:\n", "SyntaxError"),
        (STUDY.replace('    """Is it found?"""\n', ""), "'fresh/NAME' needs a docstring"),
        (STUDY.replace("NAME", "one"), "'fresh/one' is registered already, by fresh_paper.one.ask"),
    ],
)
def test_a_broken_study_is_named_and_the_others_go_on(
    folder: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
):
    (folder / "zebra.py").write_text(text)
    assert "fresh_paper.inner.two" in {m.__name__ for m in catalogue.found("fresh_paper")}
    assert [s.name for s in registered()] == ["fresh/one", "fresh/two"]
    assert set(registry.FAILED) == {"fresh_paper.zebra"}
    assert message in registry.FAILED["fresh_paper.zebra"]
    assert main(["info"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("continuum: fresh_paper.zebra could not be loaded: ")
    assert message in line


def test_claims_that_could_not_be_loaded_do_not_pass(monkeypatch: pytest.MonkeyPatch):
    empty_registry(monkeypatch)
    assert main(["verify"]) == 0
    monkeypatch.setattr(registry, "FAILED", {"studies.paper.claims": "ValueError: no"})
    assert main(["verify"]) == 1


def test_a_portrait_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "_portraits", {})
    monkeypatch.setattr(registry, "_expected", {})

    def flower() -> Figure:
        return Figure()

    assert portrait(flower) is flower
    assert dict(portraits()) == {"flower": flower}
    with pytest.raises(ValueError, match=r"'flower' is registered already, by .*flower"):
        portrait(flower)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Where the list of the studies in `folder` is kept; nothing else is in the registry."""
    monkeypatch.setattr(registry, "_expected", {})
    monkeypatch.setattr(registry, "_portraits", {})
    monkeypatch.setattr(catalogue, "PAPERS", ())
    monkeypatch.setattr(catalogue, "GALLERY", "fresh_paper")
    monkeypatch.setattr(catalogue.studies, "__name__", "")
    kept = tmp_path / "caches" / "studies.json"
    monkeypatch.setattr(catalogue, "index_file", lambda: kept)
    monkeypatch.setattr(catalogue, "_code", lambda: (folder / "one.py").read_text())
    # as the packages of papers are, the folder is one of a package
    monkeypatch.setattr(catalogue, "found", lambda name: FOUND(name.removeprefix(".")))
    return kept


FOUND = catalogue.found


def started_anew() -> list[str]:
    """What a new process would know of, and import: the names, and the modules."""
    registry._studies.clear(), registry._expected.clear(), registry.FAILED.clear()
    for name in [m for m in sys.modules if m.startswith("fresh_paper")]:
        del sys.modules[name]
    catalogue.load.__wrapped__()
    assert [e.name for e in registry.entries("study")] == ["fresh/one", "fresh/two"]
    return sorted(m for m in sys.modules if m.startswith("fresh_paper."))


def test_what_there_is_is_kept_until_the_code_changes(kept: Path, folder: Path):
    everything = started_anew()
    assert set(everything) >= {"fresh_paper.one", "fresh_paper.inner.two", "fresh_paper.helper"}
    assert started_anew() == []
    assert registry.find_study("fresh/two").title == "Is it found?"
    assert [m for m in sys.modules if m.startswith("fresh_paper.")] == [
        "fresh_paper.inner",
        "fresh_paper.inner.two",
    ]
    (folder / "one.py").write_text(STUDY.replace("NAME", "one").replace("found?", "new?"))
    assert started_anew() == everything
    assert started_anew() == []
    assert "Is it new?" in {e.title for e in registry.entries("study")}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"code": 1}', "ROWS"])
def test_a_broken_list_is_made_anew(kept: Path, content: str):
    everything = started_anew()
    good = kept.read_text()
    rows = json.dumps({**json.loads(good), "entries": [{"kind": "study"}]})
    kept.write_text(rows if content == "ROWS" else content)
    assert started_anew() == everything
    assert kept.read_text() == good


def test_no_list_is_kept_where_it_cannot_be_or_of_what_is_broken(kept: Path, folder: Path):
    kept.parent.write_text("a file, not a folder")
    assert started_anew() == started_anew() != []
    kept.parent.unlink()
    (folder / "zebra.py").write_text("import no_such_module\n")
    assert started_anew() == started_anew() != []
    assert set(registry.FAILED) == {"fresh_paper.zebra"}
    assert not kept.exists()


def test_a_study_that_breaks_after_it_was_listed(kept: Path, folder: Path):
    started_anew()
    started_anew()
    (folder / "inner" / "two.py").write_text("import no_such_module\n")
    with pytest.raises(ValueError, match=r"'fresh/two' could not be loaded: see fresh_paper"):
        registry.find_study("fresh/two")
    assert "no_such_module" in registry.FAILED["fresh_paper.inner.two"]


LIGHT = """
import sys
from studies.cli import main
main(["list"])
heavy = {"pandas", "sklearn", "matplotlib", "scipy.stats", "xarray", "numba", "networkx"}
print("loaded", sorted(heavy & set(sys.modules)), "rich" in sys.modules)
main(["--help"])
"""


def test_help_and_list_load_little():
    catalogue.load()  # so that the list is kept
    root = Path(catalogue.__file__).parent.parent
    for code, rich in ((LIGHT, True), (LIGHT.replace('main(["list"])', ""), False)):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""
        assert f"loaded [] {rich}" in done.stdout
