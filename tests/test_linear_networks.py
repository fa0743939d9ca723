"""Deep linear networks: the problems, the factorisations and starts, what training conserves."""

from dataclasses import replace
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest

from continuum import (
    LearningProblem,
    NeuralODE2,
    Projection,
    ResNet,
    State,
    Tikhonov,
    TimeMesh,
    identity,
    tanh,
)
from solvers import DOP853, Euler, FixedStep, discretize, gradient_flow, integrate, minimize
from solvers.linear_networks import (
    Grouped,
    as_control,
    balanced_factors,
    conserved,
    deep_linear,
    deep_linear_data,
    disproportionate_factors,
    gradient_bound,
    linear_parts,
    linear_start,
    matrices,
    random_factors,
    root_factors,
    sharpness,
    sharpness_bound,
    target_and_covariance,
    whitened_batches,
)

SHEAR = np.array([[1.0, 3.0], [0.0, 0.5]])
"""The non-normal R of NS-12."""


def product(stack):
    """W_L ... W_1."""
    return reduce(lambda p, w: w @ p, stack)


def factors_near_identity(rng, layers, units, size=0.2):
    return np.eye(units) + size * rng.standard_normal((layers, units, units))


def covariance(rng, units):
    a = rng.standard_normal((units, units))
    return a @ a.T + 0.3 * np.eye(units)


def by_hand(stacks, r, sigma):
    """J and its gradients in the factors, from products."""
    signs = (1.0, -1.0)
    error = sum(s * product(w) for s, w in zip(signs, stacks, strict=False)) - r
    gradients = []
    for sign, w in zip(signs, stacks, strict=False):
        eye = np.eye(len(r))
        after = [product([eye, *w[i + 1 :]]) for i in range(len(w))]
        before = [product([eye, *w[:i]]) for i in range(len(w))]
        pairs = zip(after, before, strict=True)
        gradients.append([sign * a.T @ error @ sigma @ b.T for a, b in pairs])
    return 0.5 * np.trace(error @ sigma @ error.T), np.array(gradients)


# --- the problem ---


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("layers", [1, 4])
def test_value_and_gradient_are_those_of_the_products_by_hand(rng, double, layers):
    r, sigma = rng.standard_normal((3, 3)), covariance(rng, 3)
    problem = deep_linear(r, layers, covariance=sigma, double=double)
    stacks = [factors_near_identity(rng, layers, 3) for _ in range(1 + double)]
    value, gradients = by_hand(stacks, r, sigma)
    control = as_control(problem, *stacks)
    found, gradient = discretize(problem).value_and_gradient(control)
    names = ["w.weight", "z.weight"] if double else ["weight"]
    assert found == pytest.approx(value, rel=1e-13)
    for name, wanted in zip(names, gradients, strict=True):
        np.testing.assert_allclose(gradient[name], wanted, rtol=0, atol=1e-12)


def test_the_network_is_the_resnet_and_the_product(rng):
    r = rng.standard_normal((3, 3))
    problem = deep_linear(r, 5)
    w = factors_near_identity(rng, 5, 3)
    control = as_control(problem, w)
    np.testing.assert_allclose(matrices(control), w, rtol=0, atol=1e-15)
    resnet = ResNet.from_control(problem.network, control)
    np.testing.assert_allclose(resnet(np.eye(3)), product(w), rtol=0, atol=1e-14)
    states = integrate(problem.network, control, np.eye(3), Euler()).trajectory.states
    np.testing.assert_allclose(states[-1], product(w), rtol=0, atol=1e-14)


def test_data_give_the_same_number_as_their_covariance(rng):
    """Targets that are no linear function of the inputs add a constant, which is the least J."""
    r, x = rng.standard_normal((3, 3)), rng.standard_normal((3, 7))
    exact = deep_linear_data(x, r @ x, 4)
    found, sigma = target_and_covariance(exact)
    np.testing.assert_allclose(found, r, rtol=0, atol=1e-13)
    np.testing.assert_allclose(sigma, x @ x.T / 7, rtol=0, atol=1e-14)
    noisy = deep_linear_data(x, r @ x + rng.standard_normal((3, 7)), 4)
    best, sigma = target_and_covariance(noisy)
    least = discretize(noisy).value(linear_start(noisy, "balanced"))
    other = deep_linear(best, 4, covariance=sigma)
    w = factors_near_identity(rng, 4, 3)
    for problem, constant in ((exact, 0.0), (noisy, least)):
        reference = deep_linear(r, 4, covariance=sigma) if constant == 0.0 else other
        one, slope = discretize(problem).value_and_gradient(as_control(problem, w))
        two, wanted = discretize(reference).value_and_gradient(as_control(reference, w))
        assert one - constant == pytest.approx(two, rel=1e-12)
        np.testing.assert_allclose(slope["weight"], wanted["weight"], rtol=0, atol=1e-12)
    assert least > 0.01


@pytest.mark.parametrize("double", [False, True])
def test_target_and_covariance_come_back(rng, double):
    r, sigma = rng.standard_normal((3, 3)), covariance(rng, 3)
    found = target_and_covariance(deep_linear(r, 3, covariance=sigma, double=double))
    np.testing.assert_allclose(found[0], r, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found[1], sigma, rtol=0, atol=1e-13)
    singular = np.diag([2.0, 0.0, 1.0])
    found = target_and_covariance(deep_linear(r, 3, covariance=singular, double=double))
    np.testing.assert_allclose(found[0], r @ np.diag([1.0, 0.0, 1.0]), rtol=0, atol=1e-13)
    np.testing.assert_allclose(found[1], singular, rtol=0, atol=1e-13)


def test_a_number_is_a_matrix_of_one_entry():
    problem = deep_linear(2.0, 5, covariance=3.0)
    control = as_control(problem, [1.0, 2.0, 1.0, 0.5, 3.0])
    assert discretize(problem).value(control) == pytest.approx(0.5 * 3.0 * (3.0 - 2.0) ** 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": np.ones((2, 3))}, ValueError, "target has shape"),
        ({"target": [[np.nan]]}, ValueError, "target has entries that are NaN"),
        ({"target": float("inf")}, ValueError, "target has entries that are NaN or inf"),
        ({"target": "R"}, TypeError, "target must be an array or a real number"),
        ({"layers": 0}, ValueError, "layers must be at least 1"),
        ({"layers": 2.0}, TypeError, "layers must be an integer"),
        ({"double": 1}, TypeError, "double must be True or False"),
        ({"covariance": np.eye(3)}, ValueError, "covariance has shape"),
        ({"covariance": [[1.0, 0.5], [0.0, 1.0]]}, ValueError, "covariance must be symmetric"),
        ({"covariance": np.diag([1.0, -1e-3])}, ValueError, "covariance must be positive semi"),
    ],
)
def test_deep_linear_names_the_argument(arguments, error, message):
    given = {"target": np.eye(2), "layers": 3, **arguments}
    with pytest.raises(error, match=message):
        deep_linear(given.pop("target"), given.pop("layers"), **given)


def test_controls_and_problems_that_do_not_fit_are_named(rng):
    problem, pair = deep_linear(SHEAR, 3), deep_linear(SHEAR, 3, double=True)
    w = factors_near_identity(rng, 3, 2)
    with pytest.raises(ValueError, match=r"factors has shape \(2, 2, 2\)"):
        as_control(problem, w[:2])
    with pytest.raises(ValueError, match="factors of z has entries that are NaN"):
        as_control(pair, w, np.full_like(w, np.nan))
    with pytest.raises(ValueError, match="factors must be 2 stacks"):
        as_control(pair, w)
    with pytest.raises(ValueError, match=r"part is None, .* of w\.weight, z\.weight"):
        matrices(as_control(pair, w, w))
    with pytest.raises(ValueError, match="part is 'w'"):
        matrices(as_control(problem, w), "w")
    with pytest.raises(ValueError, match="targets has shape"):
        deep_linear_data(np.ones((2, 5)), np.ones((2, 4)), 3)


@pytest.mark.parametrize(
    ("network", "horizon", "fixed"),
    [
        (NeuralODE2(2, tanh), 3.0, {"bias": 0.0}),
        (NeuralODE2(2, identity), 1.0, {"bias": 0.0}),
        (NeuralODE2(2, identity), 3.0, {"bias": np.ones(2)}),
        (NeuralODE2(2, identity), 3.0, {}),
    ],
)
def test_another_problem_is_refused(network, horizon, fixed):
    controls = network.controls(TimeMesh(horizon, 3), fixed=fixed)
    problem = LearningProblem(network, np.eye(2), np.eye(2), controls, readout=State())
    with pytest.raises(TypeError, match="problem must be one of deep_linear"):
        linear_parts(problem)


def test_what_is_said_of_j_is_not_said_of_another_one(rng):
    problem, pair = deep_linear(SHEAR, 3), deep_linear(SHEAR, 3, double=True)
    more = replace(problem, penalty=Tikhonov(1.0))
    for asked in (
        lambda: target_and_covariance(more),
        lambda: gradient_bound(more, 0.1),
        lambda: conserved(more, more.space.zeros()),
        lambda: linear_start(more, "balanced"),
    ):
        with pytest.raises(TypeError, match="problem must have no penalty"):
            asked()
    assert linear_parts(more) == (None,)
    plus = replace(pair, readout=Projection(np.hstack([np.eye(2), np.eye(2)])))
    apart = replace(pair, initial=rng.standard_normal((4, 2)))
    for other in (plus, apart):
        with pytest.raises(TypeError, match="problem must be one of deep_linear"):
            linear_start(other, "balanced")


# --- factorisations ---


@pytest.mark.parametrize("layers", [1, 2, 7])
def test_balanced_factors(rng, layers):
    r = rng.standard_normal((4, 4))
    for target in (r, r - np.outer(r[:, 0], [1, 0, 0, 0]), -np.eye(4)):
        w = balanced_factors(target, layers)
        np.testing.assert_allclose(product(w), target, rtol=0, atol=1e-13)
        for one, two in pairwise(w):
            np.testing.assert_allclose(two.T @ two, one @ one.T, rtol=0, atol=1e-13)
        size = np.linalg.norm(target, 2) ** (1.0 / layers)
        np.testing.assert_allclose([np.linalg.norm(v, 2) for v in w], size, rtol=1e-13)


def test_roots_are_principal():
    """Also for large L, and for a pair of complex eigenvalues; +-1e150 does not overflow."""
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    for target in (SHEAR, turn, np.array([[1.0, 0.3], [0.3, 0.5]])):
        for layers in (1, 2, 3, 20, 1000):
            w = root_factors(target, layers)
            np.testing.assert_allclose(product(w), target, rtol=0, atol=3e-15 * layers)
            angles = np.angle(np.linalg.eigvals(w[0]))
            assert np.abs(angles).max() <= np.pi / 2 / layers + 1e-7
    angle = np.pi / 6
    turned = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    np.testing.assert_allclose(root_factors(turn, 3)[1], turned, rtol=0, atol=1e-14)
    np.testing.assert_allclose(root_factors(1e150 * SHEAR, 50)[0, 0, 0], 1e3, rtol=1e-12)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([[1.0, 1.0], [1.0, 1.0]], "target is singular"),
        ([[-1.0, 1.0], [0.0, 2.0]], "eigenvalue -1 on the negative axis"),
        (-np.eye(2), "eigenvalue -1 on the negative axis"),
        ([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]], "target has shape"),
        ([[1.0, np.nan], [0.0, 1.0]], "target has entries that are NaN"),
    ],
)
def test_matrices_without_a_root_are_refused(target, message):
    for factors in (root_factors, lambda r, n: disproportionate_factors(r, n, 2.0)):
        with pytest.raises(ValueError, match=message):
            factors(np.array(target), 3)


def test_disproportionate_factors():
    w = disproportionate_factors(2.0, 5, 1.5)
    root = 2.0**0.2
    np.testing.assert_allclose(w[:, 0, 0], [1.5 * root] * 4 + [1.5**-4 * root], rtol=1e-14)
    np.testing.assert_allclose(
        product(disproportionate_factors(SHEAR, 4, 3.0)), SHEAR, rtol=0, atol=1e-13
    )
    with pytest.raises(ValueError, match="kappa must be finite and positive"):
        disproportionate_factors(SHEAR, 4, -1.0)
    with pytest.raises(ValueError, match=r"kappa\^399 overflows"):
        disproportionate_factors(SHEAR, 400, 10.0)


def test_random_factors_multiply_to_their_target(rng):
    """At any depth: the partial products stay of the size of R, so nothing overflows."""
    for target, layers in ((rng.standard_normal((3, 3)), 6), (SHEAR, 500), (np.ones((2, 2)), 1)):
        w = random_factors(target, layers, rng)
        np.testing.assert_allclose(product(w), target, rtol=0, atol=1e-14 * (1 + 10 * layers))
    near = random_factors(SHEAR, 4, rng, spread=1e-9)
    sizes = [np.linalg.norm(v, 2) for v in near]
    np.testing.assert_allclose(sizes, np.linalg.norm(SHEAR, 2) ** 0.25, rtol=1e-7)
    assert max(np.linalg.norm(v, 2) for v in random_factors(SHEAR, 4, rng)) > 1.2 * max(sizes)
    assert not np.allclose(*(random_factors(SHEAR, 4, rng) for _ in range(2)))
    with pytest.raises(TypeError, match="rng must be a numpy random Generator"):
        random_factors(SHEAR, 4, 0)


# --- starts ---


@pytest.mark.parametrize("double", [False, True])
def test_starts(rng, double):
    r, sigma = rng.standard_normal((3, 3)), covariance(rng, 3)
    problem = deep_linear(r, 4, covariance=sigma, double=double)
    part = "w" if double else None
    eye = np.eye(3)
    w = matrices(linear_start(problem), part)
    np.testing.assert_array_equal(w, [eye] * 4)
    w = matrices(linear_start(problem, "signs", negative=3), part)
    np.testing.assert_array_equal(w, [-eye, -eye, -eye, eye])
    w = matrices(linear_start(problem, "signs"), part)
    np.testing.assert_array_equal(w, [-eye, eye, eye, eye])
    w = matrices(linear_start(problem, "unitary", negative=3, rng=rng), part)
    np.testing.assert_allclose([v.T @ v for v in w], [eye] * 4, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(w), [-1, -1, -1, 1], rtol=1e-13)
    objective = discretize(problem)
    value, gradient = objective.value_and_gradient(linear_start(problem, "balanced"))
    assert value < 1e-27
    assert problem.space.norm(gradient) < 1e-12
    if double:
        start = objective.value(linear_start(problem, "unitary", rng=rng))
        assert start == pytest.approx(0.5 * np.trace(r @ sigma @ r.T), rel=1e-13)


def test_from_orthogonal_factors_descent_is_that_from_the_identity_turned(rng):
    """For the target (Q_L ... Q_1)^T R, whatever the covariance; -R for an odd number of -I."""
    r, sigma = rng.standard_normal((3, 3)), covariance(rng, 3)
    method = FixedStep(0.02, max_iterations=30)
    problem = deep_linear(r, 3, covariance=sigma)
    for kind in ("unitary", "signs"):
        start = linear_start(problem, kind, rng=rng)
        q = matrices(start)
        turns = [np.eye(3), q[0], q[1] @ q[0], product(q)]
        plain = deep_linear(turns[-1].T @ r, 3, covariance=sigma)
        ends = []
        for posed, begin in ((problem, start), (plain, linear_start(plain))):
            run = minimize(posed, method, initial=begin, raise_on_failure=False)
            assert run.objective < 0.9 * run.history["objective"][0]
            ends.append(matrices(run.control))
        turned = [b @ v @ a.T for a, b, v in zip(turns, turns[1:], ends[1], strict=False)]
        np.testing.assert_allclose(ends[0], turned, rtol=0, atol=1e-13)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 5])
def test_balanced_starts_are_as_flat_as_any(rng, double, layers):
    """Their sharpness is the lower bound of every W_L ... W_1 (- Z_L ... Z_1) = R."""
    r = rng.standard_normal((3, 3))
    problem = deep_linear(r, layers, double=double)
    least = sharpness_bound(r, layers, double=double)
    found = sharpness(problem, linear_start(problem, "balanced"))
    assert found == pytest.approx(least, rel=1e-9)
    for _ in range(5):
        other = rng.standard_normal((3, 3))
        ends = [r + other, other] if double else [r]
        stacks = [random_factors(end, layers, rng) for end in ends]
        assert sharpness(problem, as_control(problem, *stacks)) > least * (1.0 - 1e-9)


def test_orthogonal_matrices_are_uniformly_distributed():
    """The mean of q_11^2 over O(n) is 1/n, that of its fourth power 3 / (n (n + 2))."""
    rng = np.random.default_rng(1)
    problem = deep_linear(np.eye(3), 4000)
    w = matrices(linear_start(problem, "unitary", rng=rng))
    assert np.mean(w[:, 0, 0] ** 2) == pytest.approx(1 / 3, abs=0.02)
    assert np.mean(w[:, 0, 0] ** 4) == pytest.approx(1 / 5, abs=0.02)
    assert abs(np.mean(np.sign(np.linalg.det(w)))) < 0.06


def test_starts_that_are_none_are_named():
    problem = deep_linear(SHEAR, 4)
    with pytest.raises(ValueError, match="unknown kind 'orthogonal'"):
        linear_start(problem, "orthogonal")
    with pytest.raises(ValueError, match="negative must be at most the 4 layers"):
        linear_start(problem, "signs", negative=5)
    with pytest.raises(ValueError, match="negative is for the kinds"):
        linear_start(problem, "balanced", negative=1)
    with pytest.raises(TypeError, match="problem must be a LearningProblem"):
        linear_start(SHEAR)


# --- what training conserves ---


def random_problem(rng, kind):
    r, sigma = rng.standard_normal((3, 3)), covariance(rng, 3)
    if kind == "points":
        x = rng.standard_normal((3, 8))
        return deep_linear_data(x, r @ x + rng.standard_normal((3, 8)), 4)
    return deep_linear(r, 4, covariance=sigma, double=kind == "double")


@pytest.mark.parametrize("kind", ["single", "double", "points"])
def test_a_step_changes_what_is_conserved_by_its_square_alone(rng, kind):
    problem = random_problem(rng, kind)
    stacks = [factors_near_identity(rng, 4, 3) for _ in linear_parts(problem)]
    control, step = as_control(problem, *stacks), 0.1
    slope = discretize(problem).gradient(control)
    moved = control - slope * step
    names = [b.name for b in problem.space.trained]
    slopes = np.array([slope[name] for name in names])
    turned = slopes.swapaxes(-1, -2)
    wanted = step**2 * (turned[:, 1:] @ slopes[:, 1:] - slopes[:, :-1] @ turned[:, :-1])
    change = conserved(problem, moved) - conserved(problem, control)
    np.testing.assert_allclose(change, wanted if kind == "double" else wanted[0], atol=1e-12)
    assert np.abs(change).max() > 1e-3
    assert change.shape == ((2, 3, 3, 3) if kind == "double" else (3, 3, 3))


def test_starts_are_balanced_and_the_root_is_only_of_normal_matrices(rng):
    """So gradient flow from the identity never comes to R^(1/L), unless R is normal."""
    problem = deep_linear(SHEAR, 3, double=True)
    for kind in ("identity", "signs", "unitary", "balanced"):
        start = linear_start(problem, kind, rng=rng)
        np.testing.assert_allclose(conserved(problem, start), 0.0, atol=1e-14)
    turn = np.array([[0.0, -2.0], [2.0, 0.0]])
    for target, normal in ((SHEAR, False), (turn, True), (SHEAR @ SHEAR.T, True)):
        single = deep_linear(target, 3)
        at_root = conserved(single, as_control(single, root_factors(target, 3)))
        assert (np.abs(at_root).max() < 1e-13) == normal
        assert normal or np.abs(at_root).max() > 0.1


@pytest.mark.parametrize("kind", ["single", "double"])
def test_the_flow_keeps_what_is_conserved(rng, kind):
    """To 1e-9 from a start that is not balanced, for a non-normal R and a covariance."""
    double = kind == "double"
    problem = deep_linear(SHEAR, 3, covariance=covariance(rng, 2), double=double)
    flow = gradient_flow(problem)
    start = as_control(problem, *[factors_near_identity(rng, 3, 2) for _ in range(1 + double)])
    method = DOP853(rtol=1e-12, atol=1e-13)
    run = integrate(flow, flow.control(TimeMesh(1.0, 1)), flow.state(start), method)
    end = flow.control_of(run.trajectory.states[-1])
    assert discretize(problem).value(end) < 0.5 * discretize(problem).value(start)
    np.testing.assert_allclose(
        conserved(problem, end), conserved(problem, start), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("kind", ["single", "double", "points"])
def test_gradients_in_a_ball_about_the_identity_are_large(rng, kind):
    """|grad J|^2 >= c (J - min J) at 200 points of the ball."""
    problem, radius = random_problem(rng, kind), 0.3
    bound, objective = gradient_bound(problem, radius), discretize(problem)
    least = objective.value(linear_start(problem, "balanced"))
    parts, ratios = len(linear_parts(problem)), []
    for _ in range(200):
        stacks = rng.standard_normal((parts, 4, 3, 3))
        sizes = np.linalg.norm(stacks, 2, axis=(-2, -1), keepdims=True)
        control = as_control(problem, *(np.eye(3) + radius * stacks / sizes))
        value, slope = objective.value_and_gradient(control)
        ratios.append(problem.space.norm(slope) ** 2 / (bound * (value - least)))
    assert min(ratios) >= 1.0


@pytest.mark.parametrize("double", [False, True])
def test_the_gradient_bound_is_attained(rng, double):
    """At (1 - radius) I for Sigma = I, and for an error along the least direction of Sigma."""
    r, radius = rng.standard_normal((3, 3)), 0.25
    across = np.outer(rng.standard_normal(3), [1.0, 0.0, 0.0])
    shrunk = (1 - radius) * np.tile(np.eye(3), (4, 1, 1))
    level = 0.0 if double else (1 - radius) ** 4
    for target, sigma in ((r, 2.5 * np.eye(3)), (level * np.eye(3) + across, np.diag([0.2, 1, 3]))):
        problem = deep_linear(target, 4, covariance=sigma, double=double)
        control = as_control(problem, *[shrunk] * (1 + double))
        value, slope = discretize(problem).value_and_gradient(control)
        bound = gradient_bound(problem, radius)
        assert problem.space.norm(slope) ** 2 == pytest.approx(bound * value, rel=1e-12)


def test_the_gradient_bound_refuses_what_it_does_not_hold_for():
    problem = deep_linear(SHEAR, 3)
    for radius in (1.0, -0.1):
        with pytest.raises(ValueError, match=r"radius must be in \[0, 1\)"):
            gradient_bound(problem, radius)
    with pytest.raises(ValueError, match="control lives in another space"):
        conserved(problem, deep_linear(SHEAR, 4).space.zeros())
    saddle = as_control(problem, np.zeros((3, 2, 2)))
    value, slope = discretize(problem).value_and_gradient(saddle)
    assert value > 0
    assert problem.space.norm(slope) == 0.0


# --- batches ---


def coupling(problem, objective, groups, vectors, steps=30, step=0.05):
    """The largest entry off the diagonal of the factors in the eigenvectors of R, after steps on
    one group after the other.
    """
    control = linear_start(problem)
    for k in range(steps):
        part = objective.batch(groups[k % len(groups)])
        control = control - part.value_and_gradient(control)[1] * step
    w = vectors.T @ matrices(control) @ vectors
    return float(np.abs(w - w * np.eye(len(vectors))).max())


def test_batches_of_orthonormal_sets_decouple_a_symmetric_target(rng):
    """The sum of x x^T over each batch is I; single points, orthonormal too, do not decouple."""
    sets = np.linalg.qr(rng.standard_normal((4, 3, 3)))[0]
    x = np.hstack(list(sets))
    vectors, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    r = (vectors * [1.5, 1.0, 0.3]) @ vectors.T
    problem = deep_linear_data(x, r @ x, 3)
    objective = discretize(problem)
    whole = [range(3 * k, 3 * k + 3) for k in range(4)]
    assert coupling(problem, objective, whole, vectors) < 1e-14
    assert coupling(problem, Grouped(objective, 3), [[0], [1, 3], [2]], vectors) < 1e-14
    assert coupling(problem, objective, [[0], [1], [2]], vectors) > 1e-3
    assert coupling(problem, objective, [[2, 3, 4], [5, 6, 7]], vectors) > 1e-3
    along = deep_linear_data(vectors, r @ vectors, 3)
    assert coupling(along, discretize(along), [[0], [1], [2]], vectors) < 1e-14


def test_whitened_batches_are_steps_for_the_identity_covariance(rng):
    """On points that are far from orthonormal, each batch has the gradient of deep_linear(R); the
    group of all points is the whitening of the inputs.
    """
    r, x = rng.standard_normal((3, 3)), covariance(rng, 3) @ rng.standard_normal((3, 20))
    white, targets = whitened_batches(x, r @ x, 5)
    np.testing.assert_allclose(targets, r @ white, rtol=0, atol=1e-12)
    problem, reference = deep_linear_data(white, targets, 4), deep_linear(r, 4)
    objective = Grouped(discretize(problem), 5)
    assert objective.samples == 4
    w = factors_near_identity(rng, 4, 3)
    control = as_control(problem, w)
    value, slope = discretize(reference).value_and_gradient(as_control(reference, w))
    for groups in ([0], [3], [1, 2]):
        found, gradient = objective.batch(groups).value_and_gradient(control)
        assert found == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(gradient["weight"], slope["weight"], rtol=0, atol=1e-12)
    values, vectors = np.linalg.eigh(x @ x.T / 20)
    whole = whitened_batches(x, r @ x, 20)[0]
    np.testing.assert_allclose(whole, (vectors / np.sqrt(values)) @ vectors.T @ x, atol=1e-12)


def test_no_one_change_of_inputs_whitens_two_batches(rng):
    """T Sigma_J T^T = I for both would make Sigma_1^(-1) Sigma_2 the identity: its eigenvalues do
    not depend on T.
    """
    x = rng.standard_normal((2, 8))
    one, two = (x[:, part] @ x[:, part].T / 4 for part in (slice(0, 4), slice(4, 8)))
    values, vectors = np.linalg.eigh(one)
    t = (vectors / np.sqrt(values)).T
    np.testing.assert_allclose(t @ one @ t.T, np.eye(2), atol=1e-12)
    ratios = np.linalg.eigvals(np.linalg.solve(one, two)).real
    np.testing.assert_allclose(sorted(np.linalg.eigvalsh(t @ two @ t.T)), sorted(ratios))
    assert np.abs(ratios - 1.0).max() > 0.1


def test_batches_that_are_none_are_named():
    x = np.array([[1.0, 2.0, 0.0, 1.0], [1.0, 2.0, 1.0, 0.0]])
    for size in (3, 1):
        with pytest.raises(ValueError, match="size must divide the 4 points and be at least 2"):
            whitened_batches(x, x, size)
    with pytest.raises(ValueError, match="inputs 0 to 1 do not span"):
        whitened_batches(x, x, 2)
    with pytest.raises(ValueError, match="targets has shape"):
        whitened_batches(x, x[:, :2], 2)
    with pytest.raises(ValueError, match="size must divide the 4 samples"):
        Grouped(discretize(deep_linear_data(x, x, 3)), 3)
