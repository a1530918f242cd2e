"""The hot loops, one folder an implementation: the same file names, functions and signatures in each.

Imports nothing of the rest of the project. Installed, and to be imported, as `tinygrad_rnn.kernels`.
"""

if __name__ == "kernels":
    raise ImportError("this folder is the package tinygrad_rnn.kernels: write `import tinygrad_rnn.kernels`")
