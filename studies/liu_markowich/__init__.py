"""Liu and Markowich, Selection dynamics for deep neural networks: the paper's statements and
pictures, executable.
"""
