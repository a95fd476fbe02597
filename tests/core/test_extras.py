"""What `analyze --also all` writes, read back and compared with the contract's tables."""

from __future__ import annotations

import base64
import io
import json
import re
from xml.etree import ElementTree

import anndata
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as PillowImage
from typer.testing import CliRunner

from napari_cytosae.cli import app
from napari_cytosae.core import html
from napari_cytosae.core.types import RESEARCH_USE

CONCEPTS = 3, 5


@pytest.fixture(scope="module")
def smear(data_dir):
    return sorted((data_dir / "bccd").rglob("*.jpg"))[0]


@pytest.fixture(scope="module")
def written(smear, weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("also")
    result = run(smear, out, weights, "--also", "all", "--concepts", "3,5")
    assert result.exit_code == 0, result.output
    return out / smear.stem


def run(smear, out, weights, *more):
    arguments = [
        "analyze", smear, "-o", out, "--kinds", "wbc,rbc", "--device", "cpu",
        "--precision", "float32", "--backbone", weights / "vit.safetensors",
        "--sae", weights / "sae.safetensors", "--pixel-size", "0.1", *more,
    ]  # fmt: skip
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_nothing_more_is_written_unless_asked(smear, weights, tmp_path):
    assert run(smear, tmp_path, weights).exit_code == 0
    files = {path.name for path in (tmp_path / smear.stem).iterdir()}
    assert files == {
        "cells.tif", "nuclei.tif", "cells.csv", "concepts.csv", "cells.h5ad", "run.json",
    }  # fmt: skip
    result = run(smear, tmp_path, weights, "--also", "wide,nothing")
    assert result.exit_code == 2
    assert "'nothing' is none of wide, patches" in result.output


def test_the_wide_table_is_the_long_one(written):
    long = pd.read_csv(written / "concepts.csv")
    wide = pd.read_csv(written / "concepts_wide.csv")
    assert list(wide.columns[:4]) == ["image", "cell_id", "kind", "qc"]
    assert "3 nuclear indent" in wide.columns
    unpivoted = wide.melt(list(wide.columns[:4]), value_name="n_patches").query(
        "n_patches > 0"
    )
    unpivoted["concept"] = unpivoted["variable"].str.split().str[0].astype(int)
    keys = ["cell_id", "concept", "n_patches"]
    pd.testing.assert_frame_equal(
        unpivoted[keys].sort_values(keys[:2]).reset_index(drop=True),
        long[keys].sort_values(keys[:2]).reset_index(drop=True),
    )


def test_the_patch_table_adds_up_to_the_cells(written):
    patches = pd.read_csv(written / "patches.csv")
    long = pd.read_csv(written / "concepts.csv")
    long = long[long["concept"].isin(CONCEPTS)].set_index(["cell_id", "concept"])
    grouped = patches.groupby(["cell_id", "concept"])["activation"]
    # Maps are made from tokens of half precision: a patch at the threshold may change side.
    counts = grouped.size().reindex(long.index, fill_value=0)
    assert abs(counts - long["n_patches"]).sum() <= 0.01 * long["n_patches"].sum()
    strongest = grouped.max().reindex(long.index).dropna()
    np.testing.assert_allclose(strongest, long.loc[strongest.index, "max"], rtol=0.02)
    assert patches["activation"].min() > 0.2
    overlay = tifffile.imread(written / "overlay_3.tif")
    row = patches[patches["concept"] == 3].iloc[0]
    y, x = round((row["y0"] + row["y1"] - 1) / 2), round((row["x0"] + row["x1"] - 1) / 2)
    if 0 <= y < overlay.shape[0] and 0 <= x < overlay.shape[1]:
        assert overlay[y, x] >= row["activation"] - 1e-6


def test_geojson_carries_the_concepts_and_comes_back(written, smear, weights, tmp_path):
    content = json.loads((written / "cells.geojson").read_text())
    cells = pd.read_csv(written / "cells.csv")
    assert len(content["features"]) == len(cells)
    values = [
        f["properties"]["measurements"]["3 nuclear indent"] for f in content["features"]
    ]
    # What every table says, to the bit; maps are of tokens of half precision.
    data = anndata.read_h5ad(written / "cells.h5ad")
    strongest = data.layers["max"][:, [3]].toarray().ravel()
    assert data.obs_names.astype(int).tolist() == cells["cell_id"].tolist()
    assert values == strongest.tolist()
    assert max(values) > 0.2
    result = run(smear, tmp_path, weights, "--labels", written / "cells.geojson")
    assert result.exit_code == 0, result.output
    back = tifffile.imread(tmp_path / smear.stem / "cells.tif")
    np.testing.assert_array_equal(back, tifffile.imread(written / "cells.tif"))
    about = json.loads((tmp_path / smear.stem / "run.json").read_text())["parameters"]
    assert about["labels"] == "cells.geojson"


def test_the_ome_tiff_is_the_overlays(written):
    with tifffile.TiffFile(written / "overlays.ome.tif") as file:
        assert file.is_ome
        series = file.series[0]
        assert series.axes == "CYX"
        for index, concept in enumerate(CONCEPTS):
            expected = tifffile.imread(written / f"overlay_{concept}.tif")
            np.testing.assert_array_equal(series.asarray()[index], expected)
        root = ElementTree.fromstring(file.ome_metadata)
    pixels = next(e for e in root.iter() if e.tag.endswith("Pixels"))
    assert float(pixels.get("PhysicalSizeX")) == 0.1
    names = [e.get("Name") for e in pixels if e.tag.endswith("Channel")]
    assert names == ["3 nuclear indent", "5 größte Körner, rot"]


def test_a_large_slide_has_a_pyramid(tmp_path):
    from napari_cytosae.core._panel import FigureConcept
    from napari_cytosae.core.ome import write_ome
    from napari_cytosae.core.overlay import OverlayMap

    grids = np.random.default_rng(0).random((2, 16, 16)).astype(np.float32)
    boxes = np.array([[10, 20, 330, 340], [2000, 1500, 2320, 1820]])
    overlay = OverlayMap(grids, boxes, (2500, 1900))
    write_ome(tmp_path / "x.ome.tif", [FigureConcept(1, "", overlay, 1.0)])
    with tifffile.TiffFile(tmp_path / "x.ome.tif") as file:
        levels = file.series[0].levels
        assert [level.shape for level in levels] == [(2500, 1900), (1250, 950), (625, 475)]
        np.testing.assert_array_equal(levels[0].asarray(), overlay.full())
        np.testing.assert_array_equal(
            levels[2].asarray(), overlay.region(0, 0, 2500, 1900, 4)
        )


def test_figures_have_scales(written, smear):
    with PillowImage.open(written / "figure_3.png") as figure:
        assert figure.width > 640
    root = ElementTree.parse(written / "figure_3.svg").getroot()
    texts = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert "3 nuclear indent" in texts
    assert any(text.endswith("µm") for text in texts)
    rectangles = [e for e in root.iter() if e.tag.endswith("rect")]
    bars = [float(e.get("width")) for e in rectangles[1:]]
    length = float(next(t for t in texts if t.endswith("µm")).split()[0])
    assert any(abs(width - length / 0.1) < 1e-6 for width in bars)
    image = next(e for e in root.iter() if e.tag.endswith("image"))
    data = base64.b64decode(image.get("href").split(",")[1])
    with PillowImage.open(smear) as original:
        assert PillowImage.open(io.BytesIO(data)).size == original.size


def test_the_report_stands_alone_and_tells_everything(written):
    text = (written / "report.html").read_text(encoding="utf-8")
    record = json.loads((written / "run.json").read_text())
    cells = pd.read_csv(written / "cells.csv")
    assert RESEARCH_USE in text
    for model in record["models"].values():
        assert model["sha256"] in text
    assert next(iter(record["inputs"].values())) in text
    assert f'<td>flagged</td><td class="n">{(cells["qc"] != "ok").sum()}</td>' in text
    assert "Concept 5 größte Körner, rot" in text
    assert record["versions"]["torch"] in text
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', text)
    assert sources
    assert all(source.startswith("data:image/png") for source in sources)


def test_no_cells_is_a_result_too(weights, tmp_path):
    blank = tmp_path / "blank.png"
    PillowImage.new("RGB", (200, 150), (235, 230, 235)).save(blank)
    result = run(blank, tmp_path / "out", weights, "--also", "all", "--concepts", "3")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / "blank"
    assert json.loads((folder / "cells.geojson").read_text())["features"] == []
    assert len(pd.read_csv(folder / "concepts_wide.csv")) == 0
    assert "0 cells" in (folder / "report.html").read_text(encoding="utf-8")


def test_pages_escape_what_people_write():
    frame = pd.DataFrame({"<b>": ["<script>", 1.5, np.nan]})
    text = html.page("a < b", [html.paragraph("x\n<y>"), html.table(frame)])
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "x<br>&lt;y&gt;" in text
    assert '<td class="n"></td>' in text
