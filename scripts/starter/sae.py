"""Train the starter's SAE on the shipped backbone's tokens.

``python scripts/starter/sae.py --backbone FILE --scenes DIR --run DIR -o sae.safetensors``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from export import LICENCE, NAME, TRAINING_DATA
from model import normalised
from sampling import draw_batch
from scenes import load_sources

from napari_cytosae.core.backbone import build_backbone
from napari_cytosae.core.checkpoints import open_backbone
from napari_cytosae.core.training import TrainingConfig, train_sae

CROPS, PER_BATCH = 6000, 16
CONFIG = TrainingConfig(
    kind="batchtopk",
    expansion=12,
    k=20,
    images=48_000,
    batch_images=16,
    buffer_images=512,
    holdout_images=256,
    nesting=(1 / 48, 1 / 12, 1 / 3),
)


def write_tokens(path: Path, backbone_file: Path, scenes: Path, crops: int = CROPS) -> None:
    """Encode crops drawn as for the backbone into a float16 array (crops, 257, width)."""
    sources = load_sources(scenes)
    backbone = build_backbone(open_backbone(backbone_file), -1)
    part = path.with_suffix(".part")
    shape = (crops, 1 + backbone.info.grid**2, backbone.info.width)
    tokens = np.lib.format.open_memmap(part, "w+", np.float16, shape)
    for start in range(0, crops, PER_BATCH):
        batch = draw_batch(sources, PER_BATCH, np.random.default_rng([2, start]))
        # Cameras store 8 bits.
        pixels = normalised((batch.varied * 255).round() / 255)
        with torch.inference_mode():
            encoded = backbone(pixels).half().numpy()
        tokens[start : start + PER_BATCH] = encoded[: crops - start]
    tokens.flush()
    part.replace(path)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="folder for the tokens")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tokens = arguments.run / "tokens.npy"
    if not tokens.exists():
        write_tokens(tokens, arguments.backbone, arguments.scenes)
    training = train_sae(
        np.load(tokens, mmap_mode="r"),
        CONFIG,
        out=arguments.output,
        layer=-1,
        backbone_name=NAME,
        training_data=TRAINING_DATA,
        licence=LICENCE,
        resume=True,
    )
    for progress in training:
        metrics = progress.partial
        if metrics is not None and metrics.step % 50 == 0:
            print(
                f"{metrics.step}/{metrics.steps} L0 {metrics.l0:.1f} "
                f"explained {metrics.explained_variance:.3f} dead {metrics.dead_share:.1%} "
                f"{metrics.seconds_left / 60:.1f} min left",
                flush=True,
            )


if __name__ == "__main__":
    main()
