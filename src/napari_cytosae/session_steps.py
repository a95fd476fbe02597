"""How far each step of the dock is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cytosae.session import Session
    from napari_cytosae.session_values import Step, StepState


def state_of(session: Session, step: Step) -> StepState:
    """Whether a step is done, still to do, or needs attention.

    Attention: what is shown was made with other settings than the ones chosen now, or only
    in part.
    """
    if step == "models":
        return "done"
    if step == "cells":
        if session.cells is None:
            return "todo"
        return "attention" if cells_outdated(session) else "done"
    if session.encoded is None:
        return "todo"
    asked, used = session.settings, session.found.settings
    changed = asked.field_of_view_um != used.field_of_view_um
    return "attention" if changed or not session.encoded.complete else "done"


def cells_outdated(session: Session) -> bool:
    """Whether the cells were found with other settings or another pixel size."""
    if session.cells is None or session.image is None:
        return False
    now, used = session.settings, session.found.settings
    return (now.shows, now.kinds) != (used.shows, used.kinds) or (
        session.image.pixel_size.um != session.found.pixel_size.um
    )
