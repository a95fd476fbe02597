"""The command line: what it writes, what it says, and how it ends."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image as Pillow
from typer.testing import CliRunner

from napari_cytosae import _cli_console
from napari_cytosae._cli_images import read_labels
from napari_cytosae._sample_data import demo_smear
from napari_cytosae.cli import app
from napari_cytosae.core import catalogue, image_training, known_models, registry
from napari_cytosae.core.checkpoints import open_sae, save_sae
from napari_cytosae.core.export import write_labels
from napari_cytosae.core.geojson import write_geojson
from napari_cytosae.core.models import Models
from napari_cytosae.core.segmentation import measure
from napari_cytosae.core.types import (
    CELL_COLUMNS,
    CONCEPT_COLUMNS,
    RESEARCH_USE,
    Image,
    PixelSize,
    Progress,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

WIDTH, LATENTS = 32, 64


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models and concept names of this test's own."""
    monkeypatch.setenv("CYTOSAE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in smear as a PNG."""
    path = tmp_path_factory.mktemp("smear") / "smear.png"
    Pillow.fromarray(demo_smear().rgb).save(path)
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def with_models(weights: Path) -> list[str]:
    return [
        "--backbone",
        str(weights / "vit.safetensors"),
        "--sae",
        str(weights / "sae.safetensors"),
        "--precision",
        "float32",
    ]


def one_line(result: Result) -> str:
    """The only line on stderr of a command that ended with bad input."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr.strip()


# --- help and usage -------------------------------------------------------------------


COMMANDS = (
    (),
    ("demo",),
    ("segment",),
    ("analyze",),
    ("train-sae",),
    ("concept",),
    ("names",),
    ("names", "agreement"),
    ("names", "export"),
    ("names", "import"),
    ("names", "merge"),
    ("catalogue",),
    ("catalogue", "build"),
    ("catalogue", "show"),
    ("models",),
    ("models", "list"),
    ("models", "get"),
    ("models", "info"),
    ("models", "convert"),
    ("models", "pack"),
    ("models", "unpack"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_plain_text(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert result.stdout.isascii()


@pytest.mark.parametrize("command", [("analyze",), ("catalogue", "build")])
def test_whatever_encodes_takes_the_same_options(command: tuple[str, ...]) -> None:
    """`--help` is asked last: the options before it are parsed and checked."""
    options = "--backbone a --sae b --device cpu --precision float32 --threshold 0.3"
    result = run(*command, *options.split(), "--pixel-size", "0.1", "--help")
    assert result.exit_code == 0


@pytest.mark.parametrize(
    "args",
    [
        ["frobnicate"],
        ["segment"],
        ["segment", "x.png"],
        ["segment", "x.png", "-o", "out", "--kinds", "wbc,blast"],
        ["segment", "x.png", "-o", "out", "--pixel-size", "0"],
        ["segment", "x.png", "-o", "out", "--pixel-size", "nan"],
        ["analyze", "x.png", "-o", "out", "--threshold", "-1"],
        ["analyze", "x.png", "-o", "out", "--concepts", "12;55"],
        ["analyze", "x.png", "-o", "out", "--concepts", "-3"],
        ["analyze", "x.png", "-o", "out", "--device", "tpu"],
        ["analyze", "x.png", "-o", "out", "--labels", "l.tif", "--single-cell"],
        ["analyze", "x.png", "y.png", "-o", "out", "--labels", "l.tif"],
        ["train-sae", "x.png", "-o", "sae.pt"],
        ["models", "convert", "starter", "x.safetensors"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_typer_s_own(args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")
    assert "Error: " in result.stderr
    assert result.stderr.isascii()
    assert not Path("out").exists()


def test_version() -> None:
    assert re.fullmatch(r"napari-cytosae \d+\.\d+\.\d+\n", run("--version").stdout)


# --- segment --------------------------------------------------------------------------


def test_segment_writes_the_contract_s_files(data_dir: Path, tmp_path: Path) -> None:
    images = sorted((data_dir / "bccd" / "images").glob("*.jpg"))[:2]
    output = tmp_path / "new" / "folder"
    result = run("segment", *images, "-o", output)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split() == [str(output / image.stem) for image in images]
    for image in images:
        folder = output / image.stem
        assert {path.name for path in folder.iterdir()} == {
            "cells.tif",
            "nuclei.tif",
            "cells.csv",
            "run.json",
        }
        labels = tifffile.imread(folder / "cells.tif")
        nuclei = tifffile.imread(folder / "nuclei.tif")
        table = pd.read_csv(folder / "cells.csv")
        assert labels.dtype == nuclei.dtype == np.int32
        assert labels.shape == nuclei.shape == (480, 640)
        assert tuple(table.columns) == CELL_COLUMNS
        assert list(table["cell_id"]) == sorted(set(np.unique(labels)) - {0})
        assert set(table["image"]) == {image.name}
        record = json.loads((folder / "run.json").read_text("utf-8"))
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        assert record["inputs"] == {image.name: digest}
        assert record["note"] == RESEARCH_USE
        assert record["parameters"]["kinds"] == ["wbc"]


def test_kinds_and_pixel_size_are_obeyed(smear: Path, tmp_path: Path) -> None:
    run("segment", smear, "-o", tmp_path, "--kinds", "wbc,rbc", "--pixel-size", "0.1")
    table = pd.read_csv(tmp_path / "smear" / "cells.csv")
    assert set(table["kind"]) == {"wbc", "rbc"}
    assert set(table["pixel_size_um"]) == {0.1}
    assert set(table["pixel_size_source"]) == {"user"}


def test_a_folder_stands_for_its_images(smear: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("b.png", "a.png", ".hidden.png"):
        (folder / name).write_bytes(smear.read_bytes())
    (folder / "notes.txt").write_text("no image")
    result = run("segment", folder, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert [Path(line).name for line in result.stdout.split()] == ["a", "b"]


def test_an_ome_zarr_is_one_image_not_a_folder_of_them(smear: Path, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    rgb = np.asarray(Pillow.open(smear))
    path = tmp_path / "in" / "slide.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    group.create_array("0", data=np.moveaxis(rgb, 2, 0))
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1, 0.1, 0.1]}]
    dataset = {"path": "0", "coordinateTransformations": scale}
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [dataset]}]
    group.attrs["omero"] = {
        "channels": [{"label": name} for name in ("red", "green", "blue")]
    }
    for given in (path, path.parent):
        result = run("segment", given, "-o", tmp_path / "out")
        assert result.exit_code == 0, result.stderr
        table = pd.read_csv(tmp_path / "out" / "slide" / "cells.csv")
        assert set(table["pixel_size_um"]) == {0.1}


def test_a_slide_goes_tile_by_tile_to_the_same_files(
    smear: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slide.ome.tif"
    rgb = np.asarray(Pillow.open(smear))
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(path, rgb, tile=(256, 256), photometric="rgb", metadata=metadata)
    tables = []
    for name, limit in (("whole", 2**30), ("tiles", 10_000)):
        monkeypatch.setattr("napari_cytosae.core.pyramid.LARGE_PIXELS", limit)
        options = [*with_models(weights), "--concepts", "3"]
        done = run("analyze", path, "-o", tmp_path / name, *options)
        assert done.exit_code == 0, done.output
        folder = tmp_path / name / "slide.ome"
        tables.append(pd.read_csv(folder / "concepts.csv"))
        record = json.loads((folder / "run.json").read_text())
        assert record["parameters"]["pixel_size_source"] == "metadata"
        assert record["inputs"] == {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        }
    pd.testing.assert_frame_equal(*tables)
    for file in ("cells.tif", "nuclei.tif", "overlay_3.tif"):
        images = [
            tifffile.imread(tmp_path / n / "slide.ome" / file) for n in ("whole", "tiles")
        ]
        np.testing.assert_array_equal(*images)


def test_same_stems_get_numbers(smear: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / smear.name
    other.parent.mkdir()
    other.write_bytes(smear.read_bytes())
    result = run("segment", smear, other, "-o", tmp_path / "out")
    assert [Path(line).name for line in result.stdout.split()] == ["smear", "smear_2"]


def test_a_new_run_replaces_its_own_folder_only(smear: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert run("segment", smear, "-o", output).exit_code == 0
    (output / "smear" / "old.txt").write_text("of the former run")
    (output / "mine.txt").write_text("precious")
    assert run("segment", smear, "-o", output).exit_code == 0
    assert not (output / "smear" / "old.txt").exists()
    assert (output / "mine.txt").exists()
    foreign = tmp_path / "foreign" / "smear"
    foreign.mkdir(parents=True)
    (foreign / "thesis.docx").write_text("precious")
    assert "left as it is" in one_line(run("segment", smear, "-o", foreign.parent))
    assert (foreign / "thesis.docx").exists()


def test_a_batch_does_the_rest(smear: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(smear.read_bytes()[:2000])
    result = run("segment", bad, smear, tmp_path / "absent.png", "-o", tmp_path / "out")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert "bad.png" in lines[0]
    assert lines[1].startswith("[2/3] smear.png: ")
    assert "absent.png does not exist" in lines[2]
    assert lines[3:] == ["2 of 3 images were skipped."]
    assert (tmp_path / "out" / "smear" / "cells.csv").is_file()


def test_an_occupied_folder_costs_a_batch_one_image(smear: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    other.write_bytes(smear.read_bytes())
    (tmp_path / "out" / "other").mkdir(parents=True)
    (tmp_path / "out" / "other" / "thesis.docx").write_text("precious")
    result = run("segment", other, smear, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "left as it is" in result.stderr.splitlines()[0]
    assert result.stderr.splitlines()[-1] == "1 of 2 images were skipped."
    assert (tmp_path / "out" / "smear" / "cells.csv").is_file()


def test_an_error_nobody_expected_is_one_line_too(
    smear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("axes don't match\narray")

    monkeypatch.setattr("napari_cytosae.core.segmentation.search", broken)
    line = one_line(run("segment", smear, "-o", tmp_path))
    assert "smear.png: Unexpected ValueError: axes don't match array" in line
    monkeypatch.setenv("CYTOSAE_TRACEBACK", "1")
    assert isinstance(run("segment", smear, "-o", tmp_path).exception, ValueError)


def test_out_of_memory_is_said_plainly(
    smear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starving(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("napari_cytosae.core.segmentation.search", starving)
    assert "not enough memory" in one_line(run("segment", smear, "-o", tmp_path))


def test_an_output_that_is_a_file(smear: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("x")
    assert "taken" in one_line(run("segment", smear, "-o", taken))


# --- analyze --------------------------------------------------------------------------


def test_analyze_writes_the_contract_s_files(
    smear: Path, weights: Path, tmp_path: Path
) -> None:
    result = run(
        "analyze", smear, "-o", tmp_path, "--concepts", "3,5", *with_models(weights)
    )
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "smear"
    assert {path.name for path in folder.iterdir()} == {
        "cells.tif",
        "nuclei.tif",
        "cells.csv",
        "concepts.csv",
        "cells.h5ad",
        "overlay_3.tif",
        "overlay_5.tif",
        "run.json",
    }
    cells = pd.read_csv(folder / "cells.csv")
    concepts = pd.read_csv(folder / "concepts.csv")
    assert tuple(concepts.columns) == CONCEPT_COLUMNS
    assert len(cells) >= 5
    assert set(concepts["cell_id"]) <= set(cells["cell_id"])
    assert concepts["n_patches"].min() >= 1
    named = concepts.dropna(subset="name").groupby("concept")["name"].unique()
    assert {key: list(names) for key, names in named.items()} == {
        3: ["nuclear indent"],
        5: ["größte Körner, rot"],
    }
    overlay = tifffile.imread(folder / "overlay_3.tif")
    assert overlay.dtype == np.float32
    assert overlay.shape == tifffile.imread(folder / "cells.tif").shape
    top = concepts[concepts["concept"] == 3]["max"].max()
    assert overlay.max() == pytest.approx(top, rel=1e-3)
    table = anndata.read_h5ad(folder / "cells.h5ad")
    assert table.shape == (len(cells), LATENTS)
    assert table.X.sum() == concepts["n_patches"].sum()
    record = json.loads((folder / "run.json").read_text("utf-8"))
    assert record["parameters"]["threshold"] == 0.2
    assert set(record["models"]) == {"backbone", "sae"}


def test_a_real_single_cell_from_an_lzw_tiff(
    data_dir: Path, weights: Path, tmp_path: Path
) -> None:
    (image,) = (data_dir / "cytosae_published").glob("*.TIF")
    result = run("analyze", image, "--single-cell", "-o", tmp_path, *with_models(weights))
    assert result.exit_code == 0, result.stderr
    cells = pd.read_csv(tmp_path / image.stem / "cells.csv")
    assert list(cells["cell_id"]) == [1]
    assert tifffile.imread(tmp_path / image.stem / "nuclei.tif").shape == (288, 288)


def test_labels_are_taken_as_they_are(smear: Path, weights: Path, tmp_path: Path) -> None:
    labels = np.zeros((768, 1024), np.uint16)
    labels[100:160, 700:760] = 7
    labels[400:460, 300:360] = 4000
    path = tmp_path / "labels.tif"
    tifffile.imwrite(path, labels)
    out = tmp_path / "out"
    result = run("analyze", smear, "--labels", path, "-o", out, *with_models(weights))
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(tifffile.imread(out / "smear" / "cells.tif"), labels)
    assert list(pd.read_csv(out / "smear" / "cells.csv")["cell_id"]) == [7, 4000]


def test_labels_of_a_slide_are_read_lazily(
    smear: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("core.pyramid", "_cli_images"):
        monkeypatch.setattr(f"napari_cytosae.{module}.LARGE_PIXELS", 100_000)
    slide, path, out = (tmp_path / name for name in ("slide.tif", "labels.tif", "out"))
    rgb = np.asarray(Pillow.open(smear).convert("RGB"))
    tifffile.imwrite(slide, rgb, tile=(256, 256), photometric="rgb", compression="zlib")
    labels = np.zeros(rgb.shape[:2], np.int32)
    labels[100:160, 700:760] = 7
    labels[400:460, 300:360] = 4000
    write_labels(labels, path)
    assert not isinstance(read_labels(path), np.ndarray)
    options = ("--pixel-size", "0.1", *with_models(weights))
    result = run("analyze", slide, "--labels", path, "-o", out, *options)
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(tifffile.imread(out / "slide" / "cells.tif"), labels)
    assert list(pd.read_csv(out / "slide" / "cells.csv")["cell_id"]) == [7, 4000]
    record = json.loads((out / "slide" / "run.json").read_text("utf-8"))
    assert (
        record["parameters"]["labels_sha256"]
        == hashlib.sha256(labels.tobytes()).hexdigest()
    )


def write_zarr_labels(folder: Path, names: dict[str, np.ndarray]) -> None:
    """An OME-Zarr image's folder, with label images of one time point."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(folder), mode="w", zarr_format=2)
    group.create_group("labels").attrs["labels"] = list(names)
    for name, labels in names.items():
        inner = group.create_group(f"labels/{name}")
        inner.create_array("0", data=labels[None])
        axes = [{"name": "t", "type": "time"}]
        axes += [{"name": axis, "type": "space"} for axis in "yx"]
        inner.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
        inner.attrs["image-label"] = {}


@pytest.mark.parametrize("kind", ["geojson", "zarr"])
def test_cells_of_a_slide_as_outlines_or_ome_zarr(
    smear: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    rgb = np.asarray(Pillow.open(smear).convert("RGB"))
    slide, out = tmp_path / "slide.tif", tmp_path / "out"
    tifffile.imwrite(slide, rgb, tile=(256, 256), photometric="rgb", compression="zlib")
    labels = np.zeros(rgb.shape[:2], np.int32)
    y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    labels[np.hypot(y - 256, x - 512) < 40] = 7  # where tiles of 256 px meet
    labels[400:460, 300:360] = 4000
    path = tmp_path / f"labels.{kind}"
    if kind == "zarr":
        write_zarr_labels(path, {"cells": labels})
    else:
        image = Image(rgb, "slide.tif", PixelSize(0.1, "user"), "")
        write_geojson(path, measure(image, labels), "ab" * 32)
    for module in ("core.pyramid", "_cli_images"):
        monkeypatch.setattr(f"napari_cytosae.{module}.LARGE_PIXELS", 100_000)
    options = ("--pixel-size", "0.1", *with_models(weights))
    result = run("analyze", slide, "--labels", path, "-o", out, *options)
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(tifffile.imread(out / "slide" / "cells.tif"), labels)
    assert list(pd.read_csv(out / "slide" / "cells.csv")["cell_id"]) == [7, 4000]
    record = json.loads((out / "slide" / "run.json").read_text("utf-8"))
    assert record["parameters"]["labels"] == path.name
    assert (
        record["parameters"]["labels_sha256"]
        == hashlib.sha256(labels.tobytes()).hexdigest()
    )


@pytest.mark.parametrize("slide", [False, True], ids=["image", "slide"])
def test_outlines_that_lie_elsewhere_are_refused(
    smear: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slide: bool,
) -> None:
    ring = [[5000, 40], [5090, 40], [5090, 90], [5000, 40]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path = tmp_path / "theirs.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    if slide:
        rgb = np.asarray(Pillow.open(smear).convert("RGB"))
        smear = tmp_path / "slide.tif"
        tifffile.imwrite(smear, rgb, tile=(256, 256), photometric="rgb")
        monkeypatch.setattr("napari_cytosae.core.pyramid.LARGE_PIXELS", 100_000)
    out = tmp_path / "out"
    result = run("analyze", smear, "--labels", path, "-o", out, *with_models(weights))
    assert one_line(result) == (
        f"No outline of theirs.geojson lies on {smear.name} (1024 x 768 px): they lie at x "
        "5000 to 5090, y 40 to 90; give them in pixels of this image."
    )


def test_a_doubtful_pixel_size_is_asked_about(smear: Path, tmp_path: Path) -> None:
    doubt = (
        "smear.png: The red cells in view fit about 0.1 um a pixel: check the pixel size "
        "(0.3 um, user)."
    )
    for um, lines in (("0.1", 0), ("0.3", 1)):
        out = tmp_path / um
        result = run("segment", smear, "-o", out, "--pixel-size", um)
        assert result.exit_code == 0, result.stderr
        assert result.stderr.splitlines().count(doubt) == lines


def test_ome_zarr_labels_of_a_small_image_and_several(
    smear: Path, weights: Path, tmp_path: Path
) -> None:
    labels = np.zeros((768, 1024), np.uint16)
    labels[100:160, 700:760] = 7
    path, out = tmp_path / "image.zarr", tmp_path / "out"
    write_zarr_labels(path, {"cells": labels, "nuclei": labels // 7})
    one = path / "labels" / "cells"
    result = run("analyze", smear, "--labels", one, "-o", out, *with_models(weights))
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(tifffile.imread(out / "smear" / "cells.tif"), labels)
    for given in (path, path / "labels"):
        line = one_line(run("analyze", smear, "--labels", given, "-o", out))
        assert "2 label images (cells, nuclei)" in line
    nothing = tmp_path / "empty"
    nothing.mkdir()
    line = one_line(run("analyze", smear, "--labels", nothing, "-o", out))
    assert "cannot be read as OME-Zarr" in line


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((10, 10), np.int32), "10"),
        (np.zeros((768, 1024), np.float32), "float32"),
        (np.zeros((2, 768, 1024), np.int32), "one for each pixel"),
        (np.full((768, 1024), -1, np.int32), "below 0"),
    ],
)
def test_labels_that_do_not_fit(
    smear: Path, weights: Path, tmp_path: Path, labels: Any, message: str
) -> None:
    path = tmp_path / "labels.tif"
    tifffile.imwrite(path, labels)
    result = run("analyze", smear, "--labels", path, "-o", tmp_path, *with_models(weights))
    assert message in one_line(result)


@pytest.mark.parametrize("content", [None, b"no TIFF"])
def test_labels_that_cannot_be_read(
    smear: Path, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "labels.tif"
    if content is not None:
        path.write_bytes(content)
    assert "labels.tif" in one_line(run("analyze", smear, "--labels", path, "-o", tmp_path))


def test_no_cells_is_a_result(weights: Path, tmp_path: Path) -> None:
    glass = tmp_path / "glass.png"
    noise = np.random.default_rng(0).normal(0, 2, (300, 400, 3))
    Pillow.fromarray((235 + noise).clip(0, 255).astype(np.uint8)).save(glass)
    result = run("analyze", glass, "-o", tmp_path, "--concepts", "3", *with_models(weights))
    assert result.exit_code == 0, result.stderr
    assert (
        result.stderr
        == "glass.png: no cells were found; the tables hold their header only.\n"
    )
    folder = tmp_path / "glass"
    assert (folder / "cells.csv").read_text("utf-8") == ",".join(CELL_COLUMNS) + "\n"
    assert (folder / "concepts.csv").read_text("utf-8") == ",".join(CONCEPT_COLUMNS) + "\n"
    assert not tifffile.imread(folder / "cells.tif").any()
    assert not tifffile.imread(folder / "overlay_3.tif").any()
    assert anndata.read_h5ad(folder / "cells.h5ad").shape == (0, LATENTS)


def test_threshold_changes_counts_only(smear: Path, weights: Path, tmp_path: Path) -> None:
    for threshold in ("0.2", "0.5"):
        out = tmp_path / threshold
        run("analyze", smear, "-o", out, "--threshold", threshold, *with_models(weights))
    low, high = (
        anndata.read_h5ad(tmp_path / t / "smear" / "cells.h5ad") for t in ("0.2", "0.5")
    )
    assert high.X.sum() < low.X.sum()
    assert np.array_equal(high.layers["max"].toarray(), low.layers["max"].toarray())


def test_models_are_asked_for_once_and_faults_end_the_run(
    smear: Path, weights: Path, tmp_path: Path
) -> None:
    options = with_models(weights)
    out = tmp_path / "out"
    line = one_line(run("analyze", smear, smear, "-o", out, "--concepts", "64", *options))
    assert "no concept 64: its concepts are 0 to 63" in line
    options[1] = "dinobloom-b"
    line = one_line(run("analyze", smear, smear, "-o", out, *options))
    assert "napari-cytosae models get dinobloom-b" in line
    assert not out.exists()


# --- bad input ------------------------------------------------------------------------


def image_file(folder: Path, array: Any, **options: Any) -> Path:
    path = folder / "image.tif"
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        options = {"photometric": "rgb", **options}
    tifffile.imwrite(path, array, **options)
    return path


def brightfield(shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, 220, np.uint8)


BAD_IMAGES: dict[str, Any] = {
    "fluorescence": lambda f: image_file(
        f, brightfield((4, 64, 64)), photometric="minisblack", metadata={"axes": "CYX"}
    ),
    "stack": lambda f: image_file(
        f, brightfield((5, 64, 64, 3)), photometric="rgb", metadata={"axes": "ZYXS"}
    ),
    "empty file": lambda f: (
        ((f / "image.tif").write_bytes(b"") and None) or f / "image.tif"
    ),
    "no image": lambda f: (f / "image.tif").write_text("hello") and f / "image.tif",
    "missing": lambda f: f / "image.tif",
    "a folder without images": lambda f: (f / "image").mkdir() or f / "image",
    "NaN": lambda f: image_file(f, np.full((64, 64, 3), np.nan, np.float32)),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_bad_images(kind: str, weights: Path, tmp_path: Path) -> None:
    path = BAD_IMAGES[kind](tmp_path)
    line = one_line(run("analyze", path, "-o", tmp_path / "out", *with_models(weights)))
    assert "image" in line
    assert "Unexpected" not in line
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    "convert",
    [
        lambda rgb: rgb.mean(axis=2).astype(np.uint8),
        lambda rgb: np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]),
        lambda rgb: rgb.astype(np.uint16) * 257,
        lambda rgb: rgb.astype(np.float32) / 255,
    ],
    ids=["grey", "RGBA", "16 bit", "float"],
)
def test_odd_images_that_are_fine(
    convert: Any, smear: Path, weights: Path, tmp_path: Path
) -> None:
    rgb = np.asarray(Pillow.open(smear))[:300, :300]
    path = image_file(tmp_path, convert(rgb))
    for how in ([], ["--single-cell"]):
        result = run("analyze", path, "-o", tmp_path, *how, *with_models(weights))
        assert result.exit_code == 0, result.stderr
    assert len(pd.read_csv(tmp_path / "image" / "cells.csv")) == 1


def spoilt(weights: Path, folder: Path, how: str) -> Path:
    """An SAE file with something wrong with it."""
    path = folder / "sae.safetensors"
    whole = (weights / "sae.safetensors").read_bytes()
    tensors = {
        "W_enc": torch.randn(WIDTH, LATENTS),
        "b_enc": torch.zeros(LATENTS),
        "W_dec": torch.randn(LATENTS, WIDTH),
        "b_dec": torch.zeros(WIDTH),
    }
    if how == "truncated":
        path.write_bytes(whole[:-500])
    elif how == "not weights":
        path.write_text("hello")
    elif how == "a backbone":
        path.write_bytes((weights / "vit.safetensors").read_bytes())
    elif how in ("nan", "inf"):
        path = folder / "sae.pt"
        tensors["W_enc"][3, 5] = float(how)
        torch.save({"cfg": {}, "state_dict": tensors}, path)
    elif how == "shapes disagree":
        path = folder / "sae.pt"
        tensors["b_enc"] = torch.zeros(LATENTS - 1)
        torch.save({"cfg": {}, "state_dict": tensors}, path)
    elif how == "another width":
        tensors = {
            "W_enc": torch.randn(48, LATENTS),
            "b_enc": torch.zeros(LATENTS),
            "W_dec": torch.randn(LATENTS, 48),
            "b_dec": torch.zeros(48),
        }
        save_sae(path, tensors, kind="relu", layer=-2)
    elif how == "another layer":
        save_sae(path, tensors, kind="relu", layer=7)
    elif how == "missing":
        path = folder / "absent.safetensors"
    return path


@pytest.mark.parametrize(
    "how",
    [
        "truncated",
        "not weights",
        "a backbone",
        "nan",
        "inf",
        "shapes disagree",
        "another width",
        "another layer",
        "missing",
    ],
)
def test_bad_weights(how: str, smear: Path, weights: Path, tmp_path: Path) -> None:
    options = with_models(weights)
    options[3] = str(spoilt(weights, tmp_path, how))
    line = one_line(run("analyze", smear, "-o", tmp_path / "out", *options))
    assert "Unexpected" not in line
    assert "sae" in line.lower() or "absent" in line
    assert not (tmp_path / "out").exists()


# --- models ---------------------------------------------------------------------------


def test_models_list(home: Path) -> None:
    result = run("models", "list")
    assert result.exit_code == 0
    rows = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    assert "about 302.0 MB" in rows["cytosae"]
    assert "not here" in rows["dinobloom-b"]
    assert str(home / "models") in result.stdout


def test_models_info_and_convert(weights: Path, tmp_path: Path) -> None:
    result = run("models", "info", weights / "vit.safetensors", weights / "sae.safetensors")
    assert result.exit_code == 0
    assert re.search(r"width +32\n", result.stdout)
    assert re.search(r"d sae +64\n", result.stdout)
    target = tmp_path / "new" / "copy.safetensors"
    assert run("models", "convert", weights / "sae.safetensors", target).exit_code == 0
    assert "relu" in run("models", "info", target).stdout


def test_models_info_goes_on_after_a_bad_file(weights: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pt"
    bad.write_text("hello")
    result = run("models", "info", bad, weights / "sae.safetensors")
    assert "bad.pt" in one_line(result)
    assert re.search(r"d sae +64\n", result.stdout)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        # Without HTTPServer's look-up of the machine's name, which can take seconds.
        TCPServer.server_bind(self)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served in the place of Zenodo and of CytoSAE's home."""
    site = tmp_path / "site"
    site.mkdir()
    server = Server(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(
        registry,
        "KNOWN",
        tuple(
            replace(entry, url=f"{base}/{entry.name}.bin", checksum_url="")
            if entry.url
            else entry
            for entry in known_models.KNOWN
        ),
    )
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def test_get_pack_and_unpack(site: Path, home: Path, tmp_path: Path) -> None:
    (site / "cytosae.bin").write_bytes(b"sae" * 1000)
    (site / "dinobloom-b.bin").write_bytes(b"vit" * 1000)
    result = run("models", "get", "cytosae")
    assert result.exit_code == 0, result.stderr
    assert "licence" in result.stderr
    assert "Dasdelen et al." in result.stderr
    assert "Koch et al." in result.stderr
    assert hashlib.sha256(b"sae" * 1000).hexdigest() in result.stdout
    pack = tmp_path / "pack.zip"
    assert run("models", "pack", "cytosae", pack).stdout == f"{pack}\n"
    assert zipfile.is_zipfile(pack)
    result = run("models", "unpack", pack)
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2
    assert result.stdout.count(str(home)) == 2


def test_get_says_what_to_do_when_it_fails(site: Path, home: Path) -> None:
    result = run("models", "get", "dinobloom-b")
    assert result.exit_code == 2
    last = result.stderr.splitlines()[-1]
    assert "404" in last
    assert "/dinobloom-b.bin" in last
    assert str(home / "models" / "dinobloom-b") in last
    assert "--backbone PATH" in last
    assert "models pack dinobloom-b" in last
    assert "models unpack" in last
    assert "no model or file 'nonsense'" in one_line(run("models", "get", "nonsense"))
    # Of a set every file that is still missing is told, not only the one that failed.
    last = run("models", "get", "cytosae").stderr.splitlines()[-1]
    for name in ("dinobloom-b", "cytosae"):
        entry = registry.find_entry(name)
        assert f"{entry.url}, save it as {entry.filename} in" in last
        assert str(home / "models" / name) in last
    assert "--backbone PATH --sae PATH" in last


# --- catalogue and training -----------------------------------------------------------


def test_catalogue_of_real_cells(data_dir: Path, weights: Path, tmp_path: Path) -> None:
    folder = data_dir / "wbc_segmentation" / "dataset2"
    images = [p for p in sorted(folder.glob("*.png")) if "mask" not in p.name][:3]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "catalogue"
    result = run("catalogue", "build", *images, "-o", out, *with_models(weights))
    assert result.exit_code == 0, result.stderr
    shown = run("catalogue", "show", out, 3)
    assert shown.exit_code == 0
    assert images[0].name in shown.stdout
    assert "concept 64" in one_line(run("catalogue", "show", out, 64))
    result = run("catalogue", "build", *images, broken, "-o", out, *with_models(weights))
    assert result.exit_code == 2
    assert "broken.png" in result.stderr.splitlines()[0]
    assert result.stderr.splitlines()[-1] == "1 of 4 images were skipped."
    assert "None of the images" in one_line(
        run("catalogue", "build", broken, "-o", tmp_path / "c", *with_models(weights))
    )


def test_a_catalogue_of_smears_is_of_their_cells(
    smear: Path, weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "aml"
    folder.mkdir()
    shutil.copy(smear, folder)
    out, options = tmp_path / "catalogue", ("--pixel-size", "0.1", *with_models(weights))
    result = run("analyze", smear, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.stderr
    found = anndata.read_h5ad(tmp_path / "out" / smear.stem / "cells.h5ad")
    build = ("catalogue", "build", folder, "-o", out, "--smears", *options)
    result = run(*build)
    assert result.exit_code == 0, result.stderr
    about = json.loads((out / "catalogue.json").read_text("utf-8"))
    assert len(about["images"]) == found.n_obs > 1
    built = catalogue.load(out)
    assert built.classnames == ("aml",)
    # The same pixels as were analysed: a concept fires nowhere else.
    fires = built.sparsity > 0
    assert fires[np.flatnonzero(np.asarray(found.layers["mean"].sum(axis=0)).ravel())].all()
    boxes = found.obs[["bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"]].to_numpy()
    with Pillow.open(smear) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    for path, (y0, x0, y1, x1) in zip(about["images"], boxes, strict=True):
        crop = np.asarray(Pillow.open(path))
        assert crop.shape == (250, 250, 3)
        own = pixels[y0:y1, x0:x1]
        windows = np.lib.stride_tricks.sliding_window_view(crop[..., 0], own.shape[:2])
        assert (windows == own[..., 0]).all(axis=(2, 3)).any()
    # Again: nothing is cut out or encoded anew; a broken smear is named, the rest done.
    stamps = [Path(path).stat().st_mtime_ns for path in about["images"]]
    (folder / "broken.png").write_bytes(b"no image")
    result = run(*build)
    assert result.exit_code == 2
    assert "broken.png" in one_line(result)
    assert stamps == [Path(path).stat().st_mtime_ns for path in about["images"]]
    (folder / smear.name).unlink()
    assert "No cells were found" in run(*build).stderr.splitlines()[-1]


def test_published_statistics_are_shown(data_dir: Path) -> None:
    (folder,) = (data_dir / "cytosae_published" / "feature_data").rglob("matek")
    shown = run("catalogue", "show", folder, 12345).stdout
    assert "fires in         56.50% of the images" in shown
    assert "concept 12345: neutrophil segmented (Matek 4/10)" in shown


def test_published_concepts_are_found_by_what_they_show(data_dir: Path) -> None:
    published = data_dir / "cytosae_published"
    shown = run("catalogue", "show", published, "basofil", "--limit", 3).stdout
    lines = [line.split(maxsplit=3) for line in shown.splitlines()[1:4]]
    assert [line[3] for line in lines] == [
        "basophil (MLL23 10/10, Matek 10/10)",
        "basophil (MLL23 10/10, Matek 9/10)",
        "basophil (MLL23 10/10, Matek 9/10)",
    ]
    # The list says what the page of the concept says.
    page = run("catalogue", "show", published, lines[0][0]).stdout
    assert page.startswith(f"concept {lines[0][0]}: {lines[0][3]}")
    assert f"fires in         {lines[0][1]} of the images" in page
    assert page.count("  basophil ") + page.count("  BAS ") == 20
    assert re.search(r"\d+ more; --limit lists them", shown)
    refused = one_line(run("catalogue", "show", published, "xyzzy"))
    assert "called 'xyzzy': the classes are basophil, eosinophil" in refused


def test_names_go_to_colleagues_and_come_back(
    weights: Path, home: Path, tmp_path: Path
) -> None:
    sae = weights / "sae.safetensors"
    given = tmp_path / "theirs.csv"
    given.write_text("concept,name,tags\n3,Auer rod,inclusions: Auer rod; mine\n5,rim,\n")
    taken = run("names", "import", given, "--sae", sae)
    assert taken.exit_code == 0, taken.stderr
    assert taken.stdout == "theirs.csv: 3 new.\n"
    given.write_text("concept,name\n3,needle\n")
    taken = run("names", "import", given, "--sae", sae)
    assert "1 in conflict (3: 'Auer rod' stands, theirs was 'needle')" in taken.stdout
    for suffix in ("json", "csv"):
        sent = tmp_path / f"mine.{suffix}"
        assert run("names", "export", sent, "--sae", sae).stdout == f"{sent}\n"
    table = pd.read_csv(sent, keep_default_na=False).set_index("concept")
    assert table.loc[3, ["name", "tags"]].tolist() == [
        "Auer rod",
        "inclusions: Auer rod; mine",
    ]
    both = tmp_path / "both.json"
    merged = run("names", "merge", tmp_path / "mine.json", given, "-o", both)
    assert merged.stdout.splitlines()[:1] == ["mine.json: 3 new."]
    assert "1 in conflict" in merged.stdout
    # What the SAE does not have is refused, and nothing of the file is taken over.
    own = home / "concept_names.json"
    before = own.read_bytes()
    for concept, said in (
        ("-4", "whole numbers from 0 on"),
        ("999999", "no concept 999999"),
    ):
        given.write_text(f"concept,name\n6,good\n{concept},x\n")
        assert said in one_line(run("names", "import", given, "--sae", sae))
        assert own.read_bytes() == before
    # Another SAE has other concepts.
    assert "nothing about this SAE" in one_line(run("names", "import", both))
    assert "no file" in one_line(run("names", "import", tmp_path / "nowhere.json"))


def test_train_sae(data_dir: Path, weights: Path, tmp_path: Path) -> None:
    folder = data_dir / "wbc_segmentation" / "dataset2"
    images = [p for p in sorted(folder.glob("*.png")) if "mask" not in p.name][:4]
    out = tmp_path / "new.safetensors"
    options = ["--backbone", weights / "vit.safetensors", "--images", 32, "--expansion", 2]
    result = run("train-sae", *images, "-o", out, *options, "--kind", "topk", "-k", 4)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{out}\n"
    (said,) = (line for line in result.stderr.splitlines() if "explained variance" in line)
    shown = run("models", "info", out).stdout
    assert re.search(r"kind +topk\n", shown)
    assert re.search(r"licence +not stated\n", shown)
    # What is said at the end is what the file says.
    assert said in shown
    assert re.search(r"d sae +64\n", shown)
    finished = ["train-sae", *images, "-o", out, *options, "--kind", "topk", "--resume"]
    again = run(*finished, "-k", 4)
    assert again.exit_code == 0, again.stderr
    assert "was finished before" in again.stderr
    other = run(*finished, "-k", 5)
    assert other.exit_code == 2
    assert "is finished, with other settings (topk, block -2, 64 latents, 4 active" in (
        other.stderr
    )
    before = out.read_bytes()
    replaced = run(*finished[:-1], "-k", 5)
    assert replaced.exit_code == 0, replaced.stderr
    assert (tmp_path / "new.former.safetensors").read_bytes() == before
    assert "is kept as" in replaced.stderr
    out.rename(tmp_path / "new.training.safetensors")
    early = run("analyze", *images, "-o", tmp_path / "run", "--sae", out)
    assert early.exit_code == 2
    assert "is not trained to its end" in early.stderr
    named = run("models", "info", "nope")
    assert named.exit_code == 2
    assert "cytosae" in named.stderr


# --- progress and Ctrl-C ---------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def counting(seconds: float = 0.0) -> Iterator[Progress]:
    for done in range(5):
        time.sleep(seconds)
        yield Progress("Encoding", done, 4, "cells")
    return "result"


def test_progress_on_a_terminal_is_one_line_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(_cli_console, "_REDRAW_EVERY_S", 0)
    assert _cli_console.drive(counting(0.3), "[1/2] a.png: ") == "result"
    drawn = [line.rstrip() for line in screen.getvalue().split("\r")]
    assert "[1/2] a.png: Encoding 0 of 4 cells" in drawn
    assert any(
        re.fullmatch(r"\[1/2\] a\.png: Encoding 2 of 4 cells, 1 s left", line)
        for line in drawn
    )
    assert "\n" not in screen.getvalue()
    assert drawn[-1] == ""


def test_progress_elsewhere_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _cli_console.drive(counting()) == "result"
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(_cli_console, "_LOG_EVERY_S", 0)
    _cli_console.drive(counting())
    assert capsys.readouterr().err.splitlines()[-1] == "Encoding 4 of 4 cells"


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.6, "8 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert _cli_console.duration(seconds) == text


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send there")
def test_training_finishes_its_step_before_it_heeds_ctrl_c() -> None:
    with _cli_console.finishing_steps() as stopped:
        assert not stopped()
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send there")
def test_an_interrupted_training_can_go_on(
    data_dir: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data_dir / "wbc_segmentation" / "dataset2"
    images = [p for p in sorted(folder.glob("*.png")) if "mask" not in p.name][:4]
    options = ["--backbone", weights / "vit.safetensors", "--images", 64, "--expansion", 2]
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    assert run("train-sae", *images, "-o", whole, *options).exit_code == 0
    real = image_training.train_sae

    def interrupted(*args: Any, **kwargs: Any) -> Iterator[Progress]:
        job = real(*args, **kwargs)
        try:
            for number, step in enumerate(job):
                if number == 2:
                    os.kill(os.getpid(), signal.SIGINT)
                yield step
        finally:
            job.close()

    monkeypatch.setattr(image_training, "train_sae", interrupted)
    assert run("train-sae", *images, "-o", parts, *options).exit_code == 130
    monkeypatch.undo()
    assert not parts.exists()
    result = run("train-sae", *images, "-o", parts, *options, "--resume")
    assert result.exit_code == 0, result.stderr
    ours, theirs = open_sae(parts).tensors, open_sae(whole).tensors
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


# --- as a process ---------------------------------------------------------------------


def process(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "napari_cytosae", *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, **options
    )


def test_the_process_ends_with_one_line(tmp_path: Path) -> None:
    done = process("segment", "absent.png", "-o", tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "absent.png does not exist: check the path.\n"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are Unicode")
def test_file_names_that_are_not_utf8(smear: Path, tmp_path: Path) -> None:
    name = tmp_path / os.fsdecode(b"Gr\xfc\xdfe.png")
    name.write_bytes(smear.read_bytes())
    done = process("segment", name, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "out").iterdir()
    table = pd.read_csv(folder / "cells.csv")
    assert set(table["image"]) == {r"Gr\xfc\xdfe.png"}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send there")
def test_ctrl_c_is_quiet(smear: Path, tmp_path: Path) -> None:
    images = tmp_path / "in"
    images.mkdir()
    for number in range(200):
        (images / f"{number}.png").symlink_to(smear)
    command = [sys.executable, "-m", "napari_cytosae", "segment", str(images), "-o"]
    started = subprocess.Popen(
        [*command, str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    first = started.stdout.readline()
    started.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "Traceback" not in errors
    assert time.monotonic() - began < 30
    assert Path(first.strip()).is_dir()
    hidden = [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    assert hidden == []


# --- cells kept for next time ---------------------------------------------------------


def test_analyze_keeps_encoded_cells(
    smear: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYTOSAE_CACHE_MB", "100")
    encoded: list[int] = []
    original = Models.encode_batch

    def watched(self: Models, crops: Any, *args: Any, **options: Any) -> Any:
        encoded.append(len(crops))
        return original(self, crops, *args, **options)

    monkeypatch.setattr(Models, "encode_batch", watched)
    tables = []
    for name, options in (("none", ["--no-cache"]), ("first", []), ("second", [])):
        encoded.clear()
        arguments = (*options, "--precision", "float32", "--device", "cpu")
        result = run("analyze", smear, "-o", tmp_path / name, *arguments)
        assert result.exit_code == 0, result.stderr
        tables.append((tmp_path / name / "smear" / "concepts.csv").read_bytes())
        count = len(pd.read_csv(tmp_path / name / "smear" / "cells.csv"))
        kept = len(list((home / "encoded").glob("*.npz")))
        assert sum(encoded) == (0 if name == "second" else count)
        assert kept == (0 if name == "none" else count)
    assert tables[0] == tables[1] == tables[2]
    said = run("models", "cache")
    assert said.stdout.startswith(f"{home / 'encoded'}  {count:,} cells  ")
    assert " 0 cells  0.0 MB" in run("models", "cache", "--clear").stdout
    assert not list((home / "encoded").glob("*.npz"))


def test_a_cache_that_cannot_be_written_is_said_once(
    smear: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYTOSAE_CACHE_MB", "100")
    home.mkdir()
    (home / "encoded").write_text("in the way")
    result = run("analyze", smear, "-o", tmp_path / "out", "--precision", "float32")
    assert result.exit_code == 0
    assert result.stderr.count("Encoded cells are not kept for next time (") == 1
