"""Results on disk: the files of one image, whole or not there.

Tables are for spreadsheets and pandas alike: UTF-8, comma, decimal point, header on the
first line, ``true`` / ``false``, empty where unknown.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import tifffile

from napari_cytosae.core.files import atomic_folder
from napari_cytosae.core.label_blocks import BLOCK, LabelBlocks
from napari_cytosae.core.overlay import write_tiff
from napari_cytosae.core.provenance import as_json, as_uns, provenance
from napari_cytosae.core.types import CELL_COLUMNS, CONCEPT_COLUMNS, OccupiedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy.typing as npt
    from scipy.sparse import csr_array

    from napari_cytosae.core.overlay import OverlayMap
    from napari_cytosae.core.types import (
        Cells,
        ConceptActivations,
        Encoded,
        Float32Array,
        Int64Array,
        LabelImage,
        Provenance,
    )

__all__ = [
    "RUN_FILE",
    "cells_frame",
    "concepts_frame",
    "provenance",
    "result_folders",
    "to_anndata",
    "write_csv",
    "write_labels",
    "write_results",
]

RUN_FILE = "run.json"
"""Marks a folder as ours: only such a folder, or an empty one, is replaced."""


def result_folders(output: Path | str, images: Iterable[Path | str]) -> list[Path]:
    """Folder of each image's results: ``output/<stem>``, ``output/<stem>_2`` and so on.

    Two names that differ in case only count as the same: on some disks they are.
    """
    folders: list[Path] = []
    taken: set[str] = set()
    for image in images:
        stem = Path(image).stem
        name, number = stem, 2
        while name.casefold() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.casefold())
        folders.append(Path(output) / name)
    return folders


def write_results(
    folder: Path | str,
    cells: Cells,
    record: Provenance,
    encoded: Encoded | None = None,
    names: Mapping[int, str] | None = None,
    overlays: Mapping[int, OverlayMap] | None = None,
    more: Callable[[Path], None] | None = None,
) -> Path:
    """Write the files of one image; `folder` is replaced when all of them are complete.

    Parameters
    ----------
    folder : path-like
        One of `result_folders`.
    cells : Cells
        For ``cells.tif``, ``nuclei.tif`` and ``cells.csv``.
    record : Provenance
        For ``run.json``.
    encoded : Encoded, optional
        For ``concepts.csv`` and ``cells.h5ad``.
    names : mapping from concept to name, optional
        Concepts without one get an empty name.
    overlays : mapping from concept to OverlayMap, optional
        One ``overlay_<concept>.tif`` each.
    more : callable, optional
        Writes further files into the folder it is given, which becomes `folder`.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    OccupiedError, OutputError
        If the folder holds files that are not ours, or cannot be written.
    """
    folder = Path(folder)
    _check_replaceable(folder)
    um = cells.pixel_size.um
    with atomic_folder(folder) as temporary:
        write_labels(cells.labels, temporary / "cells.tif", um)
        write_labels(cells.nuclei, temporary / "nuclei.tif", um)
        write_csv(cells_frame(cells), temporary / "cells.csv")
        if encoded is not None:
            frame = concepts_frame(cells, encoded, names)
            write_csv(frame, temporary / "concepts.csv")
            to_anndata(cells, encoded, record, names).write_h5ad(temporary / "cells.h5ad")
        for concept, overlay in (overlays or {}).items():
            metadata = {"concept": concept, "name": (names or {}).get(concept, "")}
            write_tiff(temporary / f"overlay_{concept}.tif", overlay, um, metadata)
        if more is not None:
            more(temporary)
        text = json.dumps(as_json(record), indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / RUN_FILE).write_text(text + "\n", encoding="utf-8")
    return folder


def cells_frame(cells: Cells) -> pd.DataFrame:
    """The table of ``cells.csv``: one row a cell, flagged ones too."""
    return cells.table.loc[:, list(CELL_COLUMNS)].reset_index(drop=True)


def concepts_frame(
    cells: Cells, encoded: Encoded, names: Mapping[int, str] | None = None
) -> pd.DataFrame:
    """The table of ``concepts.csv``: one row a cell and concept with n_patches >= 1."""
    activations = encoded.activations
    count = activations.n_patches.tocoo()
    rows, concepts = (np.asarray(index, dtype=np.int64) for index in count.coords)
    found = count.data >= 1
    order = np.lexsort((concepts[found], rows[found]))
    rows, concepts = rows[found][order], concepts[found][order]
    image = str(cells.table["image"].iloc[0]) if len(cells) else ""
    frame = pd.DataFrame(
        {
            "image": np.full(len(rows), image, dtype=object),
            "cell_id": encoded.cell_ids[rows],
            "concept": concepts,
            "name": _names_of(concepts, names),
            "n_patches": count.data[found][order].astype(np.int64),
            "max": _entries(activations.max, rows, concepts),
            "mean": _entries(activations.mean, rows, concepts),
        }
    )
    return frame.loc[:, list(CONCEPT_COLUMNS)]


def to_anndata(
    cells: Cells,
    encoded: Encoded,
    record: Provenance,
    names: Mapping[int, str] | None = None,
) -> anndata.AnnData:
    """Cells x concepts, as in ``cells.h5ad``.

    Parameters
    ----------
    cells : Cells
        For ``obs`` (only the encoded ones) and ``obsm["spatial"]``, centroids (x, y) in px.
    encoded : Encoded
        For ``X`` = n_patches and the layers ``max`` and ``mean``.
    record : Provenance
        For ``uns["cytosae"]``.
    names : mapping from concept to name, optional
        For ``var["name"]``.
    """
    activations: ConceptActivations = encoded.activations
    obs = cells_frame(cells).set_index("cell_id", drop=False).loc[encoded.cell_ids]
    spatial = obs[["centroid_x", "centroid_y"]].to_numpy(dtype=np.float64)
    # anndata does not write the string type that pandas 3 gives to text.
    texts = obs.select_dtypes(exclude=["number", "bool"]).columns
    obs = obs.astype(dict.fromkeys(texts, object))
    # The column keeps the number, the index is its text.
    obs.index = pd.Index(encoded.cell_ids.astype(str), dtype=object)
    concepts = np.arange(activations.n_patches.shape[1])
    var = pd.DataFrame(
        {"name": _names_of(concepts, names)},
        index=pd.Index(concepts.astype(str), dtype=object),
    )
    return anndata.AnnData(
        X=activations.n_patches,
        obs=obs,
        var=var,
        layers={"max": activations.max, "mean": activations.mean},
        obsm={"spatial": spatial},
        uns={"cytosae": as_uns(record)},
    )


def write_csv(frame: pd.DataFrame, path: Path | str) -> None:
    """Write a table in the one CSV form of this package."""
    frame = frame.copy()
    for column in frame.select_dtypes(bool):
        frame[column] = np.where(frame[column], "true", "false")
    frame.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")


def write_labels(labels: LabelImage, path: Path | str, um: float | None = None) -> None:
    """Write a label image: int32, tiled, compressed, with the pixel size where known.

    That of a slide is written tile by tile, as BigTIFF where it might need to be.
    """
    height, width = labels.shape
    data: Any = labels
    if isinstance(labels, LabelBlocks):
        data = labels.tiles()
    tifffile.imwrite(
        path,
        data,
        shape=(height, width),
        dtype=np.int32,
        photometric="minisblack",
        compression="zlib",
        tile=(BLOCK, BLOCK),
        bigtiff=height * width * 4 > 2**32 - 2**25,
        metadata={"axes": "YX"},
        resolution=(1e4 / um, 1e4 / um) if um else None,
        resolutionunit="CENTIMETER" if um else None,
    )


def _check_replaceable(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RUN_FILE).is_file():
        raise OccupiedError(
            f"{folder} holds files that are not results of this program and is left as it "
            "is: choose another output folder."
        )
    if folder.exists() and not folder.is_dir():
        raise OccupiedError(f"{folder} is a file: choose another output folder.")


def _names_of(
    concepts: Int64Array, names: Mapping[int, str] | None
) -> npt.NDArray[np.object_]:
    known = names or {}
    return np.array([known.get(int(concept), "") for concept in concepts], dtype=object)


def _entries(matrix: csr_array, rows: Int64Array, columns: Int64Array) -> Float32Array:
    """Stored values at (row, column), 0 where nothing is stored."""
    n_columns = matrix.shape[1]
    stored = matrix.tocoo()
    keys = stored.coords[0].astype(np.int64) * n_columns + stored.coords[1]
    values = pd.Series(stored.data, index=keys)
    wanted = values.reindex(rows * n_columns + columns, fill_value=0)
    return wanted.to_numpy(dtype=np.float32)
