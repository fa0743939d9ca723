"""All cases of a sweep as one Dataset and as one table; those of older code apart."""

import csv
import importlib.util
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from studies_toys import empty_registry

from studies import open_sweep, run_sweep, write_report
from studies.bench import collect, registry, sweep
from studies.bench.registry import study
from studies.bench.store import read_case
from studies.bench.summary import summary, write_summary
from studies.cli import main


def course(
    *, rate: float = 1.0, steps: int = 4, kind: str = "short", noisy: bool = False
) -> xr.Dataset:
    """What is exp(-rate t)?"""
    if rate == 9.0:
        raise ArithmeticError("no")
    times = np.linspace(0.0, 1.0, steps + 1)
    values = np.exp(-rate * times)
    extra = {"only": ("place", [1, 2])} if kind == "long" else {}
    return xr.Dataset(
        {
            "x": (("time", "place"), values[:, None] * [1.0, 2.0], {"units": "m"}),
            "last": values[-1],
            "count": steps,
            "rate": 10 * rate,
            "name": kind.upper(),
            "large": rate > 1,
            **extra,
        },
        coords={"time": times, "place": ["a", "b"]},
    )


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_registry(monkeypatch)
    study("toys/course", paper="Toys")(course)


def ran(folder: Path, *grids: dict) -> Path:
    return run_sweep(registry.find_study("toys/course"), grids, folder, progress="none").folder


def test_parameters_are_dimensions(tmp_path: Path):
    folder = ran(tmp_path, {"rate": [2.0, 0.5, 1.0], "noisy": [True, False], "steps": [4]})
    found = open_sweep(folder)
    assert found["x"].dims == ("noisy", "rate", "time", "place")
    assert found["rate"].values.tolist() == [0.5, 1.0, 2.0]
    assert found["time"].values.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert found["place"].values.tolist() == ["a", "b"]
    assert found["x"].attrs == {"units": "m"}
    exact = np.exp(-found["rate"] * found["time"])
    np.testing.assert_array_equal(found["x"].sel(noisy=True, place="a"), exact)
    np.testing.assert_array_equal(found["case_rate"].sel(noisy=False), [5.0, 10.0, 20.0])
    assert found["large"].sel(noisy=True).values.tolist() == [False, False, True]
    assert found["count"].dtype == np.int64
    assert int(found["steps"]) == 4
    assert set(found.coords) >= {"kind", "case_file", "case_status", "case_seconds"}
    one = read_case(folder / str(found["case_file"].sel(noisy=True, rate=2.0).item()))
    assert one["x"].equals(
        found["x"].sel(noisy=True, rate=2.0).drop_vars(set(found.coords) - {"time", "place"})
    )
    assert found.attrs["study"] == "toys/course"
    assert found.attrs["older_cases"] == found.attrs["unreadable"] == found.attrs["left_out"] == []
    found.to_netcdf(tmp_path / "all.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "all.nc", engine="h5netcdf") as again:
        np.testing.assert_array_equal(again["x"], found["x"])


def test_places_without_a_case_are_missing(tmp_path: Path):
    folder = ran(tmp_path, {"rate": [0.5, 1.0], "steps": 4}, {"rate": [1.0, 9.0], "steps": [2]})
    found = open_sweep(folder)
    assert found["last"].dims == ("rate", "steps")
    assert found["rate"].values.tolist() == [0.5, 1.0]  # 9.0 failed
    held = found["last"].values
    assert np.isnan(held[0, 0])
    np.testing.assert_array_equal(held[[0, 1, 1], [1, 0, 1]], np.exp([-0.5, -1.0, -1.0]))
    assert found["count"].dtype == np.float64
    assert found["name"].isnull().values.tolist() == [[True, False], [False, False]]
    # the times differ: they are filled up, and their values beside them
    assert found["x"].shape == (2, 2, 5, 2)
    assert found["time_values"].dims == ("rate", "steps", "time")
    np.testing.assert_array_equal(
        found["time_values"].sel(rate=1.0, steps=2), [0.0, 0.5, 1.0, np.nan, np.nan]
    )
    assert np.isnan(found["x"].sel(rate=0.5, steps=2)).all()
    assert found["case_file"].sel(rate=0.5, steps=2) == ""


def test_cases_along_one_dimension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = ran(tmp_path, {"rate": [0.5, 1.0], "kind": "long"}, {"steps": [8], "rate": 2.0})
    monkeypatch.setattr(collect, "MOST_PLACES", 5)
    with pytest.raises(ValueError, match=r"3 cases are few places of a grid of 12.*grid=False"):
        open_sweep(folder)
    found = open_sweep(folder, grid=False)
    assert found["last"].dims == ("case",)
    order = np.argsort(found["rate"].values)
    np.testing.assert_array_equal(found["last"][order], np.exp([-0.5, -1.0, -2.0]))
    assert found["only"][order][:2].values.tolist() == [[1.0, 2.0], [1.0, 2.0]]
    assert np.isnan(found["only"][order][2]).all()


def test_arrays_are_read_when_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = open_sweep(ran(tmp_path, {"rate": np.arange(1.0, 6.0)}))
    opened = []
    open_dataset = xr.open_dataset

    def counted(path: Path, **options: object) -> xr.Dataset:
        opened.append(path)
        return open_dataset(path, **options)

    monkeypatch.setattr(xr, "open_dataset", counted)
    assert found["last"].values.shape == (5,)
    assert opened == []
    part = found["x"].sel(rate=[4.0, 2.0]).isel(time=-1, place=[1, 0])
    assert opened == []
    np.testing.assert_array_equal(part, np.exp([[-4.0], [-2.0]]) * [2.0, 1.0])
    assert len(opened) == 2
    assert float(found["x"].isel(rate=0, time=0, place=1)) == 2.0


def other_code(monkeypatch: pytest.MonkeyPatch, digit: str) -> None:
    for module in (sweep, collect):
        monkeypatch.setattr(module, "code_hash", lambda function: digit * 64)


def test_older_code_is_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    other_code(monkeypatch, "1")
    ran(tmp_path, {"rate": [0.5, 1.0, 9.0]})
    other_code(monkeypatch, "2")
    folder = tmp_path / "toys-course"
    with pytest.raises(
        ValueError, match=r"no case of the code .*; 2 are of other code, 1111.*code='1111"
    ):
        open_sweep(folder)
    ran(tmp_path, {"rate": [1.0, 2.0, 9.0]})
    found = open_sweep(folder)
    assert found["rate"].values.tolist() == [1.0, 2.0]
    assert found.attrs["code_hash"] == "2" * 64
    older = found.attrs["older_cases"]
    assert len(older) == 2
    assert open_sweep(folder, code="11")["rate"].values.tolist() == [0.5, 1.0]
    with pytest.raises(ValueError, match=r"code must be the beginning of one of .*, got '3'"):
        open_sweep(folder, code="3")

    before = sorted(folder.rglob("*"))
    assert main(["clean", str(folder)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[:2]] == older
    assert "rate: 0.5" in "".join(out)
    assert out[-1] == "3 files of older code; nothing was removed: --yes removes them."
    assert sorted(folder.rglob("*")) == before
    assert main(["clean", str(folder), "--yes"]) == 0
    assert capsys.readouterr().out.endswith("Removed 3 files of older code.\n")
    assert len(before) - len(list(folder.rglob("*"))) == 3
    assert open_sweep(folder).attrs["older_cases"] == []
    assert open_sweep(folder)["rate"].values.tolist() == [1.0, 2.0]
    assert main(["clean", str(folder)]) == 0
    assert capsys.readouterr().out == "There are no cases of older code.\n"


def test_damaged_files_are_named(tmp_path: Path):
    folder = ran(tmp_path, {"rate": [0.5, 1.0]})
    damaged = sorted(folder.glob("case-*.h5"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    found = open_sweep(folder)
    assert found.attrs["unreadable"] == [damaged.name]
    assert found["last"].shape == ()


def test_a_folder_without_a_sweep(tmp_path: Path):
    with pytest.raises(ValueError, match=r"sweep\.json"):
        open_sweep(tmp_path)


def test_the_table_of_a_sweep(tmp_path: Path):
    folder = ran(tmp_path, {"rate": [0.1, 9.0], "steps": [4, 5]})
    write_report(folder)
    with (folder / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rate"], row["steps"]) for row in rows] == [
        ("0.1", "4"),
        ("0.1", "5"),
        ("9.0", "4"),
        ("9.0", "5"),
    ]
    first, failed = rows[0], rows[2]
    assert float(first["last"]) == math.exp(-0.1)
    assert (first["count"], first["case_rate"], first["name"]) == ("4", "1.0", "SHORT")
    assert (first["noisy"], first["large"]) == ("False", "False")
    assert float(first["case_seconds"]) > 0
    assert (folder / first["case_file"]).is_file()
    assert "ArithmeticError: no" in failed["case_status"]
    assert failed["last"] == failed["case_seconds"] == ""
    assert "x" not in first


def test_columns_keep_their_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    answer = xr.Dataset({"n": 3, "huge": ((), 2**63 - 1), "z": 1j}, attrs={"seconds": 1.0})
    table = summary(
        [({"p": 1, "q": True}, answer, "done", "a"), ({"p": 2, "q": False}, None, "no", "b")]
    )
    kinds = [str(kind) for kind in table.dtypes[["p", "q", "n", "case_seconds"]]]
    assert kinds == ["Int64", "boolean", "Int64", "float64"]
    assert table["z"].tolist()[0] == "1j"
    written = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "pyarrow" or None)
    monkeypatch.setattr(
        pd.DataFrame,
        "to_parquet",
        lambda self, path, index: written.append(Path(path).write_text("")),
    )
    write_summary(tmp_path, table)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["summary.csv", "summary.parquet"]
    assert len(written) == 1


@pytest.mark.slow
def test_a_case_costs_milliseconds_and_no_file_stays_open(tmp_path: Path):
    """60 cases."""
    folder = ran(tmp_path, {"rate": 2.0 + np.arange(30) / 100, "steps": [4, 8]})
    files = Path("/proc/self/fd")
    before = len(list(files.iterdir())) if files.exists() else 0
    clock = [time.process_time()]
    found = open_sweep(folder)
    assert found["last"].shape == (30, 2)
    np.testing.assert_array_equal(found["x"][:, 0, 0, 0], 1.0)
    clock.append(time.process_time())
    write_report(folder)
    clock.append(time.process_time())
    assert max(np.diff(clock)) < 60 * 0.15
    if files.exists():
        assert len(list(files.iterdir())) <= before + 3
