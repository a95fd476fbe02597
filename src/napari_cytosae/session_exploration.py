"""What an analyst gathers about an SAE's concepts: catalogues, and their stability."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from napari_cytosae.core.catalogue import Catalogue


class Exploration:
    """Evented; let go when the models or the cells change."""

    facts_changed = Signal()
    where_changed = Signal()

    def __init__(self) -> None:
        self._catalogues: dict[str, Catalogue] = {}
        self._classes: pd.DataFrame | None = None
        self._folder = ""
        self._stability: pd.DataFrame | None = None
        self._where: pd.DataFrame | None = None

    @property
    def catalogues(self) -> Mapping[str, Catalogue]:
        """By data set; empty until some are opened."""
        return self._catalogues

    @property
    def folder(self) -> str:
        """Where the catalogues were read; empty without."""
        return self._folder

    @property
    def classes(self) -> pd.DataFrame | None:
        """Of `core.class_labels.describe_classes`."""
        return self._classes

    @property
    def stability(self) -> pd.DataFrame | None:
        """Of `core.stability.measure_stability`, on the present cells."""
        return self._stability

    @property
    def where(self) -> pd.DataFrame | None:
        """Of `core.concepts.location`, of the concepts looked at so far."""
        return self._where

    def add_where(self, parts: Sequence[pd.DataFrame]) -> None:
        """Take over where more concepts fire in the present cells."""
        import pandas as pd

        known = () if self._where is None else (self._where,)
        self._where = pd.concat([*known, *parts])
        self.where_changed.emit()

    def forget_where(self) -> None:
        """Let go where concepts fire: other cells count than before."""
        if self._where is not None:
            self._where = None
            self.where_changed.emit()

    def set_catalogues(
        self,
        catalogues: Mapping[str, Catalogue],
        classes: pd.DataFrame | None,
        folder: str = "",
    ) -> None:
        """Take over catalogues that were opened in a folder."""
        self._catalogues, self._classes = dict(catalogues), classes
        self._folder = folder
        self.facts_changed.emit()

    def set_stability(self, stability: pd.DataFrame | None) -> None:
        """Take over what was measured."""
        self._stability = stability
        self.facts_changed.emit()

    def forget_cells(self) -> None:
        """Let go what was said of the former cells; the session announces it."""
        self._stability = self._where = None

    def forget_models(self) -> None:
        """Let go all that belongs to the former SAE; the session announces it."""
        self._catalogues, self._classes, self._folder = {}, None, ""
        self.forget_cells()
