"""Where the real data is, and what every test needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _folder(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable, default))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with `bccd`, `chula_rbc`, `wbc_segmentation`, `cytosae_published`."""
    folder = _folder("CYTOSAE_DATA", ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real smears not here ({folder}): set CYTOSAE_DATA")
    return folder


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """Folder with the authors' numbers (`expected.npz` and the tiny checkpoints)."""
    folder = _folder("CYTOSAE_REFERENCE", ROOT.parent / "shared" / "reference")
    if not folder.is_dir():
        pytest.skip(f"authors' numbers not here ({folder}): set CYTOSAE_REFERENCE")
    return folder
