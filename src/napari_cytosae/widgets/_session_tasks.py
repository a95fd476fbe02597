"""A dock's session to and from a folder; no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cytosae.core.types import CytoError, Image, Progress
from napari_cytosae.widgets import _explorer_tasks
from napari_cytosae.widgets._scopes import cells_name
from napari_cytosae.widgets._session_view import (
    SessionView,
    read_found,
    read_view,
    state_of,
    view_of,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import pandas as pd

    from napari_cytosae.core.catalogue import Catalogue
    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.session_file import SavedSession
    from napari_cytosae.session import Session
    from napari_cytosae.session_found import Found
    from napari_cytosae.session_values import TableView
    from napari_cytosae.widgets._patients_view import PatientsView
    from napari_cytosae.widgets._session_view import DeskView


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """Result of `open_session`.

    Attributes
    ----------
    found : tuple of Found
        What is known of each image; that in front first.
    view : SessionView
    models : Models or None
        None where they could not be loaded, or are others than those that encoded.
    names : ConceptNames or None
    remark : str
        What the analyst must know.
    catalogues : mapping of data set to Catalogue
        Read again.
    classes : DataFrame or None
        Of them.
    stability : DataFrame or None
        Of the cells in front.
    """

    found: tuple[Found, ...]
    view: SessionView
    models: Models | None
    names: ConceptNames | None
    remark: str
    catalogues: Mapping[str, Catalogue] = field(default_factory=dict)
    classes: pd.DataFrame | None = None
    stability: pd.DataFrame | None = None


def to_save(
    session: Session, table: TableView, desk: DeskView, patients: PatientsView | None = None
) -> tuple[SavedSession, str]:
    """Everything of a session that `save` writes, and what is left out, and why.

    Raises
    ------
    CytoError
        If there are no cells, or but those of slides that are no files, or of images that
        were closed.
    """
    from napari_cytosae.core.saved_image import SavedImage
    from napari_cytosae.core.session_file import SavedSession

    images, no_files, closed = [], [], []
    for found in session.found_images().values():
        if isinstance(found.image, Image) or (found.image and found.image.path):
            state = state_of(found)
            images.append(
                SavedImage(found.image, found.cells, found.crops, found.encoded, state)
            )
        elif found.image is not None:
            no_files.append(found.image.name)
        elif found.cells is not None and len(found.cells):
            closed.append(cells_name(found.cells))
    if not any(each.cells is not None for each in images):
        if no_files:
            raise CytoError(
                f"{no_files[0]} is too large to be saved in a session without a file of "
                "its own: save its layer, open that file instead, or export its results."
            )
        if closed:
            raise CytoError(f"The layer of {closed[0]} was deleted: open the image again.")
        raise CytoError("There is nothing to save yet: segment cells first.")
    left_out = []
    if no_files:
        left_out.append(f"{', '.join(no_files)}: too large and no file, export its results")
    if closed:
        left_out.append(f"{', '.join(closed)}: not open any more, open it and save again")
    models = session.models
    encoded = next((each.encoded for each in images if each.encoded is not None), None)
    sae = backbone = ""
    if encoded is not None and models is not None:
        sae, backbone = encoded.activations.sae_sha256, models.backbone_info.sha256
    view = view_of(session, table, desk, patients)
    stability = session.exploration.stability if images[0].encoded is not None else None
    saved = SavedSession(tuple(images), view, sae, backbone, stability)
    return saved, "; ".join(left_out)


def save(
    folder: Path, saved: SavedSession, names: ConceptNames | None
) -> Generator[Progress, None, Path]:
    """Write a session and what is said of its concepts."""
    yield Progress("Saving the session", 0, 0)
    from napari_cytosae.core.name_exchange import export_names
    from napari_cytosae.core.session_file import NAMES_FILE, save_session

    yield from save_session(folder, saved)
    if names is not None:
        export_names(names, folder / NAMES_FILE)
    return folder


def open_session(folder: Path) -> Generator[Progress, None, Opened]:
    """Read a session and load its models; activations of other models are let go."""
    yield Progress("Opening the session", 0, 0)
    from napari_cytosae.core.name_exchange import merge_names
    from napari_cytosae.core.session_file import NAMES_FILE, load_session
    from napari_cytosae.widgets import _tasks

    saved = load_session(folder)
    view = read_view(saved.view)
    plain = tuple(read_found(each, encoded=False) for each in saved.images)
    encoded = any(each.encoded is not None for each in saved.images)
    if not encoded and not view.catalogue:
        return Opened(plain, view, None, None, "")
    try:
        models, names = yield from _tasks.load(view.choice)
    except CytoError as error:
        return Opened(plain, view, None, None, f"Its models are not here: {error}")
    changed = _changed_models(saved, models) if encoded else ""
    if changed:
        return Opened(plain, view, None, None, changed)
    remarks = []
    if (folder / NAMES_FILE).is_file():
        merged = merge_names(names, folder / NAMES_FILE)
        remarks += [f"Names: {merged}"] if merged.added or merged.conflicts else []
    found = tuple(read_found(each, encoded=True) for each in saved.images)
    catalogues, classes = {}, None
    if view.catalogue:
        try:
            opened = yield from _explorer_tasks.open_catalogues(
                Path(view.catalogue), view.choice, (models, names)
            )
        except CytoError as error:
            remarks.append(f"Its catalogue is not here: {error}")
        else:
            remarks += [opened.why_alone] if opened.why_alone else []
            if not opened.why_alone:
                catalogues, classes = dict(opened.catalogues), opened.classes
    return Opened(
        found,
        view,
        models,
        names,
        " ".join(remarks),
        catalogues,
        classes,
        saved.stability,
    )


def _changed_models(saved: SavedSession, models: Models) -> str:
    """Say which of the models is not the one that encoded; empty where both are."""
    for role, info, then in (
        ("SAE", models.sae_info, saved.sae_sha256),
        ("backbone", models.backbone_info, saved.backbone_sha256),
    ):
        if info.sha256 != then:
            return (
                f"The {role} {info.name} has changed since (sha256 {info.sha256[:12]} "
                f"instead of {then[:12] or 'an unknown one'}): the activations were not "
                "taken; encode again."
            )
    return ""


def restore(session: Session, opened: Opened) -> None:
    """Bring a session, which looks at the image in front, to where it was saved."""
    view, (here, *others) = opened.view, opened.found
    session.choose(view.choice)
    if opened.models is not None and opened.names is not None:
        session.set_models(opened.models, opened.names)
    if opened.catalogues:
        session.exploration.set_catalogues(
            opened.catalogues, opened.classes, view.catalogue
        )
    for found in others:
        assert found.image is not None
        session.keep(found.image.sha256, found)
    assert here.image is not None
    if here.image.pixel_size.source == "user":
        session.type_pixel_size(here.image.pixel_size.um)
    session.set_settings(here.settings)
    session.set_spared(view.spared)
    session.set_hide_flagged(view.hide_flagged)
    session.overlays.forget()
    for slot, overlay in enumerate(view.overlays):
        if overlay is not None:
            session.overlays.put(slot, overlay)
    session.set_found(here)
    if here.encoded is None:
        return
    if opened.stability is not None:
        session.exploration.set_stability(opened.stability)
    chosen, front = view.selection, ("", here.image.sha256)
    session.focus.select_cells(
        [cell for sha256, cell in view.examples if sha256 in front],
        elsewhere=[each for each in view.examples if each[0] not in front],
    )
    session.focus.set_scope(view.scope)
    session.focus.select_cells(chosen.cell_ids, chosen.patch, chosen.elsewhere)
    session.focus.select_concept(chosen.concept)
