"""Filters over a window give what `scipy.ndimage` gives."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_cytosae.core._window import dilated, eroded, maximum, opened

IMAGE = np.random.default_rng(0).random((41, 60)).astype(np.float32)
MASK = ndi.gaussian_filter(IMAGE, 2) > 0.48


@pytest.mark.parametrize("radius", [1, 2, 5, 30, 50])
def test_maximum(radius):
    expected = ndi.maximum_filter(IMAGE, 2 * radius + 1)
    np.testing.assert_array_equal(maximum(IMAGE, radius), expected)


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (eroded, ndi.binary_erosion),
        (dilated, ndi.binary_dilation),
        (opened, ndi.binary_opening),
    ],
)
def test_morphology(ours, theirs, times):
    before = MASK.copy()
    np.testing.assert_array_equal(ours(MASK, times), theirs(MASK, iterations=times))
    np.testing.assert_array_equal(MASK, before)
