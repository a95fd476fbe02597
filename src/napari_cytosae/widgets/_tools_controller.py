"""Does what is chosen in the menu of tools."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.core.types import CytoError
from napari_cytosae.widgets import _explorer_tasks, _scopes, _session_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._explorer_windows import ExplorerWindows
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets._rating_controller import RatingController
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel

_NO_NAMES = "Names belong to an SAE: encode cells, or open a catalogue, first."


class ToolsController:
    """One method a tool; long work goes to the desk."""

    def __init__(
        self,
        session: Session,
        desk: Desk,
        layers: CanvasLayers,
        panel: ConceptsPanel,
        windows: ExplorerWindows,
        rating: RatingController,
    ) -> None:
        self._session, self._desk, self._panel = session, desk, panel
        self._layers = layers
        self._windows, self._rating = windows, rating
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
        """Nothing of the session is listened to; the windows close."""
        self._windows.close()

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

        def keep(opened: _explorer_tasks.Opened) -> str:
            if session.choice != choice:
                return "The models were changed meanwhile; the catalogue was not taken."
            models, names, catalogues, classes = opened
            if session.models is None:
                session.set_models(models, names)
            session.exploration.set_catalogues(catalogues, classes)
            return f"Opened {', '.join(catalogues)}: search a class, like basophil."

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
            return f"{count:,} of {len(table):,} concepts are unstable (U in column !)."

        self._desk.run(
            "Measuring stability", lambda: measure_stability(models, image, crops), keep
        )

    def _passport(self, path: Path) -> None:
        from napari_cytosae.core.concept_facts import Seen

        session = self._session
        concept, names = session.focus.selection.concept, session.naming.names
        models, image, cells = session.models, session.image, session.cells
        crops, encoded = session.crops, session.encoded
        if concept is None or names is None:
            self._desk.fail("Select a concept in the table first.")
            return
        assert models is not None
        seen = []
        if image is not None and cells is not None and crops and encoded is not None:
            seen.append(Seen(image, cells, crops, encoded))
        work = _explorer_tasks.PassportWork(
            concept,
            seen,
            models,
            names,
            session.exploration.catalogues,
            session.exploration.stability,
            session.used_settings.as_parameters(),
            session.rows(_scopes.cells_of(session)),
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
        saved, names = _session_tasks.to_save(session), session.naming.names
        others = len(session.encoded_images().keys() - {saved.image.sha256})
        only = "; other images are not in it, encoding them reads the cache"
        self._desk.run(
            "Saving the session",
            lambda: _session_tasks.save(folder, saved, names),
            lambda written: (
                f"Saved {saved.image.name} in {written}{only if others else ''}."
            ),
        )

    def _open(self, folder: Path) -> None:
        def show(opened: _session_tasks.Opened) -> str:
            self._restore_on(opened)
            return opened.remark or f"Opened {folder.name}."

        self._desk.run(
            "Opening the session", lambda: _session_tasks.open_session(folder), show
        )

    def _restore_on(self, opened: _session_tasks.Opened) -> None:
        """Restore at once where the image is looked at, else when it has been opened."""
        session, wanted = self._session, opened.saved.image

        def restore(image: Any) -> None:
            pixels = getattr(image, "rgb", None)
            if pixels is None or not np.array_equal(pixels, wanted.rgb):
                return
            with suppress(ValueError):
                session.image_changed.disconnect(restore)
            _session_tasks.restore(session, opened)

        session.image_changed.connect(restore)
        restore(session.image)
        if session.cells is not opened.saved.cells:
            self._layers.open_image(wanted)
