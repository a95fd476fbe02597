"""Filters over a window give what `scipy.ndimage` gives."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_cytosae.core._window import dilated, eroded, extent, maximum, opened, smoothed

IMAGE = np.random.default_rng(0).random((41, 60)).astype(np.float32)
MASK = ndi.gaussian_filter(IMAGE, 2) > 0.48


@pytest.mark.parametrize("radius", [1, 2, 5, 30, 50])
def test_maximum(radius):
    expected = ndi.maximum_filter(IMAGE, 2 * radius + 1)
    np.testing.assert_array_equal(maximum(IMAGE, radius), expected)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2, 5, 15])
def test_gaussian(sigma):
    expected = ndi.gaussian_filter(IMAGE, sigma)
    np.testing.assert_allclose(smoothed(IMAGE, sigma), expected, atol=1e-6)


def test_extent():
    (box,) = ndi.find_objects(MASK.astype(np.int8))
    assert extent(MASK) == box
    assert extent(np.eye(5, dtype=bool)[2:3]) == (slice(0, 1), slice(2, 3))


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
