"""Data sets: what they hold, and what is said when a file is missing, wrong or cannot be
downloaded.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from studies import datasets
from studies.datasets import (
    DataError,
    DataFile,
    boston_housing,
    fetch,
    load_digits,
    mnist_sample,
    moons,
    rings,
)


@pytest.fixture
def no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTINUUM_DATA", raising=False)


def test_digits():
    digits = load_digits()
    assert digits.inputs.shape == (1797, 8, 8)
    assert digits.inputs.dtype == np.float64
    assert (digits.inputs.min(), digits.inputs.max()) == (0.0, 1.0)
    assert np.bincount(digits.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    np.testing.assert_array_equal(16 * digits.inputs[0, 0], [0, 0, 5, 13, 9, 1, 0, 0])


def test_rings():
    exact = rings(200, 3, noise=0.0, factor=0.4)
    np.testing.assert_allclose(
        np.hypot(*exact.inputs.T), np.where(exact.labels == 0, 1.0, 0.4), rtol=1e-12
    )
    assert np.bincount(exact.labels).tolist() == [100, 100]
    assert (
        0.01
        < np.std(
            np.hypot(*rings(2000, 3).inputs.T) - np.where(rings(2000, 3).labels == 0, 1.0, 0.5)
        )
        < 0.07
    )


def test_moons():
    exact = moons(100, 0, noise=0.0)
    upper, lower = exact.inputs[exact.labels == 0], exact.inputs[exact.labels == 1]
    np.testing.assert_allclose(np.hypot(*upper.T), 1.0, rtol=1e-12)
    np.testing.assert_allclose(np.hypot(lower[:, 0] - 1.0, lower[:, 1] - 0.5), 1.0, rtol=1e-12)


@pytest.mark.parametrize("make", [rings, moons])
def test_toys_are_a_function_of_their_seed(make):
    np.testing.assert_array_equal(make(50, 1).inputs, make(50, 1).inputs)
    assert not np.array_equal(make(50, 1).inputs, make(50, 2).inputs)
    with pytest.raises(ValueError, match="samples must be at least 2, got 1"):
        make(1, 0)
    with pytest.raises(TypeError, match=r"seed must be an integer, got 0.5"):
        make(10, 0.5)
    with pytest.raises(ValueError, match="noise must be finite and >= 0, got -1"):
        make(10, 0, noise=-1)


def small_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the same form as the real ones, and their checksums in place of the real ones'."""
    (folder / "boston_housing.csv").write_text('"crim","chas","medv"\n0.5,"0",24\n0.25,"1",21.6\n')
    np.savez(
        folder / "mnist_sample.npz",
        images=np.array([[[0, 255], [51, 0]]] * 3, dtype=np.uint8),
        labels=np.array([7, 1, 0], dtype=np.uint8),
    )
    known = {
        name: DataFile(
            file.name, hashlib.sha256((folder / file.name).read_bytes()).hexdigest(), file.url
        )
        for name, file in datasets.DATA_FILES.items()
    }
    monkeypatch.setattr(datasets, "DATA_FILES", known)


def test_files_are_read_from_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small_files(tmp_path, monkeypatch)
    monkeypatch.setenv("CONTINUUM_DATA", str(tmp_path))
    for boston in (boston_housing(), boston_housing(tmp_path)):
        np.testing.assert_array_equal(boston.inputs, [[0.5, 0.0], [0.25, 1.0]])
        np.testing.assert_array_equal(boston.labels, [24.0, 21.6])
        assert boston.columns == ("crim", "chas")
    digits = mnist_sample()
    np.testing.assert_array_equal(digits.inputs[0], [[0.0, 1.0], [0.2, 0.0]])
    assert digits.labels.tolist() == [7, 1, 0]


@pytest.mark.skipif("CONTINUUM_DATA" not in os.environ, reason="CONTINUUM_DATA is not set")
def test_the_real_files():
    boston, digits = boston_housing(), mnist_sample()
    assert boston.inputs.shape == (506, 13)
    assert boston.labels.mean() == pytest.approx(22.5328, abs=1e-4)
    assert (boston.labels.min(), boston.labels.max()) == (5.0, 50.0)
    assert digits.inputs.shape == (1206, 28, 28)
    assert len(np.unique(digits.inputs.reshape(1206, -1), axis=0)) == 1206
    assert set(digits.labels.tolist()) == set(range(10))


def test_a_file_that_is_not_the_one_expected(tmp_path: Path):
    (tmp_path / "boston_housing.csv").write_text("something else")
    with pytest.raises(
        DataError,
        match=r"boston_housing.csv is not the file expected: its SHA-256 is .*expected ab16",
    ):
        boston_housing(tmp_path)


@pytest.mark.parametrize(
    "failure", [ConnectionError("no\nnetwork"), ValueError("hash of downloaded file differs")]
)
def test_a_download_that_fails_says_what_to_do(
    failure: Exception, no_folder: None, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> str:
        raise failure

    monkeypatch.setattr(datasets.pooch, "retrieve", refuse)
    with pytest.raises(DataError) as caught:
        boston_housing()
    message = str(caught.value)
    for part in (
        "boston_housing.csv",
        "CONTINUUM_DATA is not set",
        "raw.githubusercontent.com",
        "folder=",
        "ab16ba38fbbbbcc69fe930aab1293104f1442c8279c130d9eba03dd864bef675",
        " ".join(str(failure).split()),
    ):
        assert part in message
    assert "\n" not in message


def test_a_download_asks_for_the_checksum(
    tmp_path: Path, no_folder: None, monkeypatch: pytest.MonkeyPatch
):
    asked: list[object] = []

    def retrieve(url: str, known_hash: str, fname: str, path: object) -> str:
        asked.extend([url, known_hash, fname])
        return str(tmp_path / "got")

    monkeypatch.setattr(datasets.pooch, "retrieve", retrieve)
    file = DataFile("a.csv", "f" * 64, "https://example.org/a.csv")
    assert fetch(file) == tmp_path / "got"
    assert fetch(file, tmp_path) == tmp_path / "got"  # not in the folder
    assert asked == ["https://example.org/a.csv", "sha256:" + "f" * 64, "a.csv"] * 2


def test_a_file_without_public_address(tmp_path: Path, no_folder: None):
    with pytest.raises(
        DataError,
        match=r"mnist_sample.npz .*is not set.* no public address .*c15be93.*CONTINUUM_DATA",
    ):
        mnist_sample()
    with pytest.raises(DataError, match=f"it is not in {tmp_path}"):
        mnist_sample(tmp_path)
