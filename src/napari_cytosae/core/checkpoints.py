"""The only module that opens weights: backbones and SAEs, from any format to one.

Whatever a file calls them, tensors leave here under one set of names, in float32 and
checked: a backbone under timm's names, an SAE as ``W_enc (d_in, d_sae)``, ``b_enc``,
``W_dec (d_sae, d_in)``, ``b_dec`` and, for the kinds that have one, ``threshold``.
Memory-mapped files are checked and then mapped anew: what was read for the check is not
kept, and nothing is read again before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_cytosae.core import _backbone_format, _own_format, _sae_formats, _weights
from napari_cytosae.core._own_format import save_backbone, save_sae
from napari_cytosae.core.files import sha256_file
from napari_cytosae.core.types import BackboneInfo, CheckpointError, SaeInfo

if TYPE_CHECKING:
    import torch

__all__ = [
    "BackboneFile",
    "SaeFile",
    "convert",
    "inspect",
    "open_backbone",
    "open_sae",
    "read_names",
    "save_backbone",
    "save_sae",
]

Role = Literal["backbone", "sae"]


@dataclass(frozen=True, slots=True, eq=False)
class BackboneFile:
    """A backbone's weights.

    Attributes
    ----------
    info : BackboneInfo
    tensors : dict of str to Tensor
        float32, under timm's names; without final norm and heads.
    """

    info: BackboneInfo
    tensors: dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class SaeFile:
    """An SAE's weights.

    Attributes
    ----------
    info : SaeInfo
    tensors : dict of str to Tensor
        float32 ``W_enc, b_enc, W_dec, b_dec`` and, for jumprelu and batchtopk,
        ``threshold`` of shape (d_sae,) or ().
    names : dict of int to str
        Concept names shipped in the file.
    """

    info: SaeInfo
    tensors: dict[str, torch.Tensor]
    names: dict[int, str]


def open_backbone(path: Path | str) -> BackboneFile:
    """Open a DinoBloom ``.pth``, a timm or DINOv2 ViT, or our own backbone file.

    Parameters
    ----------
    path : Path or str
        The file, or the hub's folder around it.

    Raises
    ------
    CheckpointError
        Missing, damaged, hostile, not a vision transformer, or with NaN or Inf.
    """
    file = _Source.open(path, "backbone").checked().backbone()
    return BackboneFile(file.info, _in_float32(file.tensors))


def open_sae(path: Path | str) -> SaeFile:
    """Open a published CytoSAE or PatchSAE ``.pt``, our own SAE file, or a foreign one.

    Parameters
    ----------
    path : Path or str
        The file, or a SAELens folder. Also a saev checkpoint or an overcomplete state dict.

    Raises
    ------
    CheckpointError
        Missing, damaged, hostile, not an SAE of a kind known here, with tensors whose
        shapes disagree, or with NaN or Inf.
    """
    file = _Source.open(path, "sae").checked().sae()
    return SaeFile(file.info, _in_float32(file.tensors), file.names)


def inspect(path: Path | str) -> BackboneInfo | SaeInfo:
    """Tell what a weights file is, without taking its weights into memory.

    Parameters
    ----------
    path : Path or str
        As `open_backbone` and `open_sae` take it.

    Raises
    ------
    CheckpointError
        As those; NaN and Inf are not looked for.
    """
    source = _Source.open(path)
    return source.backbone().info if source.role == "backbone" else source.sae().info


def read_names(path: Path | str) -> tuple[SaeInfo, dict[int, str]]:
    """What an SAE is and the concept names in its file, without its weights.

    Raises
    ------
    CheckpointError
        As `open_sae`; NaN and Inf are not looked for.
    """
    file = _Source.open(path, "sae").sae()
    return file.info, file.names


def convert(source: Path | str, target: Path | str) -> BackboneInfo | SaeInfo:
    """Write any weights this package can read as our own safetensors file.

    Parameters
    ----------
    source : Path or str
        As `open_backbone` and `open_sae` take it.
    target : Path or str
        Replaced when complete.

    Returns
    -------
    BackboneInfo or SaeInfo
        Of the new file.

    Raises
    ------
    CheckpointError
        As `open_backbone` and `open_sae`.
    OutputError
        The file cannot be written.
    """
    info = inspect(source)
    said = {key: getattr(info, key) for key in ("training_data", "licence", "citation")}
    said["name"] = Path(info.name).stem
    if isinstance(info, BackboneInfo):
        tensors = open_backbone(source).tensors
        save_backbone(target, tensors, heads=info.heads, image_size=info.image_size, **said)
    else:
        file = open_sae(source)
        save_sae(
            target,
            file.tensors,
            kind=info.kind,
            layer=info.layer,
            k=info.k,
            names=file.names,
            backbone=info.backbone,
            **said,
        )
    return inspect(target)


@dataclass(frozen=True, slots=True)
class _Source:
    """An opened file: where it is, what is in it, and which role it can take."""

    path: Path
    contents: _weights.Contents
    own: dict[str, Any]
    role: Role
    sha256: str

    @classmethod
    def open(cls, path: Path | str, wanted: Role | None = None) -> _Source:
        path = _weights.locate(Path(path).expanduser())
        contents = _weights.read(path)
        own = _own_format.metadata(path, contents.metadata)
        role: Role = own.get("role") or _guess_role(path, contents)
        if wanted is not None and role != wanted:
            raise CheckpointError(_WRONG_ROLE[role].format(path=path))
        return cls(path, contents, own, role, sha256_file(path))

    def backbone(self) -> BackboneFile:
        found = _backbone_format.adapt(
            self.path, self.contents.payload, self.own, self.contents.settings
        )
        return BackboneFile(BackboneInfo(**self._origin, **found.fields), found.tensors)

    def sae(self) -> SaeFile:
        found = _sae_formats.adapt(self.path, self.contents, self.own)
        known = {field.name for field in fields(SaeInfo)}
        said = {key: value for key, value in found.fields.items() if key in known}
        return SaeFile(SaeInfo(**self._origin, **said), found.tensors, found.names)

    def checked(self) -> _Source:
        """The same after a look at every value, of which nothing stays in memory."""
        _own_format.verify(self.path, self.own, self.contents.payload)
        file = self.backbone() if self.role == "backbone" else self.sae()
        _own_format.require_finite(self.path, file.tensors)
        if not self.contents.mapped:
            return self
        return replace(self, contents=_weights.read(self.path))

    @property
    def _origin(self) -> dict[str, Any]:
        return {"sha256": self.sha256, "source": str(self.path)}


def _in_float32(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors as they are computed with; not copied where they are stored so."""
    return {name: tensor.detach().float() for name, tensor in tensors.items()}


_WRONG_ROLE = {
    "sae": "{path} is a sparse autoencoder, not a backbone; choose it as the SAE, and a "
    "DinoBloom or DINOv2 file as the backbone.",
    "backbone": "{path} is a backbone, not a sparse autoencoder; choose it as the "
    "backbone, and a CytoSAE file as the SAE.",
}


def _guess_role(path: Path, contents: _weights.Contents) -> Role:
    if _backbone_format.is_backbone(contents.payload):
        return "backbone"
    if _sae_formats.is_sae(contents.payload):
        return "sae"
    raise CheckpointError(
        f"{path} holds neither a vision transformer nor a sparse autoencoder; choose "
        "another file."
    )
