"""A field whose scale is known -> its cells, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

from napari_cytosae.core import _red, _white, morphometry
from napari_cytosae.core._glass import glass_light, shrink
from napari_cytosae.core._stain import stain
from napari_cytosae.core._window import around
from napari_cytosae.core.types import Cells, Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_cytosae.core._glass import Light
    from napari_cytosae.core.types import (
        CellKind,
        Float64Array,
        Int32Array,
        PixelSize,
        UInt8Array,
    )

_NO_COLOUR = (
    "the image has no colour, by which white cells are told: open the colour image, or "
    "give the cells as labels"
)

_STEPS = 4
_WORK_UM = 0.2
"""Resolution the search runs at: outlines need no finer one, and speed follows it."""


def search_at(
    rgb: UInt8Array,
    size: PixelSize,
    um: float,
    kinds: Sequence[CellKind],
    name: str,
    light: Light | None = None,
) -> Generator[Progress, None, Cells]:
    """Find the cells of a field, or a part of one, whose scale is settled.

    Parameters
    ----------
    rgb : ndarray of uint8, (H, W, 3)
        The field.
    size : PixelSize
        Goes to the table.
    um : float
        Pixel size that size rules use, known or relative.
    kinds : sequence of {"wbc", "rbc", "platelet"}
        What to find.
    name : str
        Column ``image`` of the table.
    light : Light, optional
        Of the field, where it is known.

    Yields
    ------
    Progress
        Before each step, so that the search can be given up there.

    Returns
    -------
    Cells
    """
    yield _step(0)
    factor = _factor(rgb, um)
    work = stain(shrink(rgb, factor), light)
    yield _step(1)
    white, nuclei = _white.white_cells(work, um * factor)
    yield _step(2)
    layers: list[tuple[CellKind, Int32Array]] = [("wbc", white)]
    if "platelet" in kinds or "rbc" in kinds:
        plate = _red.platelets(work, white > 0, um * factor)
        taken = (white > 0) | (plate > 0)
        if "rbc" in kinds:
            layers.append(("rbc", _red.red_cells(work, taken, um * factor)))
        layers.append(("platelet", plate))
    labels = np.zeros(work.void.shape, np.int32)
    kind_of: dict[int, CellKind] = {}
    for kind, found in layers:
        if kind not in kinds:
            continue
        start = len(kind_of)
        count = int(found.max())
        labels[found > 0] = found[found > 0] + start
        kind_of.update({start + i: kind for i in range(1, count + 1)})
    if "wbc" not in kinds:
        nuclei = np.zeros_like(nuclei)
    yield _step(3)
    if factor > 1:
        labels = _enlarge(labels, factor, rgb.shape[:2])
        nuclei = _enlarge(nuclei, factor, rgb.shape[:2])
    nuclei = np.where(nuclei == labels, nuclei, 0).astype(np.int32)
    cells = finish(rgb, labels, nuclei, kind_of, size, um, name)
    if "wbc" in kinds and np.array_equal(rgb[..., 0], rgb[..., 2]):
        return replace(cells, notes=(_NO_COLOUR,))
    return cells


def nuclei_at(
    rgb: UInt8Array, labels: Int32Array, um: float
) -> tuple[Int32Array, dict[int, CellKind]]:
    """Nuclei of given cells (ids 1..n) as `search_at` finds them, and the kind of each."""
    factor = _factor(rgb, um)
    height, width = (side // factor for side in labels.shape)
    coarse = labels[factor // 2 :: factor, factor // 2 :: factor][:height, :width]
    work = stain(shrink(rgb, factor), glass_light(rgb))
    found, white = _white.nuclei_within(work, coarse, um * factor)
    plate = _red.platelets_among(work, coarse, white[coarse], um * factor)
    nuclei = _enlarge(found, factor, labels.shape) if factor > 1 else found
    # What is too thin to be met by the coarser grid has no nucleus either.
    kinds: dict[int, CellKind] = dict.fromkeys(range(1, int(labels.max()) + 1), "rbc")
    kinds.update(dict.fromkeys(np.flatnonzero(plate).tolist(), "platelet"))
    kinds.update(dict.fromkeys(np.flatnonzero(white).tolist(), "wbc"))
    return np.where(nuclei == labels, nuclei, 0).astype(np.int32), kinds


def finish(
    rgb: UInt8Array,
    labels: Int32Array,
    nuclei: Int32Array,
    kinds: dict[int, CellKind],
    size: PixelSize,
    um: float,
    name: str,
    single: bool = False,
) -> Cells:
    """Measure the cells that label images show; arguments as for `search_at`."""
    green = rgb[..., 1]
    glass = float(np.percentile(green[::4, ::4], 95))
    density = np.log10((glass + 4) / (np.arange(256) + 4)).astype(np.float32)[green]
    table = morphometry.cell_table(density, labels, nuclei, kinds, size, um, name)
    return Cells(labels, nuclei, table, size, single)


def _step(done: int) -> Progress:
    return Progress("Segmenting", done, _STEPS, "steps")


def _factor(rgb: UInt8Array, um: float) -> int:
    return int(min(max(1, round(_WORK_UM / um)), *(max(1, s // 16) for s in rgb.shape[:2])))


def _finer(lines: np.ndarray, factor: int) -> Float64Array:
    """Interpolate linearly along the first axis, the pixels being areas, not points."""
    at = (np.arange(len(lines) * factor) + 0.5) / factor - 0.5
    low = np.floor(at).astype(np.intp)
    share = (at - low)[:, None]
    ends = np.clip([low, low + 1], 0, len(lines) - 1)
    finer: Float64Array = lines[ends[0]] * (1 - share) + lines[ends[1]] * share
    return finer


def _enlarge(labels: Int32Array, factor: int, shape: tuple[int, ...]) -> Int32Array:
    """Bring labels back to the image's own grid, their outlines interpolated."""
    full = np.zeros(shape, np.int32)
    for i, box in enumerate(ndi.find_objects(labels), 1):
        if box is None:
            continue  # type: ignore[unreachable]  # ids may have gaps
        rows, columns = around(box, 1)
        fine = _finer(_finer(labels[rows, columns] == i, factor).T, factor).T > 0.5
        target = full[rows.start * factor :, columns.start * factor :]
        target = target[: fine.shape[0], : fine.shape[1]]
        fine = fine[: target.shape[0], : target.shape[1]]
        target[fine & (target == 0)] = i
    # The rest of a division by `factor` at the far edges is shown by the last row found.
    for axis in (0, 1):
        done = labels.shape[axis] * factor
        edge = np.moveaxis(full, axis, 0)
        edge[done:] = edge[done - 1 : done]
    return full
