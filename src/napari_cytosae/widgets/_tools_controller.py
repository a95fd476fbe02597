"""Does what is chosen in the menu of tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_cytosae.core.types import CytoError, Image
from napari_cytosae.session_values import how_found
from napari_cytosae.widgets import _explorer_tasks, _scopes, _session_tasks
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cytosae.session import Session
    from napari_cytosae.widgets._catalogue_browser import CatalogueBrowser
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._explorer_windows import ExplorerWindows
    from napari_cytosae.widgets._image_controller import ImageController
    from napari_cytosae.widgets._rating_controller import RatingController
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel

_NO_NAMES = "Names belong to an SAE: encode cells, or open a catalogue, first."


class ToolsController:
    """One method a tool; long work goes to the desk."""

    def __init__(
        self,
        session: Session,
        desk: Desk,
        image: ImageController,
        panel: ConceptsPanel,
        windows: ExplorerWindows,
        rating: RatingController,
        browser: CatalogueBrowser,
    ) -> None:
        self._session, self._desk, self._panel = session, desk, panel
        self._image = image
        self._windows, self._rating, self._browser = windows, rating, browser
        self._restore: Callable[[Any], None] | None = None
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
            "save": self._save,
            "open": self._open,
        }
        panel.tools.chosen.connect(self._on_chosen)
        desk.busy_changed.connect(panel.tools.set_busy)

    def close(self) -> None:
        """Listen to the session no more; the windows close."""
        self._wait_for(None)
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
            session.exploration.set_catalogues(opened.catalogues, opened.classes)
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
            None if chosen is None else session.rows(chosen),
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

    def _save(self, folder: Path) -> None:
        session = self._session
        saved, left_out = _session_tasks.to_save(session, self._panel.table_view())
        names = session.naming.names
        text = counted(len(saved.images), "image")
        if left_out:
            text += f" ({left_out})"
        self._desk.run(
            "Saving the session",
            lambda: _session_tasks.save(folder, saved, names),
            lambda written: f"Saved {text} in {written}.",
        )

    def _open(self, folder: Path) -> None:
        def show(opened: _session_tasks.Opened) -> str:
            self._restore_on(opened)
            count = counted(len(opened.found), "image")
            return opened.remark or f"Opened {folder.name}: {count}."

        self._desk.run(
            "Opening the session", lambda: _session_tasks.open_session(folder), show
        )

    def _restore_on(self, opened: _session_tasks.Opened) -> None:
        """Restore at once where the image in front is looked at, else when it is.

        Not any more once the analyst has gone to another image meanwhile.
        """
        session = self._session
        images = [found.image for found in opened.found if isinstance(found.image, Image)]

        def restore(image: Any) -> None:
            if image is None:
                return
            self._wait_for(None)
            if image.sha256 != images[0].sha256:
                left = f"{images[0].name} was left before it was read"
                # What is said of the image itself comes first, and would replace it.
                QTimer.singleShot(
                    0, lambda: self._desk.say(f"{left}: open the session again.")
                )
                return
            _session_tasks.restore(session, opened)
            if opened.view.table is not None:
                self._panel.set_table_view(opened.view.table)

        self._wait_for(restore)
        self._image.open_images(images)
        if session.image is not None and session.image.sha256 == images[0].sha256:
            restore(session.image)

    def _wait_for(self, restore: Callable[[Any], None] | None) -> None:
        """Have a session, and no former one, restored with the next image."""
        if self._restore is not None:
            self._session.image_changed.disconnect(self._restore)
        self._restore = restore
        if restore is not None:
            self._session.image_changed.connect(restore)
