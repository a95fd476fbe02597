"""Single-cell crops in the looks of many laboratories: what a model is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_cytosae.synthetic.camera import Camera
from napari_cytosae.synthetic.layout import kind_of, place_cells
from napari_cytosae.synthetic.smear import COMMON, DENSITY, Slide
from napari_cytosae.synthetic.stain import Stain

if TYPE_CHECKING:
    from napari_cytosae.core.types import Int32Array, UInt8Array

COMPARTMENTS = ("background", "rbc", "platelet", "cytoplasm", "nucleus")
"""Meaning of the values of `CellImage.compartments`."""


class CellImage(NamedTuple):
    """A crop with one cell in its middle.

    Attributes
    ----------
    rgb : ndarray of uint8, (size, size, 3)
    compartments : ndarray of uint8, (size, size)
        Index into `COMPARTMENTS`, of all cells in view.
    cell_type : str
    labels : ndarray of int32, (size, size)
        Cell ids; the cell in the middle is 1.
    pixel_size : float
        um.
    """

    rgb: UInt8Array
    compartments: UInt8Array
    cell_type: str
    labels: Int32Array
    pixel_size: float


def render_cell(
    cell_type: str,
    seed: int,
    size: int = 224,
    field_of_view_um: float | None = None,
    stain: Stain | None = None,
    camera: Camera | None = None,
) -> CellImage:
    """Draw one cell and its neighbours.

    Parameters
    ----------
    cell_type : str
        A white cell (`recipes.WBC_TYPES`), a red cell type or ``platelet``.
    seed : int
        Same arguments, same pixels.
    size : int
        Side, px.
    field_of_view_um : float, optional
        Side, um; None draws one between a tight crop (17 um) and a wide one (40 um).
    stain, camera : optional
        None draws a laboratory at random.

    Raises
    ------
    ValueError
        For a cell type that is not drawn here.
    """
    rng = np.random.default_rng([seed, 3])
    kind_of(cell_type)
    if field_of_view_um is None:
        field_of_view_um = float(np.exp(rng.uniform(np.log(17), np.log(40))))
    stain = stain or Stain.random(rng)
    camera = camera or Camera.random(rng)
    side = field_of_view_um
    density = DENSITY * rng.choice([0.0, 0.4, 1.0, 1.3], p=[0.1, 0.25, 0.45, 0.2])
    names, shares = list(COMMON), np.array(list(COMMON.values()))
    # A second white cell finds room in a wide field only.
    more = rng.poisson(side * side / 4000) if side > 28 else 0
    others = rng.choice(len(names), more, p=shares / shares.sum())
    cells = place_cells(
        seed,
        side,
        side,
        [names[k] for k in others],
        round(side * side * density),
        int(rng.poisson(side * side / 700)),
        crowding=float(rng.beta(1, 2.5)),
        centre=cell_type,
        shift=tuple(np.clip(rng.normal(0, 0.02 * side, 2), -0.05 * side, 0.05 * side)),
    )
    slide = Slide((size, size), side / size, seed, cells, stain, camera)
    rgb, labels, nuclei = slide.region(0, 0, size, size)
    classes = np.zeros(len(cells) + 1, np.uint8)
    for cell in cells:
        name = "cytoplasm" if cell.kind == "wbc" else cell.kind
        classes[cell.cell_id] = COMPARTMENTS.index(name)
    compartments = classes[labels]
    compartments[nuclei > 0] = COMPARTMENTS.index("nucleus")
    return CellImage(rgb, compartments, cell_type, labels, slide.pixel_size)
