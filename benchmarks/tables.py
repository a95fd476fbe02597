"""How benchmarks say what they measured: JSON, or Markdown tables for a page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", action="store_true", help="Markdown instead of JSON")


def show(report: Mapping[str, Any], *, table: bool) -> None:
    """Print numbers by name; those of a mapping make one row, or a row each."""
    if not table:
        print(json.dumps(report, indent=2))
        return
    rows = dict(_rows(report))
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    print("| " + " | ".join(["", *map(_words, columns)]) + " |")
    print("|" + " --- |" * (len(columns) + 1))
    for name, row in rows.items():
        cells = [str(row.get(column, "")) for column in columns]
        print("| " + " | ".join([_words(name), *cells]) + " |")
    for name, value in report.items():
        if not isinstance(value, dict):
            print(f"\n{_words(name)}: {value}", end="")
    print()


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in report.items():
        if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
            for inner, row in value.items():
                yield f"{name}, {inner}", row
        elif isinstance(value, dict):
            yield name, value


def _words(name: str) -> str:
    return name.replace("_", " ")
