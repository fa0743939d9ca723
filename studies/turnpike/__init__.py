"""Geshkovski, Large-time asymptotics in deep learning: the turnpike, executable."""
