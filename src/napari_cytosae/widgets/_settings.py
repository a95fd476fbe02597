"""What the analyst set up once, for the next dock: columns, filters, kinds of cells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QSettings

from napari_cytosae.core._name_file import default_path
from napari_cytosae.core.types import CELL_KINDS, EXTRAS
from napari_cytosae.widgets._concept_columns import OPTIONAL
from napari_cytosae.widgets._concept_rows import KEEP, ONLY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from napari_cytosae.session import Session
    from napari_cytosae.widgets.cells_panel import CellsPanel
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel

FILE = "settings.ini"


class _Settings:
    """Kept beside the user's concept names; unknown values are left out."""

    def __init__(self) -> None:
        path = default_path().with_name(FILE)
        self._store = QSettings(str(path), QSettings.Format.IniFormat)

    def _read(self, key: str, known: Collection[str]) -> list[str]:
        return [word for word in str(self._store.value(key, "")).split() if word in known]

    def _write(self, key: str, words: Iterable[str]) -> None:
        self._store.setValue(key, " ".join(words))


class CellsSettings(_Settings):
    """Kinds of cells to look for, and whether flagged ones are hidden, as last chosen."""

    def __init__(self, session: Session, panel: CellsPanel) -> None:
        super().__init__()
        kinds = [kind for kind in CELL_KINDS if kind in self._read("kinds", CELL_KINDS)]
        if kinds:
            session.set_settings(replace(session.settings, kinds=tuple(kinds)))
        session.set_hide_flagged(self._store.value("hide_flagged", "") == "yes")
        panel.settings_changed.connect(lambda chosen: self._write("kinds", chosen.kinds))
        session.hide_flagged_changed.connect(
            lambda hide: self._store.setValue("hide_flagged", "yes" if hide else "")
        )


class PanelSettings(_Settings):
    """Brings a panel to where the last one was left, and keeps what is changed."""

    def __init__(self, panel: ConceptsPanel) -> None:
        super().__init__()
        panel.table.show_columns(self._read("columns", OPTIONAL))
        panel.tools.set_extras(self._read("extras", tuple(EXTRAS)))
        for keep in self._read("keep", (*KEEP, *ONLY)):
            panel.set_keep(keep)
        panel.below.set_draws(self._store.value("plain_cells", "") != "yes")
        panel.table.columns_chosen.connect(lambda keys: self._write("columns", keys))
        panel.keep_chosen.connect(lambda keep: self._write("keep", [keep]))
        panel.tools.extras_changed.connect(
            lambda: self._write("extras", panel.tools.extras)
        )
        panel.below.draws_changed.connect(
            lambda: self._store.setValue("plain_cells", "" if panel.below.draws else "yes")
        )
