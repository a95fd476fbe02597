"""Train the starter's SAE on the shipped backbone's tokens.

``python scripts/starter/sae.py --backbone FILE --scenes DIR --run DIR -o sae.safetensors``,
with the laboratories of `labs.py` in ``labs`` of the run's folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from export import LICENCE, NAME, TRAINING_DATA
from guide import Guide
from model import gather, normalised
from sampling import draw_batch, patch_fractions
from scenes import CLASSES, load_sources

from napari_cytosae.core.backbone import build_backbone
from napari_cytosae.core.checkpoints import open_backbone
from napari_cytosae.core.training import TrainingConfig, train_sae

CROPS, PER_BATCH = 6000, 16
TOKENS = 128
"""Kept of each crop: CLS and patches, those of white cells `WHITE_ODDS` times as likely.

Glass and red cells fill most of a smear and look alike; without this they would take most
of the dictionary.
"""
WHITE_ODDS = 6.0
CONFIG = TrainingConfig(
    kind="batchtopk",
    expansion=1,
    k=32,
    images=20_000,
    batch_images=16,
    buffer_images=512,
    holdout_images=256,
    seed=1,
)


def write_tokens(
    path: Path, fractions_path: Path, backbone_file: Path, scenes: Path, crops: int = CROPS
) -> None:
    """Encode crops drawn as for the backbone, in float16.

    The tokens, (crops, TOKENS, width), CLS first, and what the patches among them show,
    (crops, TOKENS - 1, classes).
    """
    sources = load_sources(scenes)
    backbone = build_backbone(open_backbone(backbone_file), -1)
    part = path.with_suffix(".part")
    shape = (crops, TOKENS, backbone.info.width)
    tokens = np.lib.format.open_memmap(part, "w+", np.float16, shape)
    fractions = np.empty((crops, TOKENS - 1, len(CLASSES)), np.float16)
    for start in range(0, crops, PER_BATCH):
        batch = draw_batch(sources, PER_BATCH, np.random.default_rng([2, start]))
        # Cameras store 8 bits.
        pixels = normalised((batch.varied * 255).round() / 255)
        with torch.inference_mode():
            encoded = backbone(pixels)
        classes = patch_fractions(batch.classes, len(CLASSES))
        chosen = _chosen(classes, start)
        kept = torch.cat([encoded[:, :1], gather(encoded[:, 1:], chosen)], 1)
        shown = gather(classes, chosen)
        tokens[start : start + PER_BATCH] = kept[: crops - start].half().numpy()
        fractions[start : start + PER_BATCH] = shown[: crops - start].half().numpy()
    tokens.flush()
    np.save(fractions_path, fractions)
    part.replace(path)


def _chosen(classes: torch.Tensor, seed: int) -> torch.Tensor:
    """Patches to keep, (n, TOKENS - 1), by what they show; without replacement."""
    white = classes[..., CLASSES.index("cytoplasm") :].sum(-1)
    odds = 1 + (WHITE_ODDS - 1) * white
    g = torch.Generator().manual_seed(seed)
    return torch.multinomial(odds, TOKENS - 1, generator=g)


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
    tokens, fractions = arguments.run / "tokens.npy", arguments.run / "fractions.npy"
    if not tokens.exists():
        write_tokens(tokens, fractions, arguments.backbone, arguments.scenes)
    source = np.load(tokens, mmap_mode="r")
    training = train_sae(
        source,
        CONFIG,
        out=arguments.output,
        guide=Guide(arguments.run / "labs", source, np.load(fractions)),
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
