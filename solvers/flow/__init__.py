"""From an initial state to a trajectory, and what can be said of its errors."""
