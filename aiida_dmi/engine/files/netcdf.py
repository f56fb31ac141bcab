"""Labelled arrays in netCDF-4 files: written whole, read with care."""

from __future__ import annotations

from pathlib import Path

import h5py
import xarray as xr

from ..errors import InputError
from .atomic import whole_file
from .hdf5 import check_whole
from .regular import check_regular

UNREADABLE = (OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, AssertionError)
"""What h5py, h5netcdf and xarray raise of a damaged or foreign file."""


def save_dataset(dataset: xr.Dataset, path: str | Path) -> None:
    """Write as netCDF-4; the file appears under its name only when it is complete.

    It is made in memory: on a full disk HDF5 fails when it closes a file, too, and can end the process.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    content = dataset.to_netcdf(engine="h5netcdf")
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(content)


def load_dataset(path: str | Path, name: str, command: str) -> xr.Dataset:
    """Everything in a netCDF-4 file, in memory.

    Parameters
    ----------
    path : path
    name : str
        What the file is called in the message.
    command : str
        That makes it.

    Raises
    ------
    InputError
        If it is missing, not netCDF, or truncated.
    """
    try:
        check_regular(path)
        with h5py.File(path, "r") as file:
            check_whole(file)
        with xr.open_dataset(path, engine="h5netcdf") as file:
            return file.load()
    except UNREADABLE as error:
        raise InputError(f"{name} {path}: not a readable netCDF file ({error}); run {command} again") from error
