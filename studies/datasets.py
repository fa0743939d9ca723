"""Data to learn: toy sets, scikit-learn's digits and irises, files found locally or downloaded
against a checksum, and how columns are scaled and samples are split.
"""

import csv
import gzip
import hashlib
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
import pooch
from sklearn import datasets as sklearn_datasets
from sklearn.model_selection import train_test_split

from continuum.checks import check_count, check_name

FOLDER_VARIABLE = "CONTINUUM_DATA"
"""The environment variable that names a folder with data files."""


Part: TypeAlias = Literal["train", "test"]
"""The two parts that the authors of FashionMNIST and CIFAR made of their images."""

__all__ = [
    "DataError",
    "Dataset",
    "boston_housing",
    "california_housing",
    "cifar10",
    "cifar100",
    "diabetes",
    "fashion_mnist",
    "held_out",
    "iris",
    "load_digits",
    "min_max_scaled",
    "mnist_sample",
    "moons",
    "rings",
    "split",
    "z_scored",
]

CALIFORNIA_COLUMNS = (
    "MedInc",
    "HouseAge",
    "AveRooms",
    "AveBedrms",
    "Population",
    "AveOccup",
    "Latitude",
    "Longitude",
)


class DataError(ValueError):
    """A data file is missing, is not the one expected, or could not be downloaded; the message says
    what to do.
    """


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with labels, samples first as in scikit-learn (states of a network have them last:
    inputs.T).

    inputs : (samples, ...), float64
    labels : (samples,), int classes or float targets
    description : what it is and where it comes from
    columns : names of the inputs' columns, where they have names
    """

    inputs: np.ndarray
    labels: np.ndarray
    description: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataFile:
    """A file known by its name and SHA-256; `url` is None if there is no public place to download
    it from.
    """

    name: str
    sha256: str
    url: str | None = None


_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_CIFAR = "https://www.cs.toronto.edu/~kriz"

DATA_FILES: Mapping[str, DataFile] = MappingProxyType(
    {
        "boston_housing": DataFile(
            "boston_housing.csv",
            "ab16ba38fbbbbcc69fe930aab1293104f1442c8279c130d9eba03dd864bef675",
            "https://raw.githubusercontent.com/selva86/datasets/master/BostonHousing.csv",
        ),
        "mnist_sample": DataFile(
            "mnist_sample.npz", "c15be9382d380c8dd791a161b3b0da06faba7434662f8a23db6b4b10066c7fef"
        ),
        "california_housing": DataFile(
            "cal_housing.tgz",
            "aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681",
            "https://ndownloader.figshare.com/files/5976036",
        ),
        "fashion_mnist_train_images": DataFile(
            "fashion-mnist-train-images-idx3-ubyte.gz",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            f"{_FASHION}/train-images-idx3-ubyte.gz",
        ),
        "fashion_mnist_train_labels": DataFile(
            "fashion-mnist-train-labels-idx1-ubyte.gz",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            f"{_FASHION}/train-labels-idx1-ubyte.gz",
        ),
        "fashion_mnist_test_images": DataFile(
            "fashion-mnist-t10k-images-idx3-ubyte.gz",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            f"{_FASHION}/t10k-images-idx3-ubyte.gz",
        ),
        "fashion_mnist_test_labels": DataFile(
            "fashion-mnist-t10k-labels-idx1-ubyte.gz",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            f"{_FASHION}/t10k-labels-idx1-ubyte.gz",
        ),
        "cifar10": DataFile(
            "cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            f"{_CIFAR}/cifar-10-binary.tar.gz",
        ),
        "cifar100": DataFile(
            "cifar-100-binary.tar.gz",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            f"{_CIFAR}/cifar-100-binary.tar.gz",
        ),
    }
)
"""The data files that loaders ask for."""


def load_digits() -> Dataset:
    """The 1797 handwritten digits of scikit-learn: images (1797, 8, 8) in [0, 1], labels 0 to 9."""
    images, labels = sklearn_datasets.load_digits(return_X_y=True)
    return Dataset(
        np.asarray(images, dtype=np.float64).reshape(-1, 8, 8) / 16.0,
        np.asarray(labels, dtype=np.int64),
        "Optical recognition of handwritten digits (Alpaydin and Kaynak, 1998): 1797 images of 8 "
        "x 8 pixels",
    )


def iris() -> Dataset:
    """The 150 irises of scikit-learn: lengths and widths of sepals and petals in cm, (150, 4), and
    labels 0 setosa, 1 versicolor, 2 virginica.
    """
    inputs, labels = sklearn_datasets.load_iris(return_X_y=True)
    return Dataset(
        np.asarray(inputs, dtype=np.float64),
        np.asarray(labels, dtype=np.int64),
        "Irises (Anderson, 1935; Fisher, 1936): 50 of each of three species",
        ("sepal length", "sepal width", "petal length", "petal width"),
    )


def diabetes() -> Dataset:
    """The 442 patients of scikit-learn, inputs (442, 10) with named columns, and how far their
    diabetes went in a year, from 25 to 346.
    """
    inputs, labels = sklearn_datasets.load_diabetes(return_X_y=True, scaled=False)
    return Dataset(
        np.asarray(inputs, dtype=np.float64),
        np.asarray(labels, dtype=np.float64),
        "Diabetes (Efron et al., 2004): 442 patients",
        ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
    )


def rings(samples: int, seed: int, noise: float = 0.05, factor: float = 0.5) -> Dataset:
    """Two concentric circles in the plane: label 0 on the outer, of radius 1, label 1 on the inner,
    of radius `factor`.

    samples : points in all; seed : of the noise and the order; noise : its standard deviation
    raises ValueError for fewer than 2 samples, noise < 0, or a factor outside [0, 1)
    """
    _check_toy(samples, seed, noise)
    if not 0.0 <= factor < 1.0:
        raise ValueError(f"factor must be in [0, 1), got {factor}")
    points, labels = sklearn_datasets.make_circles(
        samples, noise=noise, factor=factor, random_state=seed
    )
    return Dataset(
        np.asarray(points, dtype=np.float64),
        np.asarray(labels, dtype=np.int64),
        f"two rings, {samples} points, noise {noise}",
    )


def moons(samples: int, seed: int, noise: float = 0.1) -> Dataset:
    """Two interleaving half circles in the plane, labels 0 and 1.

    samples : points in all; seed : of the noise and the order; noise : its standard deviation
    raises ValueError for fewer than 2 samples or noise < 0
    """
    _check_toy(samples, seed, noise)
    points, labels = sklearn_datasets.make_moons(samples, noise=noise, random_state=seed)
    return Dataset(
        np.asarray(points, dtype=np.float64),
        np.asarray(labels, dtype=np.int64),
        f"two moons, {samples} points, noise {noise}",
    )


def boston_housing(folder: Path | None = None) -> Dataset:
    """House values in 506 tracts of Boston: inputs (506, 13) with named columns, labels the median
    value in $1000.

    The column "b" is a transform of the share of Black residents, built on a racist premise: the
    set serves comparison with published numbers, not as a model of anything.  Source: Harrison and
    Rubinfeld (1978).
    folder : where to look first, in place of the environment variable CONTINUUM_DATA
    raises DataError if the file is not there and cannot be downloaded, or is another file
    """
    path = fetch(DATA_FILES["boston_housing"], folder)
    with path.open(newline="", encoding="utf-8") as lines:
        header, *rows = list(csv.reader(lines))
    table = np.array([[float(entry) for entry in row] for row in rows])
    return Dataset(
        table[:, :-1],
        table[:, -1],
        "Boston housing (Harrison and Rubinfeld, 1978); mind the column b, built on a racist "
        "premise",
        tuple(header[:-1]),
    )


def mnist_sample(folder: Path | None = None) -> Dataset:
    """1206 distinct MNIST digits, shuffled: images (1206, 28, 28) in [0, 1], labels 0 to 9.

    folder : where to look, in place of the environment variable CONTINUUM_DATA
    raises DataError if the file is not there (it has no public address) or is another file
    """
    with np.load(fetch(DATA_FILES["mnist_sample"], folder)) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    return Dataset(
        images / 255.0, labels.astype(np.int64), "a sample of 1206 MNIST digits of 28 x 28 pixels"
    )


def california_housing(folder: Path | None = None) -> Dataset:
    """House values in 20 640 districts of California (census of 1990): inputs (20640, 8) with named
    columns, rooms, bedrooms and people per household; labels the median value in $100 000, cut off
    at 5.

    folder : where to look first, in place of the environment variable CONTINUUM_DATA
    raises DataError if the file is not there and cannot be downloaded, or is another file
    Source: Pace and Barry (1997), in scikit-learn's columns.
    """
    path = fetch(DATA_FILES["california_housing"], folder)
    (text,) = _members(path, ["CaliforniaHousing/cal_housing.data"])
    rows = [line.split(",") for line in text.decode("ascii").split()]
    # longitude, latitude, age, rooms, bedrooms, people, households, income, value
    table = np.array(rows, dtype=np.float64).T
    longitude, latitude, age, rooms, bedrooms, people, households, income, value = table
    inputs = [
        income,
        age,
        rooms / households,
        bedrooms / households,
        people,
        people / households,
        latitude,
        longitude,
    ]
    return Dataset(
        np.stack(inputs, axis=1),
        value / 1e5,
        "California housing (Pace and Barry, 1997): 20 640 districts",
        CALIFORNIA_COLUMNS,
    )


def fashion_mnist(
    part: Part = "train", samples: int | None = None, folder: Path | None = None
) -> Dataset:
    """Articles of clothing, 60 000 for the training and 10 000 for the test: images (M, 28, 28) in
    [0, 1], labels 0 to 9.

    samples : only the first so many, all if None;  folder : as for boston_housing
    raises DataError if a file is not there and cannot be downloaded, or is another file
    Source: Xiao, Rasul and Vollgraf (2017).
    """
    check_name("part", part, ("train", "test"))
    images, labels = (
        _idx(fetch(DATA_FILES[f"fashion_mnist_{part}_{what}"], folder), dimensions)
        for what, dimensions in (("images", 3), ("labels", 1))
    )
    return _images(images, labels, samples, f"FashionMNIST, {part} (Xiao et al., 2017)")


def cifar10(
    part: Part = "train", samples: int | None = None, folder: Path | None = None
) -> Dataset:
    """Colour photographs in ten classes, 50 000 for the training and 10 000 for the test: images
    (M, 3, 32, 32) in [0, 1], red, green, blue, labels 0 to 9.

    samples : only the first so many, all (1.2 GB) if None;  folder : as for boston_housing
    raises DataError if the file is not there and cannot be downloaded, or is another file
    Source: Krizhevsky (2009).
    """
    check_name("part", part, ("train", "test"))
    names = [f"data_batch_{k}" for k in range(1, 6)] if part == "train" else ["test_batch"]
    members = [f"cifar-10-batches-bin/{name}.bin" for name in names]
    images, labels = _photographs(fetch(DATA_FILES["cifar10"], folder), members, 1)
    return _images(images, labels, samples, f"CIFAR-10, {part} (Krizhevsky, 2009)")


def cifar100(
    part: Part = "train", samples: int | None = None, folder: Path | None = None
) -> Dataset:
    """Colour photographs in a hundred classes, as `cifar10`, labels 0 to 99, the fine ones.

    samples : only the first so many, all (1.2 GB) if None;  folder : as for boston_housing
    raises DataError if the file is not there and cannot be downloaded, or is another file
    Source: Krizhevsky (2009).
    """
    check_name("part", part, ("train", "test"))
    members = [f"cifar-100-binary/{part}.bin"]
    images, labels = _photographs(fetch(DATA_FILES["cifar100"], folder), members, 2)
    return _images(images, labels, samples, f"CIFAR-100, {part} (Krizhevsky, 2009)")


def data_folder() -> Path | None:
    """The folder that the environment variable CONTINUUM_DATA names; None if it is not set."""
    value = os.environ.get(FOLDER_VARIABLE)
    return Path(value) if value else None


def fetch(file: DataFile, folder: Path | None = None) -> Path:
    """The path of a data file whose content has the right checksum.

    It is looked for in `folder`, or else the folder that CONTINUUM_DATA names; if it is not there
    it is downloaded once into the user's cache.
    raises DataError, which says what to do, if it is found but is another file, or cannot be had
    """
    place = folder if folder is not None else data_folder()
    if place is not None:
        path = Path(place) / file.name
        if path.is_file():
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != file.sha256:
                raise DataError(
                    f"{path} is not the file expected: its SHA-256 is {found}, expected "
                    f"{file.sha256}"
                )
            return path
    looked = f"it is not in {place}" if place is not None else f"{FOLDER_VARIABLE} is not set"
    remedy = (
        f"Put {file.name} (SHA-256 {file.sha256}) into a folder and set the environment variable "
        f"{FOLDER_VARIABLE} to it, or pass folder="
    )
    if file.url is None:
        raise DataError(
            f"{file.name} was not found ({looked}) and has no public address to download from. "
            f"{remedy}"
        )
    try:
        return Path(
            pooch.retrieve(
                file.url, f"sha256:{file.sha256}", file.name, pooch.os_cache("continuum-networks")
            )
        )
    except (
        OSError,
        ValueError,
    ) as error:  # no network, no such address, or another content than the checksum's
        raise DataError(
            f"{file.name} was not found ({looked}) and could not be downloaded from {file.url}: "
            f"{' '.join(str(error).split())}. {remedy}"
        ) from error


@dataclass(frozen=True, eq=False)
class Samples:
    """Images as states (N, M) with entries in [-1, 1], and labels (M,), for training and for the
    test.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def averaged(images: np.ndarray, side: int) -> np.ndarray:
    """Images (M, n, n) averaged over blocks of pixels: (M, side, side).  Raises ValueError unless
    side divides n.
    """
    pixels = images.shape[1]
    if side < 1 or pixels % side:
        raise ValueError(f"side must divide the {pixels} pixels of an image, got {side}")
    block = pixels // side
    return images.reshape(len(images), side, block, side, block).mean(axis=(2, 4))


def split(images: np.ndarray, labels: np.ndarray, samples: int, seed: int) -> Samples:
    """The first `samples` images, a fifth of them for the test, drawn class by class.

    images : (M, n, n) in [0, 1]; raises ValueError unless 50 <= samples <= M, seed >= 0
    """
    if not 50 <= samples <= len(labels):
        raise ValueError(f"samples must be from 50 to {len(labels)}, got {samples}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    kept = labels[:samples]
    train, test = held_out(samples, seed, labels=kept)
    states = 2.0 * images[:samples].reshape(samples, -1).T - 1.0
    return Samples(states[:, train], kept[train], states[:, test], kept[test])


def held_out(
    samples: int, seed: int, share: float = 0.2, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices for the training and for the test, drawn at random: of 506 samples 404 and 102.

    share : of the test, rounded up
    labels : (samples,), to draw class by class, the same share of each; None for all together
    raises ValueError unless both parts have a sample
    """
    check_count("samples", samples, 2)
    check_count("seed", seed, 0)
    kept = int(np.ceil(share * samples))
    if not 0 < kept < samples:
        raise ValueError(f"share must leave samples to both parts, got {share} of {samples}")
    train, test = train_test_split(
        np.arange(samples), test_size=kept, random_state=seed, stratify=labels
    )
    return np.asarray(train), np.asarray(test)


def z_scored(values: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """(values - mean) / standard deviation, column by column; a constant column becomes 0.

    values : (samples, ...);  reference : whose mean and deviation (of the population) are taken,
        the training samples, say; values themselves if None
    """
    known = values if reference is None else reference
    varies = np.ptp(known, axis=0) > 0
    spread = np.where(varies, known.std(axis=0), 1.0)
    return np.where(varies, values - known.mean(axis=0), 0.0) / spread


def min_max_scaled(values: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """(values - least) / (greatest - least), column by column; a constant column becomes 0.

    values : (samples, ...);  reference : whose extremes are taken, values themselves if None, so
        that other values may lie outside [0, 1]
    """
    known = values if reference is None else reference
    least, width = known.min(axis=0), np.ptp(known, axis=0)
    return np.where(width > 0, values - least, 0.0) / np.where(width > 0, width, 1.0)


def _members(path: Path, names: Sequence[str]) -> list[bytes]:
    """The contents of files in a compressed archive."""
    contents = []
    with tarfile.open(path, "r:gz") as archive:
        for name in names:
            file = archive.extractfile(name)
            if file is None:
                raise DataError(f"{name} in {path} is no file")
            contents.append(file.read())
    return contents


def _idx(path: Path, dimensions: int) -> np.ndarray:
    """The array of unsigned bytes in a compressed IDX file: 0, 0, 8, dimensions, the shape as
    big-endian integers of 4 bytes, the entries.
    """
    content = gzip.decompress(path.read_bytes())
    if content[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(f"{path} does not begin as an IDX file of {dimensions} dimensions")
    shape = np.frombuffer(content, ">u4", dimensions, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _photographs(path: Path, names: Sequence[str], label_bytes: int) -> tuple[np.ndarray, ...]:
    """Images (M, 3, 32, 32) and labels (M,) of CIFAR's binary files: label_bytes, the last of which
    is the label, and 3072 of the image.
    """
    records = np.frombuffer(b"".join(_members(path, names)), np.uint8)
    records = records.reshape(-1, label_bytes + 3 * 32 * 32)
    return records[:, label_bytes:].reshape(-1, 3, 32, 32), records[:, label_bytes - 1]


def _images(images: np.ndarray, labels: np.ndarray, samples: int | None, name: str) -> Dataset:
    """Bytes as numbers in [0, 1]."""
    if samples is not None and check_count("samples", samples) > len(labels):
        raise ValueError(f"samples must be at most {len(labels)}, got {samples}")
    return Dataset(images[:samples] / 255.0, labels[:samples].astype(np.int64), name)


def _check_toy(samples: int, seed: int, noise: float) -> None:
    check_count("samples", samples, 2)
    check_count("seed", seed, 0)
    if not 0.0 <= noise < np.inf:
        raise ValueError(f"noise must be finite and >= 0, got {noise}")
