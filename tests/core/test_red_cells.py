"""Red cells that are hard to see whole: ghosts, those under things, those cut in part."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage as ndi

from napari_cytosae.core._border import share_in_view
from napari_cytosae.core.images import read_image
from napari_cytosae.core.segmentation import segment

UM = 0.2
RADIUS = 3.75 / UM
GLASS, BLOOD, GHOST = (225, 228, 222), (205, 160, 150), (221, 210, 203)
POINTER, BAR = (90, 95, 92), (60, 230, 60)
CENTRES = [(y, x) for y in range(40, 240, 56) for x in range(40, 320, 56)]
SHAPE = (248, 320)


def away(centre):
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(y - centre[0], x - centre[1])


def smear(centres=CENTRES):
    rgb = np.full((*SHAPE, 3), GLASS, np.float32)
    for centre in centres:
        rgb[away(centre) <= RADIUS] = BLOOD
    return rgb


def red_cells(rgb):
    rgb = ndi.gaussian_filter(rgb, (0.8, 0.8, 0))
    rgb += np.random.default_rng(0).normal(0, 1.5, rgb.shape)
    picture = np.clip(rgb, 0, 255).astype(np.uint8)
    return segment(picture, pixel_size=UM, kinds=("rbc",))


def check_one_each(cells, centres, tolerance):
    """Each centre has one cell, and there are no others."""
    found = cells.table[["centroid_y", "centroid_x"]].to_numpy()
    assert len(found) == len(centres)
    apart = np.hypot(*(np.array(centres)[:, None] - found[None]).transpose(2, 0, 1))
    assert apart.min(axis=1).max() * UM < tolerance
    assert len(set(apart.argmin(axis=1))) == len(centres)


@pytest.mark.parametrize("broken", [False, True])
def test_a_ghost_is_one_whole_cell_though_its_rim_be_broken(broken):
    ghost = CENTRES[7]
    rgb = smear([centre for centre in CENTRES if centre != ghost])
    rim = (away(ghost) <= RADIUS) & (away(ghost) > RADIUS - 1.5 / UM)
    if broken:
        rim[ghost[0] - 1 : ghost[0] + 2, ghost[1] :] = False
    rgb[rim] = GHOST
    cells = red_cells(rgb)
    check_one_each(cells, CENTRES, 0.5)
    own = cells.labels == cells.labels[ghost]
    assert cells.labels[ghost] > 0
    assert own.sum() * UM**2 == pytest.approx(np.pi * 3.75**2, rel=0.2)


def test_a_gap_between_cells_is_no_ghost():
    around = [(124, 160 + 1.02 * RADIUS * 2), (124, 160 - 1.02 * RADIUS * 2)]
    around += [(124 + 1.02 * RADIUS * 2, 160), (124 - 1.02 * RADIUS * 2, 160)]
    far = [centre for centre in CENTRES if np.hypot(centre[0] - 124, centre[1] - 160) > 90]
    check_one_each(red_cells(smear(around + far)), around + far, 0.5)


def test_a_cell_under_the_pointer_is_one_and_the_pointer_is_none():
    rgb = smear()
    x = CENTRES[7][1]
    rgb[100:, x - 6 : x + 6] = POINTER
    under = [centre for centre in CENTRES if centre[0] > 120 and centre[1] == x]
    assert len(under) == 2
    cells = red_cells(rgb)
    check_one_each(cells, [c for c in CENTRES if c[0] < 240], 0.6)
    for centre in under:
        own = cells.labels == cells.labels[centre]
        assert own.sum() * UM**2 == pytest.approx(np.pi * 3.75**2, rel=0.15)


def test_cells_under_a_scale_bar_are_whole_and_the_bar_is_none():
    rgb = smear()
    rgb[151:154, 130:318] = BAR
    rgb[146:159, 130:133] = BAR
    cells = red_cells(rgb)
    check_one_each(cells, CENTRES, 0.6)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("radius", [14, 20, 26])
def test_how_much_of_a_cell_is_in_view_is_told(share, radius):
    """Whatever its size: the typical cell's radius is 20."""
    y, x = np.mgrid[-60:60, -60:60]
    disc = np.hypot(y, x) <= radius
    rows = disc.sum(axis=1)[::-1].cumsum()
    first = 120 - int(np.searchsorted(rows, share * disc.sum())) - 1
    labels = disc[first:].astype(np.int32)
    told = share_in_view(labels, np.pi * 20**2)[1]
    assert told == pytest.approx(share, abs=0.04 if radius == 20 else 0.26)
    assert share_in_view(disc.astype(np.int32), np.pi * 20**2)[1] == 1


def test_only_cells_with_most_of_them_in_view_are_counted():
    whole = [centre for centre in CENTRES if centre[0] > 50]
    less, more = (-0.2 * RADIUS, 96), (0.5 * RADIUS, 208)
    cells = red_cells(smear([*whole, less, more]))
    assert len(cells) == len(whole) + 1
    assert cells.labels[0, 96] == 0
    assert cells.labels[0, 208] > 0


@pytest.mark.parametrize("blood", [(170, 165, 160), (185, 178, 170), (165, 165, 165)])
def test_grey_red_cells_are_no_dust_where_all_is_grey(blood):
    rgb = smear()
    rgb[(rgb == BLOOD).all(axis=-1)] = blood
    check_one_each(red_cells(rgb), CENTRES, tolerance=0.1)


def test_ink_is_no_cell_where_all_is_grey():
    rgb = smear(CENTRES[:-1])
    rgb[(rgb == BLOOD).all(axis=-1)] = (170, 165, 160)
    rgb[away(CENTRES[-1]) <= RADIUS] = (15, 15, 15)
    check_one_each(red_cells(rgb), CENTRES[:-1], tolerance=0.1)


def test_fields_without_colour_keep_their_red_cells(data_dir):
    """Of BCCD's boxes of red cells nearly as many hold one as with colour."""
    boxes = pd.read_csv(data_dir / "bccd" / "annotations.csv")
    found = {"colour": 0, "grey": 0}
    for number in ("00034", "00140", "00272", "00318"):
        name = f"BloodImage_{number}.jpg"
        rgb = read_image(data_dir / "bccd" / "images" / name).rgb
        grey = np.repeat(rgb.mean(axis=-1, keepdims=True).astype(np.uint8), 3, axis=-1)
        true = boxes[(boxes.image == name) & (boxes.label == "RBC")]
        y, x = (true.ymin + true.ymax) // 2, (true.xmin + true.xmax) // 2
        for form, pixels in (("colour", rgb), ("grey", grey)):
            labels = np.asarray(segment(pixels, kinds=("rbc",)).labels)
            found[form] += len(set(labels[y, x]) - {0})
    assert found["colour"] > 40
    assert found["grey"] >= 0.9 * found["colour"]
