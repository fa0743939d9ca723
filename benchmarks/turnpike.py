"""Long horizons: Newton's method by one sweep over the layers, against CasADi's multiple shooting.

    x_{k+1} = x_k + tau (W_k tanh(x_k) + b_k),  20 samples in R^2, T = 10, 100 layers,
    J = trapezoid of mean_m |x - y|^2 + 0.1 sum_k tau (|W_k|^2 + |b_k|^2),

from ten starts that are constant in time, with targets +-(1, 1) by the sign of x1 and noise (easy)
or by the sign of x1 x2 (hard).  CasADi has the states as unknowns (x_0, u_0, x_1, ...) and starts
from the same run; a layer is an SX function, all is expanded, tol is 1e-8.  IPOPT solves with
MUMPS; fatrop, with its detection of stages, by a recursion over them like ours.  What is timed is a
whole solve: of `minimize(problem, RiccatiNewton(gtol=1e-8), initial=start)`, or of the solver's
call; building CasADi's functions and derivatives is not counted, compiling ours neither.  All must
end at a gradient of J, taken by our adjoint, of 1e-6 in the norm of the space.

A row of a case is the median, over the starts from which a solver ended well, of one median each;
rows of starts say J and how the run ended, and their error is J less the J that most of them reach.

Two arcs: x_{k+1} = x_k + tau (a_k - B W x_k), a kernel exp(-4 (y - z)^2) on 64 nodes, T = 12, 400
layers, cost int |x - (1 + y/2)|^2 / 2 + 0.3 |a|^2: linear and quadratic, so one Newton step from 0
is the solution.  The error of these rows is |gradient|.

1000 points, T = 81, 729 layers, targets as in the easy case: 2000 states per layer and 6 controls,
no case for a sweep.  The start is 0.01 default_rng(3).standard_normal(6), constant in time.  L-BFGS
makes 700 iterations and is then not stationary (J = 9.541; a start changed by 1e-10 ends between
9.528 and 9.546); the contender is the same method on three meshes, coarse to fine.  Minimisers
change within the first tenth of the horizon and rest after it, so that the coarse meshes keep the
first layers as they are and join later ones by 3, 9 and 27; a control on a coarse mesh is one on
all 729 layers.  The error is J less 9.5424, what another implementation of L-BFGS reaches in 700
iterations; it is to be at most 0.  This case takes a minute and a half; `--cases easy hard arcs`
leaves it out.
"""

import _harness  # isort: split

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from continuum import (
    Interval,
    LearningProblem,
    NeuralODE2,
    SquaredError,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    change_depth,
    gauss_legendre,
    identity,
    tanh,
)
from solvers import LBFGS, RiccatiNewton, discretize, minimize
from solvers.adjoint.coefficients import Columns
from solvers.adjoint.linear_quadratic import Linearizer
from solvers.descent.riccati import sweep
from solvers.descent.rollout import Rollout

SAMPLES, LAYERS, HORIZON, STRENGTH = 20, 100, 10.0, 0.1
STARTS = range(100, 110)
COMMON = {"easy": 3.552755996, "hard": 8.547399762}
ROUNDS = 3
ROUNDS_ARCS = 3
ROUNDS_POINTS = 3
GRADIENT = 1e-6
ARCS, ARC_LAYERS, ARC_HORIZON = 64, 400, 12.0
POINTS, POINT_LAYERS, POINT_HORIZON = 1000, 729, 81.0
ITERATIONS, REACHED = 700, 9.5424
COARSE = (
    (400, ((27, 1), (27, 3), (27, 9), (14, 27))),
    (400, ((81, 1), (27, 3), (27, 9), (12, 27))),
    (40, ((729, 1),)),
)
"""Iterations on each mesh, and its layers: how many, and of how many of the 729 each consists."""


def separated(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (2, samples), and targets +-(1, 1) by the sign of x1, with noise."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((samples, 2))
    noise = 0.1 * rng.standard_normal((samples, 2))
    targets = np.where(points[:, :1] > 0, 1.0, -1.0) + noise
    return points.T.copy(), targets.T.copy()


def posed(points: np.ndarray, targets: np.ndarray, mesh: TimeMesh) -> LearningProblem:
    """The problem of both cases, and of 1000 points."""
    return LearningProblem(
        NeuralODE2(2, tanh),
        points,
        targets,
        mesh,
        terminal=None,
        running=SquaredError(1.0),
        penalty=Tikhonov(STRENGTH),
    )


class Data:
    """The points and targets of one case, the problem and its objective; arrays (2, samples)."""

    def __init__(self, name: str) -> None:
        points, targets = separated(SAMPLES)
        if name == "hard":
            targets = np.sign(points[:1] * points[1:]) * np.ones((2, 1))
        self.name, self.points, self.targets = name, points, targets
        self.problem = posed(points, targets, TimeMesh(HORIZON, LAYERS))
        self.objective = discretize(self.problem)

    def start(self, seed: int) -> np.ndarray:
        """(6,): weight by rows, then bias, the same on all layers."""
        return 0.1 * np.random.default_rng(seed).standard_normal(6)

    def control(self, u: np.ndarray):
        """The control with weight and bias of each layer (K, 6), or of all (6,)."""
        every = np.broadcast_to(u, (LAYERS, 6))
        return self.problem.space.sample(
            weight=every[:, :4].reshape(LAYERS, 2, 2), bias=np.array(every[:, 4:])
        )

    def judge(self, u: np.ndarray) -> tuple[float, float]:
        """(J, |gradient|) of a control (K, 6)."""
        value, gradient = self.objective.value_and_gradient(self.control(u))
        return value, self.problem.space.norm(gradient)


def ours(data: Data, seed: int) -> Callable[[], tuple[np.ndarray, int]]:
    """() -> (control (K, 6), iterations)."""
    start = data.control(data.start(seed))

    def run() -> tuple[np.ndarray, int]:
        found = minimize(
            data.problem, RiccatiNewton(gtol=1e-8), initial=start, raise_on_failure=False
        )
        weight = found.control["weight"].reshape(LAYERS, 4)
        u = np.concatenate([weight, found.control["bias"]], axis=1)
        return u, int(found.statistics["iterations"])

    return run


class Shooting:
    """Multiple shooting by CasADi for all starts of a case: x_0, u_0, x_1, ... are the unknowns.

    layer : SX function (x, u) -> x of the next layer
    state, control : SX functions, the densities of the cost
    first : x_0
    """

    def __init__(self, layer, state, control, first: np.ndarray, tau: float, layers: int) -> None:
        import casadi  # noqa: PLC0415

        self.layer, self.first, self.layers = layer, first, layers
        self.states, self.controls = layer.size1_in(0), layer.size1_in(1)
        before = casadi.MX.sym("x0", self.states)
        unknowns, gaps, cost = [before], [], 0.5 * tau * state(before)
        for k in range(layers):
            u = casadi.MX.sym(f"u{k}", self.controls)
            after = casadi.MX.sym(f"x{k + 1}", self.states)
            unknowns += [u, after]
            gaps.append(after - layer(before, u))
            if k == 0:
                gaps.append(before - first)
            last = 0.5 if k + 1 == layers else 1.0
            cost += tau * control(u) + last * tau * state(after)
            before = after
        self.program = {
            "x": casadi.vertcat(*unknowns),
            "f": cost,
            "g": casadi.vertcat(*gaps),
        }
        self.solvers = {}

    def solver(self, name: str):
        """IPOPT or fatrop, built once."""
        import casadi  # noqa: PLC0415

        if name not in self.solvers:
            own = {"tol": 1e-8, "print_level": 0} | ({"sb": "yes"} if name == "ipopt" else {})
            options = {"expand": True, "print_time": False, name: own}
            if name == "fatrop":
                count = self.program["g"].size1()
                options |= {"structure_detection": "auto", "equality": [True] * count}
            self.solvers[name] = casadi.nlpsol(name, name, self.program, options)
        return self.solvers[name]

    def rollout(self, u: np.ndarray) -> np.ndarray:
        """All unknowns from one control for all layers."""
        x = self.first
        found = [x]
        for _ in range(self.layers):
            x = np.array(self.layer(x, u)).reshape(-1)
            found += [u, x]
        return np.concatenate(found)

    def run(self, name: str, u: np.ndarray) -> Callable[[], tuple[np.ndarray, int]]:
        """() -> (control (K, m), iterations)."""
        solver, start = self.solver(name), self.rollout(u)

        def solve() -> tuple[np.ndarray, int]:
            found = solver(x0=start, lbg=0.0, ubg=0.0)
            rest = np.array(found["x"]).reshape(-1)[self.states :]
            return rest.reshape(self.layers, -1)[:, : self.controls], solver.stats()["iter_count"]

        return solve


def shooting(data: Data) -> Shooting:
    """The case in CasADi; states are (x1, x2) of one sample after the other."""
    import casadi  # noqa: PLC0415

    tau = HORIZON / LAYERS
    x, u = casadi.SX.sym("x", 2, SAMPLES), casadi.SX.sym("u", 6)
    weight = casadi.vertcat(casadi.horzcat(u[0], u[1]), casadi.horzcat(u[2], u[3]))
    after = x + tau * (weight @ casadi.tanh(x) + casadi.repmat(u[4:], 1, SAMPLES))
    flat = casadi.vec(x)
    layer = casadi.Function("layer", [flat, u], [casadi.vec(after)])
    distance = casadi.sumsqr(x - data.targets) / SAMPLES
    state = casadi.Function("state", [flat], [distance])
    control = casadi.Function("control", [u], [STRENGTH * casadi.sumsqr(u)])
    return Shooting(layer, state, control, data.points.T.reshape(-1), tau, LAYERS)


def rows_of(name: str) -> list[_harness.Row]:
    """All starts of a case, then the medians."""
    data, built = Data(name), {}
    titles = ("continuum RiccatiNewton", "CasADi fatrop", "CasADi IPOPT")
    runs: dict[str, list[_harness.Case]] = {title: [] for title in titles}
    values: dict[str, list[float]] = {title: [] for title in titles}
    rows = []

    def peer(solver: str, seed: int) -> Callable[[], object]:
        if "shooting" not in built:
            built["shooting"] = shooting(data)
        return built["shooting"].run(solver, data.start(seed))

    for seed in STARTS:
        results: dict[str, tuple[float, float, int]] = {}

        def error(title: str, found, results=results) -> float:
            u, iterations = found
            results[title] = (*data.judge(u), iterations)
            return results[title][1]

        makes = (
            lambda seed=seed: ours(data, seed),
            lambda seed=seed: peer("fatrop", seed),
            lambda seed=seed: peer("ipopt", seed),
        )
        cases = [
            _harness.Case(
                title,
                f"{name}, start {seed}",
                make,
                lambda x, title=title: error(title, x),
                GRADIENT,
            )
            for title, make in zip(titles, makes, strict=True)
        ]
        _harness.measure(cases, ROUNDS)
        for case in cases:
            runs[case.name].append(case)
            row = _harness.own(case)
            if case.name in results:
                value, gradient, iterations = results[case.name]
                values[case.name].append(value)
                row["error"] = value - COMMON[name]
                row["status"] = (
                    f"{case.status}, J = {value:.9f}, |gradient| = {gradient:.1e}, "
                    f"{iterations} iterations"
                )
            else:
                values[case.name].append(float("nan"))
            rows.append(row)
    medians = [_median(title, name, runs[title]) for title in titles]
    bars = dict(zip(titles[1:], (4.0, 10.0), strict=True))
    for against in medians[1:]:
        row = _harness.compare(medians[0], against, bars[against.name])
        gap = np.array(values[titles[0]]) - np.array(values[against.name])
        worse, better = int(np.sum(gap > 1e-6)), int(np.sum(gap < -1e-6))
        ends = [sum(x.status == "finished" for x in runs[who]) for who in (titles[0], against.name)]
        row["status"] = (
            f"{row['status']} in {ends[0]} and {ends[1]} of {len(gap)} starts, "
            f"J worse by over 1e-6 in {worse}, better in {better}"
        )
        if worse > 2 and row["met"] is not None:
            row["met"] = "missed"
        rows.append(row)
    return rows


def _median(title: str, name: str, runs: list[_harness.Case]) -> _harness.Case:
    """One contender over all starts."""
    found = _harness.Case(title, f"{name}, median of starts", lambda: lambda: None)
    done = [case for case in runs if case.status == "finished" and case.seconds is not None]
    found.seconds = statistics.median(case.seconds for case in done) if done else None
    statuses = [case.status for case in runs if case.status != "finished"]
    found.status = "finished" if len(done) > len(runs) / 2 else statuses[0]
    return found


class Arcs:
    """The linear-quadratic problem."""

    def __init__(self) -> None:
        grid = gauss_legendre(Interval(0.0, 1.0), ARCS)
        self.y, self.w = grid.nodes.reshape(-1), grid.weights
        self.kernel = np.exp(-4.0 * (self.y[:, None] - self.y) ** 2)
        network = WidthDepth(grid, identity)
        mesh = TimeMesh(ARC_HORIZON, ARC_LAYERS)
        self.problem = LearningProblem(
            network,
            np.zeros((ARCS, 1)),
            (1.0 + 0.5 * self.y)[:, None],
            network.controls(mesh, fixed={"kernel": self.kernel}),
            terminal=None,
            running=SquaredError(0.5),
            penalty=Tikhonov(0.3),
        )
        self.objective = discretize(self.problem)

    def error(self, found: np.ndarray) -> float:
        """|gradient| of a control (K, N)."""
        gradient = self.objective.gradient(self.problem.space.sample(bias=found))
        return self.problem.space.norm(gradient)

    def value(self, found: np.ndarray) -> float:
        """J."""
        return self.objective.value(self.problem.space.sample(bias=found))

    def ours(self) -> Callable[[], np.ndarray]:
        """One Newton step from 0: model, sweep, run."""
        linearizer, columns = Linearizer(self.objective), Columns.of(self.problem.space)
        free = np.array([[-np.inf], [np.inf]]) * np.ones(len(columns))
        rollout, zero = Rollout(self.objective, columns, free), self.problem.space.zeros()

        def run() -> np.ndarray:
            point = rollout.start(zero)
            model = linearizer(zero, (point.sweeps, point.tape))
            found = sweep(model.model, columns.weights, 0.0, pivots="end")
            new = rollout(point, model.states, found.law, found.ds, 1.0)
            if new is None:
                raise FloatingPointError("the step is not finite")
            return new.control["bias"]

        return run

    def whole(self) -> Callable[[], np.ndarray]:
        """The minimizer, which adds its tests; the radius lets it begin with a whole step."""
        minimizer = RiccatiNewton(gtol=1e-8, radius=1e12)
        return lambda: minimize(self.problem, minimizer).control["bias"]

    def fatrop(self) -> Callable[[], np.ndarray]:
        import casadi  # noqa: PLC0415

        tau = ARC_HORIZON / ARC_LAYERS
        x, u = casadi.SX.sym("x", ARCS), casadi.SX.sym("u", ARCS)
        after = x + tau * (u - casadi.DM(self.kernel * self.w) @ x)
        layer = casadi.Function("layer", [x, u], [after])
        distance = (x - (1.0 + 0.5 * self.y)) ** 2
        w = casadi.DM(self.w)
        state = casadi.Function("state", [x], [0.5 * casadi.dot(w, distance)])
        control = casadi.Function("control", [u], [0.3 * casadi.dot(w, u**2)])
        built = Shooting(layer, state, control, np.zeros(ARCS), tau, ARC_LAYERS)
        solve = built.run("fatrop", np.zeros(ARCS))
        return lambda: solve()[0]


def arcs() -> list[_harness.Row]:
    """One Newton step against fatrop."""
    data = Arcs()
    case = f"two arcs, {ARCS} nodes, K = {ARC_LAYERS}"
    values = {}

    def error(title: str, found: np.ndarray) -> float:
        values[title] = data.value(found)
        return data.error(found)

    makes = {
        "continuum one Newton step": data.ours,
        "continuum RiccatiNewton": data.whole,
        "CasADi fatrop": data.fatrop,
    }
    cases = [
        _harness.Case(title, case, make, lambda x, title=title: error(title, x), GRADIENT)
        for title, make in makes.items()
    ]
    _harness.measure(cases, ROUNDS_ARCS)
    rows = _harness.compare_all(cases, {"CasADi fatrop": 1.0})
    for row in rows:
        title = row["name"]
        if title in values:
            row["status"] = f"{row['status']}, J = {values[title]:.12f}"
    return rows


class Points:
    """1000 points on all meshes."""

    def __init__(self) -> None:
        data = separated(POINTS)
        fine = TimeMesh(POINT_HORIZON, POINT_LAYERS)
        self.problems = []
        for _, parts in COARSE:
            joined = np.concatenate([np.full(count, size) for count, size in parts])
            kept = np.concatenate([[0], np.cumsum(joined)])
            whole = len(joined) == POINT_LAYERS
            mesh = fine if whole else TimeMesh.through(fine.nodes[kept])
            self.problems.append(posed(*data, mesh))
        self.fine = self.problems[-1]
        self.start = 0.01 * np.random.default_rng(3).standard_normal(6)

    def begin(self, problem: LearningProblem):
        """The start on the layers of a problem."""
        every = np.broadcast_to(self.start, (problem.mesh.layers, 6))
        return problem.space.sample(
            weight=every[:, :4].reshape(-1, 2, 2), bias=np.array(every[:, 4:])
        )

    def at_once(self):
        """The control after ITERATIONS of L-BFGS on all layers."""
        method = LBFGS(max_iterations=ITERATIONS)
        return minimize(
            self.fine, method, initial=self.begin(self.fine), raise_on_failure=False
        ).control

    def by_meshes(self):
        """The control after those of COARSE, each mesh from the last."""
        control = self.begin(self.problems[0])
        for problem, (iterations, _) in zip(self.problems, COARSE, strict=True):
            start = change_depth(control, problem.mesh)
            method = LBFGS(max_iterations=iterations)
            control = minimize(problem, method, initial=start, raise_on_failure=False).control
        return control


def points() -> list[_harness.Row]:
    """L-BFGS on three meshes against L-BFGS on one."""
    data, values = Points(), {}
    objective = discretize(data.fine)
    titles = ("continuum LBFGS, three meshes", "continuum LBFGS, one mesh")
    case = f"{POINTS} points, T = {POINT_HORIZON:g}, K = {POINT_LAYERS}"

    def error(title: str, found) -> float:
        values[title] = objective.value(found)
        return values[title] - REACHED

    makes = (lambda: data.by_meshes, lambda: data.at_once)
    three, one = (
        _harness.Case(title, case, make, lambda found, title=title: error(title, found), tolerance)
        for title, make, tolerance in zip(titles, makes, (0.0, np.inf), strict=True)
    )
    _harness.measure([three, one], ROUNDS_POINTS)
    rows = _harness.compare_all([three, one], {titles[1]: 3.0})
    for row in rows:
        title = str(row["name"])
        if title in values:
            row["status"] = f"{row['status']}, J = {values[title]:.6f}"
    return rows


CASES = {
    "easy": lambda: rows_of("easy"),
    "hard": lambda: rows_of("hard"),
    "arcs": arcs,
    "points": points,
}


def main(json_path: Path, cases: Sequence[str]) -> None:
    """Runs some cases, or all; the file gets the rows."""
    rows = [row for name in cases for row in CASES[name]()]
    _harness.write(
        rows, json_path, "Long horizons: whole solves of the same discrete problem, float64"
    )


if __name__ == "__main__":
    _harness.run("turnpike", main, tuple(CASES))
