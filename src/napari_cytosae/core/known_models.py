"""The models this package knows by name, and what their authors say of them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

Role = Literal["backbone", "sae"]

DINOBLOOM_CITATION = (
    "Koch et al., DinoBloom: A Foundation Model for Generalizable Cell Embeddings in "
    "Hematology, MICCAI 2024, arXiv:2404.05022"
)
CYTOSAE_CITATION = (
    "Dasdelen et al., CytoSAE: Interpretable Cell Embeddings for Hematology, 2025, "
    "arXiv:2507.12464"
)

_ZENODO_RECORD = "10908163"
_HUB_ID = re.compile(r"(?:hf[-_]hub:)?(?P<id>[\w.-]+/[\w.-]+)")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One weights file, where it comes from and under which terms.

    Attributes
    ----------
    name : str
        What the user types; unique within a role.
    role : {"backbone", "sae"} or None
        None for a file of the user's, of which only its name is known.
    title : str
        One line for people.
    filename : str
        Name of the file once downloaded.
    url : str
        Empty for a built-in model or a local file.
    size : int
        Bytes, rounded, for display before the download; 0 where unknown.
    licence, citation : str
    checksum : str
        ``sha256:<hex>`` or ``md5:<hex>`` where it is known beforehand.
    checksum_url : str
        Where the checksum is published: a Zenodo record's metadata, or a hub file whose
        headers carry it. Neither given: the file's sha256 is remembered and a silent
        change refused.
    needs : tuple of str
        Backbones without which this SAE means nothing.
    beside : str
        A small file that may lie beside the weights at their address, and belongs beside
        them here.
    """

    name: str
    role: Role | None
    title: str
    filename: str
    url: str = ""
    size: int = 0
    licence: str = ""
    citation: str = ""
    checksum: str = ""
    checksum_url: str = ""
    needs: tuple[str, ...] = ()
    beside: str = ""


def _dinobloom(letter: str, vit: str, size: int) -> ModelEntry:
    filename = f"DinoBloom-{letter}.pth"
    return ModelEntry(
        name=f"dinobloom-{letter.lower()}",
        role="backbone",
        title=f"DinoBloom-{letter}, DINOv2 {vit} trained on blood and bone-marrow cells",
        filename=filename,
        url=f"https://zenodo.org/records/{_ZENODO_RECORD}/files/{filename}",
        size=size,
        licence=f"see https://zenodo.org/records/{_ZENODO_RECORD} (code: Apache-2.0)",
        citation=DINOBLOOM_CITATION,
        checksum_url=f"https://zenodo.org/api/records/{_ZENODO_RECORD}",
    )


def _starter(role: Role, title: str) -> ModelEntry:
    return ModelEntry(
        name="starter",
        role=role,
        title=title,
        filename=f"{role}.safetensors",
        licence="MIT",
        citation="napari-cytosae",
    )


KNOWN: tuple[ModelEntry, ...] = (
    _starter("backbone", "small vision transformer, in the package"),
    _starter("sae", "its sparse autoencoder, in the package"),
    ModelEntry(
        name="cytosae",
        role="sae",
        title="CytoSAE: 49,152 concepts of DinoBloom-B, trained on MLL23",
        filename="final_sparse_autoencoder_dinov2_vitb14_-2_resid_49152.pt",
        url=(
            "https://nefeli.helmholtz-munich.de/records/fdn7v-4vt65/files/"
            "final_sparse_autoencoder_dinov2_vitb14_-2_resid_49152.pt?download=1"
        ),
        size=302_000_000,
        licence="see https://nefeli.helmholtz-munich.de/records/fdn7v-4vt65 (code: MIT)",
        citation=CYTOSAE_CITATION,
        needs=("dinobloom-b",),
    ),
    _dinobloom("S", "ViT-S/14", 88_000_000),
    _dinobloom("B", "ViT-B/14", 344_000_000),
    _dinobloom("L", "ViT-L/14", 1_218_000_000),
    _dinobloom("G", "ViT-g/14", 4_546_000_000),
)

# Sizes and checksums of the hub's ports, as far as they are known beforehand.
_HUB_PORTS: dict[str, tuple[int, str]] = {
    "1aurent/vit_small_patch14_224.dinobloom": (87_000_000, ""),
    "1aurent/vit_base_patch14_224.dinobloom": (
        343_000_000,
        "sha256:37d7c42f6ac8adea355b6cbf4d2a74c5c8de6d292fed909be793328572106334",
    ),
    "1aurent/vit_large_patch14_224.dinobloom": (1_215_000_000, ""),
}

HUB_PORTS: tuple[str, ...] = tuple(_HUB_PORTS)


def hub_id(reference: str) -> str | None:
    """Return ``owner/name`` when `reference` reads like a hub id, else None.

    Weights files are no hub ids: ``models/mine.pt`` is a path.
    """
    match = _HUB_ID.fullmatch(reference)
    if match is None or reference.endswith((".pt", ".pth", ".bin", ".safetensors", ".zip")):
        return None
    return match["id"]


def hub_entry(identifier: str) -> ModelEntry:
    """Return the entry of a timm backbone on the hub; ``HF_ENDPOINT`` names a mirror."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    url = f"{endpoint}/{identifier}/resolve/main/model.safetensors"
    size, checksum = _HUB_PORTS.get(identifier, (0, ""))
    return ModelEntry(
        name=f"hf-hub:{identifier}",
        role="backbone",
        title="timm backbone on the Hugging Face hub",
        filename="model.safetensors",
        url=url,
        size=size,
        licence=f"see https://huggingface.co/{identifier}",
        citation=DINOBLOOM_CITATION if identifier in _HUB_PORTS else "",
        checksum=checksum,
        checksum_url="" if checksum else url,
        # Says the architecture, and so the number of heads, which tensors do not.
        beside="config.json",
    )
