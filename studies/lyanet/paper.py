"""The paper."""

PAPER = "Jimenez Rodriguez, Ames, Yue, LyaNet: A Lyapunov Framework for Training Neural ODEs"
