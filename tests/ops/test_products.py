"""Products have right gradients where factors are zero, and no rule may divide by one."""

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.testing import check_gradients

ZEROS = {
    "none": [[1.5, -2.0, 0.5], [3.0, 0.25, -1.0]],
    "one": [[1.5, 0.0, 0.5], [3.0, 0.25, -1.0]],
    "two in a row": [[1.5, 0.0, 0.0], [0.0, 0.25, 0.0]],
    "all": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
}


@pytest.mark.parametrize("zeros", ZEROS)
@pytest.mark.parametrize("name", ["prod", "cumulative_prod"])
def test_gradients_of_products_are_right_where_factors_are_zero(name, zeros):
    product = getattr(tg, name)
    for axis in (0, 1):
        report = check_gradients(lambda x, axis=axis: product(x, axis=axis), np.array(ZEROS[zeros]), order=2)
        assert report, str(report)
