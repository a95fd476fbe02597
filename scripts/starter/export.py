"""Write the trained backbone for shipping.

``python scripts/starter/export.py --run DIR --scenes DIR -o backbone.safetensors``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from model import Learner
from sampling import draw_batch
from scenes import Sources, load_sources

from napari_cytosae.core.checkpoints import save_backbone

NAME = "starter"
TRAINING_DATA = (
    "BCCD and Chula RBC-12 smears (MIT) with weak labels from colour, white cell types of "
    "BCCD judged by eye by non-experts, and synthetic smears"
)
LICENCE = "MIT"
RESIDUAL = ("cls_token", "pos_embed", "patch_embed.", ".ls1.", ".ls2.")
"""What is added to the residual stream; every block normalises its input."""


@torch.no_grad()
def unit_variance(learner: Learner, stacks: Sources) -> None:
    """Scale the residual stream so that patch tokens have unit variance an entry.

    The tokens keep their directions. Activations of an SAE trained on them then are of
    the order of one, so that the usual threshold of 0.2 means the same here as elsewhere.
    """
    crops = draw_batch(stacks, 64, np.random.default_rng(1))
    tokens = learner.tokens(crops.varied)[:, 1:].flatten(0, 1)
    scale = 1 / tokens.var(0).mean().sqrt()
    for name, parameter in learner.backbone.named_parameters():
        if any(part in name for part in RESIDUAL):
            parameter.mul_(scale)


def load_learner(run: Path) -> Learner:
    """The averaged weights of a run's last checkpoint."""
    state = torch.load(run / "backbone.ckpt", weights_only=True)["average"]
    width = state["backbone.cls_token"].shape[-1]
    depth = 1 + max(int(n.split(".")[2]) for n in state if n.startswith("backbone.blocks."))
    learner = Learner(width, depth)
    learner.load_state_dict(state)
    return learner.eval()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of backbone.ckpt")
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    learner = load_learner(arguments.run)
    unit_variance(learner, load_sources(arguments.scenes))
    save_backbone(
        arguments.output,
        learner.backbone.state_dict(),
        storage="float16",
        name=NAME,
        training_data=TRAINING_DATA,
        licence=LICENCE,
    )


if __name__ == "__main__":
    main()
