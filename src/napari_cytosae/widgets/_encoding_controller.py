"""Connects encoding and exporting with the session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cytosae.widgets import _export_tasks, _scopes, _tasks
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import JobError
    from napari_cytosae.widgets._tasks import EncodedCells


class EncodingController:
    """Encodes the session's cells and saves its results.

    Parameters
    ----------
    session : Session
        Read when a job starts, written when it is done.
    desk : Desk
        Runs the jobs.
    why_not_ready : callable
        Says what to do before the models can be used; empty where nothing is.
    """

    def __init__(
        self, session: Session, desk: Desk, why_not_ready: Callable[[], str]
    ) -> None:
        self._session, self._desk = session, desk
        self._why_not_ready = why_not_ready

    def encode(self) -> bool:
        """Encode all cells, loading the models first where that has not been done.

        False where something is to be done before, which is said.
        """
        session = self._session
        image, cells, choice = session.image, session.cells, session.choice
        missing = self._why_not_ready()
        if missing or image is None or cells is None:
            self._desk.fail(missing or "Segment cells first.")
            return False
        loaded = None
        if session.models is not None and session.naming.names is not None:
            loaded = (session.models, session.naming.names)
        field = session.settings.field_of_view_um

        def keep(result: EncodedCells) -> str:
            if session.choice == choice and session.models is not result.models:
                session.set_models(result.models, result.names)
            if session.cells is not cells or session.choice != choice:
                return "Image or models were changed meanwhile; the result was dropped."
            session.set_encoded(result.encoded, result.crops, field)
            count = counted(len(result.encoded), "cell")
            said = f"{count} encoded; tick a concept to lay it over the slide."
            return f"{said} {result.trouble}." if result.trouble else said

        def stopped(partials: tuple[Any, ...], error: JobError | None) -> None:
            if len(partials) < 2:
                return

            def kept(result: EncodedCells) -> str:
                keep(result)
                of = counted(len(cells), "cell")
                text = f"Kept the {len(result.encoded):,} of {of} done."
                self._desk.add(text, error)
                return ""

            self._desk.run("Keeping what is done", lambda: _tasks.joined(partials), kept)

        self._desk.run(
            "Encoding",
            lambda: _tasks.encode_cells(choice, loaded, image, cells, field),
            keep,
            stopped,
        )
        return True

    def export(self, folder: str, extras: Sequence[str] = ()) -> None:
        """Write what ``napari-cytosae analyze`` writes, overlays of ticked concepts too.

        `extras` are of `core.types.EXTRAS`.
        """
        session = self._session
        image, cells, crops, encoded = (
            session.image,
            session.cells,
            session.crops,
            session.encoded,
        )
        models, names = session.models, session.naming.names
        if (
            image is None
            or cells is None
            or crops is None
            or encoded is None
            or models is None
            or names is None
        ):
            self._desk.fail("Encode the cells first.")
            return
        ticked = [o.concept for o in session.overlays.slots if o is not None]
        work = _export_tasks.Results(
            image,
            cells,
            crops,
            encoded,
            models,
            names.as_dict(),
            ticked,
            session.found.as_parameters(),
            extras,
            [
                (_scopes.cells_name(of), *verdict)
                for of, listed in session.review.everywhere().values()
                for verdict in listed
            ],
        )
        self._desk.run(
            "Exporting",
            lambda: _export_tasks.export(Path(folder), work),
            lambda written: f"Saved in {written}.",
        )
