"""Models as one zip file, for machines without internet.

A pack holds a ``manifest.json`` and the weights files, stored uncompressed. Unpacking
believes nothing in it: members are found by name, never extracted by their own paths, and
each is checked against the manifest's sha256 and against what is known of the model here.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.files import atomic_file, sha256_file
from napari_cytosae.core.registry import find_entry, location, models_folder, resolve
from napari_cytosae.core.retrieval import changed, remember
from napari_cytosae.core.types import CheckpointError, CytoError, OutputError, Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path
    from typing import IO

    from napari_cytosae.core.known_models import ModelEntry

SCHEMA = 1
MANIFEST = "manifest.json"

_MANIFEST_LIMIT = 1 << 20
_CHUNK = 1 << 22
_MEGABYTE = 1_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}")


def pack(name: str, target: Path) -> Generator[Progress, None, Path]:
    """Write a downloaded model, and whatever it needs, into one zip file.

    Parameters
    ----------
    name : str
        Registered name or hub id of a downloaded model.
    target : Path
        Replaced when it exists.

    Raises
    ------
    CheckpointError
        If the model is unknown, built in, or not on this machine.
    OutputError
        If `target` cannot be written.
    """
    entry = find_entry(name)
    if not entry.url:
        raise CheckpointError(f"{name} is part of the package: it needs no pack.")
    entries = [*map(find_entry, entry.needs), entry]
    paths = [resolve(entry.name, entry.role or "backbone") for entry in entries]
    total = _mb(sum(path.stat().st_size for path in paths))
    done = 0
    with (
        atomic_file(target) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        models = []
        for entry, path in zip(entries, paths, strict=True):
            yield Progress(f"Packing {entry.name}", _mb(done), total, "MB")
            models.append(_manifest_entry(entry, path))
            with (
                path.open("rb") as source,
                archive.open(_member(entry), "w", force_zip64=True) as sink,
            ):
                while chunk := source.read(_CHUNK):
                    sink.write(chunk)
                    done += len(chunk)
                    yield Progress(f"Packing {entry.name}", _mb(done), total, "MB")
        archive.writestr(
            MANIFEST, json.dumps({"schema": SCHEMA, "models": models}, indent=2)
        )
    return target


def unpack(
    source: Path, *, accept_change: bool = False
) -> Generator[Progress, None, list[Path]]:
    """Bring the models of a pack to their place; what fails its check is not taken.

    Parameters
    ----------
    source : Path
        Zip file written by `pack`.
    accept_change : bool
        Take a file that differs from the one remembered under its name.

    Raises
    ------
    CheckpointError
        If it is not a pack, is damaged, or holds another file than it says.
    OutputError
        If the models folder cannot be written or its disk is too small.
    """
    with _open(source) as archive:
        models = _models(archive, source)
        planned = [_planned(archive, model, source) for model in models]
        total = sum(info.file_size for _, info, _ in planned)
        _check_space(total)
        taken, done = [], 0
        for (entry, info, sha256), model in zip(planned, models, strict=True):
            sentence = changed(entry, models_folder(), sha256)
            if sentence and not accept_change:
                raise CheckpointError(f"{entry.name} in {source.name}: {sentence}.")
            path = location(entry)
            with atomic_file(path) as temporary:
                digest = hashlib.sha256()
                with archive.open(info) as stream, temporary.open("wb") as sink:
                    for chunk in _chunks(stream, source):
                        sink.write(chunk)
                        digest.update(chunk)
                        done += len(chunk)
                        yield Progress(
                            f"Unpacking {entry.name}", _mb(done), _mb(total), "MB"
                        )
                if digest.hexdigest() != sha256:
                    raise CheckpointError(
                        f"{entry.name} in {source.name} is damaged (its sha256 is not the "
                        "manifest's): pack it again."
                    )
            if entry.beside and model.get("beside"):
                with atomic_file(path.with_name(entry.beside)) as temporary:
                    temporary.write_text(str(model["beside"]), "utf-8")
            remember(models_folder(), entry.name, sha256, info.file_size, entry.url)
            taken.append(path)
    return taken


def _member(entry: ModelEntry) -> str:
    return f"{location(entry).parent.name}/{entry.filename}"


def _manifest_entry(entry: ModelEntry, path: Path) -> dict[str, Any]:
    return {
        "name": entry.name,
        "filename": entry.filename,
        "sha256": sha256_file(path),
        "url": entry.url,
        "licence": entry.licence,
        "citation": entry.citation,
        "beside": _text_beside(entry, path),
    }


def _text_beside(entry: ModelEntry, path: Path) -> str:
    """Return the small file that explains the weights; empty where there is none."""
    beside = path.with_name(entry.beside) if entry.beside else path
    return beside.read_text("utf-8") if beside != path and beside.is_file() else ""


@contextmanager
def _open(source: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(source)
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no file {source}: check the path.") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{source} is not a zip file, or is cut off: pack it again with "
            "`napari-cytosae models pack`."
        ) from error
    with archive:
        yield archive


def _models(archive: zipfile.ZipFile, source: Path) -> list[dict[str, Any]]:
    not_a_pack = CheckpointError(
        f"{source} was not written by `napari-cytosae models pack`: it holds no "
        f"readable {MANIFEST}."
    )
    try:
        if archive.getinfo(MANIFEST).file_size > _MANIFEST_LIMIT:
            raise not_a_pack
        content = json.loads(archive.read(MANIFEST))
        schema, models = content["schema"], content["models"]
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise not_a_pack from error
    if schema != SCHEMA:
        raise CheckpointError(
            f"{source} is of schema {schema}, this version reads {SCHEMA}: install a newer "
            "napari-cytosae."
        )
    if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
        raise not_a_pack
    return models


def _planned(
    archive: zipfile.ZipFile, model: dict[str, Any], source: Path
) -> tuple[ModelEntry, zipfile.ZipInfo, str]:
    """Return the entry, the member and the sha256 of one model of the manifest.

    The folder and the file's name come from the entry known here, never from the pack.
    """
    try:
        entry = find_entry(str(model.get("name")))
    except CytoError as error:
        raise CheckpointError(
            f"{source} holds a model unknown here ({model.get('name')!r}): install a newer "
            "napari-cytosae."
        ) from error
    sha256 = str(model.get("sha256"))
    if not entry.url or not _SHA256.fullmatch(sha256):
        raise CheckpointError(f"The entry {entry.name} of {source} is void: pack it again.")
    if entry.checksum.startswith("sha256:") and entry.checksum != f"sha256:{sha256}":
        raise CheckpointError(
            f"{entry.name} in {source.name} is not the published file (sha256 {sha256})."
        )
    try:
        return entry, archive.getinfo(_member(entry)), sha256
    except KeyError as error:
        raise CheckpointError(
            f"{source} holds no weights of {entry.name}: pack it again."
        ) from error


def _chunks(stream: IO[bytes], source: Path) -> Iterator[bytes]:
    while True:
        try:
            chunk = stream.read(_CHUNK)
        except (zipfile.BadZipFile, EOFError) as error:
            raise CheckpointError(
                f"{source} is damaged ({error}): pack it again."
            ) from error
        if not chunk:
            return
        yield chunk


def _check_space(needed: int) -> None:
    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}).") from error
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{_mb(needed)} MB are needed in {folder} and {_mb(free)} MB are free: free "
            "some space, or set CYTOSAE_HOME to a folder on another disk."
        )


def _mb(size: int) -> int:
    return -(-size // _MEGABYTE)
