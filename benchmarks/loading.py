"""From two files to the first token: time, and memory above what was there before.

    python benchmarks/loading.py            # ViT-B/14 and 768 -> 49,152 latents, 0.65 GB

Random weights of full size are written to a temporary folder; then a fresh process loads
them and makes the tokens and concepts of one cell. The files are read once before, so the
disk does not count; their hashing does. Memory is above what the process held with torch
imported, as a share of the two files (Linux): its own, and with the pages of the mapped
files, which the system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from encode import HEADS, held, random_crops, random_sae, random_vit
from tables import add_option, show

D_SAE = 49_152


def write(folder: Path) -> float:
    """Write both files; their megabytes."""
    from napari_cytosae.core.checkpoints import save_backbone, save_sae

    weights = random_vit().state_dict()
    save_backbone(folder / "vit.safetensors", weights, heads=HEADS, image_size=224)
    save_sae(folder / "sae.safetensors", random_sae(D_SAE), kind="relu", layer=-2)
    return sum(path.stat().st_size for path in folder.iterdir()) / 2**20


def load(folder: Path, precision: str) -> dict[str, float]:
    """Of this process: seconds, and megabytes above those with torch imported."""
    from napari_cytosae.core.loading import load_models

    crop = random_crops(1)
    before, own = held("VmRSS"), held("RssAnon")
    Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    models = load_models(
        folder / "vit.safetensors", folder / "sae.safetensors", "cpu", precision
    )
    loaded = time.perf_counter() - start
    models.tokens(crop)
    first = time.perf_counter() - start
    models.encode(crop)
    return {
        "seconds_to_load": loaded,
        "seconds_to_first_token": first,
        "seconds_to_first_concepts": time.perf_counter() - start,
        "megabytes_own": held("RssAnon") - own,
        "most_megabytes_with_mapped_pages": held("VmHWM") - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("one", nargs="*", help=argparse.SUPPRESS)
    add_option(parser)
    options = parser.parse_args()
    if options.one:
        folder, precision = options.one
        print(json.dumps(load(Path(folder), precision)))
        return
    with tempfile.TemporaryDirectory() as folder:
        megabytes = write(Path(folder))
        report: dict[str, object] = {"megabytes_of_files": round(megabytes)}
        # What `auto` finds out is kept there: the second time it is known.
        home = {**os.environ, "CYTOSAE_HOME": folder}
        for precision in ("float32", "bfloat16", "auto", "auto"):
            command = [sys.executable, __file__, folder, precision]
            one = json.loads(subprocess.check_output(command, text=True, env=home))
            one["share_own"] = one["megabytes_own"] / megabytes
            most = one["most_megabytes_with_mapped_pages"]
            one["share_with_mapped_pages"] = most / megabytes
            again = " again" if precision in report else ""
            report[precision + again] = {k: round(v, 2) for k, v in one.items()}
    show(report, table=options.table)


if __name__ == "__main__":
    main()
