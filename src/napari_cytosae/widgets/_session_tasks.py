"""A dock's session to and from a folder; no Qt, no napari."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from napari_cytosae.core.types import CytoError, Image, PixelSize, Progress
from napari_cytosae.session_values import (
    CellSettings,
    Found,
    ModelChoice,
    Overlay,
    Selection,
)

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.session_file import SavedImage, SavedSession
    from napari_cytosae.session import Session


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """Result of `open_session`.

    Attributes
    ----------
    saved : SavedSession
    choice : ModelChoice
    models : Models or None
        None where they could not be loaded, or are others than those that encoded.
    names : ConceptNames or None
    remark : str
        What the analyst must know.
    """

    saved: SavedSession
    choice: ModelChoice
    models: Models | None
    names: ConceptNames | None
    remark: str


def to_save(session: Session) -> tuple[SavedSession, list[str]]:
    """Everything of a session that `save` writes, and the slides that are left out.

    Raises
    ------
    CytoError
        If there are no cells, or but those of slides.
    """
    from napari_cytosae.core.session_file import SavedImage, SavedSession

    images, slides = [], []
    for found in session.found_images().values():
        if found.image is not None and not isinstance(found.image, Image):
            slides.append(found.image.name)
        elif found.image is not None:
            state = {
                "settings": asdict(found.settings),
                "verdicts": found.review_list(),
                "found_at": asdict(found.pixel_size),
            }
            images.append(
                SavedImage(found.image, found.cells, found.crops, found.encoded, state)
            )
    if not any(each.cells is not None for each in images):
        raise CytoError(
            f"{slides[0]} is too large to be saved in a session: export its results."
            if slides
            else "There is nothing to save yet: segment cells first."
        )
    focus, overlays = session.focus, session.overlays
    view = {
        "choice": asdict(session.choice),
        "selection": asdict(focus.selection),
        "scope": focus.scope,
        "examples": focus.examples,
        "overlays": [None if o is None else asdict(o) for o in overlays.ticked],
        "hide_flagged": session.hide_flagged,
    }
    models = session.models
    encoded = next((each.encoded for each in images if each.encoded is not None), None)
    sae = backbone = ""
    if encoded is not None and models is not None:
        sae, backbone = encoded.activations.sae_sha256, models.backbone_info.sha256
    return SavedSession(tuple(images), view, sae, backbone), slides


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
    choice = ModelChoice(**saved.view["choice"])
    if all(each.encoded is None for each in saved.images):
        return Opened(saved, choice, None, None, "")
    try:
        models, names = yield from _tasks.load(choice)
    except CytoError as error:
        return Opened(saved, choice, None, None, f"Its models are not here: {error}")
    changed = _changed_models(saved, models)
    if changed:
        return Opened(saved, choice, None, None, changed)
    remark = ""
    if (folder / NAMES_FILE).is_file():
        merged = merge_names(names, folder / NAMES_FILE)
        remark = f"Names: {merged}" if merged.added or merged.conflicts else ""
    return Opened(saved, choice, models, names, remark)


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
    view, there = opened.saved.view, opened.models is not None
    here, *others = (_found(each, encoded=there) for each in opened.saved.images)
    session.choose(opened.choice)
    if opened.models is not None and opened.names is not None:
        session.set_models(opened.models, opened.names)
    for found in others:
        assert found.image is not None
        session.keep(found.image.sha256, found)
    assert here.image is not None
    if here.image.pixel_size.source == "user":
        session.type_pixel_size(here.image.pixel_size.um)
    session.set_settings(here.settings)
    session.set_hide_flagged(view["hide_flagged"])
    session.overlays.forget()
    for slot, overlay in enumerate(view["overlays"]):
        if overlay is not None:
            session.overlays.put(slot, Overlay(**overlay))
    session.set_found(here)
    if here.encoded is None:
        return
    chosen = Selection(**cast("dict[str, Any]", view["selection"]))
    session.focus.select_cells(view["examples"])
    session.focus.set_scope(view["scope"])
    patch = None if chosen.patch is None else (chosen.patch[0], chosen.patch[1])
    session.focus.select_cells(chosen.cell_ids, patch)
    session.focus.select_concept(chosen.concept)


def _found(saved: SavedImage, *, encoded: bool) -> Found:
    """What a session keeps of an image; `encoded` says whether its activations hold."""
    state = saved.state
    settings = CellSettings(**state["settings"])
    return Found(
        saved.cells,
        replace(settings, kinds=tuple(settings.kinds)),
        PixelSize(**state["found_at"]),
        saved.crops if encoded else None,
        saved.encoded if encoded else None,
        {(concept, cell): verdict for concept, cell, verdict in state["verdicts"]},
        saved.image,
    )
