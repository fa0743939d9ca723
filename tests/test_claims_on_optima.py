"""Claims on gradients, extremals and algorithms fail with other methods; what LM-65 rests on."""

import numpy as np
import pytest

from continuum import Ball, Tikhonov, arctan
from solvers import Heun, shoot
from studies.bench.registry import claims
from studies.bench.verify import check
from studies.liu_markowich.claims import algorithms, gradients, optima, pontryagin
from studies.liu_markowich.claims.augmented import exact_objectives, objectives, on_the_box
from studies.liu_markowich.paper import boxed

WRONG = [
    ("LM-43", gradients, "RK4", Heun),
    ("LM-44", gradients, "tanh", arctan),
    ("LM-47", gradients, "sigmoid", arctan),
    ("LM-48", optima, "tanh", arctan),
    ("LM-50", optima, "Tikhonov", lambda strength: Tikhonov(0.5 * strength)),
    ("LM-51", pontryagin, "Ball", lambda radius: Ball((1 + 1e-13) * radius)),
    ("LM-53", pontryagin, "shoot", lambda *args, **kw: shoot(*args, initial=kw["initial"])),
    ("LM-62", algorithms, "RK4", Heun),
    ("LM-S10", pontryagin, "RK4", Heun),
]


@pytest.mark.parametrize(("id", "module", "name", "wrong"), WRONG, ids=[w[0] for w in WRONG])
def test_a_claim_fails_with_another_method(id, module, name, wrong, monkeypatch):
    monkeypatch.setattr(module, name, wrong)
    (chosen,) = (c for c in claims("liu_markowich") if c.id == id)
    rows = check(chosen)
    assert not all(row.passed for row in rows)
    assert not any(row.note for row in rows)


def test_the_best_of_all_faces_satisfies_the_variational_inequality(rng):
    factors = rng.normal(size=(50, 4, 6))
    hessian = np.einsum("kia,kib->kab", factors, factors) + 1e-3 * np.eye(6)
    slope = 3 * rng.normal(size=(50, 6))
    best = on_the_box(hessian, slope)
    step = best - (np.einsum("kab,kb->ka", hessian, best) + slope)
    np.testing.assert_allclose(np.clip(step, -1, 1), best, rtol=0, atol=1e-10)
    on_a_bound = np.mean(np.abs(best) == 1.0)
    assert 0.2 < on_a_bound < 0.9


def test_projected_gradients_tend_to_the_exact_steps():
    problem = boxed([0.5, 0.5], [4.0, 0.0], layers=10)
    exact = exact_objectives(problem, 3.0, 2)
    errors = [abs(objectives(problem, 3.0, 2, n)[1:] - exact[1:]).max() for n in (10, 1000)]
    assert errors[1] < 1e-4
    assert errors[1] < 0.1 * errors[0]
