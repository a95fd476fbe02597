"""Does what is chosen in the menu of tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import CytoError
from napari_cytosae.session_found import how_found
from napari_cytosae.widgets import _explorer_tasks, _scopes
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cytosae.session import Session
    from napari_cytosae.widgets._catalogue_browser import CatalogueBrowser
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._explorer_windows import ExplorerWindows
    from napari_cytosae.widgets._rating_controller import RatingController
    from napari_cytosae.widgets._saved_sessions import SavedSessions
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel

_NO_NAMES = "Names belong to an SAE: encode cells, or open a catalogue, first."


class ToolsController:
    """One method a tool; long work goes to the desk."""

    def __init__(
        self,
        session: Session,
        desk: Desk,
        panel: ConceptsPanel,
        windows: ExplorerWindows,
        rating: RatingController,
        browser: CatalogueBrowser,
        saved: SavedSessions,
    ) -> None:
        self._session, self._desk, self._panel = session, desk, panel
        self._windows, self._rating, self._browser = windows, rating, browser
        self._tools: dict[str, Callable[[Path], None]] = {
            "passport": self._passport,
            "stability": self._stability,
            "catalogue": self._catalogue,
            "atlas": lambda _: windows.show_atlas(),
            "groups": lambda _: windows.show_groups(),
            "undo": self._undo,
            "import": self._import,
            "export": self._export,
            "rate": lambda _: rating.start(),
            "agreement": lambda _: rating.show_agreement(),
            "save": saved.save,
            "open": saved.open,
        }
        panel.tools.chosen.connect(self._on_chosen)
        desk.busy_changed.connect(panel.tools.set_busy)

    def close(self) -> None:
        """Close the windows."""
        self._windows.close()
        self._browser.close()

    def _on_chosen(self, key: str, path: str) -> None:
        try:
            self._tools[key](Path(path))
        except CytoError as error:
            self._desk.fail(str(error))

    def _catalogue(self, folder: Path) -> None:
        session = self._session
        choice, names = session.choice, session.naming.names
        loaded = None
        if session.models is not None and names is not None:
            loaded = (session.models, names)

        def keep(opened: _explorer_tasks.OpenedCatalogues) -> str:
            if session.choice != choice:
                return "The models were changed meanwhile; the catalogue was not taken."
            models, names = opened.models, opened.names
            if models is None or names is None:
                self._browser.show(opened.catalogues, opened.classes)
                return f"It is shown in a window of its own. {opened.why_alone}"
            if session.models is None:
                session.set_models(models, names)
            session.exploration.set_catalogues(
                opened.catalogues, opened.classes, str(folder.absolute())
            )
            listed = ", ".join(opened.catalogues)
            return f"Opened {listed}: search a class, like basophil."

        self._desk.run(
            "Opening the catalogue",
            lambda: _explorer_tasks.open_catalogues(folder, choice, loaded),
            keep,
        )

    def _stability(self, _: Path) -> None:
        session = self._session
        models, image, crops = session.models, session.image, session.crops
        if models is None or image is None or crops is None:
            self._desk.fail("Encode the cells first.")
            return
        from napari_cytosae.core.concepts import UNSTABLE
        from napari_cytosae.core.stability import measure_stability

        def keep(table: Any) -> str:
            if session.crops is not crops:
                return "The cells were changed meanwhile; the result was dropped."
            session.exploration.set_stability(table)
            count = int((table["stability"] < UNSTABLE).sum())
            view = self._panel.table
            view.show_columns({*view.shown_columns(), "flags"})
            are = "is" if count == 1 else "are"
            of = counted(len(table), "concept")
            return f"{count:,} of {of} {are} unstable: U in the column headed !"

        self._desk.run(
            "Measuring stability", lambda: measure_stability(models, image, crops), keep
        )

    def _passport(self, path: Path) -> None:
        from napari_cytosae.core.concept_facts import Seen
        from napari_cytosae.core.provenance import ImageIdentity

        session = self._session
        concept, names = session.focus.selection.concept, session.naming.names
        if concept is None or names is None:
            self._desk.fail("Select a concept in the table first.")
            return
        models = session.models
        assert models is not None
        encoded = session.found_images().items()
        found = {sha256: f for sha256, f in encoded if f.encoded is not None}
        seen = [
            Seen(
                ImageIdentity(_scopes.cells_name(f.cells), sha256),
                f.cells,
                f.crops,
                f.encoded,
                _scopes.shown_rows(session, f.cells, f.encoded),
            )
            for sha256, f in found.items()
            if f.cells is not None and f.crops is not None and f.encoded is not None
        ]
        chosen = _scopes.cells_of(session)
        work = _explorer_tasks.PassportWork(
            concept,
            seen,
            models,
            names,
            session.exploration.catalogues,
            session.exploration.stability,
            how_found(found.values()),
            None if chosen is None else session.rows().searchsorted(session.rows(chosen)),
        )
        target = path if path.suffix else path.with_suffix(".html")
        self._desk.run(
            "Writing the passport",
            lambda: _explorer_tasks.write_passport(target, work),
            lambda written: f"Saved {written}.",
        )

    def _undo(self, _: Path) -> None:
        self._panel.below.notes.undo_clicked.emit()

    def _import(self, path: Path) -> None:
        from napari_cytosae.core.name_exchange import merge_names

        names = self._session.naming.names
        if names is None:
            self._desk.fail(_NO_NAMES)
            return
        merged = merge_names(names, path)
        self._session.naming.changed.emit()
        self._desk.say(f"Names of {path.name}: {merged}")

    def _export(self, path: Path) -> None:
        from napari_cytosae.core.name_exchange import export_names

        if self._session.naming.names is None:
            self._desk.fail(_NO_NAMES)
            return
        target = path if path.suffix else path.with_suffix(".json")
        self._desk.say(f"Saved {export_names(self._session.naming.names, target)}.")
