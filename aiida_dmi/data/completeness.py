"""Node that holds what the Wannier functions of a model leave out of D(1), a(I), a(II)."""

from __future__ import annotations

from typing import Any

import xarray as xr
from aiida.orm import SinglefileData

from aiida_dmi.data.stored import for_queries, read_stored
from aiida_dmi.engine.completeness.file import load_completeness


class CompletenessData(SinglefileData):
    """The result of `dmi-engine complete`: an xarray.Dataset in a netCDF-4 file.

    Parameters
    ----------
    file : str, Path or binary stream
        A completeness file (an absolute path, or a stream).
    filename : str, optional
        Name in the repository.

    Raises
    ------
    ValueError
        If the file is no completeness file of this package.

    Notes
    -----
    Attributes for queries: `mesh`, `irreducible_points`, `masks`, `temperatures` (K), `fermi_shifts` (eV), `units`,
    `engine_version` and `format_version`.
    """

    DEFAULT_FILENAME = "completeness.nc"

    def set_file(self, file: Any, filename: Any = None) -> None:
        """Store the file and the attributes read from it."""
        super().set_file(file, filename=filename)
        result = self.dataset
        self.base.attributes.set_many(
            {
                **for_queries(result),
                "irreducible_points": int(result.attrs["irreducible_points"]),
                "units": str(result["D_1"].attrs["units"]),
            }
        )

    @property
    def dataset(self) -> xr.Dataset:
        """The labelled arrays, in memory.

        Raises
        ------
        ValueError
            If the stored file is no completeness file of this package.
        """
        return read_stored(self, load_completeness)
