"""Reading what a node stores with a reader that needs a path."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr
from aiida.orm import SinglefileData

from aiida_dmi.engine.errors import InputError

Content = TypeVar("Content")


def read_stored(node: SinglefileData, read: Callable[[Path], Content]) -> Content:
    """The content of a node's file, through a temporary file.

    Parameters
    ----------
    node : SinglefileData
    read : callable
        From a path to the content.

    Raises
    ------
    ValueError
        If the engine refuses the file; the message names it as the node does.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / os.path.basename(node.filename)
        path.write_bytes(node.get_content(mode="rb"))
        try:
            return read(path)
        except InputError as error:
            raise ValueError(str(error).replace(str(path), node.filename)) from error


def for_queries(result: xr.Dataset) -> dict[str, Any]:
    """Attributes of a node that holds arrays over masks, temperatures and shifts, as all of these have them."""
    return {
        "mesh": [int(m) for m in result.attrs["mesh"]],
        "masks": [str(x) for x in result["mask"].values],
        "temperatures": result.temperature.values.tolist(),
        "fermi_shifts": result.fermi_shift.values.tolist(),
        "engine_version": str(result.attrs["aiida_dmi_version"]),
        "format_version": int(result.attrs["version"]),
    }
