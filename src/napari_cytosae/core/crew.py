"""Units of a cohort encoded by other processes, on this machine or on many (dask).

A worker needs the package, the model files and the images under the same paths. It loads
the models once; what it sends back are sparse counts.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from napari_cytosae.core._units import Settings, Unit, UnitResult, encode_unit
from napari_cytosae.core.types import CytoError, ModelMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_cytosae.core.models import Models

RETRIES = 3
"""Times a unit is tried again after the worker that had it was lost."""

WORKER_WAIT_S = 60
"""A scheduler's first worker is waited for."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a worker loads, so that it counts to the last bit as this process would.

    Attributes
    ----------
    backbone, sae : str
        As `load_models` takes them.
    device, precision : str
        Settled ones, not ``auto``.
    backbone_sha256, sae_sha256 : str
        Of the files here: a worker with other ones refuses.
    threads : int
        Of a worker's matrix products.
    """

    backbone: str
    sae: str
    device: str
    precision: str
    backbone_sha256: str
    sae_sha256: str
    threads: int


def recipe_of(models: Models, backbone: str, sae: str, threads: int) -> Recipe:
    """How a worker gets the same models."""
    return Recipe(
        backbone,
        sae,
        models.device.type,
        models.precision,
        models.backbone_info.sha256,
        models.sae_info.sha256,
        threads,
    )


class Crew:
    """Workers that are there.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    recipe : Recipe
        What they load.
    """

    def __init__(self, client: Any, recipe: Recipe) -> None:
        self._client, self._recipe = client, recipe

    def encode(
        self, units: Sequence[Unit], settings: Settings
    ) -> Iterator[tuple[int, UnitResult]]:
        """Encode units; each comes with its index as soon as it is done.

        Raises
        ------
        CytoError
            If a unit fails on every worker it is given to, or no worker is left.
        """
        from distributed import as_completed

        absolute = [_absolute(unit) for unit in units]
        futures = self._client.map(
            work,
            [self._recipe] * len(absolute),
            absolute,
            [settings] * len(absolute),
            pure=False,
            retries=RETRIES,
        )
        index = {future.key: position for position, future in enumerate(futures)}
        queue = as_completed(futures, loop=self._client.loop)
        futures.clear()
        for future in queue:
            try:
                result = future.result()
            except CytoError:
                raise
            except Exception as error:
                image = units[index[future.key]].rows[0].image
                raise CytoError(
                    f"The workers could not encode {image} ({type(error).__name__}: "
                    f"{error}): what is finished is kept; start the run again."
                ) from error
            yield index[future.key], result
            future.release()


def work(recipe: Recipe, unit: Unit, settings: Settings) -> UnitResult:
    """Encode a unit; runs on a worker.

    Raises
    ------
    ModelMismatchError
        If the worker's files are other ones.
    """
    from napari_cytosae.core.pipeline import run

    return run(encode_unit(_models(recipe), unit, settings))


@lru_cache(maxsize=1)
def _models(recipe: Recipe) -> Models:
    import torch

    from napari_cytosae.core.loading import load_models

    torch.set_num_threads(recipe.threads)
    models = load_models(
        recipe.backbone,
        recipe.sae,
        recipe.device,  # type: ignore[arg-type]
        recipe.precision,  # type: ignore[arg-type]
    )
    found = (models.backbone_info.sha256, models.sae_info.sha256)
    if found != (recipe.backbone_sha256, recipe.sae_sha256):
        raise ModelMismatchError(
            f"A worker has other files of {recipe.backbone} or {recipe.sae} than this "
            "machine: give all of them the same."
        )
    return models


@contextmanager
def crew(recipe: Recipe, workers: int = 0, scheduler: str = "") -> Iterator[Crew]:
    """Workers started here, or those of a scheduler that runs.

    Parameters
    ----------
    recipe : Recipe
        What they load.
    workers : int
        Processes to start on this machine.
    scheduler : str
        Address of a scheduler, ``tcp://host:8786``; its workers do the work.

    Raises
    ------
    CytoError
        If dask.distributed is not installed, there is no scheduler, or it has no worker.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise CytoError(
            "Several workers need dask.distributed: pip install 'napari-cytosae"
            "[distributed]'."
        ) from error
    cluster = None
    if scheduler:
        try:
            client = Client(scheduler, timeout="10s", set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise CytoError(
                f"There is no scheduler at {scheduler}: start one with `dask scheduler`."
            ) from error
    else:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            # None is no dashboard, but port 8787: taken by another run, and open to all.
            dashboard_address="127.0.0.1:0",
        )
        client = Client(cluster, set_as_default=False)
    try:
        if scheduler:
            _await_worker(client, scheduler)
        yield Crew(client, recipe)
    finally:
        client.close()
        if cluster is not None:
            cluster.close()


def _await_worker(client: Any, scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKER_WAIT_S)
    except TimeoutError as error:
        raise CytoError(
            f"The scheduler at {scheduler} has had no worker for {WORKER_WAIT_S} s: start "
            f"some with `dask worker {scheduler}`, and the run again."
        ) from error


def _absolute(unit: Unit) -> Unit:
    return Unit(tuple(replace(row, image=row.image.resolve()) for row in unit.rows))
