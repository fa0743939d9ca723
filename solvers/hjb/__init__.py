"""The Hamilton-Jacobi-Bellman equation: value functions, feedback, and bounds for every control."""
