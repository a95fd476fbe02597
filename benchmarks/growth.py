"""Time and memory of encoding against the number of cells, drawn as a figure.

    python benchmarks/growth.py docs/images/growth.svg    # needs the extra [docs]
    python benchmarks/growth.py --quick                   # a tenth of the cells

CytoSAE's size to 300 cells, the starter to 10,000.
One run of each, seen after every batch: seconds since its start (``--busy``: of one CPU's
time, for a machine that has other work), and megabytes the process holds above what it held
with the models loaded and one batch encoded (Linux). Sparse results are kept, tokens are
not: they add 0.4 MB a cell of CytoSAE's size, 0.1 MB of the starter's. Weights and crops of
full size are random; the cache is off.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from encode import held, our_models, random_sae, random_vit

SIZES = {"CytoSAE's size": 300, "starter": 10_000}
CROPS = 16


clock = time.perf_counter


def measure(which: str, cells: int) -> list[tuple[int, float, float]]:
    """Cells, seconds and megabytes after each batch."""
    from napari_cytosae.core import pipeline
    from napari_cytosae.core.loading import load_models

    if which == "starter":
        models = load_models(device="cpu", precision="float32")
    else:
        models = our_models(random_vit(), random_sae(49_152), "float32")
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (224, 224, 3), np.uint8) for _ in range(CROPS)]
    models.encode(crops[: models.batch_size])
    before, start = held("VmRSS"), clock()
    seen = []
    many = [crops[index % CROPS] for index in range(cells)]
    for step in pipeline.encode(models, many, keep_tokens=False):
        seen.append((step.done, clock() - start, held("VmRSS") - before))
    return seen


def draw(path: Path, series: dict[str, list[tuple[int, float, float]]], unit: str) -> None:
    """Two panels a series: time, a line, and memory, which should not grow."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots(2, len(series))
    for column, (name, seen) in enumerate(series.items()):
        cells, seconds, megabytes = np.array(seen).T
        slope = seconds[-1] / cells[-1]
        time_axis, memory_axis = axes[:, column]
        time_axis.plot(cells, seconds)
        time_axis.plot(cells, slope * cells, "k:", linewidth=1)
        time_axis.set_title(f"{name}: {1000 * slope:.0f} ms a cell")
        time_axis.set_ylabel(unit)
        memory_axis.plot(cells, megabytes)
        memory_axis.set_ylim(0, max(300.0, 1.1 * megabytes.max()))
        memory_axis.set_ylabel("MB above the weights")
        memory_axis.set_xlabel("cells")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=Path, nargs="?", default=Path("growth.svg"))
    parser.add_argument("--quick", action="store_true", help="a tenth of the cells")
    parser.add_argument("--busy", action="store_true", help="CPU time of one thread")
    parser.add_argument("--one", choices=list(SIZES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.busy:
        global clock
        clock = time.process_time
        torch.set_num_threads(1)
    sizes = {name: n // 10 if options.quick else n for name, n in SIZES.items()}
    if options.one:
        print(json.dumps(measure(options.one, sizes[options.one])))
        return
    series = {}
    for name in sizes:
        passed = ["--quick"] * options.quick + ["--busy"] * options.busy
        command = [sys.executable, __file__, "--one", name, *passed]
        series[name] = json.loads(subprocess.check_output(command, text=True))
        _, half_time, half_held = series[name][len(series[name]) // 2]
        cells, seconds, megabytes = series[name][-1]
        print(
            f"{name}: {cells} cells in {seconds:.0f} s, {half_time / seconds:.0%} of it "
            f"for the first half; {half_held:.0f} MB above the weights at half, "
            f"{megabytes:.0f} MB at the end",
            flush=True,
        )
    draw(options.figure, series, "CPU seconds" if options.busy else "seconds")


if __name__ == "__main__":
    main()
