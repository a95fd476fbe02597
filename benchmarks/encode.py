"""Encoding at the full size of CytoSAE, against the plain published computation.

    python benchmarks/encode.py            # ViT-B/14 and 768 -> 49,152 latents
    python benchmarks/encode.py --quick    # the same with 6,144 latents, fewer cells

Weights and images are random: neither changes the work. Timings are interleaved, one batch
of each in turn, and the best of the rounds is kept; ``--busy`` counts the CPU time of one
thread instead of the clock, for a machine that has other work. Memory is the most a fresh
process holds while it encodes 64 cells, above what it held with the weights (Linux).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import timm
import torch
from scipy import sparse
from tables import add_option, show

from napari_cytosae.core import pipeline
from napari_cytosae.core._products import Product
from napari_cytosae.core.backbone import preprocess
from napari_cytosae.core.checkpoints import BackboneFile, SaeFile
from napari_cytosae.core.models import Models
from napari_cytosae.core.types import BackboneInfo, SaeInfo

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, DEPTH, HEADS = 768, 12, 12
BATCH = 8
TARGETS = {"float32": 1.5, "bfloat16": 3.0}

clock = time.perf_counter


def random_vit() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        "vit_base_patch14_dinov2", img_size=224, num_classes=0, init_values=0.1
    ).eval()


def random_sae(d_sae: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    encoder = torch.randn(WIDTH, d_sae) / WIDTH**0.5
    return {
        "W_enc": encoder,
        "b_enc": torch.full((d_sae,), -2.0),
        "W_dec": encoder.t().contiguous(),
        "b_dec": torch.zeros(WIDTH),
    }


def our_models(
    vit: torch.nn.Module, sae: dict[str, torch.Tensor], precision: str = "float32"
) -> Models:
    backbone_info = BackboneInfo("random ViT-B/14", WIDTH, DEPTH, HEADS, 14, 224, "")
    sae_info = SaeInfo("random SAE", "relu", WIDTH, sae["W_enc"].shape[1], -2, "")
    state = {k: v for k, v in vit.state_dict().items() if not k.startswith("norm.")}
    return Models(
        BackboneFile(backbone_info, state),
        SaeFile(sae_info, sae, {}),
        torch.device("cpu"),
        precision,
    )


class Published:
    """What the authors' code does with a batch: all blocks, dense latents, decoding."""

    def __init__(self, vit: torch.nn.Module, sae: dict[str, torch.Tensor]) -> None:
        self.vit, self.sae = vit, sae
        vit.blocks[-2].register_forward_hook(self._keep)

    def _keep(self, module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        self.tokens = output

    @torch.no_grad()
    def __call__(self, crops: list[np.ndarray]) -> torch.Tensor:
        self.vit(preprocess(crops))
        x, sae = self.tokens, self.sae
        pre = torch.einsum("ntd,df->ntf", x - sae["b_dec"], sae["W_enc"]) + sae["b_enc"]
        latents = torch.relu(pre)
        torch.einsum("ntf,fd->ntd", latents, sae["W_dec"]) + sae["b_dec"]
        return (latents[:, 1:] > 0.2).sum(dim=1)


def random_crops(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (224, 224, 3), np.uint8) for _ in range(count)]


def timings(d_sae: int, rounds: int, precisions: list[str]) -> dict[str, float]:
    vit, sae = random_vit(), random_sae(d_sae)
    crops = random_crops(BATCH)
    runs = {name: our_models(vit, sae, name).encode for name in precisions}
    runs["published"] = Published(vit, sae)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for name in list(runs) * (rounds + 1):
        start = clock()
        runs[name](crops)
        seconds[name].append((clock() - start) / BATCH)
    # The first round warms up.
    return {name: min(values[1:]) for name, values in seconds.items()}


def product_limit(d_sae: int, precision: str) -> float:
    """Seconds a cell that the matrix products alone take, at the machine's own speed."""
    dtype = getattr(torch, precision)
    rows, weight = torch.randn(BATCH * 257, WIDTH, dtype=dtype), torch.randn(3072, WIDTH)
    ours, theirs = Product(weight, None, dtype), weight.t().to(dtype)
    with torch.inference_mode():
        best = min(
            min(timed(lambda: ours(rows)), timed(lambda: torch.mm(rows, theirs)))
            for _ in range(20)
        )
    flops = 2 * BATCH * 257 * WIDTH * 3072 / best
    linear = 11 * 12 * WIDTH**2 + WIDTH * d_sae
    attention = 11 * 2 * 257 * WIDTH
    return 2 * 257 * (linear + attention) / flops


def timed(work: Callable[[], object]) -> float:
    start = clock()
    work()
    return clock() - start


def column_milliseconds(d_sae: int, cells: int) -> float:
    """Milliseconds to one more concept's patch activations over encoded cells."""
    models = our_models(random_vit(), random_sae(d_sae))
    *_, last = pipeline.encode(models, random_crops(1))
    one = last.partial
    concept = int(one.activations.n_patches.toarray().argmax())
    many = replace(
        one,
        activations=replace(
            one.activations,
            max=sparse.csr_array(sparse.vstack([one.activations.max] * cells)),
        ),
        tokens=np.repeat(one.tokens, cells, axis=0),
        boxes=np.repeat(one.boxes, cells, axis=0),
        cell_ids=np.arange(cells),
    )
    return 1000 * min(
        timed(lambda: models.concept_grids(many, [concept])) for _ in range(5)
    )


def peak_megabytes(d_sae: int, cells: int) -> float:
    """Of this process: megabytes above the weights while `cells` are encoded."""
    models = our_models(random_vit(), random_sae(d_sae))
    crops = random_crops(cells)
    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    for _ in pipeline.encode(models, crops):
        pass
    return held("VmHWM") - before


def held(field: str) -> float:
    """Megabytes this process holds now (``VmRSS``), or held at most (``VmHWM``)."""
    status = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer latents and cells")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bfloat16", action="store_true", help="time bfloat16 as well")
    parser.add_argument("--busy", action="store_true", help="CPU time of one thread")
    parser.add_argument("--memory-only", action="store_true", help=argparse.SUPPRESS)
    add_option(parser)
    options = parser.parse_args()
    if options.busy:
        global clock
        clock = time.process_time
        torch.set_num_threads(1)
    d_sae = 6144 if options.quick else 49152
    cells = 16 if options.quick else 64
    if options.memory_only:
        print(peak_megabytes(d_sae, cells))
        return
    command = [sys.executable, __file__, "--memory-only", *["--quick"] * options.quick]
    memory = float(subprocess.check_output(command, text=True))
    precisions = ["float32", *["bfloat16"] * options.bfloat16]
    seconds = timings(d_sae, 1 if options.quick else options.rounds, precisions)
    report = {
        "latents": d_sae,
        "threads": torch.get_num_threads(),
        "milliseconds_a_cell": {k: round(1000 * v) for k, v in seconds.items()},
        "share_of_the_measured_peak": {
            k: round(product_limit(d_sae, k) / seconds[k], 2) for k in precisions
        },
        "speed_up": {k: round(seconds["published"] / seconds[k], 2) for k in precisions},
        "speed_up_wanted": {k: TARGETS[k] for k in precisions},
        f"megabytes_above_weights_{cells}_cells": round(memory),
        "milliseconds_another_concept_200_cells": round(column_milliseconds(d_sae, 200), 1),
    }
    show(report, table=options.table)


if __name__ == "__main__":
    main()
