"""What happens during a run, and when."""

import io

import numpy as np
import pytest

from continuum import TimeMesh, exact, gauss_legendre
from solvers import (
    RK4,
    DormandPrince,
    EverySeconds,
    EverySteps,
    Monitor,
    Progress,
    Record,
    Status,
    Stop,
    integrate,
)

CASE = exact.scalar_decay


def run(stepper, *monitors, layers=20, **options):
    return integrate(
        *CASE.setup(gauss_legendre(CASE.domain, 2), layers), stepper, monitors=monitors, **options
    )


def level(snapshot):
    return float(snapshot.state[0, 0])


def test_records_are_the_states_at_their_steps():
    record = Record("level", level)
    solution = run(RK4(), Monitor(record, EverySteps(6)))
    np.testing.assert_allclose(solution.history["level.times"], [0.3, 0.6, 0.9, 1.0], rtol=1e-14)
    expected = [CASE.solution(np.zeros(1), t)[0] for t in (0.3, 0.6, 0.9, 1.0)]
    np.testing.assert_allclose(solution.history["level"], expected, rtol=0, atol=1e-7)
    plain = run(RK4())
    np.testing.assert_array_equal(solution.trajectory.final, plain.trajectory.final)


@pytest.mark.parametrize(
    "stepper", [RK4(), DormandPrince(rtol=1e-9, atol=1e-9)], ids=["fixed", "adaptive"]
)
def test_stopping_is_not_finishing(stepper):
    solution = run(stepper, Monitor(Stop(lambda s: level(s) < 0.8)))
    assert solution.status is Status.STOPPED
    assert solution.status.ok
    last = solution.trajectory.times[-1]
    assert 0.0 < last < 1.0
    assert solution.trajectory.final[0, 0] < 0.8
    np.testing.assert_allclose(
        solution.trajectory.final, CASE.solution(np.zeros((2, 1)), last), rtol=0, atol=1e-6
    )


def test_a_stop_at_the_last_step_has_finished():
    assert run(RK4(), Monitor(Stop(lambda s: s.time >= 1.0))).status is Status.FINISHED


def test_progress_writes_lines():
    stream = io.StringIO()
    run(RK4(), Monitor(Progress(stream), EverySteps(10)))
    assert stream.getvalue().splitlines() == [
        "step 10 of at most 20  t 0.5",
        "step 20 of at most 20  t 1",
    ]
    stream = io.StringIO()
    run(RK4(), Monitor(Progress(stream), EverySeconds(1000.0)))
    assert len(stream.getvalue().splitlines()) == 1  # always at the end


def test_results_may_not_depend_on_the_clock():
    for action in (Stop(lambda s: False), Record("level", level)):
        with pytest.raises(TypeError, match="must not depend on the clock"):
            Monitor(action, EverySeconds(1.0))


def test_bad_input():
    with pytest.raises(ValueError, match="count must be at least 1"):
        EverySteps(0)
    with pytest.raises(ValueError, match="seconds must be finite and positive"):
        EverySeconds(0.0)
    with pytest.raises(TypeError, match="quantity must be a function"):
        Record("level", 3.0)
    with pytest.raises(ValueError, match="two Record monitors are both named 'level'"):
        run(RK4(), Monitor(Record("level", level)), Monitor(Record("level", level)))


def test_mesh():
    mesh = TimeMesh(2.0, 4, grading=2.0)
    np.testing.assert_allclose(mesh.nodes, [0, 0.125, 0.5, 1.125, 2.0])
    np.testing.assert_allclose(mesh.steps, np.diff(mesh.nodes))
    assert [mesh.layer_of(t) for t in (0.0, 0.125, 0.3, 2.0)] == [0, 1, 1, 3]
