"""Distance inside a mask: exact, whatever way it is worked out."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_cytosae.core._distance import distance


def masks():
    rng = np.random.default_rng(0)
    field = ndi.gaussian_filter(rng.random((120, 400)), 6)
    for share in (30, 50, 97):
        yield field < np.percentile(field, share)
    yield np.pad(np.ones((150, 333), bool), 1)  # farther inside than the quick way reaches
    yield field[:1] < 0.5
    yield np.zeros((5, 7), bool)


@pytest.mark.parametrize("mask", list(masks()))
def test_distance_is_exact(mask):
    expected = ndi.distance_transform_edt(mask).astype(np.float32)
    np.testing.assert_array_equal(distance(mask), expected)


@pytest.mark.parametrize("mask", list(masks()))
def test_distances_up_to_the_limit_are_exact_and_others_beyond_it(mask):
    expected = ndi.distance_transform_edt(mask).astype(np.float32)
    found = distance(mask, 4.5)
    near = expected <= 4.5
    np.testing.assert_array_equal(found[near], expected[near])
    assert (found[~near] > 4.5).all()


def test_without_a_false_pixel_all_is_beyond_the_limit():
    assert (distance(np.ones((60, 80), bool), 20) > 20).all()
