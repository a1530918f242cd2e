"""The gallery: one script for each system of the lecture notes; installed as ``tinygrad_rnn.examples``.

``python -m tinygrad_rnn examples`` lists them, ``python -m tinygrad_rnn examples NAME`` runs one. Each script prints
the number that its source states beside the one it got, and saves a picture.
"""
