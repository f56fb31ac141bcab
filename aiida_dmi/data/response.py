"""Node that holds D, Q, a(I), a(II) with named axes, units and errors."""

from __future__ import annotations

from typing import Any

import xarray as xr
from aiida.orm import SinglefileData

from aiida_dmi.data.stored import for_queries, read_stored
from aiida_dmi.engine.output.results import load_result, tensors_of


class DmiData(SinglefileData):
    """The result of `dmi-engine run`: an xarray.Dataset in a netCDF-4 file.

    Parameters
    ----------
    file : str, Path or binary stream
        A result file written by `dmi-engine run` (an absolute path, or a stream).
    filename : str, optional
        Name in the repository.

    Raises
    ------
    ValueError
        If the file is not a result of this package.

    Notes
    -----
    Attributes for queries: `mesh`, `fermi_level`, `directions`, `masks`, `soi_scales`, `temperatures` (K),
    `fermi_shifts` (eV), `units` (of D, or of the first quantity), `engine_version` and `format_version` (of the file; a
    node without it holds version 1).
    """

    DEFAULT_FILENAME = "result.nc"

    def set_file(self, file: Any, filename: Any = None) -> None:
        """Store the file and the attributes read from it."""
        super().set_file(file, filename=filename)
        result = self.dataset
        self.base.attributes.set_many(
            {
                **for_queries(result),
                "fermi_level": str(result.attrs["fermi_level"]),
                "directions": [str(x) for x in result.direction.values],
                "soi_scales": result.soi_scale.values.tolist(),
                # Of D; of the first quantity that was asked for where D was not.
                "units": str(result[tensors_of(result)[0]].attrs["units"]),
            }
        )

    @property
    def dataset(self) -> xr.Dataset:
        """The labelled arrays, in memory.

        Raises
        ------
        ValueError
            If the stored file is no result of this package.
        """
        return read_stored(self, load_result)
