"""What can be written beside the files of the contract, when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_cytosae.core._panel import OVERLAY_COLOURS, FigureConcept
from napari_cytosae.core.overlay import robust_scale

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from napari_cytosae.core.overlay import OverlayMap
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Cells, Crops, Encoded, Image, Provenance


PATCH_COLUMNS = (
    *("image", "cell_id", "row", "col", "x0", "y0", "x1", "y1"),
    *("concept", "name", "activation"),
)
"""Columns of ``patches.csv``, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """The results that extras are made of.

    Attributes
    ----------
    image, cells, crops, encoded, record
        As for `export.write_results`.
    names : mapping from concept to name
    overlays : mapping from concept to OverlayMap
        The chosen concepts.
    """

    image: Image | Pyramid
    cells: Cells
    crops: Crops
    encoded: Encoded
    record: Provenance
    names: Mapping[int, str]
    overlays: Mapping[int, OverlayMap]

    def title(self, concept: int) -> str:
        """Number and name of a concept, as a column is called."""
        return f"{concept} {self.names.get(concept, '')}".strip()

    def shown(self) -> list[FigureConcept]:
        """The chosen concepts as figures show them."""
        return [
            FigureConcept(
                concept,
                self.names.get(concept, ""),
                overlay,
                robust_scale(overlay.grids)[1],
                OVERLAY_COLOURS[index % len(OVERLAY_COLOURS)],
            )
            for index, (concept, overlay) in enumerate(self.overlays.items())
        ]


def write_extras(folder: Path, wanted: Collection[str], results: Written) -> None:
    """Write some of `core.types.EXTRAS` into a folder that is being made.

    Those of chosen concepts are left out where none is chosen.
    """
    from napari_cytosae.core.export import write_csv

    um = results.cells.pixel_size.um
    shown = results.shown()
    if "wide" in wanted:
        write_csv(wide_frame(results), folder / "concepts_wide.csv")
    if "patches" in wanted:
        write_csv(patches_frame(results), folder / "patches.csv")
    if "geojson" in wanted:
        from napari_cytosae.core.geojson import write_geojson

        digest = results.image.sha256
        write_geojson(folder / "cells.geojson", results.cells, digest, _measured(results))
    if "ome-tiff" in wanted and shown:
        from napari_cytosae.core.ome import write_ome

        write_ome(folder / "overlays.ome.tif", shown, um)
    if "figures" in wanted and shown:
        from napari_cytosae.core._svg import overlay_svg
        from napari_cytosae.core.figures import overlay_figure, save_png

        for each in shown:
            name = f"figure_{each.concept}"
            save_png(
                overlay_figure(results.image, each, results.cells), folder / f"{name}.png"
            )
            svg = overlay_svg(results.image, each, results.cells)
            (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    if "report" in wanted:
        from napari_cytosae.core.report import report_page

        (folder / "report.html").write_text(report_page(results), encoding="utf-8")


def wide_frame(results: Written) -> pd.DataFrame:
    """One row a cell, one column a concept that is over the threshold in any of them.

    Values are ``n_patches``; columns are called ``<id> <name>`` and come in the order of
    the ids, after ``image, cell_id, kind, qc``.
    """
    counts = results.encoded.activations.n_patches
    active = np.unique(counts.indices[counts.data >= 1])
    obs = results.cells.table.set_index("cell_id").loc[results.encoded.cell_ids]
    head = obs.reset_index()[["image", "cell_id", "kind", "qc"]]
    values = counts[:, active].toarray().astype(np.int64)
    columns = [results.title(int(concept)) for concept in active]
    return pd.concat([head, pd.DataFrame(values, columns=columns)], axis=1)


def patches_frame(results: Written) -> pd.DataFrame:
    """One row a patch of a cell in which a chosen concept is over the threshold.

    Columns are `PATCH_COLUMNS`: ``row`` and ``col`` of the patch in the crop; ``x0`` to
    ``y1`` are its edges on the slide, in px from the image's corner.
    """
    threshold = results.encoded.activations.threshold
    image = results.image.name
    parts = []
    for concept, overlay in results.overlays.items():
        cell, row, col = np.nonzero(overlay.grids > threshold)
        grid = overlay.grids.shape[-1]
        box = results.encoded.boxes[cell].astype(float)
        height, width = (box[:, 2] - box[:, 0]) / grid, (box[:, 3] - box[:, 1]) / grid
        parts.append(
            pd.DataFrame(
                {
                    "image": image,
                    "cell_id": results.encoded.cell_ids[cell],
                    "row": row,
                    "col": col,
                    "x0": box[:, 1] + col * width,
                    "y0": box[:, 0] + row * height,
                    "x1": box[:, 1] + (col + 1) * width,
                    "y1": box[:, 0] + (row + 1) * height,
                    "concept": concept,
                    "name": results.names.get(concept, ""),
                    "activation": overlay.grids[cell, row, col],
                }
            )
        )
    if not parts:
        return pd.DataFrame(columns=list(PATCH_COLUMNS))
    return pd.concat(parts).sort_values(["cell_id", "row", "col", "concept"])


def _measured(results: Written) -> dict[str, list[float]]:
    """Strongest patch of each chosen concept, for each row of the cells' table."""
    encoded, cells = results.encoded, results.cells.table["cell_id"]
    return {
        results.title(concept): pd.Series(
            encoded.activations.strongest(concept), encoded.cell_ids
        )
        .reindex(cells)
        .tolist()
        for concept in results.overlays
    }
