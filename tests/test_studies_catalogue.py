"""Studies, claims and portraits register by lying in their folder; a broken one is named."""

import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

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
    monkeypatch.setattr(registry, "_studies", {})
    monkeypatch.setattr(catalogue, "FAILED", {})
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
    assert catalogue.FAILED == {}
    here = Path(catalogue.__file__).parent
    files = set((here / "liu_markowich").rglob("*.py"))
    assert {Path(m.__file__ or "") for m in catalogue.PAPERS["liu_markowich"]} == files
    assert len(claims(slow=True)) >= 60
    modules = {s.function.__module__ for s in registered()}
    assert {p.stem for p in files if "@study(" in p.read_text()} == {
        m.rpartition(".")[2] for m in modules if m.startswith("studies.liu_markowich.")
    }
    assert set(portraits()) >= {"saddle", "saddle_disc", "centre", "wide_ring", "relu_disc"}


def test_a_new_file_needs_no_list(folder: Path):
    names = {m.__name__ for m in catalogue.found("fresh_paper")}
    inner = {"fresh_paper.inner", "fresh_paper.inner.two"}
    assert names == {"fresh_paper", "fresh_paper.one", "fresh_paper.helper"} | inner
    assert [s.name for s in registered()] == ["fresh/one", "fresh/two"]
    assert catalogue.FAILED == {}


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
    assert set(catalogue.FAILED) == {"fresh_paper.zebra"}
    assert message in catalogue.FAILED["fresh_paper.zebra"]
    assert main(["info"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("continuum: fresh_paper.zebra could not be loaded: ")
    assert message in line


def test_claims_that_could_not_be_loaded_do_not_pass(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "_claims", {})
    assert main(["verify"]) == 0
    monkeypatch.setattr(catalogue, "FAILED", {"studies.paper.claims": "ValueError: no"})
    assert main(["verify"]) == 1


def test_a_portrait_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "_portraits", {})

    def flower() -> Figure:
        return Figure()

    assert portrait(flower) is flower
    assert dict(portraits()) == {"flower": flower}
    with pytest.raises(ValueError, match=r"'flower' is registered already, by .*flower"):
        portrait(flower)
