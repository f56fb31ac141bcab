"""The Wannier model file in HDF5 (model-format 1): what stands where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from .model import WannierModel

FORMAT = "aiida-dmi-wannier-model"
VERSION = 1
SPINS = ("up", "down")


def write_model(model: WannierModel, file: h5py.File) -> None:
    """Every dataset and attribute of format 1."""
    file.attrs["format"] = FORMAT
    file.attrs["version"] = VERSION
    for key, value in model.attributes.items():
        file.attrs[key] = value
    file["cell"] = model.cell
    file["periodic"] = np.asarray(model.periodic, dtype=bool)
    file.create_dataset("symbols", data=[s.encode() for s in model.symbols], dtype=h5py.string_dtype())
    file["positions"] = model.positions
    if model.moments is not None:
        file["moments"] = model.moments
    file["mesh"] = np.asarray(model.mesh, dtype=np.int64)
    file["kpoints"] = model.kpoints
    file["fermi_energy"] = model.fermi_energy
    file["electrons"] = model.electrons
    for spin, name in enumerate(SPINS):
        file[f"centres/{name}"] = model.centres[spin]
        file[f"hamiltonian/{name}"] = model.hamiltonian[spin]
        file[f"position/{name}"] = model.position[spin]
    file["overlap"] = model.overlap
    for atom in range(model.atoms):
        for spin, name in enumerate(SPINS):
            file[f"spin_orbit/{atom}/projections_{name}"] = model.projections[atom][spin]
            if model.gradients is not None:
                file[f"spin_orbit/{atom}/gradients_{name}"] = model.gradients[atom][spin]
        file[f"spin_orbit/{atom}/coupling"] = model.coupling[atom]


def _dataset(file: h5py.File, name: str) -> Any:
    if name not in file or not isinstance(file[name], h5py.Dataset):
        raise InputError(f"model: dataset {name} is missing; build the model again")
    return file[name][()]


def read_arguments(file: h5py.File) -> dict[str, Any]:
    """What WannierModel is made from, as the file holds it; the model checks the values.

    Raises
    ------
    InputError
        If the file is not format 1, or lacks a dataset.
    """
    kind, version = file.attrs.get("format", "none"), file.attrs.get("version", "none")
    if kind != FORMAT or version != VERSION:
        raise InputError(
            f"model: format '{kind}' version {version} was given, '{FORMAT}' version {VERSION} is expected; "
            "write it with dmi-engine build"
        )

    def pair(name: str) -> Any:
        up, down = (_dataset(file, f"{name}{spin}") for spin in SPINS)
        if np.shape(up) != np.shape(down):
            raise InputError(f"model: {name}up has shape {np.shape(up)} but {name}down {np.shape(down)}")
        return np.stack([up, down])

    symbols = tuple(s.decode() if isinstance(s, bytes) else str(s) for s in _dataset(file, "symbols"))
    atoms = range(len(symbols))
    # Optional, but for every atom or none: half of them would give half a velocity.
    with_gradients = any(f"spin_orbit/{a}/gradients_{spin}" in file for a in atoms for spin in SPINS)
    return {
        "cell": np.asarray(_dataset(file, "cell"), dtype=float),
        "periodic": np.asarray(_dataset(file, "periodic"), dtype=bool),
        "symbols": symbols,
        "positions": np.asarray(_dataset(file, "positions"), dtype=float),
        "mesh": tuple(int(m) for m in _dataset(file, "mesh")),
        "kpoints": np.asarray(_dataset(file, "kpoints"), dtype=float),
        "fermi_energy": float(_dataset(file, "fermi_energy")),
        "electrons": float(_dataset(file, "electrons")),
        "centres": np.asarray(pair("centres/"), dtype=float),
        "hamiltonian": np.asarray(pair("hamiltonian/"), dtype=complex),
        "position": np.asarray(pair("position/"), dtype=complex),
        "overlap": np.asarray(_dataset(file, "overlap"), dtype=complex),
        "projections": tuple(np.asarray(pair(f"spin_orbit/{a}/projections_"), dtype=complex) for a in atoms),
        "coupling": tuple(np.asarray(_dataset(file, f"spin_orbit/{a}/coupling"), dtype=complex) for a in atoms),
        "moments": np.asarray(file["moments"][()], dtype=float) if "moments" in file else None,
        "attributes": {k: _plain(v) for k, v in file.attrs.items() if k not in ("format", "version")},
        "gradients": tuple(np.asarray(pair(f"spin_orbit/{a}/gradients_"), dtype=complex) for a in atoms)
        if with_gradients
        else None,
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
