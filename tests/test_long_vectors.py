"""Products of vectors of coefficients against flat coordinates, and against the sum written out."""

import tracemalloc

import array_api_strict
import numpy as np
import pytest

from continuum import TimeMesh, long_vectors
from continuum.blocks import Block
from continuum.controls import ControlSpace
from continuum.long_vectors import combine, products

MESH = TimeMesh.through([0.0, 0.1, 0.4, 1.0, 1.5])


def space(time_norm="L2"):
    rng = np.random.default_rng(3)
    kinds = ("nodes", "static") if time_norm == "H1" else ("layers", "nodes", "static")
    blocks = [Block(f"kernel {k}", (3, 2), k, rng.random((3, 2)) + 0.1) for k in kinds]
    blocks += [Block(f"bias {k}", (5,), k, rng.random(5) + 0.1) for k in kinds]
    blocks.append(Block("held", (2,), kinds[0], np.ones(2)))
    blocks.append(Block("even", (2,), kinds[0], np.array(0.7)))
    return ControlSpace(MESH, tuple(blocks), {"held": np.zeros(2)}, time_norm)


def in_numpy(space, rows, vectors):
    """The sum over blocks, times and entries, with G and w as they are."""
    total = np.zeros((len(rows), len(vectors)))
    for i, x in enumerate(rows):
        for j, y in enumerate(vectors):
            left, right = space.views(x), space.views(y)
            for b in space.trained:
                diagonal, beside = space.axes[b.name].gram
                gram = np.diag(diagonal)
                if len(beside):
                    gram = gram + np.diag(beside, 1) + np.diag(beside, -1)
                w = np.broadcast_to(b.weights, b.shape).ravel()
                p, q = (v[b.name].reshape(len(diagonal), -1) for v in (left, right))
                total[i, j] += np.einsum("kl,e,ke,le", gram, w, p, q)
    return total


@pytest.mark.parametrize("piece", [1, 7, 64, 16384])
@pytest.mark.parametrize("time_norm", ["L2", "H1"])
def test_products_are_those_of_the_space(piece, time_norm, monkeypatch, rng):
    monkeypatch.setattr(long_vectors, "PIECE", piece)
    given = space(time_norm)
    rows, vectors = rng.standard_normal((4, given.size)), rng.standard_normal((3, given.size))
    found = given.dots(rows, *vectors)
    np.testing.assert_allclose(found, in_numpy(given, rows, vectors), rtol=0, atol=1e-12)
    flat = [[given.flatten(given.views(x)) for x in group] for group in (rows, vectors)]
    np.testing.assert_allclose(found, np.array(flat[0]) @ np.array(flat[1]).T, rtol=0, atol=1e-12)
    assert given.dot(rows[0], vectors[0]) == pytest.approx(found[0, 0], abs=1e-12)
    other = [array_api_strict.asarray(x) for x in (rows[0], vectors[0])]
    assert given.dot(*other) == pytest.approx(found[0, 0], abs=1e-12)


@pytest.mark.parametrize("piece", [3, 16384])
def test_sums_may_be_written_over_what_they_read(piece, monkeypatch, rng):
    monkeypatch.setattr(long_vectors, "PIECE", piece)
    rows, vector, coefficients = (
        rng.standard_normal((3, 20)),
        rng.standard_normal(20),
        rng.random(3),
    )
    wanted = coefficients @ rows - 0.3 * vector
    for out in (np.empty(20), vector.copy(), rows.copy()[1]):
        found = combine(coefficients, rows, -0.3, vector, out)
        assert found is out
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)
    own = rows.copy()
    combine(coefficients, own, -0.3, vector, own[2])
    np.testing.assert_allclose(own[2], wanted, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(own[:2], rows[:2])
    np.testing.assert_array_equal(
        combine(np.zeros(0), rows[:0], 2.0, vector, np.empty(20)), 2 * vector
    )


def test_no_array_is_as_long_as_a_vector(rng):
    mesh = TimeMesh(1.0, 30)
    long = ControlSpace(mesh, (Block("x", (20_000,), "nodes", np.ones(20_000)),))
    rows = rng.standard_normal((2, long.size))
    long.dots(rows, rows[0])
    tracemalloc.start()
    long.dots(rows, rows[0])
    combine(np.ones(1), rows[:1], 1.0, rows[1], rows[0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.25 * rows[0].nbytes


def test_wrong_shapes():
    given, size = space(), space().size
    with pytest.raises(ValueError, match=rf"rows have shape \({size},\)"):
        given.dots(np.zeros(size), np.zeros(size))
    with pytest.raises(ValueError, match=rf"vector has shape \(3,\), expected \({size},\)"):
        given.dots(np.zeros((1, size)), np.zeros(3))
    with pytest.raises(ValueError, match="vector has shape"):
        given.dot(np.zeros(size), np.zeros(size + 1))
    assert products(np.zeros((2, 0)), [np.zeros(0)], []).shape == (2, 1)
