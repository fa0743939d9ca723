"""The paper."""

PAPER = "Finite-time convergence of learning laws"
