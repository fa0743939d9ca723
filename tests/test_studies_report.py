"""The HTML page: one file, complete, without references to anything outside."""

import base64
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
import xarray as xr
from studies_toys import decay, empty_registry, register

from studies.bench.errors import StoreError
from studies.bench.files import write_record
from studies.bench.formulas import with_formulas
from studies.bench.plan import SWEEP_FORMAT
from studies.bench.registry import Picture, find_study, study
from studies.bench.report import FigureError, write_report
from studies.bench.sweep import run_sweep


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_registry(monkeypatch)
    register()


class Page(HTMLParser):
    """Tags with their attributes, the text, and the cells of each table row."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags and self.tags[-1][0] in ("td", "th"):
            self.rows[-1][-1] += data.strip()


def test_the_page_is_complete_and_self_contained(tmp_path: Path):
    result = run_sweep(find_study("toys/decay"), out=tmp_path, progress="none")
    path = write_report(result.folder)
    assert path == result.folder / "report.html"
    source, page = path.read_text(), Page(path)

    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base")
        assert not attributes.keys() & {"srcset", "onload", "style"}
        if "src" in attributes:
            assert str(attributes["src"]).startswith("data:image/png;base64,")
    assert not re.search(r"https?:|url\(|@import|//", re.sub(r'src="data:[^"]*"', "", source))

    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 1
    assert (
        base64.b64decode(str(images[0]).split(",")[1]) == (result.folder / "error.png").read_bytes()
    )
    assert "The error falls like 1/steps & <no> faster." in page.text
    assert "An <unusual> character & another must survive the page." in page.text
    assert "x(1) = x(0) exp(-rate)." in page.text
    assert "Euler's method for x' = -rate x: how wrong is it?" in page.text
    assert re.search("continuum run [^ ]*studies_toys.py:decay --out ", page.text)
    assert "rate = 1.0" in page.text
    plan = json.loads((result.folder / "sweep.json").read_text())
    for part in (
        plan["code_hash"],
        plan["versions"]["numpy"],
        "Toys (1), Figure 1",
        "4 of 4 cases",
    ):
        assert part in page.text
    head, *rows = page.rows[:5]
    assert head == ["steps", "error of the factor [percent]", "count", "seconds", "file", "status"]
    error = 100 * abs((1 - 1 / 16) ** 16 - 2.718281828459045**-1)
    assert rows[1][:3] == ["16", f"{error:.4g}", "16"]
    assert rows[1][5] == "Euler made 16 steps."


def test_links_lead_to_sections_and_files(tmp_path: Path):
    result = run_sweep(find_study("toys/decay"), out=tmp_path, progress="none")
    page = Page(write_report(result.folder))
    links = [str(attributes["href"]) for tag, attributes in page.tags if tag == "a"]
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    contents = [link[1:] for link in links if link.startswith("#")]
    assert contents == [
        "question",
        "figures",
        "cases",
        "variables",
        "how-to-get-it-again",
        "environment",
    ]
    assert set(contents) <= anchors
    files = [link for link in links if not link.startswith("#")]
    assert files == ["error.png", *(path.name for path in result.paths)]
    assert all((result.folder / file).is_file() for file in files)


def test_variables_have_meaning_units_and_dimensions(tmp_path: Path):
    result = run_sweep(find_study("toys/decay"), out=tmp_path, progress="none")
    rows = Page(write_report(result.folder)).rows
    start = rows.index(["variable", "meaning", "unit", "dimensions"])
    assert rows[start + 1 : start + 4] == [
        ["final", "final", "1", "row 40, column 40"],
        ["error", "error of the factor", "percent", "one number"],
        ["count", "count", "1", "one number"],
    ]


def test_what_was_not_found_is_told_in_words(tmp_path: Path):
    def searching(*, index: int = 0) -> xr.Dataset:
        """Where is the start?"""
        told = {"nan_means": "no such start"}
        return xr.Dataset({"start": ((), float("nan"), told), "other": ((), float("nan"))})

    study("toys/searching", paper="Toys")(searching)
    result = run_sweep(find_study("toys/searching"), out=tmp_path, progress="none")
    page = Page(write_report(result.folder))
    assert page.rows[1][:2] == ["no such start", "none"]
    assert "nan" not in page.text


def test_formulas_become_mathml():
    shown = with_formulas(
        "f_t = a - int_0^T b f, |u|^2 <= 1, depth_error, lambda & kappa", ["kappa"]
    )
    assert shown == (
        "<math><msub><mi>f</mi><mi>t</mi></msub></math> = a - "
        "<math><msubsup><mo>∫</mo><mn>0</mn><mi>T</mi></msubsup></math> b f, "
        '|u<math><msup><mo stretchy="false">|</mo><mn>2</mn></msup></math> ≤ 1, '
        "depth_error, λ &amp; kappa"
    )
    assert with_formulas("e^(-rho z_i), the sum of 1e-10 <b>, x_long_name") == (
        "<math><msup><mi>e</mi><mrow><mo>−</mo><mi>ρ</mi><msub><mi>z</mi><mi>i</mi></msub>"
        "</mrow></msup></math>, the sum of 1e-10 &lt;b&gt;, x_long_name"
    )


def test_words_in_backticks_are_code():
    shown = with_formulas("`depth` steps, f_t, `x_1 <= 2`")
    assert shown.startswith("<code>depth</code> steps, <math>")
    assert shown.endswith(", <code>x_1 &lt;= 2</code>")


LONG = "The iterations ended at their largest number, although the objective still fell by {}."


@pytest.mark.parametrize(
    ("scalars", "statuses", "kind", "below"),
    [
        (0, ["Done."] * 3, "small", False),
        (0, ["Done.", "Ended.", "Done."], "small", False),
        (0, [LONG.format(k) for k in range(3)], "small", True),
        (6, [LONG.format(k) for k in range(3)], "medium", True),
        (12, [LONG.format(k) for k in range(3)], "large", True),
    ],
)
def test_a_long_status_stands_below_its_row(
    tmp_path: Path, scalars: int, statuses: list[str], kind: str, below: bool
):
    def wide(*, index: int = 0) -> xr.Dataset:
        """How many columns?"""
        return xr.Dataset(
            {f"quantity_{k}": 1.25e-10 * (k + 1) for k in range(scalars)},
            attrs={"status": statuses[index]},
        )

    study("toys/wide", paper="Toys")(wide)
    result = run_sweep(find_study("toys/wide"), [{"index": range(3)}], tmp_path, progress="none")
    page = Page(write_report(result.folder))
    assert next(a["class"] for t, a in page.tags if t == "table") == f"cases {kind}"
    columns = ["index", *(f"quantity {k}" for k in range(scalars)), "seconds", "file"]
    told = len(set(statuses)) > 1
    assert page.rows[0] == [*columns, *(["status"] if told and not below else [])]
    spans = [a["colspan"] for t, a in page.tags if t == "td" and "status" in str(a.get("class"))]
    assert spans == [str(len(columns)) if below else "1"] * (3 * told)
    if below:
        assert [row[0] for row in page.rows[1:7]] == [
            "0",
            statuses[0],
            "1",
            statuses[1],
            "2",
            statuses[2],
        ]
    elif told:
        assert [row[-1] for row in page.rows[1:4]] == statuses
    # a card has no head: each of its cells says what it is
    named = [a["data-name"] for t, a in page.tags if t == "td" and "data-name" in a]
    assert named == columns * 3


def test_results_of_one_title_keep_their_columns(tmp_path: Path):
    def twins(*, index: int = 0) -> xr.Dataset:
        """Two results that are called alike?"""
        told = {"long_name": "index"}
        return xr.Dataset({"a": ((), 10 + index, told), "b": ((), 20 + index, told)})

    study("toys/twins", paper="Toys")(twins)
    result = run_sweep(find_study("toys/twins"), [{"index": [0, 1]}], tmp_path, progress="none")
    rows = Page(write_report(result.folder)).rows
    assert [row[:3] for row in rows[:3]] == [["index"] * 3, ["0", "10", "20"], ["1", "11", "21"]]


def test_a_title_of_two_lines_is_told_once(tmp_path: Path):
    def long(*, index: int = 0) -> xr.Dataset:
        """A question that is too long for one line of code, and therefore is written on two
        lines of it.

        What is asked in detail.
        """
        return xr.Dataset({"index": ((), index)}, attrs={"status": "Done."})

    study("toys/long", paper="Toys")(long)
    result = run_sweep(find_study("toys/long"), out=tmp_path, progress="none")
    page = Page(write_report(result.folder))
    # in the head of the page, and above it
    assert page.text.count("and therefore is written on two lines of it.") == 2
    assert page.text.count("lines of it.") == 2
    assert "What is asked in detail." in page.text


def test_the_same_page_again_from_the_files_alone(tmp_path: Path):
    result = run_sweep(find_study("toys/decay"), [{"steps": [4, 8]}], tmp_path, progress="none")
    first = write_report(result.folder).read_text()
    moved = result.folder.rename(tmp_path / "elsewhere")
    (moved / "report.html").unlink()
    (moved / "error.png").unlink()
    assert write_report(moved).read_text() == first
    assert (moved / "error.png").is_file()


def test_failed_missing_and_damaged_cases_are_told(tmp_path: Path):
    result = run_sweep(find_study("toys/faulty"), [{"index": range(5)}], tmp_path, progress="none")
    (result.folder / f"case-{result.rows[2].case_hash[:12]}.h5").unlink()
    damaged = result.folder / f"case-{result.rows[3].case_hash[:12]}.h5"
    damaged.write_bytes(damaged.read_bytes()[:500])
    page = Page(write_report(result.folder))
    assert "2 of 5 cases are finished" in page.text
    pairs = zip(page.rows[1:11:2], page.rows[2:11:2], strict=True)
    states = {row[0]: told[0] for row, told in pairs}
    assert states["0"] == "The case finished."
    assert states["1"] == "failed: ArithmeticError: one is not allowed"
    assert states["2"] == "not run yet"
    assert "cut short" in states["3"]


def test_figures_that_cannot_be_drawn(tmp_path: Path):
    def broken(cases: Sequence[xr.Dataset]) -> list[Picture]:
        raise KeyError("no such variable")

    study("toys/broken", paper="Toys", plot=broken)(decay)
    result = run_sweep(find_study("toys/broken"), out=tmp_path, progress="none")
    with pytest.raises(
        FigureError, match="could not be drawn: KeyError: 'no such variable'"
    ) as caught:
        write_report(result.folder)
    page = Page(caught.value.page)
    assert "The figures could not be drawn: KeyError" in page.text
    assert "1 of 1 cases are finished" in page.text


def test_folders_that_are_not_sweeps(tmp_path: Path):
    with pytest.raises(StoreError, match=r"there is no sweep in"):
        write_report(tmp_path)
    (tmp_path / "sweep.json").write_text('{"format": "other"}')
    with pytest.raises(StoreError, match="has no checksum"):
        write_report(tmp_path)
    write_record(tmp_path / "sweep.json", {"format": "continuum sweep 1"})
    with pytest.raises(StoreError, match="was not written by a continuum sweep"):
        write_report(tmp_path)
    plan = {"format": SWEEP_FORMAT, "study": "toys/dekay", "cases": []}
    write_record(tmp_path / "sweep.json", plan)
    with pytest.raises(ValueError, match="Did you mean 'toys/decay'"):
        write_report(tmp_path)
