"""The portraits that `continuum portrait NAME` draws: a module for each kind of network."""
