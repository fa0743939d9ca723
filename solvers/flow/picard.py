"""Picard's iteration: the proof of existence, as a computation."""

import numpy as np
from numpy.polynomial import chebyshev

from continuum.arrays import Array
from continuum.checks import check_count
from continuum.controls import ControlPath
from continuum.doors import checked
from continuum.networks import Network

from ..run.solution import Solution, Trajectory
from ..run.status import Status


@checked
def picard(
    network: Network, control: ControlPath, initial: Array, iterations: int, degree: int = 48
) -> Solution[Trajectory]:
    """f^0 = f_I, f^{n+1}(t) = f_I + int_0^t F(f^n(s), c(s), s) ds on (0, T), as polynomials in t.

    For a Lipschitz velocity |f^n - f|(t) <= const C(t)^n / n!, C = Lip int |B|: it converges on any
    horizon (Liu and Markowich, Theorem 3.1, without the smallness of E08).  For controls smooth in
    time; NumPy arrays.

    degree : of the polynomials, which interpolate at Chebyshev points
    returns Solution with the last iterate at its degree + 1 points, increasing from 0 to T, and the
        history "difference": the largest |f^{n+1} - f^n| of each iteration
    raises ValueError for bad counts, or a control with breakpoints
    """
    iterations = check_count("iterations", iterations)
    degree = check_count("degree", degree)
    network.check_control("control", control)
    initial = network.check_state("initial", initial)
    if control.breakpoints:
        raise ValueError(
            "control must be smooth in time, this one has breakpoints: use network.control(...)"
        )
    x = -np.cos(np.pi * np.arange(degree + 1) / degree)
    times = 0.5 * control.mesh.horizon * (x + 1.0)
    to_coefficients = np.linalg.inv(chebyshev.chebvander(x, degree))
    integral = chebyshev.chebint(to_coefficients, lbnd=-1.0, axis=0)
    matrix = 0.5 * control.mesh.horizon * chebyshev.chebvander(x, degree + 1) @ integral
    states = np.repeat(initial[None], degree + 1, axis=0)
    differences = []
    for _ in range(iterations):
        speeds = np.stack(
            [
                network.velocity(f, control.at_layer(0, float(t)), float(t))
                for t, f in zip(times, states, strict=True)
            ]
        )
        following = initial + np.tensordot(matrix, speeds, axes=1)
        differences.append(float(np.max(np.abs(following - states))))
        states = following
    status = Status.FINISHED if np.all(np.isfinite(states)) else Status.NON_FINITE
    return Solution(
        Trajectory(times, states), status, history={"difference": np.array(differences)}
    ).raise_if_failed()
