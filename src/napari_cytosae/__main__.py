"""``napari-cytosae``, and ``python -m napari_cytosae``."""

from __future__ import annotations

import io
import logging
import sys
import warnings


def main() -> None:
    """Run the command line; ends the process with 0, 2 (bad input) or 130 (Ctrl-C)."""
    for stream in (sys.stdout, sys.stderr):
        # A file name in another encoding must not stop the run that names it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Libraries' remarks are not the user's errors; python -W and logging bring them back.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())

    from napari_cytosae.cli import app

    app(prog_name="napari-cytosae")


if __name__ == "__main__":
    main()
