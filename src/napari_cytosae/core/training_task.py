"""What a user asks a training from images for; light, as the dock reads it too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.training_config import TrainingConfig

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cytosae.core.loading import Device
    from napari_cytosae.core.training_config import TrainingPrecision
    from napari_cytosae.core.types import SaeKind

EPOCHS = 24
"""The reference's 1,000,000 images, taken from 41,906."""
STATE_ENDING = ".training.safetensors"
"""Of the file that keeps an interrupted training."""
FEWEST_IMAGES, MOST_IMAGES = 2_000, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTraining:
    """What to train, on which images.

    Attributes
    ----------
    images : tuple of Path
        Image files, folders of them, or a CSV that lists them.
    out : Path
        The SAE, ``.safetensors``.
    backbone : str
        A registered name, hub id or path.
    layer : int
        Block whose output is read; -1 is the last one.
    kind : SaeKind
        ``relu`` is the published recipe.
    expansion : int, optional
        Latents for each dimension of a token; None takes the recipe's own.
    k : int
        Active latents a token (not relu).
    learning_rate : float, optional
        Largest; None takes the recipe's own.
    images_seen : int, optional
        Images seen in all; None is `EPOCHS` times each, `FEWEST_IMAGES` to `MOST_IMAGES`.
    holdout : int
        Images kept to measure the SAE on.
    smears : bool
        The images are fields: train on their white cells.
    pixel_size_um : float, optional
        Of fields.
    device, precision, seed : see `loading.load_models` and `TrainingConfig`
    licence : str
        Written into the file.
    resume : bool
        Go on with an interrupted training.
    """

    images: tuple[Path, ...]
    out: Path
    backbone: str = "starter"
    layer: int = -2
    kind: SaeKind = "batchtopk"
    expansion: int | None = None
    k: int = 32
    learning_rate: float | None = None
    images_seen: int | None = None
    holdout: int = 0
    smears: bool = False
    pixel_size_um: float | None = None
    device: Device = "auto"
    precision: TrainingPrecision = "auto"
    seed: int = 0
    licence: str = ""
    resume: bool = False

    def recipe(self, n_images: int) -> TrainingConfig:
        """The recipe for a source of so many images."""
        seen = min(max(EPOCHS * n_images, FEWEST_IMAGES), MOST_IMAGES)
        changes: dict[str, Any] = {
            "images": self.images_seen or seen,
            "k": self.k,
            "holdout_images": self.holdout,
            "precision": self.precision,
            "seed": self.seed,
        }
        for name in ("expansion", "learning_rate"):
            if getattr(self, name) is not None:
                changes[name] = getattr(self, name)
        if self.kind == "relu":
            recipe = TrainingConfig.reference(**changes)
        else:
            recipe = TrainingConfig(kind=self.kind, **changes)
        # Shuffling more images than there are would only encode the same ones again.
        shuffled = min(recipe.buffer_images, max(recipe.batch_images, n_images))
        return replace(recipe, buffer_images=shuffled)


def former_path(out: Path) -> Path:
    """Where an SAE goes that was at `out` before."""
    return out.with_name(f"{out.stem}.former{out.suffix}")


def state_path(out: Path) -> Path:
    """Where the state of the training of `out` is kept until it is finished."""
    return out.with_name(out.stem + STATE_ENDING)
