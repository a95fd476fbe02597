"""Tokens to train on: images through the backbone, a bounded block at a time, shuffled.

What a step sees depends on the source, the seed and the position alone, so that a training
goes on after a kill exactly as it would have: blocks are made again, none is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch

from napari_cytosae.core.backbone import preprocess
from napari_cytosae.core.images import read_image
from napari_cytosae.core.training_config import TrainingError
from napari_cytosae.core.types import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from napari_cytosae.core.backbone import Backbone
    from napari_cytosae.core.training_config import TrainingConfig
    from napari_cytosae.core.types import Float32Array, UInt8Array

    Item: TypeAlias = Path | str | UInt8Array | Float32Array | Tensor

# Images that go through the backbone together.
_ENCODED_TOGETHER = 16

# Images set aside to follow a training on where none are held out.
_PROBE_IMAGES = 8


class Items(Protocol):
    """What a training may be fed from at random: a list of paths, an array of tokens."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


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
        encoder = _Encoder(backbone, device)
        blocks = max(config.buffer_images, config.batch_images)
        self._seed = config.seed
        self._batch_images = config.batch_images
        self._blocks: _ItemBlocks | _BatchBlocks
        if isinstance(source, Sized) and hasattr(source, "__getitem__"):
            self._blocks = _ItemBlocks(source, encoder, blocks, config)
        else:
            assert isinstance(source, Iterable)
            self._blocks = _BatchBlocks(iter(source), encoder, blocks, config)
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


class _Encoder:
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


class _ItemBlocks:
    """Blocks of a sequence that is gone through in a new random order each epoch."""

    def __init__(
        self, items: Items, encoder: _Encoder, images: int, config: TrainingConfig
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


class _BatchBlocks:
    """Blocks of an iterator of token batches, in its own order, once."""

    def __init__(
        self, batches: Iterator[Any], encoder: _Encoder, images: int, config: TrainingConfig
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
