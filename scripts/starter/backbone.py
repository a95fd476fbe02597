"""Train the starter's backbone: ``python scripts/starter/backbone.py --scenes DIR -o DIR``.

Resumes from the last checkpoint after a kill, to the same weights as an unbroken run on
the same machine with the same number of threads.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
from model import DEPTH, GRID, WIDTH, Learner
from sampling import Batch, draw_batch
from scenes import Sources, load_sources
from torch.utils.data import DataLoader, Dataset

STEPS, BATCH, SEED = 1350, 16, 0
RATE, WARM_UP, COOLING, DECAY = 1.2e-3, 50, 0.35, 0.05
PARTIAL_UNTIL, PARTIAL_PATCHES, PARTIAL_BATCH = 0.8, 64, 48
"""The first part of the run looks at a quarter of each crop's patches, so at more crops."""
AVERAGE = 0.995
CHECKPOINT_EVERY = 50


class Lessons(Dataset[tuple[Batch, torch.Tensor | None]]):
    """What each step sees: crops, and the patches of them to look at (None: all).

    Parameters
    ----------
    scenes : Sources
    steps, batch : int
    """

    def __init__(self, scenes: Sources, steps: int, batch: int) -> None:
        self.scenes, self.batch = scenes, batch
        self.partial_until = PARTIAL_UNTIL * steps

    def __getitem__(self, step: int) -> tuple[Batch, torch.Tensor | None]:
        rng = np.random.default_rng([SEED, step])
        if step >= self.partial_until:
            return draw_batch(self.scenes, self.batch, rng), None
        size = PARTIAL_BATCH * self.batch // BATCH
        order = rng.random((size, GRID**2)).argsort(1)[:, :PARTIAL_PATCHES]
        return draw_batch(self.scenes, size, rng), torch.from_numpy(np.sort(order, 1))


def train(
    scenes: Sources,
    folder: Path,
    *,
    steps: int = STEPS,
    batch: int = BATCH,
    width: int = WIDTH,
    depth: int = DEPTH,
    stop_after: int | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
    workers: int = 1,
) -> Learner:
    """Train, or go on from the checkpoint in `folder`; returns the averaged weights.

    Parameters
    ----------
    scenes : Sources
        What crops are cut from.
    folder : Path
        Holds ``backbone.ckpt``.
    steps, batch : int
        Optimiser steps in all; crops a step once whole crops are looked at.
    width, depth : int
        Of the vision transformer.
    stop_after : int, optional
        Stop at this step as a kill would, leaving a checkpoint.
    checkpoint_every : int
        In steps.
    workers : int
        Processes that draw crops beside the training; the result is the same.
    """
    torch.manual_seed(SEED)
    learner = Learner(width, depth)
    average = copy.deepcopy(learner).requires_grad_(False)
    optimizer = torch.optim.AdamW(_groups(learner), lr=RATE, betas=(0.9, 0.98))
    checkpoint = folder / "backbone.ckpt"
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        learner.load_state_dict(state["learner"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    began = time.monotonic()
    lessons = Lessons(scenes, steps, batch)
    loader = DataLoader(lessons, None, sampler=range(first, steps), num_workers=workers)
    for step, (crops, keep) in zip(range(first, steps), loader, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = RATE * _schedule(step, steps)
        losses = learner.losses(crops, keep)
        loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        _follow(average, learner, min(AVERAGE, step / (step + 10)))
        if step % 10 == 0:
            parts = " ".join(f"{name} {value.item():.3f}" for name, value in losses.items())
            pace = (time.monotonic() - began) / (step + 1 - first)
            print(f"{step:5d}/{steps} {parts} {pace:.2f} s/step", flush=True)
        done = step + 1
        if done % checkpoint_every == 0 or done in (steps, stop_after):
            state = {
                "learner": learner.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": done,
            }
            folder.mkdir(parents=True, exist_ok=True)
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
        if done == stop_after:
            break
    return average


def _groups(learner: Learner) -> list[dict[str, object]]:
    """Weight decay for matrices only."""
    matrices = [p for p in learner.parameters() if p.ndim == 2]
    others = [p for p in learner.parameters() if p.ndim != 2]
    return [
        {"params": matrices, "weight_decay": DECAY},
        {"params": others, "weight_decay": 0.0},
    ]


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, constant, then linear down to 1 % over the last `COOLING` share.

    While it is constant the run does not depend on how long it will be.
    """
    rise = min(1.0, (step + 1) / WARM_UP)
    left = (steps - step) / max(1.0, COOLING * steps)
    return rise * max(0.01, min(1.0, left))


@torch.no_grad()
def _follow(average: torch.nn.Module, learner: torch.nn.Module, decay: float) -> None:
    for mean, now in zip(average.parameters(), learner.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=Path, required=True, help="folder of scene stacks")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train(load_sources(arguments.scenes), arguments.output, steps=arguments.steps)


if __name__ == "__main__":
    main()
