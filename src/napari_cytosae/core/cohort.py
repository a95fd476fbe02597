"""Many patients: all images of a manifest to barcodes, in pieces that survive a kill.

A `Unit` is what is encoded in one go: one smear, or a few single cells of one patient.
`encode_unit` needs nothing but the models, the unit and the settings, so that units can be
done anywhere and in any order, see `core.crew`; `Finished` keeps what is done on disk, and
`build` drives both.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cytosae.core._barcode_files import record_of
from napari_cytosae.core._copies import copies
from napari_cytosae.core._manifest import Manifest, Row, others_of, read_manifest
from napari_cytosae.core._units import (
    Finished,
    Settings,
    Unit,
    UnitResult,
    encode_unit,
    joined,
    plan,
)
from napari_cytosae.core.crops import FIELD_OF_VIEW_UM
from napari_cytosae.core.files import sha256_file
from napari_cytosae.core.patient_cells import PatientCells
from napari_cytosae.core.patients import Barcodes, collect
from napari_cytosae.core.types import CytoError, Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from napari_cytosae.core.crew import Crew
    from napari_cytosae.core.models import Models

__all__ = [
    "Finished",
    "Manifest",
    "Settings",
    "Unit",
    "UnitResult",
    "build",
    "encode_unit",
    "forget",
    "partial_folder",
    "plan",
    "read_manifest",
]


def partial_folder(output: Path | str) -> Path:
    """Where the finished units of an unfinished run lie: ``<output>.partial``."""
    output = Path(output)
    return output.with_name(f"{output.name}.partial")


def build(
    models: Models,
    manifest: Manifest,
    output: Path | str,
    settings: Settings,
    crew: Crew | None = None,
) -> Generator[Progress, None, Barcodes]:
    """Make the barcodes of all patients of a manifest.

    An interrupted run goes on where it was when it is started again with the same images,
    models and settings: what is finished lies in `partial_folder`, until `output` is
    written by the caller, who then removes it with `forget`.

    Parameters
    ----------
    models : Models
        As `load_models` gives them.
    manifest : Manifest
        Of `read_manifest`.
    output : path-like
        The file that will hold the barcodes; not written here.
    settings : Settings
        What to count.
    crew : Crew, optional
        Other processes that encode; this one by default.

    Yields
    ------
    Progress
        In images, within a smear too.

    Returns
    -------
    Barcodes
        Rows and images that were left out are named in ``problems``, and so are patients
        without cells; images that show the same as others in ``cautions``.

    Raises
    ------
    CytoError
        If no patient has a cell.
    """
    finished = Finished(partial_folder(output), models, settings)
    units = plan(manifest.rows, settings.single_cell)
    total = len(manifest.rows)
    paths = [finished.path(unit) for unit in units]
    pending = [
        (unit, path)
        for unit, path in zip(units, paths, strict=True)
        if finished.load(path) is None
    ]
    done = total - sum(len(unit.rows) for unit, _ in pending)
    yield Progress("Barcodes", done, total, "images")
    if crew is None:
        for unit, path in pending:
            result = yield from _watched(encode_unit(models, unit, settings), done, total)
            finished.save(path, result)
            done += len(unit.rows)
            yield Progress("Barcodes", done, total, "images")
    else:
        for index, result in crew.encode([unit for unit, _ in pending], settings):
            unit, path = pending[index]
            finished.save(path, result)
            done += len(unit.rows)
            yield Progress("Barcodes", done, total, "images")
    problems, seen = list(manifest.problems), list[tuple[str, str, str]]()
    patients = _patients(finished, units, paths, manifest.path.name, problems, seen)
    parameters = asdict(settings) | {
        "cells": "single cell" if settings.single_cell else "segmentation",
        **({} if settings.single_cell else {"field_of_view_um": FIELD_OF_VIEW_UM}),
        "tokens": 257 if settings.include_cls else 256,
        "device": models.device.type,
        "precision": models.precision,
    }
    inputs = {manifest.path.name: sha256_file(manifest.path)}
    record = record_of(
        parameters, inputs, backbone=models.backbone_info, sae=models.sae_info
    )
    try:
        barcodes = collect(patients, record)
    except CytoError as error:
        raise CytoError(f"{error} {problems[0] if problems else ''}".strip()) from error
    return replace(barcodes, problems=tuple(problems), cautions=tuple(copies(seen)))


def forget(output: Path | str) -> None:
    """Remove the finished units of a run whose barcodes are written."""
    shutil.rmtree(partial_folder(output), ignore_errors=True)


def _watched(
    job: Generator[Progress, None, UnitResult], done: int, total: int
) -> Generator[Progress, None, UnitResult]:
    """Turn the steps inside a unit into steps of the whole run: a cancel need not wait."""
    while True:
        try:
            next(job)
        except StopIteration as finished:
            return finished.value  # type: ignore[no-any-return]
        yield Progress("Barcodes", done, total, "images")


def _patients(
    finished: Finished,
    units: Sequence[Unit],
    paths: Sequence[Path],
    manifest: str,
    problems: list[str],
    seen: list[tuple[str, str, str]],
) -> Iterator[PatientCells]:
    """Put each patient's units together.

    What is left out is added to `problems`; content, patient and name of each image to
    `seen`.
    """
    results: list[UnitResult] = []
    rows: list[Row] = []
    for position, (unit, path) in enumerate(zip(units, paths, strict=True)):
        result = finished.load(path)
        if result is None:
            raise CytoError(f"{path} has been removed or damaged: start the run again.")
        results.append(result)
        rows += unit.rows
        seen += [
            (content, row.patient, f"{manifest}, line {row.line}: {row.image.name}")
            for content, row in zip(result.contents, unit.rows, strict=True)
        ]
        for index, text in result.problems:
            line = unit.rows[index].line
            problems.append(f"{manifest}, line {line}: {text}")
        following = (
            units[position + 1].rows[0].patient if position + 1 < len(units) else None
        )
        patient = unit.rows[0].patient
        if following == patient:
            continue
        whole = joined(
            results,
            sum(part.n_images for part in results),
            [],
            result.counts.shape[1],
        )
        if len(whole.ok):
            known = [row.diagnosis for row in rows if row.diagnosis]
            diagnosis = known[0] if known else ""
            yield PatientCells(
                patient,
                whole.counts,
                whole.ok,
                whole.n_images,
                diagnosis,
                whole.facts,
                tuple(one for part in results for one in part.contents if one),
                others_of(rows),
            )
        else:
            problems.append(
                f"{manifest}, line {rows[0].line}: no cells were found of patient "
                f"{patient}, who is left out."
            )
        results, rows = [], []
