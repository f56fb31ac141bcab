"""The two forms in which pw.x writes the states of one k point: Fortran records (.dat) and HDF5 (.hdf5).

Which one depends on how pw.x was compiled (`__HDF5`), not on its version: both are written by the one routine
`write_wfc` in Modules/io_base.f90, which is the same, statement by statement, in the sources of Quantum ESPRESSO 6.7,
6.8, 7.0, 7.1, 7.2, 7.3, 7.3.1, 7.4, 7.4.1 and 7.5 (so are the routines of Modules/qeh5_module.f90 that it calls). The
names, `wfcup<ik>` and `wfcdw<ik>` with ik from 1 to half of pw.x's k points, are from `write_collected_wfc` in
PW/src/pw_restart_new.f90, the same in all of them.

Fortran, one record a line, each between its length in bytes twice (4-byte integers, little-endian)::

    ik, xk(3), ispin, gamma_only, scalef          i4, 3 f8, i4, i4, f8; xk Cartesian, 1/bohr
    ngw, igwx, npol, nbnd                         4 i4; igwx plane waves, ngw is no count of them
    b1(3), b2(3), b3(3)                           9 f8, 1/bohr
    mill(3, igwx)                                 3 igwx i4
    evc(npol*igwx), once a band                   complex f8

HDF5: the first two records are attributes of the file (`ik`, `xk`, `ispin`, `gamma_only` as the text .TRUE. or .FALSE.,
`scale_factor`, `ngw`, `igwx`, `npol`, `nbnd`); dataset `MillerIndices` (igwx, 3) i4 has the attributes `bg1`, `bg2`,
`bg3`; dataset `evc` (nbnd, 2 npol igwx) f8 holds real and imaginary parts in turn. Both contiguous and uncompressed.

Run: Fortran files of 6.7 (the tests run it) and, once by hand, of 7.2. HDF5 files: none was written by a version from
6.7 to 7.5 here; those that a real build wrote were of 6.1 (nickel, read once by hand: the layout above). All other
versions were only read about, in the sources named.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
import numpy.typing as npt

from ..files.hdf5 import check_whole

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Complexes = npt.NDArray[np.complex128]

FORTRAN, HDF5 = ".dat", ".hdf5"
# Diagonalisers leave bands normalised to 1e-8 and better; what is further off is damaged or not norm-conserving.
NORM_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class StoredStates:
    """What one wave-function file holds; a file that a collinear norm-conserving run cannot have written raises.

    Parameters
    ----------
    index, spin : int
        Number of the k point and of the spin, from 1.
    kpoint : ndarray, shape (3,)
        Cartesian, 1/bohr.
    reciprocal : ndarray, shape (3, 3)
        Reciprocal vectors as rows, 1/bohr.
    miller : ndarray of int, shape (plane waves, 3)
    coefficients : ndarray, shape (bands, plane waves), complex

    Raises
    ------
    ValueError
        If a number is none, plane waves repeat or a band is not normalised: parts of the file were never written, or
        were overwritten.
    """

    index: int
    spin: int
    kpoint: Floats
    reciprocal: Floats
    miller: Integers
    coefficients: Complexes

    def __post_init__(self) -> None:
        parts = self.coefficients.view(np.float64)
        if not all(np.isfinite(numbers).all() for numbers in (self.kpoint, self.reciprocal, parts)):
            raise ValueError("holds numbers that are not finite; the file is damaged")
        if len(np.unique(self.miller, axis=0)) != len(self.miller):
            raise ValueError("the same plane wave stands there twice; the file is damaged")
        # A plane wave of a normalised band carries 1 at most; asked first, it keeps garbage out of the squares.
        if np.abs(parts).max() > 1 + NORM_TOLERANCE:
            raise ValueError("holds coefficients above 1; the file is damaged")
        norms = np.einsum("ng,ng->n", parts, parts)
        worst = int(np.argmax(np.abs(norms - 1)))
        if abs(norms[worst] - 1) > NORM_TOLERANCE:
            raise ValueError(
                f"the norm of band {worst + 1} is {norms[worst]:.4f}, expected 1; "
                "the file is damaged or the pseudopotentials are not norm-conserving"
            )


def read_states(path: Path) -> StoredStates:
    """Read one wave-function file of either form, told by its ending.

    No more memory is asked for than the file is long, whatever its header says.

    Parameters
    ----------
    path : Path
        Ends in .dat (Fortran) or .hdf5.

    Raises
    ------
    ValueError
        If it is truncated, of another layout, or of a Gamma-point or noncollinear run. One line, without the path.
    OSError
        If it cannot be opened.
    """
    if path.suffix == FORTRAN:
        return _read_fortran(path)
    try:
        # Unlocked: nobody writes after the run, and the file systems of some clusters have no locks.
        with h5py.File(path, "r", locking=False) as file:
            return _read_hdf5(file, path.stat().st_size)
    except (RuntimeError, TypeError, KeyError) as error:  # what h5py says where a file is damaged inside
        raise ValueError(f"damaged HDF5 file: {error}") from error


def _check_header(gamma_only: bool, scale: float, spinor: int, bands: int, waves: int) -> None:
    if gamma_only:
        raise ValueError("written with the Gamma-point trick; give the k points as an explicit list")
    if spinor == 2:
        raise ValueError("npol = 2: a noncollinear run; set nspin = 2")
    if scale != 1:
        raise ValueError(f"scale factor {scale!r}, expected 1; not written by pw.x, or damaged")
    if spinor != 1 or bands < 1 or waves < 1:
        raise ValueError(f"its header says {bands} bands of {waves} plane waves, npol = {spinor}; the file is damaged")


# --- Fortran

HEADER = np.dtype([("ik", "<i4"), ("xk", "<f8", 3), ("ispin", "<i4"), ("gamma_only", "<i4"), ("scalef", "<f8")])
SIZES = np.dtype([("ngw", "<i4"), ("igwx", "<i4"), ("npol", "<i4"), ("nbnd", "<i4")])
LATTICE = np.dtype(("<f8", (3, 3)))
MARKERS = 8  # bytes of a record's length before and after it


def _read_fortran(path: Path) -> StoredStates:
    with path.open("rb") as file:
        header = _record(file, HEADER)
        sizes = _record(file, SIZES)
        bands, waves = int(sizes["nbnd"]), int(sizes["igwx"])
        _check_header(bool(header["gamma_only"]), float(header["scalef"]), int(sizes["npol"]), bands, waves)
        content = HEADER.itemsize + SIZES.itemsize + LATTICE.itemsize + 12 * waves + bands * 16 * waves
        expected = content + (4 + bands) * MARKERS
        if (length := os.fstat(file.fileno()).st_size) != expected:
            raise ValueError(f"{length} bytes, expected {expected} for {bands} bands of {waves} plane waves")
        reciprocal = _record(file, LATTICE)
        miller = _record(file, np.dtype(("<i4", (waves, 3))))
        coefficients = _records(file, np.dtype(("<c16", (waves,))), bands)
    return StoredStates(
        int(header["ik"]), int(header["ispin"]), header["xk"], reciprocal, miller.astype(np.int64), coefficients
    )


def _record(file: BinaryIO, content: np.dtype[Any]) -> Any:
    return _records(file, content, 1)[0]


def _records(file: BinaryIO, content: np.dtype[Any], count: int) -> Any:
    """The next records, all of one content, without the lengths around them."""
    layout = np.dtype([("before", "<i4"), ("content", content), ("after", "<i4")])
    found = np.fromfile(file, dtype=layout, count=count)
    if len(found) != count:
        raise ValueError("truncated: it ends within its header")
    for length in (*found["before"], *found["after"]):
        if length != content.itemsize:
            raise ValueError(
                f"a record of {length} bytes, expected {content.itemsize} "
                "(Fortran records of pw.x, little-endian with 4-byte lengths)"
            )
    return np.ascontiguousarray(found["content"])


# --- HDF5


def _read_hdf5(file: h5py.File, length: int) -> StoredStates:
    check_whole(file)
    bands, waves, spinor = (int(_attribute(file, name, "i")) for name in ("nbnd", "igwx", "npol"))
    _check_header(_gamma_only(file), float(_attribute(file, "scale_factor", "f")), spinor, bands, waves)
    lattice = _dataset(file, "MillerIndices")
    miller = _values(lattice, (waves, 3), "i", length)
    evc = _values(_dataset(file, "evc"), (bands, 2 * waves), "f", length)
    return StoredStates(
        index=int(_attribute(file, "ik", "i")),
        spin=int(_attribute(file, "ispin", "i")),
        kpoint=_attribute(file, "xk", "f", (3,)),
        reciprocal=np.stack([_attribute(lattice, f"bg{i}", "f", (3,)) for i in (1, 2, 3)]),
        miller=miller.astype(np.int64),
        coefficients=evc.view(np.complex128),
    )


def _attribute(place: h5py.File | h5py.Dataset, name: str, kind: str, shape: tuple[int, ...] = ()) -> Any:
    """One attribute; its shape is that of an array type, as pw.x makes it, or of the dataspace."""
    if name not in place.attrs:
        raise ValueError(f"attribute {name} is missing; not a wave-function file of pw.x")
    stored = place.attrs.get_id(name)
    found = (stored.shape or ()) + stored.dtype.shape, stored.dtype.base
    if found[0] != shape or found[1].kind != kind or found[1].itemsize > 8:
        raise ValueError(f"attribute {name} has shape {found[0]} and type {found[1]}, expected {shape} '{kind}'")
    return np.asarray(place.attrs[name])


def _gamma_only(file: h5py.File) -> bool:
    """A Fortran logical, as text."""
    text = _attribute(file, "gamma_only", "S").item().strip().upper()
    if text not in (b".TRUE.", b".FALSE."):
        raise ValueError(f"attribute gamma_only is {text}, expected .TRUE. or .FALSE.")
    return bool(text == b".TRUE.")


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    if not isinstance(found := file.get(name), h5py.Dataset):
        raise ValueError(f"dataset {name} is missing; the run ended while it wrote, or the file is not pw.x's")
    return found


def _values(dataset: h5py.Dataset, shape: tuple[int, ...], kind: str, length: int) -> Any:
    """All numbers of a dataset (doubles or 4-byte integers), once its shape, type and size in the file are right."""
    expected = np.dtype(f"{kind}{8 if kind == 'f' else 4}")
    name = dataset.name.strip("/")
    if dataset.shape != shape or dataset.dtype.newbyteorder("=") != expected:
        raise ValueError(f"dataset {name} is {dataset.shape} {dataset.dtype}, expected {shape} {expected}")
    # HDF5 answers with zeros where a dataset was created and never written; and a header may promise any size.
    size = dataset.size * expected.itemsize
    if not size <= dataset.id.get_storage_size() <= length:
        raise ValueError(f"dataset {name} is not stored whole and uncompressed; repair with h5repack or run pw.x again")
    return dataset[()].astype(expected, copy=False)
