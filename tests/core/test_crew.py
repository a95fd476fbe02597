"""A cohort encoded by other processes: a real scheduler, and workers that are lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image as Pillow

from napari_cytosae._sample_data import demo_smear
from napari_cytosae.core import cohort
from napari_cytosae.core import crew as crews
from napari_cytosae.core.crops import crop_cells
from napari_cytosae.core.loading import load_models
from napari_cytosae.core.pipeline import run
from napari_cytosae.core.segmentation import segment
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("distributed", reason="extra [distributed] is not installed")

SETTINGS = cohort.Settings(single_cell=True)
PATIENCE_S = 120


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cohort.Manifest:
    """Two patients with a unit for each cell, one of them no image."""
    monkeypatch.setattr("napari_cytosae.core._units.SINGLE_CELLS_AT_ONCE", 1)
    smear = demo_smear().rgb
    rows = []
    for number, crop in enumerate(crop_cells(smear, segment(smear))):
        Pillow.fromarray(crop).save(tmp_path / f"{number}.png")
        rows.append(f"{'AB'[number > 4]},{number}.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    listed = tmp_path / "m.csv"
    listed.write_text("\n".join(["patient,image", *rows, "B,bad.png"]) + "\n")
    return cohort.read_manifest(listed)


@pytest.fixture
def pair(weights: Path) -> tuple[str, str]:
    return str(weights / "vit.safetensors"), str(weights / "sae.safetensors")


def same(a: cohort.Barcodes, b: cohort.Barcodes) -> bool:
    tables = ("values", "low", "high")
    return (
        a.patients == b.patients
        and all((getattr(a, name) != getattr(b, name)).nnz == 0 for name in tables)
        and list(a.n_cells) == list(b.n_cells)
        and a.problems == b.problems
    )


def start(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers, processes of their own on loopback."""
    import json

    file = tmp_path / "scheduler.json"
    options = ("--scheduler-file", str(file))
    processes = [
        start(
            "dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            *options,
        )
    ]
    processes += [
        start("dask_worker", *options, "--no-nanny", "--nthreads", "1", "--no-dashboard")
        for _ in range(2)
    ]
    end = time.monotonic() + PATIENCE_S
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.1)
    yield json.loads(file.read_text())["address"], processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_lost_worker_changes_nothing(manifest, pair, scheduler, tmp_path) -> None:
    address, processes = scheduler
    models = load_models(*pair, "cpu", "float32")
    whole = run(cohort.build(models, manifest, tmp_path / "one.h5ad", SETTINGS))
    recipe = crews.recipe_of(models, *pair, torch.get_num_threads())
    killed = False
    with crews.crew(recipe, scheduler=address) as crew:
        crew._client.wait_for_workers(2, timeout=PATIENCE_S)
        job = cohort.build(models, manifest, tmp_path / "two.h5ad", SETTINGS, crew)
        steps = []
        while True:
            try:
                steps.append(next(job).done)
            except StopIteration as finished:
                shared = finished.value
                break
            if steps[-1] == 1 and not killed:
                os.kill(processes[1].pid, signal.SIGKILL)
                killed = True
    assert killed
    assert steps == list(range(len(manifest.rows) + 1))
    assert same(whole, shared)
    assert len(shared.problems) == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_run_goes_on_in_other_processes(manifest, pair, tmp_path) -> None:
    models = load_models(*pair, "cpu", "float32")
    whole = run(cohort.build(models, manifest, tmp_path / "one.h5ad", SETTINGS))
    job = cohort.build(models, manifest, tmp_path / "two.h5ad", SETTINGS)
    while next(job).done < 4:
        pass
    job.close()
    kept = len(list(cohort.partial_folder(tmp_path / "two.h5ad").iterdir()))
    assert kept == 4
    recipe = crews.recipe_of(models, *pair, torch.get_num_threads())
    with crews.crew(recipe, workers=2) as crew:
        job = cohort.build(models, manifest, tmp_path / "two.h5ad", SETTINGS, crew)
        assert next(job).done == kept
        shared = run(job)
    assert same(whole, shared)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_no_scheduler_is_one_sentence(manifest, pair) -> None:
    models = load_models(*pair, "cpu", "float32")
    recipe = crews.recipe_of(models, *pair, 1)
    with (
        pytest.raises(CytoError, match=r"no scheduler at tcp://127\.0\.0\.1:9"),
        crews.crew(recipe, scheduler="tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_scheduler_without_workers_is_not_waited_for_long(pair, monkeypatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr(crews, "WORKER_WAIT_S", 1)
    recipe = crews.recipe_of(load_models(*pair, "cpu", "float32"), *pair, 1)
    with (
        LocalCluster(
            n_workers=0, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as empty,
        pytest.raises(CytoError, match="has had no worker for 1 s"),
        crews.crew(recipe, scheduler=empty.scheduler_address),
    ):
        pass


def test_a_worker_with_other_files_refuses(manifest, pair) -> None:
    models = load_models(*pair, "cpu", "float32")
    from dataclasses import replace

    recipe = replace(crews.recipe_of(models, *pair, 1), sae_sha256="0" * 64)
    with pytest.raises(CytoError, match="other files"):
        crews.work(recipe, cohort.plan(manifest.rows, True)[0], SETTINGS)
