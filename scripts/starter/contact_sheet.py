"""The most frequent concepts, each with the cells that drive it most.

``python scripts/starter/contact_sheet.py IMAGES... -o sheet.png`` on smears, with
``--single-cell`` on images of one cell each, or with ``--synthetic 200`` on drawn cells.
A patch is outlined where the concept is at half of its maximum or more.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import napari_cytosae as cyto
from napari_cytosae.synthetic import WBC_TYPES, render_cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

THUMBNAIL, TOP, COLUMNS, LABEL, HEAD = 112, 6, 2, 150, 8
FIELD_OF_VIEW_UM = 25.0
MARK = (0, 220, 120)


def cells_of(paths: Sequence[Path], single_cell: bool) -> Iterator[np.ndarray]:
    """Crops of all white cells, or the images as they are."""
    for path in paths:
        image = cyto.read_image(path)
        if single_cell:
            yield image.rgb
        else:
            yield from cyto.crop_cells(image, cyto.segment(image), FIELD_OF_VIEW_UM)


def drawn_cells(count: int) -> Iterator[np.ndarray]:
    """Synthetic white cells of all types in turn, each from a laboratory of its own."""
    for seed in range(count):
        cell_type = WBC_TYPES[seed % len(WBC_TYPES)]
        yield render_cell(
            cell_type, seed=10**6 + seed, field_of_view_um=FIELD_OF_VIEW_UM
        ).rgb


def contact_sheet(
    models: cyto.Models, crops: Sequence[np.ndarray], count: int = 40
) -> Image.Image:
    """Draw the sheet.

    Parameters
    ----------
    models : Models
        A backbone and its SAE.
    crops : sequence of ndarray of uint8, (h, w, 3)
        Cells.
    count : int
        Concepts, the most frequent (share of patches) first.
    """
    grid = models.backbone_info.grid
    active, peaks = 0, []
    for start in range(0, len(crops), 16):
        latents = models.latents(crops[start : start + 16])[:, 1:]
        active = active + (latents > 0).sum((0, 1))
        peaks.append(latents.max(1))
    frequency = active / (len(crops) * grid**2)
    strongest = np.concatenate(peaks)
    concepts = np.argsort(-frequency, kind="stable")[:count]
    rows = -(-len(concepts) // COLUMNS)
    width = LABEL + TOP * THUMBNAIL + HEAD
    sheet = Image.new("RGB", (COLUMNS * width, rows * (THUMBNAIL + HEAD)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for place, concept in enumerate(concepts):
        x, y = place // rows * width, place % rows * (THUMBNAIL + HEAD)
        name = models.names.get(int(concept), "")
        text = f"{concept}\n{_wrapped(name)}\n{frequency[concept]:.1%} of patches"
        draw.text((x + 6, y + 6), text, fill="black", font=font)
        best = np.argsort(-strongest[:, concept], kind="stable")[:TOP]
        best = [k for k in best if strongest[k, concept] > 0]
        maps = models.latents([crops[k] for k in best], [int(concept)])[:, 1:, 0]
        for rank, (k, values) in enumerate(zip(best, maps, strict=True)):
            picture = _marked(crops[k], values.reshape(grid, grid))
            sheet.paste(picture, (x + LABEL + rank * THUMBNAIL, y))
    return sheet


def _wrapped(name: str) -> str:
    words, lines = name.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 18:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _marked(crop: np.ndarray, values: np.ndarray) -> Image.Image:
    """A thumbnail with an outline around the patches at half the maximum or more."""
    size = THUMBNAIL - 2
    picture = np.asarray(Image.fromarray(crop).resize((size, size))).copy()
    strong = Image.fromarray(values >= values.max() / 2).resize((size, size), 0)
    inside = np.asarray(strong)
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    picture[inside & ~core] = MARK
    return Image.fromarray(picture)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, nargs="*")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--single-cell", action="store_true")
    parser.add_argument("--synthetic", type=int, default=0, help="drawn cells to add")
    parser.add_argument("--backbone", default="starter")
    parser.add_argument("--sae", default="starter")
    parser.add_argument("--count", type=int, default=40)
    arguments = parser.parse_args()
    crops = [*cells_of(arguments.images, arguments.single_cell)]
    crops += drawn_cells(arguments.synthetic)
    if not crops:
        parser.error("no cells: give images with white cells, or --synthetic N")
    models = cyto.load_models(arguments.backbone, arguments.sae)
    contact_sheet(models, crops, arguments.count).save(arguments.output)


if __name__ == "__main__":
    main()
