"""From a tick to the overlay on screen, and what overlays cost while the view moves.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/overlay.py
    ... --cells 200 --side 2000      # the small case; 5,000 cells on 20,000 px else

Activations of CytoSAE's size (768 wide tokens) are random, with one concept that fires in a
tenth of the cells and one that fires in all; a viewer of 1600 x 1000 px shows them over a
lazy grey slide. A concept is on screen when the first frame with it has been drawn. Frames
are timed while the camera moves in steps over the slide, without overlays and with four, in
turn. Memory is what the process holds more with four concepts than with none (Linux).
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dask.array as da
import napari
import numpy as np
import torch
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication
from scipy import sparse

from napari_cytosae.core.checkpoints import SaeFile
from napari_cytosae.core.models import Models
from napari_cytosae.core.sae import Sae
from napari_cytosae.core.types import ConceptActivations, Encoded, SaeInfo
from napari_cytosae.session_values import OVERLAY_COLOURS, Overlay
from napari_cytosae.widgets import _concept_tasks
from napari_cytosae.widgets._layers import CanvasLayers

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, PATCHES, LATENTS, CROP = 768, 256, 64, 250
RARE, COMMON = 7, 8
STEPS = 40


def random_sae() -> Sae:
    torch.manual_seed(0)
    tensors = {
        "W_enc": torch.randn(WIDTH, LATENTS) / WIDTH**0.5,
        "b_enc": torch.zeros(LATENTS),
        "W_dec": torch.randn(LATENTS, WIDTH),
        "b_dec": torch.zeros(WIDTH),
    }
    return Sae(SaeFile(SaeInfo("random", "relu", WIDTH, LATENTS, -2, "sae"), tensors, {}))


class Grids:
    """What overlays need of `Models`, on an SAE without a backbone."""

    sae_info, grid = SaeInfo("random", "relu", WIDTH, LATENTS, -2, "sae"), 16
    concept_grids, _kept = Models.concept_grids, Models._kept

    def __init__(self) -> None:
        self._sae = random_sae()


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

    def drawn(self) -> None:
        """Return when everything that has changed is on screen."""
        before = self._frames
        self._canvas.update()
        while self._frames == before:
            QApplication.processEvents()


def on_screen(screen: Screen, encoded: Encoded, slot: int, concept: int) -> float:
    """Milliseconds from a tick to the frame that shows the concept."""
    height = screen.layers.source.data.shape[0]
    shape = (height, height)
    start = time.perf_counter()
    job = _concept_tasks.draw_overlays(Grids(), encoded, shape, [(concept, False)], {})
    while True:
        try:
            next(job)
        except StopIteration as finished:
            (drawn,) = finished.value
            break
    overlay = Overlay(concept, OVERLAY_COLOURS[slot])
    screen.layers.overlays.show(slot, str(concept), drawn.data, drawn.top, overlay)
    screen.drawn()
    return 1000 * (time.perf_counter() - start)


def wait(work: Callable[[], object]) -> float:
    """Milliseconds it takes."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def frame(screen: Screen, side: int) -> float:
    """Milliseconds a frame while the camera moves over the slide."""
    # The camera moved from the viewer to its scene in napari 0.9.
    camera = getattr(screen.viewer, "scene", screen.viewer).camera
    camera.zoom = 1
    times = []
    for step in range(STEPS):
        start = time.perf_counter()
        camera.center = (side / 2, side / 3 + 8 * step)
        screen.drawn()
        times.append(time.perf_counter() - start)
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
    options = parser.parse_args()
    encoded = random_cells(options.cells, options.side)
    screen = Screen(options.side)
    none = [frame(screen, options.side)]
    before = held()
    redraw = min(wait(screen.drawn) for _ in range(5))
    first = {
        "a tenth of the cells": on_screen(screen, encoded, 0, RARE),
        "all cells": on_screen(screen, encoded, 1, COMMON),
    }
    again = {
        "a tenth of the cells": min(on_screen(screen, encoded, 0, RARE) for _ in range(5)),
        "all cells": min(on_screen(screen, encoded, 1, COMMON) for _ in range(5)),
    }
    for slot in (2, 3):
        on_screen(screen, encoded, slot, COMMON + slot)
    four = [frame(screen, options.side)]
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
        "first_time_milliseconds": {k: round(v) for k, v in first.items()},
        "of_which_one_frame_of_the_same_view": round(redraw),
        "another_concept_milliseconds": {k: round(v) for k, v in again.items()},
        "megabytes_of_four": round(memory),
        "milliseconds_a_frame": {
            "no overlay": round(min(none), 1),
            "four overlays": round(min(four), 1),
        },
    }
    print(json.dumps(report, indent=2))
    screen.viewer.close()


if __name__ == "__main__":
    main()
