"""What of a dock's session is looked at, as the JSON values of its file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from napari_cytosae.core.types import CytoError, PixelSize
from napari_cytosae.session_found import Edits, Found
from napari_cytosae.session_values import (
    CellSettings,
    ModelChoice,
    Overlay,
    Scope,
    Selection,
    Source,
    Step,
    TableView,
)
from napari_cytosae.widgets._patients_view import PatientsView, read_patients

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cytosae.core.saved_image import SavedImage
    from napari_cytosae.session import Session
    from napari_cytosae.session_values import Place


@dataclass(frozen=True, slots=True)
class DeskView:
    """Where in the dock and on the slide the analyst was.

    Attributes
    ----------
    step : Step
    tab : int
        Of those below the table of concepts.
    source : Source
        Whose cells the gallery shows.
    camera : (y, x, zoom) or None
        Of `View.camera`.
    layers : mapping of str to dict
        Of `LayerLooks.read`.
    """

    step: Step
    tab: int
    source: Source
    camera: tuple[float, float, float] | None
    layers: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class SessionView:
    """Models picked, selection, ranking and overlays.

    Attributes
    ----------
    choice : ModelChoice
    selection : Selection
    scope : Scope
    examples : tuple of Place
        Cells that others are compared with; without a sha256, of the image in front.
    overlays : tuple of Overlay or None
        One entry a slot.
    hide_flagged : bool
    table : TableView or None
        None in sessions that were saved before it was kept.
    spared : tuple of str
        Reasons that hide no cell.
    desk : DeskView or None
        As the table.
    catalogue : str
        Folder of the open catalogues; empty without.
    patients : PatientsView or None
        None where nothing is said of any.
    """

    choice: ModelChoice
    selection: Selection
    scope: Scope
    examples: tuple[Place, ...]
    overlays: tuple[Overlay | None, ...]
    hide_flagged: bool
    table: TableView | None = None
    spared: tuple[str, ...] = ()
    desk: DeskView | None = None
    catalogue: str = ""
    patients: PatientsView | None = None


def view_of(
    session: Session, table: TableView, desk: DeskView, patients: PatientsView | None
) -> dict[str, Any]:
    """What `read_view` reads."""
    focus = session.focus
    view = SessionView(
        session.choice,
        focus.selection,
        focus.scope,
        focus.examples,
        session.overlays.ticked,
        session.hide_flagged,
        table,
        tuple(sorted(session.spared)),
        desk,
        session.exploration.folder,
        patients,
    )
    return asdict(view)


def read_view(view: dict[str, Any]) -> SessionView:
    """A view from JSON values.

    Raises
    ------
    CytoError
        If it is damaged.
    """
    try:
        chosen, table = view["selection"], view.get("table")
        cells, patch = tuple(map(int, chosen["cell_ids"])), chosen["patch"]
        if patch is not None:
            row, column = map(int, patch)
            patch = row, column
        if view["scope"] not in get_args(Scope):
            raise ValueError(f"nothing is ranked by {view['scope']}")
        if table is not None:
            before, picked = table["before"], table["picked"]
            if before is not None:
                before = str(before[0]), bool(before[1])
            picked = None if picked is None else tuple(map(int, picked))
            table = TableView(**table | {"before": before, "picked": picked})
        return SessionView(
            ModelChoice(**view["choice"]),
            Selection(
                cells,
                patch,
                chosen["concept"],
                tuple(map(_place, chosen.get("elsewhere", ()))),
            ),
            view["scope"],
            tuple(map(_place, view["examples"])),
            tuple(None if each is None else Overlay(**each) for each in view["overlays"]),
            bool(view["hide_flagged"]),
            table,
            tuple(map(str, view.get("spared", ()))),
            _desk_view(view.get("desk")),
            str(view.get("catalogue", "")),
            read_patients(view.get("patients")),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(error) from error


def _place(value: Any) -> Place:
    """A cell; sessions of before say its id alone."""
    sha256, cell = ("", value) if isinstance(value, int) else value
    return str(sha256), int(cell)


def _desk_view(desk: dict[str, Any] | None) -> DeskView | None:
    if desk is None:
        return None
    camera, step, source = desk["camera"], desk["step"], desk["source"]
    if step not in get_args(Step) or source not in get_args(Source):
        raise ValueError(f"there is no {step} with cells of {source}")
    if camera is not None:
        y, x, zoom = map(float, camera)
        camera = y, x, zoom
    layers = {str(key): dict(look) for key, look in desk["layers"].items()}
    return DeskView(step, int(desk["tab"]), source, camera, layers)


def state_of(found: Found) -> dict[str, Any]:
    """What `read_found` reads beside the image, the cells and their activations."""
    return {
        "settings": asdict(found.settings),
        "verdicts": found.review_list(),
        "found_at": asdict(found.pixel_size),
        "by_hand": found.by_hand,
        "edits": None if found.edits is None else _listed(found.edits),
        "gone": list(found.gone.items()),
    }


def read_found(saved: SavedImage, *, encoded: bool) -> Found:
    """What a session keeps of an image; `encoded` says whether its activations hold.

    Raises
    ------
    CytoError
        If what is said of it is damaged.
    """
    state = saved.state
    try:
        settings = CellSettings(**state["settings"])
        return Found(
            saved.cells,
            replace(settings, kinds=tuple(settings.kinds)),
            PixelSize(**state["found_at"]),
            saved.crops if encoded else None,
            saved.encoded if encoded else None,
            {(concept, cell): verdict for concept, cell, verdict in state["verdicts"]},
            saved.image,
            # Sessions of before do not say them, or not which.
            edits=_edits(state.get("edits"), by_hand=bool(state.get("by_hand", False))),
            gone={i: (y0, x0, y1, x1) for i, (y0, x0, y1, x1) in state.get("gone", ())},
        )
    except (LookupError, TypeError, ValueError) as error:
        raise _damaged(error) from error


def _listed(edits: Edits) -> dict[str, list[int]]:
    return {key: sorted(ids) for key, ids in asdict(edits).items()}


def _edits(listed: dict[str, list[int]] | None, *, by_hand: bool) -> Edits | None:
    if listed is None:
        return Edits() if by_hand else None
    return Edits(**{key: frozenset(map(int, ids)) for key, ids in listed.items()})


def _damaged(error: Exception) -> CytoError:
    return CytoError(f"The session is damaged: {type(error).__name__} {error}.")
