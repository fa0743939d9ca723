from dataclasses import dataclass
from continuum.problem import LearningProblem
from continuum.controls import Control

@dataclass(frozen=True, eq=False)
class ProvedCost:
    problem: LearningProblem
    control: Control
    value: float
