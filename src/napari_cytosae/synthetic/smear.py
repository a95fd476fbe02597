"""A slide that is drawn where one looks: whole, or region by region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.synthetic.camera import ALIGN, Camera
from napari_cytosae.synthetic.canvas import Canvas
from napari_cytosae.synthetic.layout import kind_of, place_cells
from napari_cytosae.synthetic.red_cells import draw_background, draw_platelet, draw_red_cell
from napari_cytosae.synthetic.stain import Stain
from napari_cytosae.synthetic.white_cells import draw_white_cell

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from napari_cytosae.core.types import Int32Array, UInt8Array
    from napari_cytosae.synthetic.layout import Placed

DENSITY = 0.0115
"""Red cells a um2 in a good field: they just touch, few overlap."""

SAMPLE = 0.26
"""Coarsest distance between samples, um; larger pixels average several."""

REACH = 25.0
"""um from its centre that no cell reaches beyond."""

_DRAW = {"wbc": draw_white_cell, "rbc": draw_red_cell, "platelet": draw_platelet}

COMMON = {
    "neutrophil": 0.52,
    "band_neutrophil": 0.05,
    "lymphocyte": 0.22,
    "large_lymphocyte": 0.06,
    "monocyte": 0.08,
    "eosinophil": 0.05,
    "basophil": 0.02,
}
"""A normal differential."""


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticSmear:
    """A drawn smear and its exact ground truth.

    Attributes
    ----------
    rgb : ndarray of uint8, (H, W, 3)
    labels : ndarray of int32, (H, W)
        Cell id of each pixel, all kinds; where cells overlap, the upper one.
    nuclei : ndarray of int32, (H, W)
        Same ids, nuclei of white cells only.
    table : DataFrame
        One row a cell in view: ``cell_id, kind, cell_type, centroid_x, centroid_y,
        diameter_um``; positions are where the cell was placed, px of this image.
    pixel_size : float
        um.
    seed : int
    """

    rgb: UInt8Array
    labels: Int32Array
    nuclei: Int32Array
    table: pd.DataFrame
    pixel_size: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Slide:
    """A layout with its stain and camera; pixels exist once a region is drawn.

    Attributes
    ----------
    shape : (int, int)
        Height and width, px.
    pixel_size : float
        um.
    seed : int
    cells : tuple of Placed
    stain : Stain
    camera : Camera
    """

    shape: tuple[int, int]
    pixel_size: float
    seed: int
    cells: tuple[Placed, ...]
    stain: Stain
    camera: Camera

    def region(
        self, y0: int, x0: int, y1: int, x1: int
    ) -> tuple[UInt8Array, Int32Array, Int32Array]:
        """Draw rows `y0` to `y1` and columns `x0` to `x1` (half-open).

        The same pixels come out whichever regions the slide is cut into.

        Returns
        -------
        rgb : ndarray of uint8, (h, w, 3)
        labels, nuclei : ndarray of int32, (h, w)
        """
        margin = self.camera.reach(self.pixel_size)
        top, left = y0 - y0 % ALIGN - margin, x0 - x0 % ALIGN - margin
        bottom, right = y1 + -y1 % ALIGN + margin, x1 + -x1 % ALIGN + margin
        factor = 2 * int(np.ceil((self.pixel_size / SAMPLE - 1) / 2)) + 1
        canvas = Canvas(
            self.pixel_size, max(factor, 1), (top, left), (bottom - top, right - left)
        )
        draw_background(canvas, self.stain, self.seed)
        near = self._near(top, left, bottom, right)
        # White cells first: red cells and platelets make room for them.
        for kind, draw in _DRAW.items():
            for cell in near:
                if cell.kind == kind:
                    draw(canvas, cell, self.stain)
        rgb = self.camera.expose(
            canvas.density(self.stain),
            pixel_size=self.pixel_size,
            factor=canvas.factor,
            origin=(top, left),
            field=self.shape,
            seed=self.seed,
        )
        inner = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        return (
            np.ascontiguousarray(rgb[inner]),
            np.ascontiguousarray(canvas.stored(canvas.labels)[inner]),
            np.ascontiguousarray(canvas.stored(canvas.nuclei)[inner]),
        )

    def _near(self, top: int, left: int, bottom: int, right: int) -> list[Placed]:
        """Cells that may reach into a tile (edges in px)."""
        um = self.pixel_size
        y0, x0, y1, x1 = (edge * um for edge in (top, left, bottom, right))
        return [
            cell
            for cell in self.cells
            if y0 - REACH < cell.y < y1 + REACH and x0 - REACH < cell.x < x1 + REACH
        ]

    def render(self) -> SyntheticSmear:
        """Draw the whole slide."""
        import pandas as pd

        rgb, labels, nuclei = self.region(0, 0, *self.shape)
        visible = set(np.unique(labels)) - {0}
        rows = [
            (
                c.cell_id,
                c.kind,
                c.cell_type,
                c.x / self.pixel_size,
                c.y / self.pixel_size,
                c.diameter,
            )
            for c in self.cells
            if c.cell_id in visible
        ]
        columns = [
            "cell_id",
            "kind",
            "cell_type",
            "centroid_x",
            "centroid_y",
            "diameter_um",
        ]
        table = pd.DataFrame(rows, columns=columns)
        return SyntheticSmear(rgb, labels, nuclei, table, self.pixel_size, self.seed)


def make_slide(
    shape: tuple[int, int] = (768, 1024),
    pixel_size: float = 0.1,
    seed: int = 0,
    wbc: Mapping[str, int] | None = None,
    n_rbc: int | None = None,
    n_platelets: int | None = None,
    stain: Stain | None = None,
    camera: Camera | None = None,
    crowding: float = 0.2,
) -> Slide:
    """Lay out a smear without drawing it; the parameters are those of `render_smear`."""
    rng = np.random.default_rng([seed, 2])
    height, width = shape[0] * pixel_size, shape[1] * pixel_size
    area = height * width
    if wbc is None:
        names, shares = list(COMMON), np.array(list(COMMON.values()))
        count = int(rng.poisson(area / 1500))
        white = [names[k] for k in rng.choice(len(names), count, p=shares / shares.sum())]
    else:
        for name in wbc:
            kind_of(name)
        white = [name for name, count in wbc.items() for _ in range(count)]
    cells = place_cells(
        seed,
        height,
        width,
        white,
        round(area * DENSITY) if n_rbc is None else n_rbc,
        round(area / 700) if n_platelets is None else n_platelets,
        crowding=crowding,
    )
    return Slide(shape, pixel_size, seed, cells, stain or Stain(), camera or Camera())


def render_smear(
    shape: tuple[int, int] = (768, 1024),
    pixel_size: float = 0.1,
    seed: int = 0,
    wbc: Mapping[str, int] | None = None,
    n_rbc: int | None = None,
    n_platelets: int | None = None,
    stain: Stain | None = None,
    camera: Camera | None = None,
    crowding: float = 0.2,
) -> SyntheticSmear:
    """Draw a smear.

    Parameters
    ----------
    shape : (int, int)
        Height and width, px.
    pixel_size : float
        um, 0.04 to 0.5.
    seed : int
        Same arguments, same pixels.
    wbc : mapping of str to int, optional
        White cells of each type (`recipes.WBC_TYPES`); None draws from a normal
        differential.
    n_rbc, n_platelets : int, optional
        Cells with their centre in view; None gives the density of a good field.
    stain : Stain, optional
        None is a textbook stain; `Stain.random` gives another laboratory's.
    camera : Camera, optional
        None is a good one; `Camera.random` gives another laboratory's.
    crowding : float
        0 keeps red cells apart, 1 piles them into rouleaux.

    Raises
    ------
    ValueError
        For a cell type that is not drawn here.
    """
    return make_slide(
        shape, pixel_size, seed, wbc, n_rbc, n_platelets, stain, camera, crowding
    ).render()
