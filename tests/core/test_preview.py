"""What is previewed of a part is what a search of the whole finds there."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cytosae.core import preview as module
from napari_cytosae.core._glass import glass_light, surface
from napari_cytosae.core._run import run
from napari_cytosae.core.images import as_image, read_image
from napari_cytosae.core.preview import conditions_of, preview
from napari_cytosae.core.segmentation import segment
from napari_cytosae.core.types import Image
from napari_cytosae.synthetic import render_smear

KINDS = ("wbc", "rbc", "platelet")


def compare(image, box):
    """Search of the whole, preview of a part, and rows of the cells wholly inside it."""
    whole = segment(image, kinds=KINDS)
    part = run(preview(image, box, KINDS, conditions_of(image)))
    y0, x0, y1, x1 = box
    assert part.labels.shape == (y1 - y0, x1 - x0)
    assert part.pixel_size == whole.pixel_size
    table = whole.table
    inside = table[(table.bbox_y0 >= y0) & (table.bbox_x0 >= x0)]
    inside = inside[(inside.bbox_y1 <= y1) & (inside.bbox_x1 <= x1)]
    return whole, part, inside


@pytest.mark.parametrize(
    ("number", "box"), [("00034", (160, 244, 321, 395)), ("00030", (100, 120, 400, 500))]
)
def test_the_preview_of_a_field_of_unknown_scale_is_what_segment_finds(
    data_dir, number, box
):
    image = read_image(data_dir / "bccd" / "images" / f"BloodImage_{number}.jpg")
    whole, part, inside = compare(image, box)
    assert whole.pixel_size.um is None
    assert len(part) >= 1
    y0, x0, y1, x1 = box
    wanted = whole.labels[y0:y1, x0:x1]
    np.testing.assert_array_equal(part.labels > 0, wanted > 0)
    kinds = part.table.set_index("cell_id").kind
    for row in inside.itertuples():
        mine = np.unique(part.labels[wanted == row.cell_id])
        assert len(mine) == 1
        assert kinds[mine[0]] == row.kind
    assert len(part) == len(np.unique(wanted)) - 1


@pytest.mark.parametrize("told", [True, False])
def test_the_light_of_a_shaded_smear_is_that_of_the_whole(told):
    """Of a part that is far from all edges, at a scale told or not."""
    drawn = render_smear((1500, 1800), 0.2, 6, n_rbc=500)
    y, x = np.mgrid[-1:1:1500j, -1:1:1800j]
    shaded = np.clip(drawn.rgb * (1 - 0.12 * (x**2 + y**2) + 0.06 * x)[..., None], 0, 255)
    image = as_image(shaded.astype(np.uint8), "a.png", 0.2 if told else None)
    _, part, inside = compare(image, (500, 600, 1000, 1200))
    offset = part.table[["centroid_y", "centroid_x"]].to_numpy()
    offset += np.array([500, 600])
    centres = inside[["centroid_y", "centroid_x"]].to_numpy()
    away = np.linalg.norm(offset[None] - centres[:, None], axis=-1)
    assert len(inside) > 20
    assert (away.min(axis=1) < 1).mean() > 0.97
    area = part.table["area_px"].to_numpy()[away.argmin(axis=1)]
    assert np.median(np.abs(area / inside["area_px"].to_numpy() - 1)) < 0.01


def test_the_light_within_a_part_is_the_same_surface(data_dir):
    image = read_image(data_dir / "bccd" / "images" / "BloodImage_00034.jpg")
    light, box = glass_light(image.rgb), (60, 120, 300, 480)
    part = module._light_within(light, box, image.rgb.shape[:2])
    for whole, own in zip(light.terms.T, part.terms.T, strict=True):
        full = np.broadcast_to(surface(whole, *image.rgb.shape[:2]), image.rgb.shape[:2])
        np.testing.assert_allclose(
            np.broadcast_to(surface(own, 240, 360), (240, 360)),
            full[60:300, 120:480],
            rtol=1e-4,
        )


def test_what_segment_refuses_the_preview_refuses(data_dir):
    rgb = 255 - read_image(data_dir / "bccd" / "images" / "BloodImage_00034.jpg").rgb
    with pytest.raises(Exception, match="no bright background"):
        conditions_of(Image(rgb, "negative", as_image(rgb, "n").pixel_size, ""))
