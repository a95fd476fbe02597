"""Shapes of all labels at once against those of one label at a time."""

import numpy as np
import pytest
from scipy import ndimage as ndi
from scipy.spatial import ConvexHull
from skimage.measure import regionprops

from napari_cytosae.core._shape import shapes, solidity


@pytest.fixture
def labels():
    field = ndi.gaussian_filter(np.random.default_rng(3).random((120, 170)), 4)
    labels = ndi.label(field > np.percentile(field, 70))[0].astype(np.int32)
    labels[labels == 4] = 0  # an id without pixels
    labels[60, 85] = labels.max() + 1  # one pixel, perhaps within another label
    assert labels.max() > 12
    return labels


def test_shapes(labels):
    shape = shapes(labels)
    assert shape.area[4] == 0
    for region in regionprops(labels):
        i = region.label
        assert shape.area[i] == region.area
        assert (shape.y[i], shape.x[i]) == pytest.approx(region.centroid, abs=1e-9)
        # Of pixels that are squares; scikit-image's are points.
        large, small = np.array(region.inertia_tensor_eigvals) + 1 / 12
        assert shape.minor[i] == pytest.approx(4 * np.sqrt(small), abs=1e-6)
        assert shape.eccentricity[i] == pytest.approx(np.sqrt(1 - small / large), abs=1e-6)
        full = region.area / (4 * np.pi * np.sqrt(large * small))
        assert shape.fullness[i] == pytest.approx(full, abs=1e-9)
        mask = labels == i
        assert shape.cut[i] == (mask.sum() > mask[1:-1, 1:-1].sum())


def test_solidity(labels):
    found = solidity(labels)
    for i in np.unique(labels[labels > 0]):
        y, x = np.nonzero(labels == i)
        sides = np.concatenate(
            [np.column_stack([y + dy, x + dx]) for dy, dx in _SIDES], dtype=float
        )
        expected = min(1.0, len(y) / ConvexHull(sides).volume)
        assert found[i] == pytest.approx(expected, abs=1e-12)


_SIDES = ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))


def test_a_rectangle_is_solid_and_a_cross_is_not():
    labels = np.zeros((40, 40), np.int32)
    labels[2:12, 5:30] = 1
    labels[20:35, 10:13] = labels[26:29, 4:19] = 2
    one, cross = solidity(labels)[1:]
    assert one == 1
    # Its hull is a square of 15 with corners cut off from 6.5 on either side.
    assert cross == pytest.approx(81 / (15**2 - 4 * 6.5**2 / 2), abs=1e-12)
