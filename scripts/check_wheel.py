"""Look into a built wheel: the manifest, the starter model and the type marker are in."""

from __future__ import annotations

import sys
import zipfile

REQUIRED = (
    "napari_cytosae/napari.yaml",
    "napari_cytosae/py.typed",
    "napari_cytosae/starter/backbone.safetensors",
    "napari_cytosae/starter/sae.safetensors",
    "napari_cytosae/starter/synthetic_head.json",
    "napari_cytosae/starter/MODEL_CARD.md",
)
STARTER_LIMIT = 10 * 1024**2


def main(path: str) -> int:
    """Print what is missing or too large; 0 when the wheel is right."""
    with zipfile.ZipFile(path) as wheel:
        sizes = {info.filename: info.file_size for info in wheel.infolist()}
        metadata = next(name for name in sizes if name.endswith(".dist-info/METADATA"))
        hard = [
            line
            for line in wheel.read(metadata).decode().splitlines()
            if line.startswith("Requires-Dist:") and "extra ==" not in line
        ]
    missing = [name for name in REQUIRED if name not in sizes]
    starter = sum(size for name, size in sizes.items() if "/starter/" in name)
    graphical = ("PySide", "PyQt", "napari")
    bindings = [line for line in hard if any(name in line for name in graphical)]
    for name in missing:
        print(f"{path}: {name} is missing")
    if starter > STARTER_LIMIT:
        print(f"{path}: the starter model is {starter / 1024**2:.1f} MB, over 10 MB")
    for line in bindings:
        print(f"{path}: a Qt binding or napari is a hard dependency: {line}")
    print(f"{path}: {len(sizes)} files, starter model {starter / 1024**2:.1f} MB")
    return int(bool(missing or bindings or starter > STARTER_LIMIT))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
