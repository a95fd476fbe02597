"""Connects the explanation with the patients: what adds up to a score, and what if."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.widgets._bars import AGAINST, FOR, TOTAL, Bar
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._patient_texts import describe_concept, short_place
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from napari_cytosae.core.reading import Reading
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._why_page import WhyPage


class WhyController:
    """Keeps `page` in step with the reading."""

    def __init__(
        self, session: Session, patients: PatientSession, desk: Desk, page: WhyPage
    ) -> None:
        self._session, self._patients, self._desk = session, patients, desk
        self._page = page
        page.concept_picked.connect(patients.pick)
        page.concept_counted.connect(self._on_counted)
        page.leave_out_clicked.connect(self._on_leave_out)
        page.reset_clicked.connect(lambda: patients.leave_out((), ()))
        self._connections = Connections(
            (patients.reading_changed, self._show),
            (patients.label_changed, self._show),
            (patients.what_if_changed, self._show),
            (patients.selected_changed, self._show_what_if),
            (patients.concept_changed, self._on_concept),
            (session.naming.changed, self._show_bars),
        )

    def close(self) -> None:
        """Leave the sessions."""
        self._connections.close()

    def _on_counted(self, concept: int, counted_in: bool) -> None:
        left_out = set(self._patients.what_if.concepts)
        left_out = left_out - {concept} if counted_in else left_out | {concept}
        self._patients.leave_out(concepts=left_out)

    def _on_leave_out(self) -> None:
        cells = self._patients.what_if.cells | set(self._patients.selected)
        reading = self._patients.reading
        if reading is not None and len(cells) >= len(reading.rows):
            self._desk.fail("At least one cell must be left.")
            return
        self._patients.leave_out(cells=cells)

    def _on_concept(self, concept: int | None) -> None:
        self._page.waterfall.set_picked(concept)

    def _show(self, _: Any = None) -> None:
        self._show_bars()
        self._show_what_if()

    def _show_what_if(self, _: Any = None) -> None:
        reading, what_if = self._patients.reading, self._patients.what_if
        label = self._patients.label
        text = ""
        if reading is not None and what_if and label:
            index = reading.head.classes.index(label)
            scores, p = reading.without(what_if.cells, what_if.concepts)
            gone = [
                counted(len(left), noun)
                for left, noun in ((what_if.concepts, "concept"), (what_if.cells, "cell"))
                if left
            ]
            now = reading.head.classes[int(p.argmax())]
            text = (
                f"Without {' and '.join(gone)}: score {reading.score(label):+.2f} would be "
                f"{scores[index]:+.2f}, probability {reading.probabilities[index]:.2f} "
                f"would be {p[index]:.2f}"
            )
            text += (
                "." if now == reading.predicted else f"; then {now} is the most probable."
            )
            if what_if.concepts:
                text += " A concept left out counts as in the mean training patient."
        selected = len(self._patients.selected)
        self._page.set_what_if(text, left_out=bool(what_if), selected=selected)

    def _show_bars(self, _: Any = None) -> None:
        patients = self._patients
        reading, label = patients.reading, patients.label
        if reading is None or not label:
            self._page.set_bars("", (), None)
            return
        names = self._session.naming.as_dict()
        title = f"{label}: score {reading.score(label):+.2f} adds up from"
        bars = waterfall_bars(reading, label, names, patients.what_if.concepts)
        self._page.set_bars(title, bars, patients.concept)


def waterfall_bars(
    reading: Reading, label: str, names: dict[int, str], left_out: frozenset[int]
) -> list[Bar]:
    """Rows of the waterfall: each bar starts where the one before ended."""
    table = reading.waterfall(label, names)
    totals = np.concatenate([[0.0], table["total"]])
    low, high = min(totals.min(), 0.0), max(totals.max(), 0.0)
    scale = (totals - low) / max(high - low, 1e-12)
    bars = []
    rows = zip(table["concept"], table["name"], table["contribution"], strict=True)
    for row, (concept, name, value) in enumerate(rows):
        known = concept >= 0
        title = f"{concept} {name}".rstrip() if known else str(name)
        place, about = (
            "",
            f"{title}: {value:+.4f}, up to here {table['total'].iloc[row]:+.4f}",
        )
        if known:
            shares = reading.place(int(concept))
            place, about = (
                short_place(shares),
                f"{about}. {describe_concept(reading, int(concept))}",
            )
        bars.append(
            Bar(
                int(concept) if known else None,
                title,
                float(scale[row]),
                float(scale[row + 1]),
                f"{value:+.2f}",
                (FOR if value >= 0 else AGAINST) if known else TOTAL,
                about,
                None if not known else concept not in left_out,
                place,
            )
        )
    return bars
