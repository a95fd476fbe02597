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

FARTHEST = 2**20
"""In px: no slide is that wide."""


def write_cells(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the cells of a Labels layer; what its features say of them goes along.

    A cell that was repainted since it was measured keeps its kind, and loses its numbers.

    Raises
    ------
    ImageError
        If the layer is a stack: planes of one cell would become several cells.
    OutputError
        If the file cannot be written.
    """
    import hashlib

    import numpy as np

    from napari_cytosae.core.geojson import write_geojson
    from napari_cytosae.core.types import Cells, ImageError, PixelSize

    # Of a pyramid the finest level: what is saved is what was painted.
    labels = np.asarray(data[0] if meta.get("multiscale") else data)
    if labels.ndim != 2:
        raise ImageError(f"{meta.get('name')} is a stack: save one plane as GeoJSON.")
    if labels.dtype == bool:
        labels = labels.astype(np.uint8)
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
        # Other plugins' columns of these names may hold anything.
        known = known[wanted].copy()
        numbers = known.columns.intersection(["index", *MEASURED])
        known[numbers] = known[numbers].apply(pd.to_numeric, errors="coerce")
        known = known.dropna(subset=["index"]).drop_duplicates("index")
        table = table.merge(known, how="left", left_on="cell_id", right_on="index")
    table = table.reindex(columns=[*names, "kind", "qc", *MEASURED])
    same = table["area_px"] == table["painted"]
    table.loc[~same, list(MEASURED)] = np.nan
    table["area_px"] = table["painted"]
    for column, unknown in (("kind", ""), ("qc", "ok")):
        said = table[column].astype(object)
        table[column] = said.where(said.notna(), unknown).astype(str)
    return table


def get_reader(path: str | list[str]) -> Callable[[str], list[Any]] | None:
    """`read_cells` for one file of QuPath's objects; None leaves it to another reader.

    It also takes what nobody can read, damaged or without an outline, to say so.
    """
    from napari_cytosae.core.geojson import read_geojson
    from napari_cytosae.core.types import ImageError

    if not isinstance(path, str):
        return None
    try:
        outlines = read_geojson(path)
    except ImageError:
        return read_cells
    return read_cells if all(outline.object_type for outline in outlines) else None


def read_cells(path: str) -> list[Any]:
    """Outlines as a Labels layer, up to the last one: the file tells no image's size.

    What they are called goes to the layer's features, and with it into step 2. Those that
    reach as far as a slide are drawn where they are looked at.

    Raises
    ------
    ImageError
        If the file is no GeoJSON, holds no polygon, or none of them lies on an image, or
        one far from any.
    """
    from pathlib import Path

    import numpy as np
    import pandas as pd

    from napari_cytosae.core._outlines import DrawnOutlines, outline_pyramid
    from napari_cytosae.core.geojson import read_geojson
    from napari_cytosae.core.types import LARGE_PIXELS, ImageError

    outlines = read_geojson(path)
    corners = np.array([outer.max(axis=0) for o in outlines for outer, *_ in o.polygons])
    if not (corners > 0).all(axis=1).any():
        raise ImageError(
            f"{path} has no outline on an image: all end left of or above its corner."
        )
    far = float(corners.max())
    if far > FARTHEST:
        raise ImageError(
            f"{path} has an outline {far:.3g} px from the image's corner: give them in "
            "pixels of the image."
        )
    width, height = np.ceil(corners.max(axis=0)).astype(int).tolist()
    shape = max(1, height), max(1, width)
    drawn = DrawnOutlines(outlines, shape)
    about: dict[str, Any] = {"name": Path(path).stem, "metadata": FROM_OUTLINES}
    if drawn.classes:
        ids, kinds = list(drawn.classes), list(drawn.classes.values())
        about["features"] = pd.DataFrame({"index": ids, "kind": kinds})
    if height * width <= LARGE_PIXELS:
        return [(drawn[:, :], about, "labels")]
    return [(outline_pyramid(outlines, shape), about | {"multiscale": True}, "labels")]
