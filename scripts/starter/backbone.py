"""Train the starter's backbone: ``python scripts/starter/backbone.py --scenes DIR -o DIR``.

Resumes from the last checkpoint after a kill, to the same weights as an unbroken run on
the same machine with the same number of threads.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from model import DEPTH, GRID, WIDTH, Learner
from sampling import Batch, draw_batch
from scenes import Sources, load_sources
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate.

    Most of it looks at `patches` random patches of `crops` crops a step, which costs
    little a crop, the rest at all patches of `whole` crops.
    """

    steps: int
    patches: int
    crops: int
    whole: int = 16


CYCLES = (Cycle(1350, 64, 48), Cycle(3300, 128, 32))
SEED = 0
RATE, WARM_UP, DECAY = 1.2e-3, 50, 0.05
COOLING, PARTIAL = 0.35, 0.8
"""Shares of a cycle: the end in which the rate falls, the start with partial crops."""
AVERAGE = 0.995
CHECKPOINT_EVERY = 50


class Lessons(Dataset[tuple[Batch, torch.Tensor | None]]):
    """What each step sees: crops, and the patches of them to look at (None: all).

    Parameters
    ----------
    scenes : Sources
    cycles : sequence of Cycle
    """

    def __init__(self, scenes: Sources, cycles: Sequence[Cycle]) -> None:
        self.scenes, self.cycles = scenes, cycles

    def __getitem__(self, step: int) -> tuple[Batch, torch.Tensor | None]:
        rng = np.random.default_rng([SEED, step])
        cycle, at = position(self.cycles, step)
        if at >= PARTIAL * cycle.steps:
            return draw_batch(self.scenes, cycle.whole, rng), None
        order = rng.random((cycle.crops, GRID**2)).argsort(1)[:, : cycle.patches]
        keep = torch.from_numpy(np.sort(order, 1))
        return draw_batch(self.scenes, cycle.crops, rng), keep


def train(
    scenes: Sources,
    folder: Path,
    *,
    cycles: Sequence[Cycle] = CYCLES,
    width: int = WIDTH,
    depth: int = DEPTH,
    bfloat16: bool = False,
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
    cycles : sequence of Cycle
        The whole run.
    width, depth : int
        Of the vision transformer.
    bfloat16 : bool
        Multiply in bfloat16.
    stop_after : int, optional
        Stop at this step as a kill would, leaving a checkpoint.
    checkpoint_every : int
        In steps.
    workers : int
        Processes that draw crops beside the training; the result is the same.
    """
    torch.manual_seed(SEED)
    learner = Learner(width, depth, bfloat16=bfloat16)
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
    steps = sum(cycle.steps for cycle in cycles)
    lessons = Lessons(scenes, cycles)
    loader = DataLoader(lessons, None, sampler=range(first, steps), num_workers=workers)
    for step, (crops, keep) in zip(range(first, steps), loader, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = RATE * _schedule(*position(cycles, step))
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


def position(cycles: Sequence[Cycle], step: int) -> tuple[Cycle, int]:
    """The cycle a step belongs to, and its number within."""
    for cycle in cycles:
        if step < cycle.steps:
            return cycle, step
        step -= cycle.steps
    raise IndexError(f"{step} steps after the end")


def _schedule(cycle: Cycle, step: int) -> float:
    """Linear warm-up, constant, then linear down to 1 %.

    While it is constant the run does not depend on how long the cycle will be.
    """
    rise = min(1.0, (step + 1) / WARM_UP)
    left = (cycle.steps - step) / (COOLING * cycle.steps)
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
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bfloat16", action="store_true", help="multiply in bfloat16")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    scenes = load_sources(arguments.scenes)
    train(scenes, arguments.output, bfloat16=arguments.bfloat16)


if __name__ == "__main__":
    main()
