"""Keeps the interface fluid while a job loads libraries and computes.

Two things freeze a Python GUI although the work runs in another thread, because both hold
the interpreter's lock: the full passes of the garbage collector, which an import of
thousands of objects sets off again and again (0.2 s each beside a napari window), and the
loading of torch's shared libraries (0.3 s).
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEVER = 1_000_000
_lock = threading.Lock()
_active = 0
_thresholds = gc.get_threshold()


@contextmanager
def no_full_collections() -> Iterator[None]:
    """Hold back full garbage collections; young objects are still collected.

    Re-entrant and shared between threads: the last one to leave restores the thresholds.
    """
    global _active, _thresholds
    with _lock:
        if _active == 0:
            _thresholds = gc.get_threshold()
            gc.set_threshold(_thresholds[0], _thresholds[1], _NEVER)
        _active += 1
    try:
        yield
    finally:
        with _lock:
            _active -= 1
            if _active == 0:
                gc.set_threshold(*_thresholds)


def preload_torch() -> None:
    """Map torch's shared libraries without holding the interpreter's lock.

    A C call through ctypes lets other threads run, an import does not. Where this cannot
    be done nothing is lost: the import that follows loads them.
    """
    if "torch" in sys.modules or os.name != "posix":
        return
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype = ctypes.c_void_p
    suffix = "dylib" if sys.platform == "darwin" else "so"
    for name in ("c10", "torch_cpu", "torch", "torch_python"):
        library = Path(spec.origin).parent / "lib" / f"lib{name}.{suffix}"
        if library.is_file():
            dlopen(os.fsencode(library), os.RTLD_NOW | os.RTLD_GLOBAL)
