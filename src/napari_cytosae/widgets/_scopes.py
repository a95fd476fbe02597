"""Which cells concepts are ranked by; no Qt, no napari."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy.typing as npt

    from napari_cytosae.core.types import Cells, ConceptActivations, Encoded
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session


def cells_of(session: Session) -> Collection[int] | None:
    """Ids of the cells of the image that its scope stands for; None: all of them."""
    scope = session.focus.scope
    if scope in ("image", "patient") or session.cells is None:
        return None
    if scope == "like":
        return session.focus.examples
    if scope == "accepted":
        return {cell for _, cell, said in session.review.here() if said == "accept"}
    if scope in ("wbc", "rbc", "platelet"):
        table = session.cells.table
        return table.loc[table["kind"] == scope, "cell_id"].tolist()
    return session.focus.selection.cell_ids


def pool(
    session: Session, patients: PatientSession
) -> list[tuple[ConceptActivations, npt.NDArray[np.int64]]]:
    """All encoded images, and in each the rows of the patient that is looked at.

    An image is the patient's where it was examined as such, or else by its name.
    """
    case = patients.case
    examined = set() if case is None else {image.sha256 for image in case.images}
    names = {image.name for image in patients.images_of(patients.current)}
    found = []
    for sha256, (cells, _, encoded) in session.encoded_images().items():
        theirs = sha256 in examined if case is not None else cells_name(cells) in names
        rows = shown_rows(session, cells, encoded) if theirs else np.empty(0, np.int64)
        found.append((encoded.activations, rows))
    return found


def examples_among(
    session: Session, *, others: bool
) -> list[tuple[ConceptActivations, npt.NDArray[np.int64]]]:
    """The examples of the image looked at, and all cells that the gallery searches."""
    assert session.encoded is not None
    found = [(session.encoded.activations, session.rows(session.focus.examples))]
    here = None if session.image is None else session.image.sha256
    if others:
        found += [
            (encoded.activations, np.empty(0, np.int64))
            for sha256, (_, _, encoded) in session.encoded_images().items()
            if sha256 != here
        ]
    return found


def cells_name(cells: Cells) -> str:
    """Name of the image that cells are of; empty where there are none."""
    return str(cells.table["image"].iat[0]) if len(cells.table) else ""


def shown_rows(session: Session, cells: Cells, encoded: Encoded) -> npt.NDArray[np.int64]:
    """Rows of an image's cells, those that are hidden at the moment left out."""
    hidden = list(session.hidden_cells(cells))
    return np.flatnonzero(~np.isin(encoded.cell_ids, hidden)).astype(np.int64)


def groups_of(
    patients: PatientSession, grouping: str, cells: Cells, encoded: Encoded
) -> list[str]:
    """The group of each encoded cell of an image; empty where it has none."""
    if grouping == "kind":
        kinds = cells.table.set_index("cell_id")["kind"]
        return [str(kind) for kind in kinds.reindex(encoded.cell_ids)]
    name = cells_name(cells)
    if grouping == "patient":
        name = _patient_of(patients, name)
    elif grouping == "diagnosis":
        reading = patients.readings.get(_patient_of(patients, name))
        name = "" if reading is None else reading.predicted
    return [name] * len(encoded)


def _patient_of(patients: PatientSession, name: str) -> str:
    """Whose image of this name is; empty where nobody was said to be."""
    for patient in patients.patients:
        if any(image.name == name for image in patients.images_of(patient)):
            return patient
    return ""
