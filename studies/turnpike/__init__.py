"""The turnpike: very deep networks as optimal control on long horizons."""
