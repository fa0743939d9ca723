"""Case files: what is written is read, whole or not at all."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from studies.bench import files, store
from studies.bench.errors import StoreError
from studies.bench.files import check_writable, write_text
from studies.bench.store import CaseHeader, case_parameters, read_case, write_case

HEADER = CaseHeader(
    "toys/one", {"depth": 3, "rate": 0.5, "flag": True}, "c" * 64, "d" * 64, {"python": "3"}
)


def example() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "state": (("time", "unit"), rng.standard_normal((5, 4))),
            "error": 0.25,
            "ok": True,
            "name": "x",
        },
        coords={"time": np.linspace(0, 1, 5)},
        attrs={"status": "It converged."},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_case(tmp_path / "case.h5", example(), HEADER, 1.5)
    return tmp_path / "case.h5"


def test_round_trip(path: Path):
    case = read_case(path)
    xr.testing.assert_equal(case, example())
    assert case_parameters(case) == {"depth": 3, "rate": 0.5, "flag": True}
    assert case.attrs["status"] == "It converged."
    assert case.attrs["study"] == "toys/one"
    assert case.attrs["seconds"] == 1.5
    assert json.loads(case.attrs["versions"]) == {"python": "3"}
    assert store.read_header(path) == HEADER
    assert [p.name for p in path.parent.iterdir()] == ["case.h5"]


def test_readable_without_this_package(path: Path):
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["state"][...], example()["state"].values)  # type: ignore[index]
        assert file.attrs["case_hash"] == "c" * 64
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        assert opened["state"].dims == ("time", "unit")


def test_status_has_a_default(tmp_path: Path):
    write_case(tmp_path / "case.h5", example().drop_attrs(), HEADER, 0.0)
    assert read_case(tmp_path / "case.h5").attrs["status"] == "The case finished."


def test_attribute_names_of_the_store_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="study"):
        write_case(tmp_path / "case.h5", example().assign_attrs(study="mine"), HEADER, 0.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_truncated_file(path: Path, share: float):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"case.h5 is .*cut short"):
        read_case(path)


def test_file_that_is_not_hdf5(tmp_path: Path):
    (tmp_path / "case.h5").write_text("depth,error\n1,2\n" * 100)
    with pytest.raises(ValueError, match="is not an HDF5 file"):
        read_case(tmp_path / "case.h5")


def test_foreign_hdf5_file(tmp_path: Path):
    with h5py.File(tmp_path / "case.h5", "w") as file:
        file["state"] = np.ones(3)
    with pytest.raises(ValueError, match="is damaged, cut short, or of another version"):
        read_case(tmp_path / "case.h5")


def test_file_without_its_parameters(path: Path):
    with h5py.File(path, "a") as file:
        del file.attrs["parameters"]
    path.write_bytes(store.sealed(path.read_bytes()))
    for read in (store.read_header, read_case):
        with pytest.raises(ValueError, match="lacks a valid attribute"):
            read(path)


def test_missing_file(tmp_path: Path):
    with pytest.raises(ValueError, match="there is no file"):
        read_case(tmp_path / "case.h5")


def test_a_write_that_fails_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch):
    before = path.read_bytes()

    def half(target: Path, content: bytes) -> None:
        target.write_bytes(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write", half)
    with pytest.raises(StoreError, match=r"case.h5 could not be written: No space left on device"):
        write_case(path, example(), HEADER, 0.0)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["case.h5"]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(target: Path, content: bytes) -> None:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_case(tmp_path / "case.h5", example(), HEADER, 0.0)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"the folder .*file/x cannot be written to"):
        check_writable(tmp_path / "file" / "x")
    with pytest.raises(StoreError, match="could not be written"):
        write_text(tmp_path / "file" / "x", "text")

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    with pytest.raises(StoreError, match="cannot be written to: Permission denied"):
        check_writable(tmp_path)


def test_read_json(tmp_path: Path):
    path = tmp_path / "a.json"
    for text, message in (("{", "is not valid JSON"), ("[]", "must hold a JSON object")):
        path.write_text(text)
        with pytest.raises(StoreError, match=message):
            files.read_json(path)
    with pytest.raises(StoreError, match="cannot be read"):
        files.read_json(tmp_path / "b.json")
