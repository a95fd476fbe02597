"""File > Save and Open: outlines of a Labels layer as GeoJSON, for QuPath and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

FROM_OUTLINES = {"cytosae": {"from_outlines": True}}
"""Metadata of a layer that was drawn from outlines: it ends where the last of them does."""


def write_cells(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the cells of a Labels layer; what its features say of them goes along.

    A cell that was repainted since it was measured keeps its kind, and loses its numbers.

    Raises
    ------
    ImageError
        If the layer is a stack.
    OutputError
        If the file cannot be written.
    """
    import hashlib

    import numpy as np

    from napari_cytosae.core.geojson import write_geojson
    from napari_cytosae.core.types import Cells, ImageError, PixelSize

    # Of a pyramid the finest level: what is saved is what was painted.
    labels = np.asarray(data[0] if len(np.shape(data[0])) == 2 else data)
    if labels.ndim != 2:
        raise ImageError(f"{meta.get('name')} is a stack: save one plane as GeoJSON.")
    table = _table(labels, meta.get("features"))
    cells = Cells(labels, np.zeros_like(labels), table, PixelSize())
    write_geojson(path, cells, hashlib.sha256(labels.tobytes()).hexdigest())
    return [path]


def _table(labels: npt.NDArray[np.integer[Any]], features: Any) -> pd.DataFrame:
    """What `write_geojson` needs of each cell."""
    import numpy as np
    import pandas as pd
    from skimage.measure import regionprops_table

    from napari_cytosae.core.geojson import MEASURED

    columns = regionprops_table(labels, properties=("label", "bbox", "area"))
    names = ("cell_id", "bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1", "painted")
    table = pd.DataFrame(dict(zip(names, columns.values(), strict=True)))
    known = pd.DataFrame() if features is None else pd.DataFrame(features)
    if "index" in known:
        wanted = [c for c in ("index", "kind", "qc", *MEASURED) if c in known]
        known = known[wanted].drop_duplicates("index")
        table = table.merge(known, how="left", left_on="cell_id", right_on="index")
    table = table.reindex(columns=[*names, "kind", "qc", *MEASURED])
    same = table["area_px"] == table["painted"]
    table.loc[~same, list(MEASURED)] = np.nan
    table["area_px"] = table["painted"]
    return table.assign(kind=table["kind"].fillna(""), qc=table["qc"].fillna("ok"))


def get_reader(path: str | list[str]) -> Callable[[str], list[Any]] | None:
    """`read_cells` for one file of QuPath's objects; None leaves it to another reader."""
    from napari_cytosae.core.geojson import read_geojson
    from napari_cytosae.core.types import ImageError

    if not isinstance(path, str):
        return None
    try:
        outlines = read_geojson(path)
    except ImageError:
        return None
    return read_cells if all(outline.object_type for outline in outlines) else None


def read_cells(path: str) -> list[Any]:
    """Outlines as a Labels layer, up to the last one: the file tells no image's size."""
    from pathlib import Path

    import numpy as np

    from napari_cytosae.core.geojson import draw_outlines, read_geojson

    outlines = read_geojson(path)
    corners = [ring.max(axis=0) for o in outlines for rings in o.polygons for ring in rings]
    width, height = np.ceil(np.max(corners, axis=0)).astype(int)
    labels = draw_outlines(outlines, (max(1, int(height)), max(1, int(width))))
    return [(labels, {"name": Path(path).stem, "metadata": FROM_OUTLINES}, "labels")]
