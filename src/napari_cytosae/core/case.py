"""One patient, all images encoded: which cell lies where, and what it shows.

The dock keeps a `Case` for as long as the patient is looked at, so that every figure of a
prediction leads back to a cell on its slide; for cohorts see `core.cohort`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_cytosae.core import pipeline
from napari_cytosae.core._barcode_files import record_of
from napari_cytosae.core._copies import content_of
from napari_cytosae.core.assignment import told_apart
from napari_cytosae.core.crops import FIELD_OF_VIEW_UM, crop_cells, crop_side
from napari_cytosae.core.detection import find_cells
from napari_cytosae.core.flags import flagged
from napari_cytosae.core.images import read_image
from napari_cytosae.core.patient_cells import PatientCells
from napari_cytosae.core.patients import Barcodes, collect
from napari_cytosae.core.quality import cell_facts
from napari_cytosae.core.types import CytoError, Encoded, Image, NoCellsError, Progress

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping, Sequence

    from napari_cytosae.core.models import Models
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import (
        BoolArray,
        Cells,
        Crops,
        Float64Array,
        PixelSize,
    )

    Known = tuple[Cells, Crops | None, Encoded | None]
    """The cells of an image, and what was seen of them where they are encoded."""

_UNKNOWN: tuple[None, None, None] = (None, None, None)


@dataclass(frozen=True, slots=True, eq=False)
class CaseImage:
    """One image of the patient, without its pixels.

    Attributes
    ----------
    name : str
        Of no other image of the patient.
    sha256 : str
    cells : Cells
    crops : Crops
    encoded : Encoded
    content : str
        Of `_copies.content_of`: tells what the pixels were.
    number : int
        Place among the sources of `examine`.
    """

    name: str
    sha256: str
    cells: Cells
    crops: Crops
    encoded: Encoded
    content: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The cells of one patient.

    Attributes
    ----------
    patient : str
    images : tuple of CaseImage
    counts : csr_array of float32, (n_cells, d_sae)
        Token counts; cells in the order of the images and of their `Encoded`.
    ok : ndarray of bool, (n_cells,)
        Cells without a quality flag.
    facts : ndarray of float64, (n_cells, len(quality.FACTS)), or None
        Of `quality.cell_facts`.
    record : dict
        What made them, as ``uns["cytosae"]``.
    problems : tuple of str
        One sentence for each image that was left out.
    """

    patient: str
    images: tuple[CaseImage, ...]
    counts: sparse.csr_array
    ok: BoolArray
    facts: Float64Array | None = None
    record: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ok)

    def outdated_by(self, known: Mapping[str, Known]) -> tuple[str, ...]:
        """Names of the images that have other cells, or encoded anew, by now."""
        return tuple(
            image.name
            for image in self.images
            for cells, _, encoded in [known.get(image.sha256, _UNKNOWN)]
            if cells not in (None, image.cells) or encoded not in (None, image.encoded)
        )

    def where(self, row: int) -> tuple[int, int]:
        """Index of the image, and of the cell in its `Encoded`, that a row stands for."""
        for index, image in enumerate(self.images):
            if row < len(image.encoded):
                return index, row
            row -= len(image.encoded)
        raise IndexError("there is no such cell")

    def unflagged(self, spared: Collection[str] = ()) -> BoolArray:
        """Which cells no quality flag is against, other than the reasons `spared`."""
        if not spared:
            return self.ok
        return np.concatenate([_unflagged(image, spared) for image in self.images])

    def barcodes(self, kept: BoolArray | None = None) -> Barcodes:
        """The patient as a table of one row.

        Parameters
        ----------
        kept : ndarray of bool, (n_cells,), optional
            Cells that count; all by default.

        Raises
        ------
        CytoError
            If none does.
        """
        chosen = np.ones(len(self), bool) if kept is None else kept
        cells = PatientCells(
            self.patient,
            self.counts[chosen],
            self.ok[chosen],
            len(self.images),
            facts=None if self.facts is None else self.facts[chosen],
            images=tuple(image.content for image in self.images if image.content),
        )
        return collect([cells], self.record)


def examine(
    models: Models,
    patient: str,
    sources: Sequence[Path | Image | Pyramid],
    *,
    single_cell: bool = False,
    pixel_size: float | None = None,
    field_of_view_um: float = FIELD_OF_VIEW_UM,
    threshold: float = 0.2,
    known: Mapping[str, Known] | None = None,
    typed: Mapping[str, PixelSize] | None = None,
    names: Sequence[str] = (),
) -> Generator[Progress, None, Case]:
    """Find and encode the cells of all images of a patient.

    Parameters
    ----------
    models : Models
        As `load_models` gives them.
    patient : str
        Name.
    sources : sequence of Path, Image or Pyramid
        Files are read one at a time; those that cannot be read are named and left out.
    single_cell : bool
        Each image shows one cell.
    pixel_size : float, optional
        um; overrides what the files say.
    field_of_view_um : float
        Side of the crops.
    threshold : float
        Activation above which a patch counts.
    known : mapping of str to (Cells, Crops or None, Encoded or None), optional
        Images whose cells are found already, by sha256, and what these models made of
        them. Cells of another pixel size than the typed one are found again, those of
        another threshold or field of view encoded again.
    typed : mapping of str to PixelSize, optional
        The analyst's pixel size of an image, by sha256; overrides all else.
    names : sequence of str, optional
        What each source is called; by default, its file name, with folders where two have
        the same.

    Yields
    ------
    Progress
        In images, within one too; with a finished `CaseImage` as `partial`.

    Raises
    ------
    NoCellsError
        If no cell is found in any image.
    CytoError
        If none of them can be used.
    """
    images: list[CaseImage] = []
    problems: list[str] = []
    inputs: dict[str, str] = {}
    names = names or told_apart(
        [str(one) if isinstance(one, Path) else one.name for one in sources]
    )
    for done, source in enumerate(sources):
        yield Progress("Examining", done, len(sources), "images")
        try:
            image = read_image(source, pixel_size) if isinstance(source, Path) else source
            size = (typed or {}).get(image.sha256)
            if size is not None:
                image = replace(image, pixel_size=size)
            found, crops, encoded = (known or {}).get(image.sha256, _UNKNOWN)
            if found is not None and (size is None or size.um == found.pixel_size.um):
                cells = found
            else:
                crops = None
                cells = yield from _quietly(
                    find_cells(image, single_cell=single_cell), done, len(sources)
                )
        except CytoError as error:
            problems.append(str(error))
            continue
        if (
            crops is None
            or encoded is None
            or encoded.activations.threshold != threshold
            or not _shows(crops, cells, field_of_view_um)
        ):
            crops = crop_cells(image, cells, field_of_view_um)
            encoded = yield from _quietly(
                pipeline.encode(models, crops, threshold), done, len(sources)
            )
        name, content = names[done], content_of(image)
        inputs[name] = image.sha256
        images.append(CaseImage(name, image.sha256, cells, crops, encoded, content, done))
        yield Progress("Examining", done + 1, len(sources), "images", images[-1])
    parts = [image.encoded.activations.n_patches for image in images if len(image.encoded)]
    if not images:
        raise CytoError(f"No image of {patient} can be examined. {problems[0]}")
    if not parts:
        rest = f" Besides: {problems[0]}" if problems else ""
        raise NoCellsError(
            f"No cells were found in the images of {patient}: look at them under step 2, "
            f"or give others.{rest}"
        )
    parameters = {
        "threshold": threshold,
        "include_cls": False,
        "cells": "single cell" if single_cell else "segmentation",
        **({} if single_cell else {"field_of_view_um": float(field_of_view_um)}),
        "tokens": models.grid**2,
        "device": models.device.type,
        "precision": models.precision,
    }
    record = record_of(
        parameters, inputs, backbone=models.backbone_info, sae=models.sae_info
    )
    return Case(
        patient,
        tuple(images),
        sparse.csr_array(sparse.vstack(parts, format="csr")),
        np.concatenate([_unflagged(image) for image in images]),
        np.concatenate([_facts(models, image) for image in images]),
        record,
        tuple(problems),
    )


def _shows(crops: Crops, cells: Cells, field_of_view_um: float) -> bool:
    """Whether crops have the field of view asked for; single cells have their own."""
    if cells.single_cell or not len(crops):
        return True
    y0, _, y1, _ = crops.boxes[0]
    return bool(y1 - y0 == crop_side(cells, field_of_view_um)[0])


def _facts(models: Models, image: CaseImage) -> Float64Array:
    table = image.cells.table.set_index("cell_id").loc[list(image.encoded.cell_ids)]
    return cell_facts(models, table, image.crops, image.encoded)


def _unflagged(image: CaseImage, spared: Collection[str] = ()) -> BoolArray:
    table = image.cells.table.set_index("cell_id")["qc"]
    return ~flagged(table.loc[list(image.encoded.cell_ids)], spared)


def _quietly(
    job: Generator[Progress, None, Any], done: int, total: int
) -> Generator[Progress, None, Any]:
    """The steps inside an image as steps of the whole, so that a cancel need not wait."""
    while True:
        try:
            next(job)
        except StopIteration as finished:
            return finished.value
        yield Progress("Examining", done, total, "images")
