"""Rules of stated degree on a disc and on a triangle."""

import numpy as np
from scipy.special import roots_jacobi

from .arrays import Array
from .checks import check_count
from .domains import Disc, Triangle
from .doors import checked
from .quadrature import Grid


@checked
def cubature(domain: Disc | Triangle, degree: int) -> Grid:
    """int_Y g(y) dy ~ sum_i w_i g(y_i), exact for polynomials of total degree <= `degree`.

        grid = cubature(Disc(radius=2.0), degree=20)
        network = WidthDepth(grid, tanh)

    All weights are positive and all nodes are inside.  For analytic g the error falls exponentially
    in the degree d, for about d^2 / 4 nodes.  Some polynomial of degree d + 1 is integrated
    wrongly; on a triangle with d even, some of degree d + 2 and none of d + 1.

    Disc: with y = centre + radius rho^1/2 (cos x, sin x) the integral is
    radius^2 / 2 int_0^1 int_0^2pi g dx drho.  Gauss-Legendre in rho, in which what is left of a
    polynomial after the integral over x has half its degree; d + 1 equal angles.
    Triangle: with y = first + u (second - first) + v (1 - u) (third - first) the integral is
    2 |Y| int_0^1 int_0^1 g (1 - u) du dv.  Gauss-Legendre in v, Gauss-Jacobi in u for the weight
    1 - u, floor(d / 2) + 1 nodes each (the conical product of Stroud, Approximate calculation of
    multiple integrals, 1971); nodes crowd at `second`.

    raises ValueError if degree < 0, TypeError for another domain
    """
    degree = check_count("degree", degree, least=0)
    if isinstance(domain, Disc):
        return _on_disc(domain, degree)
    if isinstance(domain, Triangle):
        return _on_triangle(domain, degree)
    raise TypeError(f"domain must be a Disc or a Triangle, got {domain!r}")


def _on_disc(disc: Disc, degree: int) -> Grid:
    rho, share = _gauss(degree // 4 + 1, 0)
    angle = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    radius = disc.radius * np.sqrt(rho)
    x = disc.centre[0] + np.outer(radius, np.cos(angle))
    y = disc.centre[1] + np.outer(radius, np.sin(angle))
    weights = np.repeat(disc.measure / (degree + 1) * share, degree + 1)
    return Grid(disc, np.stack([x.ravel(), y.ravel()], axis=1), weights)


def _on_triangle(triangle: Triangle, degree: int) -> Grid:
    count = degree // 2 + 1
    (u, du), (v, dv) = _gauss(count, 1), _gauss(count, 0)
    second, third = np.repeat(u, count), np.outer(1 - u, v).ravel()
    corners = np.array([triangle.first, triangle.second, triangle.third])
    nodes = np.stack([1 - second - third, second, third], axis=1) @ corners
    return Grid(triangle, nodes, 2 * triangle.measure * np.outer(du, dv).ravel())


def _gauss(count: int, power: int) -> tuple[Array, Array]:
    """Nodes and weights of int_0^1 g(u) (1 - u)^power du, exact to degree 2 count - 1."""
    x, w = roots_jacobi(count, power, 0)
    return (1 + x) / 2, w / 2 ** (power + 1)
