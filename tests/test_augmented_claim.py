"""What LM-65 rests on: quadratic problems on a box, solved on every face."""

import numpy as np

from studies.liu_markowich.claims.augmented import exact_objectives, objectives, on_the_box
from studies.liu_markowich.paper import boxed


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
