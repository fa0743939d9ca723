"""The paper."""

PAPER = "Nar and Sastry, Residual Networks: Lyapunov Stability and Convex Decomposition"
