"""Blocks of tokens to train on: images through the backbone, or tokens as they come."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from napari_cytosae.core.backbone import preprocess
from napari_cytosae.core.images import read_image
from napari_cytosae.core.training_config import TrainingError
from napari_cytosae.core.types import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from napari_cytosae.core.backbone import Backbone
    from napari_cytosae.core.training_config import TrainingConfig
    from napari_cytosae.core.types import UInt8Array

# Images that go through the backbone together.
_ENCODED_TOGETHER = 16

# Images set aside to follow a training on where none are held out.
_PROBE_IMAGES = 8


class Items(Protocol):
    """What a training may be fed from at random: a list of paths, an array of tokens."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


class Encoder:
    """Items to tokens, broken images left out."""

    def __init__(self, backbone: Backbone | None, device: torch.device) -> None:
        self._backbone = backbone
        self._device = device

    def tokens(self, items: Iterable[Any]) -> Tensor:
        """Tokens of loaded items, (n, t, d) float32 on the device."""
        parts: list[Tensor] = []
        remaining = iter(items)
        while together := list(islice(remaining, _ENCODED_TOGETHER)):
            if _is_image(together[0]):
                parts.append(self._encode(together))
            else:
                parts.append(torch.stack([self.as_tokens(item, 2) for item in together]))
        return torch.cat(parts) if parts else torch.empty((0, 0, 0), device=self._device)

    def as_tokens(self, array: Any, ndim: int) -> Tensor:
        """Check an array of tokens and bring it to the device."""
        # A copy, as torch cannot take the read-only memory of a mapped file.
        tokens = torch.tensor(array) if isinstance(array, np.ndarray) else array
        if tokens.ndim != ndim or not tokens.is_floating_point():
            shape = "(tokens, width)" if ndim == 2 else "(images, tokens, width)"
            raise TrainingError(
                f"The source gave {tokens.dtype} of shape {tuple(tokens.shape)}; give "
                f"image paths, uint8 RGB crops or float tokens {shape}."
            )
        return tokens.to(self._device, torch.float32)

    @torch.no_grad()
    def _encode(self, crops: Sequence[UInt8Array]) -> Tensor:
        if self._backbone is None:
            raise TrainingError("The source holds images; give a backbone to encode them.")
        size = self._backbone.info.image_size
        tokens: Tensor = self._backbone(preprocess(crops, size).to(self._device))
        return tokens.float()


class ItemBlocks:
    """Blocks of a sequence that is gone through in a new random order each epoch."""

    def __init__(
        self, items: Items, encoder: Encoder, images: int, config: TrainingConfig
    ) -> None:
        if 0 < len(items) <= config.holdout_images:
            raise TrainingError(
                f"There are {len(items)} images and {config.holdout_images} are to be held "
                "out; give more images."
            )
        if not len(items):
            raise TrainingError("There are no images to train on; give some.")
        self._items = items
        self._encoder = encoder
        self._images = images
        self._seed = config.seed
        self.skipped: dict[str, str] = {}
        self._broken: set[int] = set()
        everything = np.random.default_rng(config.seed).permutation(len(items))
        self._used = everything[config.holdout_images :]
        kept = encoder.tokens(self._loaded(everything[: config.holdout_images]))
        self.held_out = kept if len(kept) else None
        self.probe = encoder.tokens(islice(self._loaded(self._used), _PROBE_IMAGES))
        if not len(self.probe):
            raise self._nothing()

    def ended(self, index: int) -> bool:
        return False

    def make(self, index: int) -> Tensor:
        places = np.arange(index * self._images, (index + 1) * self._images)
        epochs, within = np.divmod(places, len(self._used))
        chosen: list[int] = []
        for epoch in np.unique(epochs):
            # Two numbers after the seed, as one alone would repeat the shuffles of blocks.
            order = np.random.default_rng((self._seed, int(epoch), 1)).permutation(
                self._used
            )
            chosen += order[within[epochs == epoch]].tolist()
        tokens = self._encoder.tokens(self._loaded(chosen))
        if not len(tokens) and self._broken.issuperset(self._used.tolist()):
            raise self._nothing()
        return tokens

    def _nothing(self) -> TrainingError:
        name, reason = next(iter(self.skipped.items()))
        return TrainingError(
            f"None of the {len(self._used)} images can be read; {name}: {reason}"
        )

    def _loaded(self, indices: Iterable[int]) -> Iterator[Any]:
        for index in indices:
            name = f"item {index}"
            if index in self._broken:
                continue
            try:
                item = self._items[index]
                if isinstance(item, str | Path):
                    name = str(item)
                    item = read_image(item).rgb
            except ImageError as error:
                self._broken.add(int(index))
                self.skipped[name] = str(error)
            else:
                yield item


class BatchBlocks:
    """Blocks of an iterator of token batches, in its own order, once."""

    def __init__(
        self, batches: Iterator[Any], encoder: Encoder, images: int, config: TrainingConfig
    ) -> None:
        self._batches = batches
        self._encoder = encoder
        self._images = images
        self.skipped: dict[str, str] = {}
        held_out = config.holdout_images
        self.held_out = self._take(held_out) if held_out else None
        self._index, self._next = 0, self._take(images)
        if self._next is None:
            raise TrainingError("The source holds no tokens; give more token batches.")
        self.probe = self._next[:_PROBE_IMAGES].clone()

    def ended(self, index: int) -> bool:
        while self._index < index and self._next is not None:
            self._index, self._next = self._index + 1, self._take(self._images)
        return self._next is None

    def make(self, index: int) -> Tensor:
        assert self._index == index
        assert self._next is not None
        return self._next

    def _take(self, images: int) -> Tensor | None:
        parts: list[Tensor] = []
        while sum(map(len, parts)) < images:
            batch = next(self._batches, None)
            if batch is None:
                break
            parts.append(self._encoder.as_tokens(batch, 3))
        return torch.cat(parts) if parts else None


def _is_image(item: Any) -> bool:
    return isinstance(item, np.ndarray) and item.dtype == np.uint8
