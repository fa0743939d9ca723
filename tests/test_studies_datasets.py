"""Data sets: what they hold, and what is said when a file is missing, wrong or cannot be
downloaded.
"""

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from studies import datasets
from studies.datasets import (
    DataError,
    DataFile,
    boston_housing,
    california_housing,
    cifar10,
    cifar100,
    fashion_mnist,
    fetch,
    held_out,
    load_digits,
    min_max_scaled,
    mnist_sample,
    moons,
    rings,
    z_scored,
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


def archive(path: Path, **contents: bytes) -> None:
    """A compressed archive of files, "__" in their names for "/"."""
    with tarfile.open(path, "w:gz") as file:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name.replace("__", "/"))
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))


def photograph(*labels: int, red: int) -> bytes:
    """A record of CIFAR: the first pixel of each colour is red, 1 and 2, all others are 0."""
    colours = [bytes([first]) + bytes(1023) for first in (red, 1, 2)]
    return bytes(labels) + b"".join(colours)


def small_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the same form as the real ones, and their checksums in place of the real ones'."""
    archive(
        folder / "cal_housing.tgz",
        **{
            "CaliforniaHousing__cal_housing.data": b"-122.0,37.5,41.0,880.0,129.0,322.0,126.0,8.3,"
            b"452600.0\n-122.2,37.9,21.0,7099.0,1106.0,2401.0,1138.0,8.25,500001.0\n"
        },
    )
    for part, count in (("train", 2), ("t10k", 1)):
        pixels = np.arange(count * 28 * 28, dtype=np.uint32).astype(np.uint8).tobytes()
        shape = b"".join(n.to_bytes(4, "big") for n in (count, 28, 28))
        for kind, head, body in (
            ("images-idx3", b"\0\0\x08\x03" + shape, pixels),
            ("labels-idx1", b"\0\0\x08\x01" + shape[:4], bytes([9, 4][:count])),
        ):
            name = f"fashion-mnist-{part}-{kind}-ubyte.gz"
            (folder / name).write_bytes(gzip.compress(head + body))
    archive(
        folder / "cifar-10-binary.tar.gz",
        **{
            f"cifar-10-batches-bin__{name}.bin": photograph(k, red=50 * k)
            for k, name in enumerate(["test_batch", *(f"data_batch_{k}" for k in range(1, 6))])
        },
    )
    archive(
        folder / "cifar-100-binary.tar.gz",
        **{
            "cifar-100-binary__train.bin": photograph(3, 99, red=255) + photograph(0, 7, red=0),
            "cifar-100-binary__test.bin": photograph(1, 50, red=51),
        },
    )
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


def test_california(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small_files(tmp_path, monkeypatch)
    houses = california_housing(tmp_path)
    first = dict(zip(houses.columns, houses.inputs[0], strict=True))
    assert first == {
        "MedInc": 8.3,
        "HouseAge": 41.0,
        "AveRooms": 880.0 / 126.0,
        "AveBedrms": 129.0 / 126.0,
        "Population": 322.0,
        "AveOccup": 322.0 / 126.0,
        "Latitude": 37.5,
        "Longitude": -122.0,
    }
    assert houses.labels.tolist() == [4.526, 5.00001]


def test_images_of_fashion_and_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small_files(tmp_path, monkeypatch)
    clothes = fashion_mnist(folder=tmp_path)
    assert clothes.inputs.shape == (2, 28, 28)
    assert clothes.labels.tolist() == [9, 4]
    np.testing.assert_array_equal(255 * clothes.inputs[0, 0], np.arange(28))
    np.testing.assert_array_equal(255 * clothes.inputs[0, 1], np.arange(28, 56))
    assert fashion_mnist("test", folder=tmp_path).labels.tolist() == [9]
    assert fashion_mnist(samples=1, folder=tmp_path).inputs.shape == (1, 28, 28)
    ten = cifar10(folder=tmp_path)
    assert ten.inputs.shape == (5, 3, 32, 32)
    assert ten.labels.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(255 * ten.inputs[:, 0, 0, 0], [50, 100, 150, 200, 250])
    np.testing.assert_array_equal(255 * ten.inputs[0, :, 0, 0], [50, 1, 2])
    assert 255 * ten.inputs[0].sum() == 53
    assert cifar10("test", folder=tmp_path).labels.tolist() == [0]
    hundred = cifar100(folder=tmp_path)
    assert hundred.labels.tolist() == [99, 7]
    np.testing.assert_array_equal(255 * hundred.inputs[:, 0, 0, 0], [255, 0])
    assert cifar100("test", folder=tmp_path).labels.tolist() == [50]
    with pytest.raises(ValueError, match="samples must be at most 5, got 6"):
        cifar10(samples=6, folder=tmp_path)
    with pytest.raises(ValueError, match="unknown part 'training'"):
        cifar100("training", folder=tmp_path)
    file = tmp_path / "fashion-mnist-t10k-labels-idx1-ubyte.gz"
    file.write_bytes(gzip.compress(b"\0\0\x08\x03\0\0\0\1\4"))
    known = DataFile(file.name, hashlib.sha256(file.read_bytes()).hexdigest())
    changed = {**datasets.DATA_FILES, "fashion_mnist_test_labels": known}
    monkeypatch.setattr(datasets, "DATA_FILES", changed)
    with pytest.raises(DataError, match="does not begin as an IDX file of 1 dimensions"):
        fashion_mnist("test", folder=tmp_path)


def test_columns_are_scaled_as_those_of_the_reference(rng):
    known, other = rng.normal(3.0, 2.0, (50, 3)), rng.normal(size=(7, 3))
    known[:, 1] = other[:, 1] = 0.1  # its mean is not 0.1 to the last bit
    scores, inside = z_scored(known), min_max_scaled(known)
    np.testing.assert_allclose(scores.mean(axis=0), 0.0, atol=1e-14)
    np.testing.assert_allclose(scores.std(axis=0), [1.0, 0.0, 1.0], rtol=1e-14)
    np.testing.assert_array_equal(inside.min(axis=0), 0.0)
    np.testing.assert_allclose(inside.max(axis=0), [1.0, 0.0, 1.0], rtol=1e-15)
    np.testing.assert_array_equal(z_scored(known[:3], known), scores[:3])
    np.testing.assert_array_equal(min_max_scaled(known[:3], known), inside[:3])
    np.testing.assert_allclose(
        z_scored(other, known)[:, 0], (other[:, 0] - known[:, 0].mean()) / known[:, 0].std()
    )
    assert z_scored(known[:, 0]).shape == (50,)


def test_samples_are_held_out_at_random():
    train, test = held_out(506, 0)
    assert (len(train), len(test)) == (404, 102)
    assert sorted([*train, *test]) == list(range(506))
    np.testing.assert_array_equal(test, held_out(506, 0)[1])
    assert not np.array_equal(test, held_out(506, 1)[1])
    assert len(held_out(442, 0)[1]) == 89
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="share must leave samples to both parts"):
            held_out(10, 0, share)


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
    for load in (california_housing, fashion_mnist, cifar10, cifar100):
        with pytest.raises(DataError, match=r"could not be downloaded from http.*Put .*SHA-256"):
            load()
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
