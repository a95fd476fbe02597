"""Connects the comparison with the patients: with what, and where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import Progress
from napari_cytosae.widgets._bars import AGAINST, FOR, Bar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_cytosae.core.comparison import Comparison
    from napari_cytosae.core.reading import Reading
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._compare_page import ComparePage
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, Jobs

_LANE = "comparison"
SHOWN = 200
"""Differences listed; the plot has all concepts."""

Other = tuple[str, str]
"""``class`` or ``patient``, and its name."""


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
        page.other_chosen.connect(self.compare)
        page.concept_picked.connect(patients.pick)
        self._connections: list[tuple[Any, Callable[..., None]]] = [
            (patients.reading_changed, self._on_reading),
            (patients.concept_changed, page.differences.set_picked),
            (session.names_changed, self._show),
        ]
        for signal, slot in self._connections:
            signal.connect(slot)

    def close(self) -> None:
        """Leave the sessions."""
        for signal, slot in self._connections:
            signal.disconnect(slot)

    def others(self) -> list[tuple[str, Other]]:
        """What there is to compare with: diseases of the head, and patients it has read."""
        reading = self._patients.reading
        if reading is None:
            return []
        classes = reading.head.classes if reading.head.profiles is not None else ()
        return [
            *((f"barcode of {name}", ("class", name)) for name in classes),
            *(
                (f"patient {name}", ("patient", name))
                for name in self._patients.readings
                if name != reading.case.patient
            ),
        ]

    def compare(self, other: Other) -> None:
        """Compare the present patient with a class of the head or another patient."""
        reading = self._patients.reading
        if reading is None:
            return
        kind, name = other
        self._other = (kind, name)
        second = self._patients.readings.get(name) if kind == "patient" else None

        def ended(end: Ended) -> None:
            if self._patients.reading is reading and end.value is not None:
                self._found = end.value
                self._show()

        self._jobs.run(
            _LANE,
            "Comparing",
            lambda: _compare(reading, name, second),
            on_ended=ended,
            on_failed=lambda error: self._desk.fail(str(error), error.details),
        )

    def _on_reading(self, reading: Reading | None) -> None:
        self._found = None
        others = self.others()
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
        sure = int((table["fdr"] <= 0.05).sum())
        self._page.set_said(
            f"Up {found.here}, down {found.there}: {sure:,} of {len(table):,} concepts "
            "differ at an FDR of 5 %."
        )
        self._page.set_barcodes(found.concepts, found.values, found.others)
        names = {} if self._session.names is None else self._session.names.as_dict()
        self._page.set_differences(difference_bars(found, names), self._patients.concept)


def _compare(
    reading: Reading, name: str, second: Reading | None
) -> Generator[Progress, None, Comparison]:
    yield Progress("Comparing", 0, 0)
    from napari_cytosae.core import comparison

    patient = reading.case.patient
    if second is None:
        return comparison.with_class(reading.head, name, patient, reading.counts_row())
    return comparison.between_patients(
        (patient, reading.counts), (name, second.counts), reading.head.concepts
    )


def difference_bars(found: Comparison, names: dict[int, str]) -> list[Bar]:
    """Rows of the strongest differences; a bar to the right is more in the patient."""
    table = found.table.head(SHOWN)
    largest = max(float(table["effect"].abs().max()), 1e-12) if len(table) else 1.0
    bars = []
    for concept, row in zip(table.index, table.to_dict("records"), strict=True):
        effect, fdr = float(row["effect"]), float(row["fdr"])
        title = f"{concept} {names.get(int(concept), '')}".rstrip()
        bars.append(
            Bar(
                int(concept),
                title,
                0.5,
                0.5 + 0.5 * effect / largest,
                f"{effect:+.2f}, FDR {'?' if fdr != fdr else f'{fdr:.2g}'}",
                FOR if effect > 0 else AGAINST,
                f"{title}: {row['here']:.4g} here, {row['there']:.4g} there, difference "
                f"{row['difference']:+.4g} [{row['low']:+.4g}, {row['high']:+.4g}]; effect "
                f"{effect:+.3f} ({found.effect})",
            )
        )
    return bars
