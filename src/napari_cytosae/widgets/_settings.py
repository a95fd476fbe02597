"""What the analyst set up once: columns, extras of an export, how the gallery looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSettings

from napari_cytosae.core._name_file import default_path
from napari_cytosae.core.types import EXTRAS
from napari_cytosae.widgets._concept_columns import OPTIONAL

if TYPE_CHECKING:
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel

FILE = "settings.ini"


class PanelSettings:
    """Brings a panel to where the last one was left, and keeps what is changed.

    Kept beside the user's concept names; unknown values, of another version or a damaged
    file, are left out.
    """

    def __init__(self, panel: ConceptsPanel) -> None:
        path = default_path().with_name(FILE)
        self._store = QSettings(str(path), QSettings.Format.IniFormat)
        panel.table.show_columns(self._read("columns", OPTIONAL))
        panel.tools.set_extras(self._read("extras", tuple(EXTRAS)))
        panel.below.set_draws(self._store.value("plain_cells", "") != "yes")
        panel.table.columns_chosen.connect(lambda keys: self._write("columns", keys))
        panel.tools.extras_changed.connect(
            lambda: self._write("extras", panel.tools.extras)
        )
        panel.below.draws_changed.connect(
            lambda: self._store.setValue("plain_cells", "" if panel.below.draws else "yes")
        )

    def _read(self, key: str, known: tuple[str, ...]) -> list[str]:
        return [word for word in str(self._store.value(key, "")).split() if word in known]

    def _write(self, key: str, words: list[str]) -> None:
        self._store.setValue(key, " ".join(words))
