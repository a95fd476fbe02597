"""Connects the comparison with the patients: with what, and where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cytosae.widgets import _compare_tasks
from napari_cytosae.widgets._bars import AGAINST, FOR, Bar
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from napari_cytosae.core.comparison import Comparison
    from napari_cytosae.core.patients import Barcodes
    from napari_cytosae.core.reading import Reading
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._compare_page import ComparePage
    from napari_cytosae.widgets._compare_tasks import Known, Other
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, Jobs
    from napari_cytosae.widgets.patient_map import PatientMap

_LANE, _MAP_LANE = "comparison", "patient map"
SHOWN = 200
"""Differences listed; the plot has all concepts."""


class CompareController:
    """Keeps `page` in step with the reading and what it is compared with."""

    def __init__(
        self,
        session: Session,
        patients: PatientSession,
        desk: Desk,
        jobs: Jobs,
        page: ComparePage,
    ) -> None:
        self._session, self._patients = session, patients
        self._desk, self._jobs, self._page = desk, jobs, page
        self._other: Other | None = None
        self._found: Comparison | None = None
        self._file: Barcodes | None = None
        self._map: PatientMap | None = None
        self._on_map: tuple[Other, ...] = ()
        page.other_chosen.connect(self.compare)
        page.concept_picked.connect(patients.pick)
        page.file_chosen.connect(self.open_file)
        page.map_clicked.connect(self.show_map)
        self._connections = Connections(
            (patients.head_changed, self._on_head),
            (patients.reading_changed, self._on_reading),
            (patients.others_changed, self._on_others),
            (patients.concept_changed, page.differences.set_picked),
            (session.naming.changed, self._show),
        )

    def close(self) -> None:
        """Leave the sessions; the map closes."""
        if self._map is not None:
            self._map.close()
        self._connections.close()

    def known(self) -> Known | None:
        """All there is to compare; None before the present patient is predicted."""
        reading = self._patients.reading
        if reading is None:
            return None
        others = (r for r in self._patients.readings.values() if r is not reading)
        return _compare_tasks.Known(reading.head, (reading, *others), self._file)

    def compare(self, other: Other) -> None:
        """Compare the present patient with another or a class, or a class with others."""
        known = self.known()
        if known is None:
            return
        self._other = other

        def ended(end: Ended) -> None:
            if self._patients.reading is known.readings[0] and end.value is not None:
                self._found = end.value
                self._show()

        self._jobs.run(
            _LANE,
            "Comparing",
            lambda: _compare_tasks.compare(known, other),
            on_ended=ended,
            on_failed=self._desk.fail_job,
        )

    def open_file(self, path: str) -> None:
        """Take the patients of a ``barcodes.h5ad`` to compare with."""
        head = self._patients.head
        if head is None:
            return
        read = next(iter(self._patients.readings.values()), None)
        sae_sha256 = "" if read is None else read.barcodes.sae_sha256

        def done(table: Barcodes) -> str:
            if self._patients.head is not head:
                return "The head was changed meanwhile; the file was let go."
            self._file = table
            self._on_reading(self._patients.reading)
            said = f"{counted(len(table), 'patient')} to compare with."
            caveat = f"Note: {table.caveat}" if table.caveat else ""
            if not table.sae_sha256:
                said += (
                    " Caution: they do not say which SAE they are of; of another one, "
                    "equal numbers are other concepts."
                )
            return " ".join(filter(None, (said, *table.problems[:1], caveat)))

        self._desk.run(
            "Reading the barcodes",
            lambda: _compare_tasks.open_barcodes(path, head, sae_sha256),
            done,
        )

    def show_map(self) -> None:
        """Open the map of how alike all patients and classes are."""
        known = self.known()
        if known is None:
            return
        # Made now, filled when the job ends: both at once hold the window up.
        window = self._map_window()

        def ended(end: Ended) -> None:
            if end.value is not None:
                found, self._on_map = end.value
                window.set_shown(found)
                window.show()
                window.raise_()

        self._jobs.run(
            _MAP_LANE,
            "Comparing the patients",
            lambda: _compare_tasks.resemble(known),
            on_ended=ended,
            on_failed=self._desk.fail_job,
        )

    def _map_window(self) -> PatientMap:
        if self._map is None:
            from napari_cytosae.widgets.patient_map import PatientMap

            self._map = PatientMap(parent=self._page)
            self._map.picked.connect(self._on_picked)
        return self._map

    def _on_picked(self, row: int, column: int) -> None:
        """Compare the present patient with one of the two that were pointed at."""
        offered = [] if (known := self.known()) is None else known.others()
        for place in (column, row):
            other = self._on_map[place]
            if other in [key for _, key in offered]:
                self._page.set_others(offered, other)
                self.compare(other)
                return

    def _on_head(self, _: Any) -> None:
        """The file was read for the former head's concepts."""
        self._file = None

    def _on_others(self) -> None:
        self._on_reading(self._patients.reading)

    def _on_reading(self, reading: Reading | None) -> None:
        self._found = None
        known = self.known()
        others = [] if known is None else known.others()
        keys = [key for _, key in others]
        if self._other not in keys:
            self._other = keys[0] if keys else None
        self._page.set_others(others, self._other)
        self._page.set_said("" if others else "There is nothing to compare with yet.")
        self._page.set_differences((), None)
        if self._other is not None and reading is not None:
            self.compare(self._other)

    def _show(self, _: Any = None) -> None:
        found = self._found
        if found is None:
            return
        table = found.table
        said = f"Up {found.here}, down {found.there}: "
        if table["fdr"].isna().all():
            said += "how surely they differ is not known from what is kept of them."
        else:
            sure = int((table["fdr"] <= 0.05).sum())
            said += f"{sure:,} of {len(table):,} differ (FDR 5 %)."
        self._page.set_said(said)
        self._page.set_barcodes(found.concepts, found.values, found.others, found.unit)
        names = self._session.naming.as_dict()
        self._page.set_differences(difference_bars(found, names), self._patients.concept)


def difference_bars(found: Comparison, names: dict[int, str]) -> list[Bar]:
    """Rows of the strongest differences; a bar to the right is more in the patient."""
    table = found.table.head(SHOWN)
    sizes = table["effect" if table["effect"].notna().any() else "difference"].fillna(0)
    largest = max(float(sizes.abs().max()), 1e-12) if len(table) else 1.0
    bars = []
    columns = ("effect", "fdr", "here", "there", "difference", "low", "high")
    values = table[list(columns)].to_numpy(float).tolist()
    for concept, size, row in zip(table.index, sizes.tolist(), values, strict=True):
        effect, fdr, here, there, difference, low, high = row
        known = "?" if effect != effect else f"{effect:+.2f}"
        title = f"{concept} {names.get(int(concept), '')}".rstrip()
        interval = "" if low != low else f" [{low:+.4g}, {high:+.4g}]"
        bars.append(
            Bar(
                int(concept),
                title,
                0.5,
                0.5 + 0.5 * size / largest,
                f"{known}, FDR {'?' if fdr != fdr else f'{fdr:.2g}'}",
                FOR if size > 0 else AGAINST,
                f"{title}: {here:.4g} here, {there:.4g} there, difference "
                f"{difference:+.4g}{interval}, in {found.unit}; effect "
                f"{'not known' if known == '?' else f'{effect:+.3f}'} ({found.effect})",
            )
        )
    return bars
