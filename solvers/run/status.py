"""How a solver ended, in sentences a user reads."""

from enum import Enum


class Status(Enum):
    """The end of a run: `value` is the sentence, `ok` is True for an answer, False for a failure.

    Failures raise `solution.SolveError` unless asked not to.
    """

    ok: bool

    def __new__(cls, sentence: str, ok: bool) -> "Status":
        member = object.__new__(cls)
        member._value_ = sentence
        member.ok = ok
        return member

    FINISHED = (
        "The horizon was reached and every state is finite.",
        True,
    )
    CONVERGED = (
        "Stationary: the projected gradient is below the tolerance. A minimum, a saddle and a "
        "maximum all are; this run does not tell them apart.",
        True,
    )
    MINIMUM = (
        "Converged: the projected gradient is below the tolerance, and every pivot of the Hessian "
        "is positive: up to the tolerance, a strict local minimum of the discrete problem. Others "
        "may be lower.",
        True,
    )
    GAP_CLOSED = (
        "Converged: the duality gap is below the tolerance; where the objective is convex, it "
        "bounds the distance from the least one.",
        True,
    )
    CONVERGED_SHOOTING = (
        "Converged: state, costate and control satisfy Pontryagin's equations to the tolerance.",
        True,
    )
    EXTREMAL = (
        "Converged: the control minimises the Hamiltonian on every layer, to the tolerance.",
        True,
    )
    EXTREMAL_INEXACT = (
        "Converged, inexact: a local search lowers the Hamiltonian on no layer by more than "
        "the tolerance; no closed form of its minimiser is known here, so the gap is a lower "
        "bound of the true one.",
        True,
    )
    ITERATED = (
        "All iterations were made; a run on batches of samples shows no convergence.",
        True,
    )
    SETTLED = (
        "Settled: every error is below the tolerance. It says nothing of other data.",
        True,
    )
    STOPPED = (
        "Stopped by a monitor before the end; this is not convergence.",
        True,
    )
    NON_FINITE = (
        "A state became infinite or NaN. Where the equation has a solution, shorter steps help, a "
        "shorter horizon or a smaller control; if it is stiff, RadauIIA5(rtol=1e-6, atol=1e-9).",
        False,
    )
    TIMES_OUT_OF_ORDER = (
        "The switching times do not increase inside the horizon, so that there is no run. Start "
        "from times in order, such as the changes of the network.",
        False,
    )
    STEPS_TOO_LONG = (
        "The steps are too long: the state grew by orders of magnitude, and from the same "
        "state shorter steps lead elsewhere. Use steps as short as the detail says, a method "
        "that chooses them, such as DOP853(rtol=1e-8, atol=1e-10), or, if the problem is "
        "stiff, RadauIIA5(rtol=1e-6, atol=1e-9).",
        False,
    )
    MAX_STEPS = (
        "The cap on the number of steps was reached before the horizon. Raise max_steps, "
        "rtol or atol; if the state hardly changes over so many steps, the problem is "
        "stiff: use RadauIIA5(rtol=1e-6, atol=1e-9).",
        False,
    )
    NOT_SETTLED = (
        "The cost could not be computed to rtol: values at smaller and smaller errors of the steps "
        "do not agree, or ask for too many steps. Give a larger rtol, or a shorter horizon.",
        False,
    )
    STEP_UNDERFLOW = (
        "The error tolerance asks for steps below the spacing of floating-point numbers: the "
        "problem is stiff, singular or not smooth there. Raise rtol and atol; for a stiff "
        "one use RadauIIA5(rtol=1e-6, atol=1e-9).",
        False,
    )
    NEWTON_FAILED = (
        "Newton's iteration for an implicit step did not converge. Use more steps per layer, or "
        "tolerances, as in RadauIIA5(rtol=1e-6, atol=1e-9), which choose them. If those were too "
        "short for the numbers already, velocity and jvp may not belong together: ask "
        "check_derivatives.",
        False,
    )
    NEWTON_SHOOTING_FAILED = (
        "Newton's iteration for the two-point problem did not converge.",
        False,
    )
    MAX_EVALUATIONS = (
        "The cap on evaluations of the state-costate equations was reached before they were "
        "solved. Raise max_evaluations, or do as the detail says.",
        False,
    )
    COSTATE_VANISHES = (
        "The costate of the control at hand vanishes at every time, so that H does not depend on "
        "the control and every control is extremal there: Pontryagin's principle decides nothing. "
        "Where the target is reached, minimal_norm(problem, control) chooses one of least norm.",
        True,
    )
    SINGULAR_ARC = (
        "The control switches without end: the path runs along a singular arc, which "
        "switching times do not describe. Add a Tikhonov term, or judge the control with "
        "pontryagin_certificate.",
        False,
    )
    NON_FINITE_START = (
        "The objective or its gradient is infinite or NaN at the initial control. Start from a "
        "smaller control.",
        False,
    )
    NON_FINITE_OBJECTIVE = (
        "The objective or its gradient became infinite or NaN in mid-run; the control is one from "
        "before that. Take shorter steps or start elsewhere; if the objective is your own, look "
        "at its derivative there.",
        False,
    )
    INTERRUPTED = (
        "Interrupted from the keyboard; the control is one that had been reached until then.",
        False,
    )
    STANDS_STILL = (
        "The law moves no weight although errors are left: its sums over the samples cancel, or no "
        "weight moves an output. Start elsewhere, or use another law.",
        False,
    )
    SADDLE = (
        "Stationary, but no minimum: the gradient is below the tolerance, the curvature is "
        "negative along some direction, and no step along it lowers the objective by more than "
        "rounding. Start elsewhere.",
        False,
    )
    ENDPOINT_MISSED = (
        "The endpoint was not reached: the distance from it does not fall although its weight was "
        "raised again and again. It seems unreachable, at least from this start: give more layers "
        "or another start, or a target that the data allow.",
        False,
    )
    FOLLOWED = (
        "The branch was followed to an end of the range. Its points are stationary; their Morse "
        "indices say which are no minima.",
        True,
    )
    BRANCH_LOST = (
        "The branch could not be followed further: however short the step, Newton's iteration "
        "finds no stationary point beside the last. Start elsewhere, or with a larger gtol if it "
        "is near rounding.",
        False,
    )
    BRANCH_CAPPED = (
        "The cap on the number of points was reached inside the range of the parameter. Raise "
        "max_points or max_step.",
        False,
    )
    VALUE_NOT_FINITE = (
        "A value became infinite or NaN on the grid; the values at later times are kept. Take a "
        "smaller box or a shorter horizon, or scale the cost down.",
        False,
    )
    LEFT_GRID = (
        "The state left the grid of the value function, which says nothing there: the control "
        "after that is zero, or the nearest admissible one. Take a larger box.",
        False,
    )
    RAISED = (
        "The method raised an error, which the detail repeats; the control is zero.",
        False,
    )
    MAX_ITERATIONS = (
        "The cap on the number of iterations was reached before convergence. Raise max_iterations.",
        False,
    )
    PERIOD_TWO = (
        "Period two: every second control is the same, to 1e-9 of the distance between two that "
        "follow each other, and so for some iterations. The step is too long for the minimum "
        "beside them: take one below 2 / sharpness, the largest eigenvalue of the Hessian there.",
        False,
    )
    TWO_CYCLE = (
        "Control and objective return after two iterations: successive approximation does "
        "not converge here. Use relaxation='search' or augmentation='adaptive', or a larger "
        "augmentation.",
        False,
    )
    LINE_SEARCH_FAILED = (
        "No step along the search direction lowers the objective: the gradient is at its "
        "rounding error, or wrong. If the tolerance is near rounding, raise gtol.",
        False,
    )
    SUBPROBLEM_FAILED = (
        "A subproblem ended above its start, so the objective did not fall as it must. Give "
        "the inner method a smaller gtol or more iterations, or take a smaller step.",
        False,
    )
