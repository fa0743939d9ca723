"""Geshkovski and Zuazua, large-time asymptotics in deep learning: the paper's statements and
pictures, executable.
"""
