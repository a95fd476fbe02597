"""A dock's session to and from a folder; no Qt, no napari."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from napari_cytosae.core.types import CytoError, Image, Progress
from napari_cytosae.session_values import CellSettings, ModelChoice, Overlay, Selection

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.session_file import SavedSession
    from napari_cytosae.session import Session

NAMES_FILE = "names.json"


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


def to_save(session: Session) -> SavedSession:
    """Everything of a session that `save` writes, read on the GUI thread.

    Raises
    ------
    CytoError
        If there are no cells, or the image is a slide.
    """
    from napari_cytosae.core.session_file import SavedSession

    image, cells = session.image, session.cells
    if image is None or cells is None:
        raise CytoError("There is nothing to save yet: segment cells first.")
    if not isinstance(image, Image):
        raise CytoError(
            "A slide is too large to be saved in a session: export its results instead."
        )
    view = {
        "choice": asdict(session.choice),
        "settings": asdict(session.used_settings),
        "selection": asdict(session.focus.selection),
        "overlays": [None if o is None else asdict(o) for o in session.overlays.slots],
        "verdicts": session.review_list(),
        "hide_flagged": session.hide_flagged,
    }
    models, encoded = session.models, session.encoded
    sae = backbone = ""
    if encoded is not None and models is not None:
        sae, backbone = encoded.activations.sae_sha256, models.backbone_info.sha256
    return SavedSession(image, cells, session.crops, encoded, view, sae, backbone)


def save(
    folder: Path, saved: SavedSession, names: ConceptNames | None
) -> Generator[Progress, None, Path]:
    """Write a session and what is said of its concepts."""
    yield Progress("Saving the session", 0, 0)
    from napari_cytosae.core.name_exchange import export_names
    from napari_cytosae.core.session_file import save_session

    save_session(folder, saved)
    if names is not None:
        export_names(names, folder / NAMES_FILE)
    return folder


def open_session(folder: Path) -> Generator[Progress, None, Opened]:
    """Read a session and load its models; activations of other models are let go."""
    yield Progress("Opening the session", 0, 0)
    from napari_cytosae.core.name_exchange import merge_names
    from napari_cytosae.core.session_file import load_session
    from napari_cytosae.widgets import _tasks

    saved = load_session(folder)
    choice = ModelChoice(**saved.view["choice"])
    if saved.encoded is None:
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
    """Bring a session, which looks at the saved image, to where it was saved."""
    saved, view = opened.saved, opened.saved.view
    settings = dict(view["settings"])
    settings["kinds"] = tuple(settings["kinds"])
    used = CellSettings(**settings)
    if saved.image.pixel_size.source == "user":
        session.type_pixel_size(saved.image.pixel_size.um)
    session.choose(opened.choice)
    if opened.models is not None and opened.names is not None:
        session.set_models(opened.models, opened.names)
    session.set_settings(used)
    session.set_cells(saved.cells, used)
    if opened.models is None or saved.encoded is None or saved.crops is None:
        return
    session.set_encoded(saved.encoded, saved.crops, used.field_of_view_um)
    session.set_hide_flagged(view["hide_flagged"])
    for slot, overlay in enumerate(view["overlays"]):
        if overlay is not None:
            session.overlays.put(slot, Overlay(**overlay))
    for concept, cell_id, verdict in view["verdicts"]:
        session.judge(concept, [cell_id], verdict)
    chosen = Selection(**cast("dict[str, Any]", view["selection"]))
    patch = None if chosen.patch is None else (chosen.patch[0], chosen.patch[1])
    session.focus.select_cells(chosen.cell_ids, patch)
    session.focus.select_concept(chosen.concept)
