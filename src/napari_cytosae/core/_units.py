"""What of a cohort is encoded in one go, and how the finished ones are kept on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from scipy import sparse

from napari_cytosae.core import pipeline
from napari_cytosae.core._copies import content_of
from napari_cytosae.core.crops import crop_cells
from napari_cytosae.core.detection import find_cells
from napari_cytosae.core.files import atomic_file, sha256_file
from napari_cytosae.core.images import read_image
from napari_cytosae.core.patient_cells import token_counts
from napari_cytosae.core.quality import FACTS, cell_facts
from napari_cytosae.core.sae import slices
from napari_cytosae.core.segmentation import single_cell as as_single_cell
from napari_cytosae.core.types import CytoError, ImageError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_cytosae.core._manifest import Row
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import BoolArray, Float64Array, Progress, UInt8Array

SINGLE_CELLS_AT_ONCE = 32
"""Single cells of a unit: enough to fill a batch, few enough to lose to a kill."""

TOKENS_AT_ONCE = 64
"""Cells whose tokens are held: 25 MB at CytoSAE's size; whole batches on any device."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes a barcode, beside the images and the models."""

    threshold: float = 0.2
    single_cell: bool = False
    include_cls: bool = False
    pixel_size: float | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """Images of one patient that are encoded together."""

    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, eq=False)
class UnitResult:
    """The cells of a unit.

    Attributes
    ----------
    counts : csr_array of float32, (n_cells, d_sae)
        Of `patients.token_counts`.
    ok : ndarray of bool, (n_cells,)
        Cells without a quality flag.
    facts : ndarray of float64, (n_cells, len(quality.FACTS))
        Of `quality.cell_facts`.
    n_images : int
        Images that could be read.
    problems : tuple of (int, str)
        Position in the unit of an image that could not, and why.
    contents : tuple of str
        Of each image of the unit (`_copies.content_of`); empty of those that could not.
    """

    counts: sparse.csr_array
    ok: BoolArray
    facts: Float64Array
    n_images: int
    problems: tuple[tuple[int, str], ...] = ()
    contents: tuple[str, ...] = ()


def plan(rows: Sequence[Row], single_cell: bool) -> list[Unit]:
    """Divide a manifest into units, always in the same way; no unit spans two patients."""
    size = SINGLE_CELLS_AT_ONCE if single_cell else 1
    units: list[Unit] = []
    for row in rows:
        last = units[-1].rows if units else ()
        if last and last[0].patient == row.patient and len(last) < size:
            units[-1] = Unit((*last, row))
        else:
            units.append(Unit((row,)))
    return units


def encode_unit(
    models: Models, unit: Unit, settings: Settings
) -> Generator[Progress, None, UnitResult]:
    """Find and encode the cells of a unit; images that cannot be read are named.

    Raises
    ------
    CytoError
        If memory does not suffice for a single cell.
    """
    images, problems = [], []
    contents = [""] * len(unit.rows)
    for position, row in enumerate(unit.rows):
        try:
            images.append((position, read_image(row.image, settings.pixel_size)))
            contents[position] = content_of(images[-1][1])
        except ImageError as error:
            problems.append((position, str(error)))
    if settings.single_cell:
        tables = [as_single_cell(image).table for _, image in images]
        single = [image.rgb for _, image in images]
        if not images:
            return joined([], 0, problems, models.sae_info.d_sae, contents)
        table = pd.concat(tables, ignore_index=True)
        part = yield from _encoded(models, table, single, settings)
        return joined([part], len(images), problems, models.sae_info.d_sae, contents)
    parts, read = [], 0
    for position, image in images:
        try:
            cells = yield from find_cells(image)
        except CytoError as error:
            problems.append((position, str(error)))
            continue
        read += 1
        crops = crop_cells(image, cells)
        parts.append((yield from _encoded(models, cells.table, crops, settings)))
    return joined(parts, read, problems, models.sae_info.d_sae, contents)


def _encoded(
    models: Models, table: pd.DataFrame, crops: Sequence[UInt8Array], settings: Settings
) -> Generator[Progress, None, UnitResult]:
    """Cells as counts; the tokens of a few at a time are there to be measured."""
    parts = []
    for cells in slices(len(crops), TOKENS_AT_ONCE):
        some = crops[cells]
        encoded = yield from pipeline.encode(models, some, settings.threshold)
        counts = token_counts(encoded.activations, settings.include_cls)
        rows = table.iloc[cells]
        facts = cell_facts(models, rows, some, encoded)
        parts.append(UnitResult(counts, rows["qc"].to_numpy() == "ok", facts, 0))
    return joined(parts, 0, (), models.sae_info.d_sae)


class Finished:
    """Units that are done, one file each, found again by what they are of.

    Parameters
    ----------
    folder : Path
        Of `partial_folder`.
    models : Models
        With other models, or other settings, nothing is found.
    settings : Settings
        As the units are encoded with.
    """

    def __init__(self, folder: Path, models: Models, settings: Settings) -> None:
        self.folder = folder
        self._d_sae = models.sae_info.d_sae
        self._run = json.dumps(
            [
                models.backbone_info.sha256,
                models.sae_info.sha256,
                models.layer,
                models.precision,
                asdict(settings),
            ]
        )

    def path(self, unit: Unit) -> Path:
        """The file of a unit: named by the content of its images, not by their names."""
        content = [_content(row.image) for row in unit.rows]
        key = hashlib.sha256(json.dumps([self._run, content]).encode()).hexdigest()
        return self.folder / f"{key}.npz"

    def save(self, path: Path, result: UnitResult) -> None:
        """Keep a unit; the file is whole or not there."""
        counts = result.counts
        about = json.dumps([result.n_images, result.problems, result.contents])
        with atomic_file(path) as temporary:
            np.savez(
                temporary,
                data=counts.data,
                indices=counts.indices,
                indptr=counts.indptr,
                ok=result.ok,
                facts=result.facts,
                about=np.array(about),
            )

    def load(self, path: Path) -> UnitResult | None:
        """A unit that is kept; None where it is not, or not whole."""
        try:
            # NumPy leaves a file open that it was given by name and could not read.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
                ok, facts = kept["ok"], kept["facts"]
                triple = (kept["data"], kept["indices"], kept["indptr"])
                counts = sparse.csr_array(triple, shape=(len(ok), self._d_sae))
                n_images, problems, contents = json.loads(str(kept["about"]))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None
        named = tuple((position, text) for position, text in problems)
        return UnitResult(counts, ok, facts, n_images, named, tuple(contents))


def joined(
    parts: Sequence[UnitResult],
    n_images: int,
    problems: Sequence[tuple[int, str]],
    d_sae: int,
    contents: Sequence[str] = (),
) -> UnitResult:
    """Put units, or the images of one, together."""
    counts = [part.counts for part in parts if part.counts.shape[0]]
    stacked = sparse.csr_array(np.zeros((0, d_sae), dtype=np.float32))
    if counts:
        stacked = sparse.csr_array(sparse.vstack(counts, format="csr"))
    flags = np.concatenate([np.zeros(0, dtype=bool), *(part.ok for part in parts)])
    facts = np.concatenate([np.zeros((0, len(FACTS))), *(part.facts for part in parts)])
    return UnitResult(stacked, flags, facts, n_images, tuple(problems), tuple(contents))


def _content(path: Path) -> str:
    """Hash of an image; of a folder's pixels, as `read_image` takes it."""
    try:
        return sha256_file(path) if path.is_file() else read_image(path).sha256
    except (OSError, ImageError) as error:
        return f"unreadable: {error}"
