"""Cells as GeoJSON that QuPath opens, and that comes back after it was corrected there.

A point of QuPath counts pixels from the image's corner: pixel ``i`` spans ``[i, i + 1)``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import numpy as np

from napari_cytosae.core._outlines import DrawnOutlines, Outline, draw_outlines
from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.types import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_cytosae.core.types import BoolArray, Cells, Float64Array

    Rings = list[list[list[float]]]

__all__ = [
    "CELL_ID",
    "MEASURED",
    "DrawnOutlines",
    "Outline",
    "draw_outlines",
    "outline_rings",
    "read_geojson",
    "write_geojson",
]

_NAMESPACE = UUID("6b1f6b5e-8a34-5e0c-9d0a-2f3f1d9c7e51")
CELL_ID = "cell id"
"""The measurement that tells which cell an outline was."""

_FEWEST_POINTS = 3
_LARGEST_ID = 2**30
"""Of a cell that keeps it: labels are int32, and new cells are numbered from it on."""

COLOURS = {"wbc": (0, 114, 178), "rbc": (213, 94, 0), "platelet": (240, 228, 66)}
"""Of Okabe and Ito: told apart by colour-blind eyes."""

MEASURED = (
    "area_px",
    "area_um2",
    "nucleus_area_px",
    "nc_ratio",
    "eccentricity",
    "solidity",
    "focus",
)


def write_geojson(
    path: Path | str,
    cells: Cells,
    image_sha256: str,
    measurements: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Write each cell as a detection with its measurements and classification.

    Parameters
    ----------
    path : path-like
        Replaced only when the new file is complete.
    cells : Cells
        All of them; the class is their kind, where it is known, flagged ones say why.
    image_sha256 : str
        The same cell of the same image has the same UUID in every export.
    measurements : mapping of name to values, one a row of `cells.table`, optional
        More of them, for example activations of concepts; NaN is left out.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    table = cells.table
    own = {name: table[name].to_numpy(dtype=float) for name in MEASURED}
    own |= {
        name: np.asarray(values, float) for name, values in (measurements or {}).items()
    }
    features = []
    for row, ((cell_id, polygons), kind, qc) in enumerate(
        zip(outline_rings(cells), table["kind"], table["qc"], strict=True)
    ):
        values = {CELL_ID: cell_id} | {
            name: float(column[row])
            for name, column in own.items()
            if math.isfinite(column[row])
        }
        said: dict[str, Any] = {
            "objectType": "detection",
            "name": f"cell {cell_id}" + ("" if qc == "ok" else f" ({qc})"),
            "measurements": values,
        }
        if kind:
            said["classification"] = {"name": kind}
            if kind in COLOURS:  # QuPath has colours of its own for other classes
                said["classification"]["color"] = list(COLOURS[kind])
        features.append(
            {
                "type": "Feature",
                "id": str(uuid5(_NAMESPACE, f"{image_sha256}/{cell_id}")),
                "geometry": _geometry(polygons),
                "properties": said,
            }
        )
    with atomic_file(path) as temporary:
        content = {"type": "FeatureCollection", "features": features}
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text, encoding="utf-8")


def read_geojson(path: Path | str) -> list[Outline]:
    """Read polygons, as QuPath and others write them; lines and points are left out.

    Raises
    ------
    ImageError
        If the file is missing, is no GeoJSON, or holds no polygon.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        features = (
            content if isinstance(content, list) else content.get("features", [content])
        )
        outlines = [found for each in features if (found := _outline(each)) is not None]
    except FileNotFoundError as error:
        raise ImageError(f"There is no file {path}: check the path.") from error
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise ImageError(f"{path} cannot be read as GeoJSON outlines of cells.") from error
    if not outlines:
        raise ImageError(f"{path} holds no polygons: export the cells as GeoJSON.")
    return outlines


def outline_rings(cells: Cells) -> Iterator[tuple[int, list[Rings]]]:
    """Outlines of all cells, in the order of the table.

    Yields
    ------
    (cell_id, polygons)
        A polygon is its outer ring, then its holes; a ring is closed, points are x, y in px
        from the image's corner, half-way between pixels, so that `draw_outlines` gives the
        same pixels again.
    """
    from scipy.ndimage import binary_fill_holes
    from skimage.measure import label

    columns = ["cell_id", "bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"]
    for cell_id, y, x, y1, x1 in cells.table[columns].to_numpy(np.int64).tolist():
        place = slice(y, y1), slice(x, x1)
        # Diagonal neighbours are two polygons that touch: QuPath takes no bow-ties.
        parts = label(cells.labels[place] == cell_id, connectivity=1)
        polygons = []
        for part in range(1, parts.max() + 1):
            own = parts == part
            filled = binary_fill_holes(own)
            holes = label(filled & ~own, connectivity=1)
            rings = [filled, *(holes == hole for hole in range(1, holes.max() + 1))]
            polygons.append([_ring(ring, y, x) for ring in rings])
        yield cell_id, polygons


def _geometry(polygons: list[Rings]) -> dict[str, Any]:
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _ring(mask: BoolArray, y: int, x: int) -> list[list[float]]:
    from skimage.measure import approximate_polygon, find_contours

    # One pixel of nothing around, so that the contour closes.
    contour = max(find_contours(np.pad(mask, 1), 0.5), key=len)
    corners = approximate_polygon(contour, 0) - 0.5 + (y, x)
    ring: list[list[float]] = corners[:, ::-1].tolist()
    return ring


def _outline(feature: dict[str, Any]) -> Outline | None:
    geometry = feature.get("geometry") or {}
    if geometry.get("type") not in ("Polygon", "MultiPolygon"):
        return None
    coordinates = geometry["coordinates"]
    several = [coordinates] if geometry["type"] == "Polygon" else coordinates
    polygons = tuple(found for each in several if (found := _polygon(each)))
    if not polygons:
        return None
    properties = feature.get("properties") or {}
    measured = properties.get("measurements") or {}
    if isinstance(measured, list):  # as QuPath wrote them before version 0.4
        measured = {each["name"]: each["value"] for each in measured}
    cell_id = measured.get(CELL_ID)
    said = properties.get("classification") or {}
    # QuPath lists the parts of a class like "wbc: reactive", from version 0.4 on.
    names = said.get("names") or [said.get("name") or ""]
    return Outline(
        polygons,
        int(cell_id) if cell_id and 1 <= float(cell_id) <= _LARGEST_ID else None,
        ": ".join(map(str, names)),
        str(properties.get("objectType") or ""),
    )


def _polygon(rings: list[Any]) -> tuple[Float64Array, ...]:
    """The outer ring and the holes that have an area; nothing where the outer has none."""
    points = [np.asarray(ring, np.float64) for ring in rings]
    if any(len(ring) and not np.isfinite(ring[:, :2]).all() for ring in points):
        raise ValueError("a point is nowhere")
    if any(len(ring) and ring.shape[1] < 2 for ring in points):
        raise ValueError("a point has no y")
    if not points or len(points[0]) < _FEWEST_POINTS:
        return ()
    return tuple(ring[:, :2] for ring in points if len(ring) >= _FEWEST_POINTS)
