"""Make the starter model from the data: ``python scripts/starter/build.py --data DIR``.

Goes on where it was killed: each step leaves its result in the run folder, and a step
whose result is there is not done again. The last step puts both files into the package.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "src" / "napari_cytosae" / "starter"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="of bccd/, chula_rbc/")
    parser.add_argument("--run", type=Path, default=Path("runs/starter"))
    parser.add_argument("--output", type=Path, default=PACKAGE)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bfloat16", action="store_true", help="train in bfloat16")
    arguments = parser.parse_args()
    run, threads = arguments.run, ("--threads", arguments.threads)
    scenes, backbone, sae = (
        run / name for name in ("scenes", "backbone.safetensors", "sae.safetensors")
    )
    _step("prepare", "--data", arguments.data, "-o", scenes, "--workers", arguments.threads)
    if not backbone.exists():
        half = ("--bfloat16",) if arguments.bfloat16 else ()
        _step("backbone", "--scenes", scenes, "-o", run, *threads, *half)
        _step("export", "--run", run, "--scenes", scenes, "-o", backbone)
    _step("labs", "--backbone", backbone, "--scenes", scenes, "-o", run / "labs", *threads)
    _step(
        "sae", "--backbone", backbone, "--scenes", scenes, "--run", run, "-o", sae, *threads
    )
    _step("names", "--backbone", backbone, "--sae", sae, "--scenes", scenes)
    for file in (backbone, sae):
        shutil.copyfile(file, arguments.output / file.name)


def _step(name: str, *options: object) -> None:
    command = [sys.executable, HERE / f"{name}.py", *map(str, options)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
