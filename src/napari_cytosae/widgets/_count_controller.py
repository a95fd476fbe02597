"""Connects the differential with the patients: calls by key, proposals, the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt

from napari_cytosae.widgets import _patient_tasks
from napari_cytosae.widgets._bars import FOR, TOTAL, Bar
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._patient_texts import describe_clumps
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cytosae.core.differential import Differential
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.widgets._count_page import CountPage
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, JobError, Jobs
    from napari_cytosae.widgets.gallery import Gallery

_LANE = "differential"


class CountController(QObject):
    """Keeps `page` in step with the calls; a number key calls the selected cells."""

    def __init__(
        self,
        patients: PatientSession,
        desk: Desk,
        jobs: Jobs,
        page: CountPage,
        gallery: Gallery,
        counting: Callable[[], bool],
    ) -> None:
        super().__init__(page)
        self._patients, self._desk, self._jobs = patients, desk, jobs
        self._page, self._gallery, self._counting = page, gallery, counting
        page.types_edited.connect(self._show)
        page.type_picked.connect(self.call)
        page.propose_clicked.connect(self.propose)
        page.export_clicked.connect(self.export)
        gallery.installEventFilter(self)
        self._connections = Connections(
            (patients.reading_changed, self._show),
            (patients.types_changed, self._show),
            (patients.differential_changed, self._show),
        )
        self._show()

    def close(self) -> None:
        """Leave the sessions."""
        self._gallery.removeEventFilter(self)
        self._connections.close()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take number keys and Backspace in the gallery, while it is counted."""
        if event.type() != QEvent.Type.KeyPress or not self._counting():
            return False
        key = event.key()  # type: ignore[attr-defined]
        types = self._page.types()
        if key in (Qt.Key.Key_Backspace, Qt.Key.Key_Delete):
            self.call("")
            return True
        number = key - Qt.Key.Key_1
        if 0 <= number < min(len(types), 9):
            self.call(types[number])
            return True
        return False

    def call(self, cell_type: str) -> None:
        """Say what the selected cells are, and go on to the next.

        Once the rest is proposed, each call is learned from.
        """
        reading, selected = self._patients.reading, self._patients.selected
        if reading is None or not selected:
            self._desk.say("Select cells below, then press the number of their type.")
            return
        following = self._gallery.after(selected[-1])
        proposed = self._patients.differential is not None
        self._patients.call([int(reading.rows[p]) for p in selected], cell_type)
        if following is not None:
            self._select(following)
        if proposed:
            self.propose()

    def propose(self) -> None:
        """Let the called cells teach what the others are."""
        patients = self._patients
        reading, types = patients.reading, dict(patients.types)
        if reading is None:
            return
        position = {int(row): i for i, row in enumerate(reading.rows)}
        called = {position[row]: name for row, name in types.items() if row in position}

        def ended(end: Ended) -> None:
            if end.value is None or patients.reading is not reading:
                return
            if patients.types == types:
                self._on_proposed(end.value)
            else:
                # Cells were called meanwhile: they are to be learned from too.
                self.propose()

        self._jobs.run(
            _LANE,
            "Proposing",
            lambda: _patient_tasks.propose(reading, called),
            on_ended=ended,
            on_failed=self._on_failed,
        )

    def export(self, path: str) -> None:
        """Write the differential, and the type of each cell beside it."""
        reading, found = self._patients.reading, self._patients.differential
        if reading is not None and found is not None:
            self._desk.run(
                "Exporting",
                lambda: _patient_tasks.export_differential(Path(path), reading, found),
                lambda written: f"Saved in {written}.",
            )

    def _on_proposed(self, found: Differential) -> None:
        self._patients.set_differential(found)
        doubtful = int(found.doubtful_first()[0])
        if all(found.called[cell] for cell in self._patients.selected):
            self._select(doubtful)

    def _select(self, cell: int) -> None:
        self._gallery.set_selected((cell,))
        self._patients.select((cell,))

    def _on_failed(self, error: JobError) -> None:
        self._desk.fail_job(error)

    def _show(self, _: Any = None) -> None:
        called, found = self._patients.types, self._patients.differential
        types = self._page.types()
        named = [*types, *sorted(set(called.values()) - set(types))]
        if found is None:
            bars = [
                _bar(number, name, sum(t == name for t in called.values()), len(called))
                for number, name in enumerate(named, 1)
            ]
            text = "Select cells below and press the number of their type."
            if called:
                text = (
                    f"{counted(len(called), 'cell')} called; with three of each of two "
                    "types, propose the rest."
                )
        else:
            bars = count_bars(named, found)
            text = "Of 100 cells, with 95 % intervals; the table has 200 too."
        if self._patients.reading is not None:
            text += f" {describe_clumps(self._patients.reading.clumps)}"
        self._page.set_count(bars, text, ready=found is not None)


def _bar(number: int, name: str, count: int, total: int) -> Bar:
    key = f"{number} " if number < 10 else ""
    return Bar(name, f"{key}{name}", 0.0, count / max(total, 1), str(count), TOTAL)


def count_bars(names: list[str], found: Differential) -> list[Bar]:
    """Rows of a differential with proposals."""
    from napari_cytosae.core.differential import count_table

    rows = {row["type"]: row for row in count_table(found).to_dict("records")}
    bars = []
    for number, name in enumerate(names, 1):
        if name not in rows:
            bars.append(_bar(number, name, 0, 1))
            continue
        row = rows[name]
        key = f"{number} " if number < 10 else ""
        low, high = int(row["low_100"]), int(row["high_100"])
        bars.append(
            Bar(
                name,
                f"{key}{name}",
                0.0,
                float(row["share"]),
                f"{row['count_100']:.0f} [{low}, {high}]",
                FOR,
                f"{name}: {int(row['called'])} called, {row['expected']:.1f} of all cells; "
                f"share {row['share']:.1%} [{row['low']:.1%}, {row['high']:.1%}]",
            )
        )
    return bars
