"""Otsu's threshold is scikit-image's."""

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from napari_cytosae.core._otsu import otsu


@pytest.mark.parametrize("apart", [0.1, 0.5, 2.0])
def test_threshold(apart):
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 0.1, 5000), rng.normal(apart, 0.2, 3000)])
    values = values.astype(np.float32)
    one_bin = float(np.ptp(values)) / 256
    assert otsu(values) == pytest.approx(threshold_otsu(values), abs=0.01 * one_bin)


def test_one_value():
    assert otsu(np.full(30, 0.25, np.float32)) == 0.25
