"""The only module that opens weights: backbones and SAEs, from any format to one.

Whatever a file calls them, tensors leave here under one set of names, in float32 and
checked: a backbone under timm's names, an SAE as ``W_enc (d_in, d_sae)``, ``b_enc``,
``W_dec (d_sae, d_in)``, ``b_dec`` and, for kinds that have one, ``threshold``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import save_file

from napari_cytosae.core import _backbone_format, _sae_formats, _weights
from napari_cytosae.core.files import atomic_file, sha256_file
from napari_cytosae.core.types import BackboneInfo, CheckpointError, SaeInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cytosae.core.types import SaeKind

METADATA_KEY = "cytosae"
"""Key of the JSON metadata in our own safetensors files."""

SCHEMA = 1

Storage = Literal["float32", "float16"]
Role = Literal["backbone", "sae"]


@dataclass(frozen=True, slots=True, eq=False)
class BackboneFile:
    """A backbone's weights, memory-mapped where the file allows.

    Attributes
    ----------
    info : BackboneInfo
    tensors : dict of str to Tensor
        float32, under timm's names; final norm and heads dropped.
    """

    info: BackboneInfo
    tensors: dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class SaeFile:
    """An SAE's weights, memory-mapped where the file allows.

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

    Raises
    ------
    CheckpointError
        Missing, damaged, hostile, not a vision transformer, or with NaN or Inf.
    """
    source = _Source.open(path, "backbone")
    found = source.backbone()
    return BackboneFile(found.info, source.checked(found.tensors))


def open_sae(path: Path | str) -> SaeFile:
    """Open a published CytoSAE or PatchSAE ``.pt``, our own SAE file, or a foreign one.

    Foreign: a SAELens folder, a saev checkpoint, an overcomplete state dict.

    Raises
    ------
    CheckpointError
        Missing, damaged, hostile, not an SAE of a kind known here, with tensors whose
        shapes disagree, or with NaN or Inf.
    """
    source = _Source.open(path, "sae")
    found = source.sae()
    return SaeFile(found.info, source.checked(found.tensors), found.names)


def inspect(path: Path | str) -> BackboneInfo | SaeInfo:
    """Tell what a weights file is, without reading its weights into memory.

    Raises
    ------
    CheckpointError
        As `open_backbone` and `open_sae`; NaN and Inf are not looked for.
    """
    source = _Source.open(path)
    return source.backbone().info if source.role == "backbone" else source.sae().info


def save_backbone(
    path: Path | str,
    tensors: Mapping[str, torch.Tensor],
    *,
    heads: int | None = None,
    image_size: int | None = None,
    storage: Storage = "float32",
    name: str = "",
    training_data: str = "",
    licence: str = "",
    citation: str = "",
) -> None:
    """Write a backbone as our own safetensors file.

    Parameters
    ----------
    path : Path or str
    tensors : mapping of str to Tensor
        A timm VisionTransformer's state dict (or DinoBloom's); heads are left out.
    heads : int, optional
        Attention heads; width / 64 by default.
    image_size : int, optional
        Input side in px; the position embedding's own by default.
    storage : {"float32", "float16"}
        Precision on disk; it is always computed in float32.

    Raises
    ------
    CheckpointError
        Not a vision transformer, or not finite in `storage`.
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    given = {"heads": heads, "image_size": image_size}
    known = {key: value for key, value in given.items() if value is not None}
    found = _backbone_format.adapt(path, dict(tensors), known)
    fields = {
        "role": "backbone",
        "kind": "vit",
        **found.fields,
        "name": name or path.stem,
        "training_data": training_data,
        "licence": licence,
        "citation": citation,
    }
    _write(path, found.tensors, fields, storage)


def save_sae(
    path: Path | str,
    tensors: Mapping[str, torch.Tensor],
    *,
    kind: SaeKind,
    layer: int,
    k: int | None = None,
    names: Mapping[int, str] | None = None,
    storage: Storage = "float32",
    name: str = "",
    backbone: str = "",
    training_data: str = "",
    licence: str = "",
    citation: str = "",
) -> None:
    """Write an SAE as our own safetensors file.

    Parameters
    ----------
    path : Path or str
    tensors : mapping of str to Tensor
        ``W_enc (d_in, d_sae)``, ``b_enc``, ``W_dec (d_sae, d_in)``, ``b_dec``; with
        ``threshold`` of shape (d_sae,) or () for jumprelu and batchtopk.
    kind : {"relu", "topk", "batchtopk", "jumprelu"}
    layer : int
        Index of the block whose output it reads; -2 for the last but one.
    k : int, optional
        Latents kept a token; needed for topk.
    names : mapping of int to str, optional
        Concept names to ship.
    storage : {"float32", "float16"}
        Precision on disk; it is always computed in float32.
    backbone : str, optional
        Name of the backbone it was trained on.

    Raises
    ------
    CheckpointError
        Tensors that do not make an SAE of this kind, or not finite in `storage`.
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    fields = {
        "role": "sae",
        "kind": kind,
        "layer": layer,
        "k": k,
        "name": name or path.stem,
        "backbone": backbone,
        "training_data": training_data,
        "licence": licence,
        "citation": citation,
        "names": {str(key): text for key, text in sorted((names or {}).items())},
    }
    found = _sae_formats.adapt(path, _weights.Contents(dict(tensors)), fields)
    sizes = {key: found.fields[key] for key in ("d_in", "d_sae")}
    _write(path, found.tensors, fields | sizes, storage)


def convert(source: Path | str, target: Path | str) -> BackboneInfo | SaeInfo:
    """Write any weights this package can read as our own safetensors file.

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
    source_file = _Source.open(source)
    if source_file.role == "backbone":
        backbone = open_backbone(source)
        info = backbone.info
        save_backbone(
            target,
            backbone.tensors,
            heads=info.heads,
            image_size=info.image_size,
            name=info.name,
            training_data=info.training_data,
            licence=info.licence,
            citation=info.citation,
        )
    else:
        sae = open_sae(source)
        save_sae(
            target,
            sae.tensors,
            kind=sae.info.kind,
            layer=sae.info.layer,
            k=sae.info.k,
            names=sae.names,
            name=sae.info.name,
            backbone=sae.info.backbone,
            training_data=sae.info.training_data,
            licence=sae.info.licence,
            citation=sae.info.citation,
        )
    return inspect(target)


@dataclass(frozen=True, slots=True)
class _Source:
    """An opened file: where it is, what is in it, and for which role it will do."""

    path: Path
    contents: _weights.Contents
    own: dict[str, Any]
    role: Role

    @classmethod
    def open(cls, path: Path | str, wanted: Role | None = None) -> _Source:
        path = Path(path)
        if path.is_dir():
            path = _backbone_format.file_in_folder(path)
        contents = _weights.read(path)
        own = _own_metadata(path, contents.metadata)
        role = own.get("role") or _guess_role(path, contents.payload)
        if wanted is not None and role != wanted:
            raise CheckpointError(_WRONG_ROLE[role].format(path=path))
        return cls(path, contents, own, role)

    def backbone(self) -> BackboneFile:
        found = _backbone_format.adapt(self.path, self.contents.payload, self.own)
        return BackboneFile(
            BackboneInfo(
                sha256=sha256_file(self.path), source=str(self.path), **found.fields
            ),
            found.tensors,
        )

    def sae(self) -> SaeFile:
        found = _sae_formats.adapt(self.path, self.contents, self.own)
        info = SaeInfo(sha256=sha256_file(self.path), source=str(self.path), **found.fields)
        return SaeFile(info, found.tensors, found.names)

    def checked(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Tensors in float32, after a look at every value."""
        if self.own and _sha256_tensors(self.contents.payload) != self.own.get("sha256"):
            raise _weights.damaged(self.path)
        tensors = {name: tensor.detach().float() for name, tensor in tensors.items()}
        _require_finite(self.path, tensors)
        return tensors


_WRONG_ROLE = {
    "sae": "{path} is a sparse autoencoder, not a backbone; choose it as the SAE and a "
    "DinoBloom or DINOv2 file as the backbone.",
    "backbone": "{path} is a backbone, not a sparse autoencoder; choose it as the backbone "
    "and a CytoSAE file as the SAE.",
}


def _guess_role(path: Path, payload: Mapping[str, Any]) -> Role:
    if _backbone_format.is_backbone(payload):
        return "backbone"
    if _sae_formats.is_sae(payload):
        return "sae"
    raise CheckpointError(
        f"{path} holds neither a vision transformer nor a sparse autoencoder; choose "
        "another file."
    )


def _own_metadata(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    text = metadata.get(METADATA_KEY)
    if text is None:
        return {}
    try:
        own: dict[str, Any] = json.loads(text)
        schema = int(own["schema"])
        known = own["role"] in _WRONG_ROLE
    except (ValueError, KeyError, TypeError):
        raise _weights.damaged(path) from None
    if schema > SCHEMA or not known:
        raise CheckpointError(
            f"{path} was written by a newer napari-cytosae; update this one to open it."
        )
    return own


def _write(
    path: Path, tensors: dict[str, torch.Tensor], fields: dict[str, Any], storage: Storage
) -> None:
    dtype = getattr(torch, storage)
    stored = {name: t.detach().to("cpu", dtype).contiguous() for name, t in tensors.items()}
    _require_finite(path, stored)
    own = {"schema": SCHEMA, **fields, "sha256": _sha256_tensors(stored)}
    with atomic_file(path) as temporary:
        save_file(stored, temporary, metadata={METADATA_KEY: json.dumps(own)})


def _sha256_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().numpy())
    return digest.hexdigest()


def _require_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        # The sum is finite but for a bad value or an overflow: one cheap pass, no mask.
        if not tensor.sum(dtype=torch.float64).isfinite():
            raise CheckpointError(
                f"{path} has values that are not finite numbers in {name}; the weights are "
                "spoiled, fetch or train them again."
            )
