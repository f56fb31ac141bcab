"""Node that holds a Wannier model file (model-format 1)."""

from __future__ import annotations

from typing import Any

from aiida.orm import SinglefileData

from aiida_dmi.data.stored import read_stored
from aiida_dmi.engine.model.file import file_version
from aiida_dmi.engine.model.wannier import COMPUTED, WannierModel


class WannierModelData(SinglefileData):
    """A collinear magnet in the Wannier functions of its two spins: what the DMI engine computes from.

    Parameters
    ----------
    file : str, Path or binary stream
        A model file written by `dmi-engine build` (an absolute path, or a stream).
    filename : str, optional
        Name in the repository.

    Raises
    ------
    ValueError
        If the file is not a valid model.

    Notes
    -----
    Attributes for queries: `symbols`, `mesh`, `functions` (Wannier functions per spin), `electrons`,
    `fermi_energy` (eV), `cell_area` (Angstrom^2), `time_reversal_error` (eV, Angstrom),
    `correspondence_error` (1), `format_version` (of the file; a node without it holds version 1), `engine_version`
    (of the dmi-engine that built it; not in models of early versions) and `nscf_kpoints` (how many k points of the mesh
    were computed; neither).
    """

    DEFAULT_FILENAME = "model.h5"

    def set_file(self, file: Any, filename: Any = None) -> None:
        """Store the file and the attributes read from it."""
        super().set_file(file, filename=filename)
        # One copy out of the repository for both: models have hundreds of megabytes.
        model, version = read_stored(self, lambda path: (WannierModel.load(path), file_version(path)))
        self.base.attributes.set_many(
            {
                "symbols": list(model.symbols),
                "mesh": list(model.mesh),
                "functions": model.functions,
                "electrons": model.electrons,
                "fermi_energy": model.fermi_energy,
                "cell_area": model.area,
                "time_reversal_error": model.time_reversal_error,
                "correspondence_error": model.correspondence_error,
                "format_version": version,
            }
        )
        # Of whatever made the file; models of early versions do not say it.
        if "engine_version" in model.attributes:
            self.base.attributes.set("engine_version", str(model.attributes["engine_version"]))
        if isinstance(model.attributes.get(COMPUTED), int):
            self.base.attributes.set(COMPUTED, model.attributes[COMPUTED])

    def load(self) -> WannierModel:
        """The model itself.

        Raises
        ------
        ValueError
            If the stored file fails a check of the format.
        """
        return read_stored(self, WannierModel.load)
