"""Tokens to train on: a bounded block at a time, shuffled.

What a step sees depends on the source, the seed and the position alone, so that a training
goes on after a kill exactly as it would have: blocks are made again, none is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cytosae.core._token_blocks import BatchBlocks, Encoder, ItemBlocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cytosae.core._token_blocks import Items
    from napari_cytosae.core.backbone import Backbone
    from napari_cytosae.core.training_config import TrainingConfig
    from napari_cytosae.core.types import Float32Array


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where in the stream a batch lies: `batch` of `block`."""

    block: int = 0
    batch: int = 0


class TokenStream:
    """Shuffled token batches from any position on.

    Parameters
    ----------
    source : sequence or iterable
        As `training.train_sae` takes it.
    backbone : Backbone or None
        Needed for images; on `device`.
    device : torch.device
        Where the tokens go.
    config : TrainingConfig

    Attributes
    ----------
    held_out : Tensor of float32, (images, t, d), or None
        Tokens of the images that are kept from training.
    probe : Tensor of float32, (images, t, d)
        Tokens to follow a training on: those held out, else of some images of the source.
    newest : Tensor of float32, (images, t, d)
        The block made last.

    Raises
    ------
    TrainingError
        The source holds nothing to train on.
    """

    def __init__(
        self,
        source: Items | Iterable[Tensor | Float32Array],
        backbone: Backbone | None,
        device: torch.device,
        config: TrainingConfig,
    ) -> None:
        encoder = Encoder(backbone, device)
        blocks = max(config.buffer_images, config.batch_images)
        self._seed = config.seed
        self._batch_images = config.batch_images
        self._blocks: ItemBlocks | BatchBlocks
        if isinstance(source, Sized) and hasattr(source, "__getitem__"):
            self._blocks = ItemBlocks(source, encoder, blocks, config)
        else:
            assert isinstance(source, Iterable)
            self._blocks = BatchBlocks(iter(source), encoder, blocks, config)
        self.held_out = self._blocks.held_out
        self.probe = self._blocks.probe if self.held_out is None else self.held_out
        self.newest = self.probe
        self._made = -1

    @property
    def skipped(self) -> dict[str, str]:
        """Images that could not be read, and why."""
        return self._blocks.skipped

    def block(self, index: int) -> Tensor:
        """Tokens of one block, (images, t, d); empty where all its images are broken.

        Raises
        ------
        TrainingError
            None of the images can be read, or the source holds something else.
        """
        if self._made != index:
            # The former block goes before the next one is made: one is in memory.
            self.newest = self.probe
            self.newest = self._blocks.make(index)
            self._made = index
        return self.newest

    def batches(self, start: Position) -> Iterator[tuple[Tensor, Position]]:
        """Batches of tokens (n, d) from `start` on, each with the position after it.

        Ends with an iterator of token batches, never with a sequence.
        """
        index = start.block
        while not self._blocks.ended(index):
            tokens = self.block(index).flatten(0, 1)
            count = round(len(self.newest) / self._batch_images)
            count = max(count, 1) if len(tokens) else 0
            shuffled = np.random.default_rng((self._seed, index)).permutation(len(tokens))
            order = torch.from_numpy(shuffled).to(tokens.device)
            first = start.batch if index == start.block else 0
            for batch, chosen in enumerate(order.tensor_split(max(1, count))[:count]):
                if batch < first:
                    continue
                after = (index, batch + 1) if batch + 1 < count else (index + 1, 0)
                yield tokens[chosen], Position(*after)
            del tokens
            index += 1


def fingerprint(source: object) -> str:
    """What tells one source from another, read from neither images nor tokens.

    The number of items and, of paths, a hash of the names; empty for an iterator.
    """
    if not isinstance(source, Sized):
        return ""
    names = [str(item) for item in _paths(source)]
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:6]
    return f"{len(source)} (list {digest})" if names else f"{len(source)}"


def _paths(source: object) -> Iterator[Path | str]:
    if isinstance(source, list | tuple):
        yield from (item for item in source if isinstance(item, Path | str))
