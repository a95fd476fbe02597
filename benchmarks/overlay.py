"""From a tick to the overlay on screen, and what overlays cost while the view moves.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/overlay.py
    ... --cells 200 --side 2000      # the small case; 5,000 cells on 20,000 px else

Activations of CytoSAE's size (768 wide tokens) are random, with one concept that fires in a
tenth of the cells and one that fires in all; a viewer of 1600 x 1000 px shows them over a
lazy grey slide. A concept is on screen when the first frame with it has been drawn, in the
layer that waits while pointer or keys rest on the table, in one that shows another concept,
or in a new one (ticked before one waits); of a few ticks, the quickest. Of that time, ours
goes into patch activations and the pixels that napari asks for, the rest into
napari's layer and into the frame, of Qt and OpenGL (without a GPU the CPU draws it, in
threads that ``--busy``, for a machine that has other work, does not count). Frames are
timed while the camera moves in steps over the slide, without overlays and with four, in
turn. Memory is what the process holds more with four concepts than with none (Linux).
"""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import dask.array as da
import napari
import numpy as np
import torch
from qtpy.QtCore import QEvent
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication
from scipy import sparse
from tables import add_option, show

from napari_cytosae.core._token_reader import TokenReader
from napari_cytosae.core.checkpoints import SaeFile
from napari_cytosae.core.overlay import OverlayMap, empty_map
from napari_cytosae.core.sae import Sae
from napari_cytosae.core.types import ConceptActivations, Encoded, SaeInfo
from napari_cytosae.session_values import OVERLAY_COLOURS, Overlay
from napari_cytosae.widgets import _concept_tasks
from napari_cytosae.widgets._layers import CanvasLayers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WIDTH, PATCHES, LATENTS, CROP = 768, 256, 64, 250
RARE, COMMON = 7, 8
CONCEPTS = {"a tenth of the cells": RARE, "all cells": COMMON}
TRIES, STEPS = 5, 40

clock = time.perf_counter


def random_sae() -> Sae:
    torch.manual_seed(0)
    tensors = {
        "W_enc": torch.randn(WIDTH, LATENTS) / WIDTH**0.5,
        "b_enc": torch.zeros(LATENTS),
        "W_dec": torch.randn(LATENTS, WIDTH),
        "b_dec": torch.zeros(WIDTH),
    }
    return Sae(SaeFile(SaeInfo("random", "relu", WIDTH, LATENTS, -2, "sae"), tensors, {}))


def random_cells(cells: int, side: int) -> Encoded:
    rng = np.random.default_rng(0)
    some = rng.standard_normal((16, 1 + PATCHES, WIDTH), np.float32).astype(np.float16)
    corners = rng.integers(0, side - CROP, (cells, 2))
    strongest = np.ones((cells, LATENTS), np.float32)
    strongest[rng.random(cells) > 0.1, RARE] = 0
    matrix = sparse.csr_array(strongest)
    return Encoded(
        ConceptActivations(*[matrix] * 5, sae_sha256="sae"),
        np.tile(some, (-(-cells // 16), 1, 1))[:cells],
        None,
        np.hstack([corners, corners + CROP]),
        np.arange(1, cells + 1),
    )


class Screen:
    """A viewer whose frames can be waited for."""

    def __init__(self, side: int) -> None:
        self.viewer = napari.Viewer()
        self.viewer.window.resize(1600, 1000)
        grey = da.full((side, side, 3), 200, np.uint8, chunks=(512, 512, 3))
        pyramid = [grey[:: 2**i, :: 2**i] for i in range(6)] if side > 4096 else grey
        layer = self.viewer.add_image(pyramid, name="slide", rgb=True)
        self.layers = CanvasLayers(self.viewer)
        self.layers.set_source(layer)
        self._canvas = next(
            w for w in QApplication.allWidgets() if isinstance(w, QOpenGLWidget)
        )
        self._frames = 0
        self._canvas.frameSwapped.connect(self._count)
        self.settle()

    def _count(self) -> None:
        self._frames += 1

    def settle(self) -> None:
        until = time.perf_counter() + 0.5
        while time.perf_counter() < until:
            QApplication.processEvents()
        # What a removed layer leaves behind, which Qt deletes between two events only.
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    def get_ready(self, slot: int, layer: str, side: int) -> Iterator[None]:
        """Before each of a few ticks: have a layer as it is to be found."""
        for _ in range(TRIES):
            if layer != "layer of another concept":
                self.layers.overlays.remove(slot)
            if layer == "waiting layer":
                look = Overlay(-1, OVERLAY_COLOURS[slot])
                self.layers.overlays.expect(empty_map((side, side)).layer_data(), look)
            self.settle()
            yield

    def drawn(self) -> None:
        """Return when everything that has changed is on screen."""
        before = self._frames
        self._canvas.update()
        while self._frames == before:
            QApplication.processEvents()


def on_screen(
    screen: Screen, reader: TokenReader, encoded: Encoded, slot: int, concept: int
) -> Taken:
    """From a tick to the frame that shows the concept."""
    height = screen.layers.source.data.shape[0]
    shape = (height, height)
    painted.clear()
    start = clock()
    job = _concept_tasks.draw_overlays(reader, encoded, shape, [(concept, False)], {})
    while True:
        try:
            next(job)
        except StopIteration as finished:
            (drawn,) = finished.value
            break
    mapped = clock()
    # On a small image the map is filled in the job, of which it is a part.
    painted.clear()
    overlay = Overlay(concept, OVERLAY_COLOURS[slot])
    screen.layers.overlays.show(slot, str(concept), drawn.data, drawn.top, overlay)
    laid, during = clock(), sum(painted)
    screen.drawn()
    end = clock()
    ours = mapped - start + sum(painted)
    return Taken(
        end - start, ours, laid - mapped - during, end - laid - (sum(painted) - during)
    )


class Taken(NamedTuple):
    """Seconds of a tick: all, ours, napari's for the layer, Qt's and OpenGL's frame."""

    all: float
    ours: float
    layer: float
    frame: float

    def report(self) -> dict[str, int]:
        return {name: round(1000 * value) for name, value in self._asdict().items()}


def timed_region(self: OverlayMap, *region: int) -> np.ndarray:
    """`OverlayMap.region`, which napari calls while it slices, in `painted`."""
    start = clock()
    pixels = plain_region(self, *region)
    painted.append(clock() - start)
    return pixels


plain_region, painted = OverlayMap.region, []


def best(several: Iterable[Taken]) -> dict[str, int]:
    return min(several).report()


def frame(screen: Screen, side: int) -> float:
    """Milliseconds a frame while the camera moves over the slide."""
    # The camera moved from the viewer to its scene in napari 0.9.
    camera = getattr(screen.viewer, "scene", screen.viewer).camera
    camera.zoom = 1
    times = []
    for step in range(STEPS):
        start = clock()
        camera.center = (side / 2, side / 3 + 8 * step)
        screen.drawn()
        times.append(clock() - start)
    return 1000 * float(np.median(times))


def held() -> float:
    """Megabytes this process holds."""
    gc.collect()
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--side", type=int, default=20_000, help="of the slide, in px")
    parser.add_argument("--busy", action="store_true", help="CPU time of one thread")
    add_option(parser)
    options = parser.parse_args()
    if options.busy:
        global clock
        clock = time.thread_time
        torch.set_num_threads(1)
    OverlayMap.region = timed_region
    encoded = random_cells(options.cells, options.side)
    reader, screen = TokenReader(random_sae(), 16), Screen(options.side)
    none = [frame(screen, options.side)]
    before = held()
    taken = {
        layer: {
            cells: best(
                on_screen(screen, reader, encoded, slot, concept)
                for _ in screen.get_ready(slot, layer, options.side)
            )
            for slot, (cells, concept) in enumerate(CONCEPTS.items())
        }
        for layer in ("waiting layer", "new layer", "layer of another concept")
    }
    for slot in (2, 3):
        on_screen(screen, reader, encoded, slot, COMMON + slot)
    four = [frame(screen, options.side)]
    screen.settle()
    memory = held() - before
    for _ in range(2):
        for slot in range(4):
            screen.layers.overlays.layer(slot).visible = False
        screen.settle()
        none.append(frame(screen, options.side))
        for slot in range(4):
            screen.layers.overlays.layer(slot).visible = True
        screen.settle()
        four.append(frame(screen, options.side))
    report = {
        "cells": options.cells,
        "side_px": options.side,
        "clock": "CPU of the GUI's thread" if options.busy else "wall",
        **{f"milliseconds_in_a_{layer}": each for layer, each in taken.items()},
        "megabytes_of_four": round(memory),
        "milliseconds_a_frame": {
            "no overlay": round(min(none), 1),
            "four overlays": round(min(four), 1),
        },
    }
    show(report, table=options.table)
    screen.viewer.close()


if __name__ == "__main__":
    main()
