"""How long the interface is blocked while the dock works, and what the worker costs.

Run it under a display: ``xvfb-run -a python benchmarks/gui.py [IMAGE] [--sae S]``.
A timer in the GUI thread ticks every 5 ms; the longest gap between two ticks is how long
the window did not answer. A second process ticks beside it: its gap is the machine's own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time

import napari
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QApplication

from napari_cytosae.session_values import ModelChoice
from napari_cytosae.widgets import _tasks

TICK_S = 0.005


def beside(stop, worst):
    """Tick in a process of its own; `worst` is what the machine adds to every gap."""
    last = time.perf_counter()
    while not stop.is_set():
        time.sleep(TICK_S)
        now = time.perf_counter()
        worst.value = max(worst.value, now - last - TICK_S)
        last = now


class Heartbeat(QObject):
    """Measures gaps between the ticks of a timer in the GUI thread."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[tuple[float, str]] = []
        self.doing = ""
        self._last = time.perf_counter()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)
        self._timer.start(int(1000 * TICK_S))

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append((now - self._last - TICK_S, self.doing))
        self._last = now

    def worst(self, doing: str) -> float:
        return max((gap for gap, what in self.gaps if what == doing), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", nargs="?")
    parser.add_argument("--backbone", default="starter")
    parser.add_argument("--sae", default="starter")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    stop, worst = context.Event(), context.Value("d", 0.0)
    control = context.Process(target=beside, args=(stop, worst), daemon=True)
    control.start()

    viewer = napari.Viewer()
    began = time.perf_counter()
    _, dock = viewer.window.add_plugin_dock_widget("napari-cytosae", "CytoSAE")
    print(
        f"dock opened in {time.perf_counter() - began:.2f} s, torch not loaded: "
        f"{'torch' not in sys.modules}"
    )
    dock.session.choose(ModelChoice(options.backbone, options.sae))
    if options.image:
        viewer.open(options.image)
    else:
        viewer.open_sample("napari-cytosae", "smear")
    beat = Heartbeat()

    def step(doing, start, done):
        worst.value = 0.0
        beat.doing = doing
        began = time.perf_counter()
        start()
        while not done():
            QApplication.processEvents()
            time.sleep(0.0005)
        seconds = time.perf_counter() - began
        QApplication.processEvents()
        beat.doing = ""
        blocked, machine = 1000 * beat.worst(doing), 1000 * worst.value
        print(
            f"{doing:22} {seconds:6.2f} s, window blocked at most {blocked:4.0f} ms "
            f"(the machine alone {machine:.0f} ms)"
        )

    idle = lambda: not dock.desk.busy  # noqa: E731
    session, panel = dock.session, dock.concepts_panel
    step("reading the image", lambda: None, lambda: session.image is not None)
    step("segmenting", dock.cells.segment, idle)
    step("loading and encoding", dock.encoding.encode, idle)
    step("ranking", lambda: None, lambda: panel.model.rowCount() > 0)
    step("encoding again", dock.encoding.encode, idle)
    step("ranking again", lambda: None, lambda: dock._jobs.running("rank") is None)
    for row in range(4):
        concept = panel.model.concept_at(row)
        step(
            f"overlay {row + 1}",
            lambda c=concept: session.overlays.show(c),
            lambda row=row: dock.layers.overlays.shown_concept(row) is not None,
        )
    cell = session.cells.table.iloc[0]
    step(
        "clicking a cell",
        lambda: dock.layers.clicked.emit(cell.centroid_y, cell.centroid_x, False),
        lambda: dock._jobs.running("rank") is None,
    )

    image, cells, loaded = (
        session.image,
        session.cells,
        (session.models, session.naming.names),
    )

    def encode(seconds):
        began = time.perf_counter()
        result = yield from _tasks.encode_cells(session.choice, loaded, image, cells, 25.0)
        seconds.append(time.perf_counter() - began)
        return result

    inside, outside = [], []
    for _ in range(5):
        for _ in encode(outside):
            pass
        dock.desk.run("Encoding", lambda: encode(inside), lambda _: "")
        while dock.desk.busy:
            QApplication.processEvents()
            time.sleep(0.001)
    print(
        f"{len(cells)} cells encoded in {min(outside):.3f} s outside, {min(inside):.3f} s "
        "inside the worker (best of 5, interleaved)"
    )
    stop.set()
    viewer.close()


if __name__ == "__main__":
    main()
