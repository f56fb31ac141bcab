"""The Wannier model file in HDF5 (model-format 1): what stands where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..files.hdf5 import check_whole
from ..files.stored_version import check_version

FORMAT = "aiida-dmi-wannier-model"
VERSION = 1
SPINS = ("up", "down")


def write_model(content: Mapping[str, Any], file: h5py.File) -> None:
    """Every dataset and attribute of format 1, of what `read_arguments` gives."""
    file.attrs["format"] = FORMAT
    file.attrs["version"] = VERSION
    for key, value in content["attributes"].items():
        file.attrs[key] = value
    file["cell"] = content["cell"]
    file["periodic"] = np.asarray(content["periodic"], dtype=bool)
    file.create_dataset("symbols", data=[s.encode() for s in content["symbols"]], dtype=h5py.string_dtype())
    file["positions"] = content["positions"]
    if content["moments"] is not None:
        file["moments"] = content["moments"]
    file["mesh"] = np.asarray(content["mesh"], dtype=np.int64)
    file["kpoints"] = content["kpoints"]
    file["fermi_energy"] = content["fermi_energy"]
    file["electrons"] = content["electrons"]
    for spin, name in enumerate(SPINS):
        file[f"centres/{name}"] = content["centres"][spin]
        file[f"hamiltonian/{name}"] = content["hamiltonian"][spin]
        file[f"position/{name}"] = content["position"][spin]
    file["overlap"] = content["overlap"]
    for atom in range(len(content["symbols"])):
        for spin, name in enumerate(SPINS):
            file[f"spin_orbit/{atom}/projections_{name}"] = content["projections"][atom][spin]
            if content["gradients"] is not None:
                file[f"spin_orbit/{atom}/gradients_{name}"] = content["gradients"][atom][spin]
        file[f"spin_orbit/{atom}/coupling"] = content["coupling"][atom]


def _version(file: h5py.File) -> int:
    """The version of a model file.

    Raises
    ------
    InputError
        If it is not one that is read.
    """
    return check_version("model", file.attrs, FORMAT, VERSION, "dmi-engine build")


def file_version(path: str | Path) -> int:
    """The version of the model file under a path that `WannierModel.load` has read.

    Raises
    ------
    InputError
        If it is not one that is read.
    """
    with h5py.File(path, "r") as file:
        return _version(file)


def _dataset(file: h5py.File, name: str) -> Any:
    if name not in file or not isinstance(file[name], h5py.Dataset):
        raise InputError(f"model: dataset {name} is missing; build the model again")
    return file[name][()]


def _real(file: h5py.File, name: str) -> npt.NDArray[np.float64]:
    return _checked(name, _dataset(file, name), "iuf", "real numbers").astype(float, copy=False)


def _complex(name: str, values: Any) -> npt.NDArray[np.complex128]:
    return _checked(name, values, "iufc", "numbers").astype(complex, copy=False)


def _checked(name: str, values: Any, kinds: str, expected: str) -> npt.NDArray[Any]:
    """Values whose type is one of numpy's kinds: a conversion would take texts, and drop imaginary parts."""
    array = np.asarray(values)
    if array.dtype.kind not in kinds:
        raise InputError(f"model: {name} is of type {array.dtype}, expected {expected}; build the model again")
    return array


def read_arguments(file: h5py.File) -> dict[str, Any]:
    """What WannierModel is made from, as the file holds it; the model checks the values.

    Raises
    ------
    InputError
        If the file is not of a version that is read, or lacks a dataset.
    """
    try:
        check_whole(file)
    except ValueError as error:
        raise InputError(f"model: {error}; build the model again") from error
    _version(file)

    def pair(name: str) -> Any:
        up, down = (_dataset(file, f"{name}{spin}") for spin in SPINS)
        if np.shape(up) != np.shape(down):
            raise InputError(f"model: {name}up has shape {np.shape(up)} but {name}down {np.shape(down)}")
        return np.stack([up, down])

    symbols = tuple(s.decode() if isinstance(s, bytes) else str(s) for s in _dataset(file, "symbols"))
    atoms = range(len(symbols))
    projections = tuple(_complex(f"spin_orbit/{a}/projections", pair(f"spin_orbit/{a}/projections_")) for a in atoms)
    # Optional, but for every atom or none: half of them would give half a velocity.
    with_gradients = any(f"spin_orbit/{a}/gradients_{spin}" in file for a in atoms for spin in SPINS)
    return {
        "cell": _real(file, "cell"),
        "periodic": _checked("periodic", _dataset(file, "periodic"), "biu", "three booleans").astype(bool),
        "symbols": symbols,
        "positions": _real(file, "positions"),
        "mesh": tuple(int(m) for m in _checked("mesh", _dataset(file, "mesh"), "iu", "whole numbers")),
        "kpoints": _real(file, "kpoints"),
        "fermi_energy": float(_real(file, "fermi_energy")),
        "electrons": float(_real(file, "electrons")),
        "centres": _checked("centres", pair("centres/"), "iuf", "real numbers").astype(float, copy=False),
        "hamiltonian": _complex("hamiltonian", pair("hamiltonian/")),
        "position": _complex("position", pair("position/")),
        "overlap": _complex("overlap", _dataset(file, "overlap")),
        "projections": projections,
        "coupling": tuple(
            _complex(f"spin_orbit/{a}/coupling", _dataset(file, f"spin_orbit/{a}/coupling")) for a in atoms
        ),
        "moments": _real(file, "moments") if "moments" in file else None,
        "attributes": {k: _plain(v) for k, v in file.attrs.items() if k not in ("format", "version")},
        "gradients": tuple(_complex(f"spin_orbit/{a}/gradients", pair(f"spin_orbit/{a}/gradients_")) for a in atoms)
        if with_gradients
        else None,
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
