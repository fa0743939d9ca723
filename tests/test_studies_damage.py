"""Damaged files are told, set aside and made again; no flipped bit is read as another number."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from studies_toys import empty_registry, register

from studies.bench.errors import StoreError
from studies.bench.files import read_record, set_aside, write_record
from studies.bench.plan import read_plan
from studies.bench.registry import find_study
from studies.bench.report import write_report
from studies.bench.store import CaseHeader, read_case, read_header, sealed, write_case
from studies.bench.sweep import SweepResult, run_sweep

HEADER = CaseHeader("toys/one", {"depth": 3}, "c" * 64, "d" * 64, {"python": "3"})


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_registry(monkeypatch)
    register()


def example() -> xr.Dataset:
    """All kinds of variables and attributes that a study returns."""
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "state": (("time", "unit"), rng.standard_normal((5, 4)), {"units": "1"}),
            "single": ("unit", np.arange(4, dtype=np.float32)),
            "complex": ("unit", np.exp(1j * np.arange(4))),
            "names": ("unit", ["a", "b", "é", ""]),
            "flags": ("time", np.array([True, False, True, True, False])),
            "none": ("nothing", np.zeros(0)),
            "error": 0.25,
            "when": ("time", np.datetime64("2026-01-01", "ns") + np.arange(5)),
        },
        coords={"time": np.linspace(0, 1, 5), "label": ("unit", [4, 3, 2, 1])},
        attrs={"status": "It converged.", "orders": np.array([1.0, 2.0]), "words": ["x", "y"]},
    )


def sweep(folder: Path, **grid: object) -> SweepResult:
    return run_sweep(find_study("toys/decay"), [grid], folder, progress="none")  # type: ignore[list-item]


def aside(folder: Path) -> dict[str, str]:
    """What was set aside, and why."""
    found = {p.name: p for p in (folder / "damaged").iterdir()}
    return {name: found[f"{name}.txt"].read_text() for name in found if f"{name}.txt" in found}


def flips(path: Path, places: list[int]) -> dict[str, int]:
    """How a file is read with one of its bits flipped: told, as it was, or as something else."""
    content, whole = path.read_bytes(), read_case(path)
    found = {"told": 0, "as it was": 0, "other": 0}
    copy = path.with_name("copy.h5")
    for place in places:
        bits = bytearray(content)
        bits[place // 8] ^= 1 << place % 8
        copy.write_bytes(bits)
        try:
            case = read_case(copy)
        except StoreError:
            found["told"] += 1
        else:
            found["as it was" if case.identical(whole) else "other"] += 1
    return found


def test_every_kind_of_value_comes_back(tmp_path: Path):
    write_case(tmp_path / "case.h5", example(), HEADER, 1.5)
    case = read_case(tmp_path / "case.h5")
    xr.testing.assert_equal(case, example())
    assert read_header(tmp_path / "case.h5") == HEADER


def test_flipped_bits_are_told(tmp_path: Path, rng: np.random.Generator):
    write_case(tmp_path / "case.h5", example(), HEADER, 1.5)
    size = 8 * (tmp_path / "case.h5").stat().st_size
    found = flips(tmp_path / "case.h5", rng.integers(size, size=30).tolist())
    assert found["told"] == 30, found


@pytest.mark.slow
def test_thousands_of_flipped_bits_are_told(tmp_path: Path, rng: np.random.Generator):
    write_case(tmp_path / "case.h5", example(), HEADER, 1.5)
    size = 8 * (tmp_path / "case.h5").stat().st_size
    found = flips(tmp_path / "case.h5", rng.integers(size, size=4000).tolist())
    assert found["told"] == 4000, found


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file["state"].write_direct(np.zeros((5, 4))),
        lambda file: file.attrs.modify("seconds", 2.0),
        lambda file: file["state"].attrs.modify("units", "m"),
        lambda file: file.move("error", "other"),
        lambda file: file.attrs.create("more", 1),
        lambda file: file.attrs.__delitem__("status"),
        lambda file: file["state"].dims[0].detach_scale(file["time"]),
        lambda file: file["names"].__setitem__(0, "b"),
        lambda file: file.create_dataset("more", data=1.0),
        lambda file: file.create_group("more"),
        lambda file: file.__setitem__("more", h5py.ExternalLink("other.h5", "error")),
        lambda file: file.__setitem__("more", h5py.SoftLink("/state")),
    ],
)
def test_any_change_is_told(tmp_path: Path, change):
    path = tmp_path / "case.h5"
    write_case(path, example(), HEADER, 1.5)
    with h5py.File(path, "a") as file:
        change(file)
    for read in (read_case, read_header):
        with pytest.raises(StoreError, match=r"case.h5 is damaged"):
            read(path)


def test_links_out_of_the_folder_are_refused(tmp_path: Path):
    (tmp_path / "inside").mkdir()
    path, other = tmp_path / "inside" / "case.h5", tmp_path / "other.h5"
    write_case(other, example(), HEADER, 1.5)
    path.symlink_to(other)
    with pytest.raises(StoreError, match=r"is a link that leads out of the folder, to .*other.h5"):
        read_case(path)
    path.unlink()
    (tmp_path / "inside" / "deeper").mkdir()
    write_case(tmp_path / "inside" / "deeper" / "case.h5", example(), HEADER, 1.5)
    path.symlink_to(tmp_path / "inside" / "deeper" / "case.h5")
    assert float(read_case(path)["error"]) == 0.25  # it stays inside
    path.unlink()


def test_an_older_version_is_told(tmp_path: Path):
    write_case(tmp_path / "case.h5", example(), HEADER, 1.5)
    with h5py.File(tmp_path / "case.h5", "a") as file:
        file.attrs["format"] = "continuum case 1"
    path = tmp_path / "case.h5"
    path.write_bytes(sealed(path.read_bytes()))
    with pytest.raises(StoreError, match=r"written by another version.*run its case again"):
        read_case(tmp_path / "case.h5")


def test_records_are_what_was_written(tmp_path: Path):
    path = tmp_path / "record.json"
    write_record(path, {"numbers": [1, 2.5, True], "text": "é"})
    assert read_record(path) == {"numbers": [1, 2.5, True], "text": "é"}
    text = path.read_text()
    path.write_text(text.replace("2.5", "2.6"))
    with pytest.raises(StoreError, match=r"record.json is damaged: its content is not what"):
        read_record(path)
    path.write_text(json.dumps({"numbers": [1, 2.5, True], "text": "é"}))
    with pytest.raises(StoreError, match="has no checksum"):
        read_record(path)


def test_damaged_cases_are_set_aside_and_run_again(tmp_path: Path):
    first = sweep(tmp_path, steps=[4, 5, 6, 7])
    names = [path.name for path in first.paths]
    content = bytearray(first.paths[0].read_bytes())
    with h5py.File(first.paths[0]) as file:
        place = file["final"].id.get_offset()  # type: ignore[union-attr]
    content[place] ^= 1
    first.paths[0].write_bytes(content)
    first.paths[1].write_bytes(b"short")
    (tmp_path / "elsewhere.h5").write_bytes(first.paths[2].read_bytes())
    first.paths[2].unlink()
    first.paths[2].symlink_to(tmp_path / "elsewhere.h5")
    first.paths[3].unlink()
    first.paths[3].mkdir()

    again = sweep(tmp_path, steps=[4, 5, 6, 7])
    assert [row.outcome for row in again.rows] == ["done"] * 4
    assert again.damaged == 4
    assert "4 damaged files were set aside, in " in again.status
    reasons = aside(first.folder)
    assert set(reasons) == set(names)
    for name, words in zip(
        names,
        ("its checksum", "cut short", "leads out of the folder", "there is no file"),
        strict=True,
    ):
        assert words in reasons[name]
    assert (first.folder / "damaged" / names[0]).read_bytes() == bytes(content)
    assert [int(read_case(path)["count"]) for path in again.paths] == [4, 5, 6, 7]
    assert sweep(tmp_path, steps=[4, 5, 6, 7]).count("skipped") == 4
    for path in again.paths[:2]:  # the same names once more
        path.write_bytes(b"short")
    assert sweep(tmp_path, steps=[4, 5]).damaged == 2
    assert (first.folder / "damaged" / f"{names[0]}.2.txt").is_file()


def test_damaged_records_are_set_aside(tmp_path: Path):
    found = find_study("toys/faulty")
    result = run_sweep(found, out=tmp_path, progress="none")
    (failure,) = (result.folder / "failed").iterdir()
    for path in (failure, result.folder / "sweep.json"):
        path.write_text(path.read_text().replace("index", "inbex"))
    again = run_sweep(found, out=tmp_path, progress="none")
    assert [row.outcome for row in again.rows] == ["skipped", "failed", "skipped"]
    assert again.damaged == 2
    assert set(aside(result.folder)) == {failure.name, "sweep.json"}
    read_record(failure)
    read_record(result.folder / "sweep.json")


def test_the_report_sets_aside_too(tmp_path: Path):
    result = run_sweep(find_study("toys/faulty"), [{"index": range(4)}], tmp_path, progress="none")
    (failure,) = (result.folder / "failed").iterdir()
    failure.write_text("{")
    result.paths[0].write_bytes(b"short")
    os.replace(result.paths[1], result.paths[2])  # a whole file, of another case
    page = write_report(result.folder).read_text()
    assert "0 of 4 cases are finished" in page
    assert page.count("set aside, run the sweep again") == 3
    assert set(aside(result.folder)) == {
        failure.name,
        result.paths[0].name,
        result.paths[2].name,
    }


@pytest.mark.parametrize("damage", ["missing", "changed", "cut", "link"])
def test_the_plan_is_made_again_from_the_files(tmp_path: Path, damage: str):
    result = run_sweep(find_study("toys/faulty"), [{"index": range(4)}], tmp_path, progress="none")
    path = result.folder / "sweep.json"
    before = read_plan(result.folder)
    if damage == "changed":
        path.write_text(path.read_text().replace("index=0", "index=5"))
    elif damage == "cut":
        path.write_text(path.read_text()[:100])
    else:
        path.rename(tmp_path / "plan.json")
        if damage == "link":
            path.symlink_to(tmp_path / "plan.json")
    page = write_report(result.folder).read_text()
    assert "3 of 4 cases are finished" in page
    after = read_plan(result.folder)
    for key in ("study", "title", "question", "code_hash", "cases", "command", "versions"):
        assert after[key] == before[key], key
    assert os.path.lexists(result.folder / "damaged" / "sweep.json") is (damage != "missing")


def test_a_plan_made_again_knows_the_newest_code_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sweep(tmp_path, steps=[4, 5])
    monkeypatch.setattr("studies.bench.sweep.code_hash", lambda function: "0" * 64)
    os.utime(next((tmp_path / "toys-decay").glob("case-*.h5")), (0.0, 0.0))
    newer = sweep(tmp_path, steps=[4, 6], seed=[1])
    for path in newer.paths:
        os.utime(path, (path.stat().st_mtime + 10.0,) * 2)
    (newer.folder / "sweep.json").unlink()
    plan = read_plan(newer.folder)
    assert plan["code_hash"] == "0" * 64
    assert "steps=4,6" in str(plan["command"])
    assert "seed=1" in str(plan["command"])
    assert len(plan["cases"]) == 2  # type: ignore[arg-type]


def test_a_folder_without_files_has_no_plan(tmp_path: Path):
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(StoreError, match="is not valid JSON"):
        read_plan(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.json"]


def test_the_folder_of_failures_is_no_link_out(tmp_path: Path):
    (tmp_path / "toys-decay").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "toys-decay" / "failed").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="failed is a link that leads out of the folder"):
        sweep(tmp_path, steps=[4])


def test_what_another_sweep_has_set_aside_is_no_error(tmp_path: Path):
    assert set_aside(tmp_path, tmp_path / "gone.h5", "damaged") is False
    assert list((tmp_path / "damaged").iterdir()) == []
