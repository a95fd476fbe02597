"""How fast two barcodes of 49,152 concepts are drawn, against a curve of all their bars.

Run it under a display: ``xvfb-run -a python benchmarks/compare.py``. Both are drawn in turn
in one run; what is given is the best of ten, from new barcodes to the painted plot.
"""

from __future__ import annotations

import time

import numpy as np
import pyqtgraph as pg
from qtpy.QtWidgets import QApplication

from napari_cytosae.widgets._barcode_plot import BarcodePlot

CONCEPTS = 49_152


def main() -> None:
    app = QApplication([])
    rng = np.random.default_rng(0)
    concepts = np.arange(CONCEPTS)
    here, there = rng.gamma(0.3, 1, (2, CONCEPTS))
    ours, plain = BarcodePlot(), pg.PlotWidget()
    for plot in (ours, plain):
        plot.resize(340, 76)
        plot.show()

    def all_bars() -> None:
        plain.clear()
        for values in (here, -there):
            y = np.zeros(2 * CONCEPTS)
            y[1::2] = values
            plain.addItem(pg.PlotCurveItem(np.repeat(concepts, 2), y, connect="pairs"))
        plain.autoRange()

    def painted(draw) -> float:
        began = time.perf_counter()
        draw()
        app.processEvents()
        return time.perf_counter() - began

    times = [
        (painted(lambda: ours.set_barcodes(concepts, here, there)), painted(all_bars))
        for _ in range(10)
    ]
    fast, slow = (min(column) for column in zip(*times, strict=True))
    print(
        f"{1000 * fast:.1f} ms, all bars {1000 * slow:.1f} ms: "
        f"{slow / fast:.1f} times faster"
    )


if __name__ == "__main__":
    main()
