"""The border of an image, and how much of a cell it leaves in view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

from napari_cytosae.core._shape import cut

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float64Array, Int32Array


def share_in_view(labels: Int32Array, typical: float) -> Float64Array:
    """Share of each cell that lies in the image, (n + 1,); 1 for those not cut.

    Two estimates are averaged, because cells differ in size and are not quite round: the
    area in view against the typical one, and that of a circle that is as wide along the
    border and reaches as far into the image.

    Parameters
    ----------
    labels : ndarray of int32, (H, W)
        Ids 1 to n.
    typical : float
        Area of a whole cell in pixels.
    """
    area = np.bincount(labels.ravel())
    share = np.ones(len(area))
    reached = np.flatnonzero(cut(labels, len(area)))
    boxes = ndi.find_objects(labels)
    for i in reached[reached > 0].tolist():
        box = boxes[i - 1]
        extent = [side.stop - side.start for side in box]
        arc = 1.0
        for axis, side in enumerate(box):
            if side.start == 0 or side.stop == labels.shape[axis]:
                arc *= _circle_share(extent[axis], extent[1 - axis])
        share[i] = (arc + min(1.0, area[i] / typical)) / 2
    return share


def _circle_share(depth: float, width: float) -> float:
    """Share of a circle on this side of a line, by how deep and how wide that part is."""
    if depth < width / 2:
        # The widest place is the chord that the line cuts.
        radius = (width**2 / 4 + depth**2) / (2 * depth)
    else:
        radius = max(width, depth) / 2
    beyond = float(np.clip(depth / radius - 1, -1, 1))
    return 1 - float(np.arccos(beyond) - beyond * np.sqrt(1 - beyond**2)) / np.pi
