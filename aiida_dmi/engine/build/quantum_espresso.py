"""pw.x's save folder: structure, bands and plane-wave functions of a collinear nscf run.

Read from data-file-schema.xml and wfcup<ik>.dat / wfcdw<ik>.dat (Fortran records; Quantum ESPRESSO 6.7).
"""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from ..constants import BOHR_ANGSTROM, HARTREE_EV
from ..errors import InputError
from .harmonics import real_harmonics

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Complexes = npt.NDArray[np.complex128]

SCHEMA = "data-file-schema.xml"


@dataclasses.dataclass(frozen=True)
class WaveFunctions:
    """Kohn-Sham states of one spin at one k point.

    Parameters
    ----------
    kpoint : ndarray, shape (3,)
        Cartesian, 1/bohr.
    miller : ndarray of int, shape (plane waves, 3)
    coefficients : ndarray, shape (bands, plane waves), complex
    reciprocal : ndarray, shape (3, 3)
        Reciprocal vectors as rows, 1/bohr.
    """

    kpoint: Floats
    miller: Integers
    coefficients: Complexes
    reciprocal: Floats
    _harmonics: dict[int, Floats] = dataclasses.field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def vectors(self) -> Floats:
        """K + G, Cartesian, 1/bohr."""
        result: Floats = self.kpoint + self.miller @ self.reciprocal
        return result

    def harmonics(self, ell: int) -> Floats:
        """Real spherical harmonics of k + G, shape (plane waves, 2l + 1): the same for every atom, so made once."""
        if ell not in self._harmonics:
            self._harmonics[ell] = real_harmonics(ell, self.vectors)
        return self._harmonics[ell]


@dataclasses.dataclass(frozen=True)
class SaveFolder:
    """What a finished collinear pw.x run left in its `.save` folder.

    Parameters
    ----------
    folder : Path
    cell : ndarray, shape (3, 3)
        Rows, bohr.
    species : tuple of str
        Name of every atom's kind.
    positions : ndarray, shape (atoms, 3)
        Cartesian, bohr.
    kpoints : ndarray, shape (q, 3)
        In units of the reciprocal lattice vectors.
    energies : ndarray, shape (2, q, bands)
        Spin up, down; eV.
    electrons : float
    fermi_energy : float
        Of this run, eV.
    """

    folder: Path
    cell: Floats
    species: tuple[str, ...]
    positions: Floats
    kpoints: Floats
    energies: Floats
    electrons: float
    fermi_energy: float

    @classmethod
    def read(cls, folder: str | Path) -> SaveFolder:
        """Read data-file-schema.xml.

        Raises
        ------
        InputError
            If it is missing, truncated, or not of a collinear spin-polarised run.
        """
        folder = Path(folder)
        path = folder / SCHEMA
        try:
            root = ElementTree.parse(path).getroot()
            output = root.find("output")
            if output is None:
                raise ValueError("section output is missing: the run did not finish")
            return cls._from_xml(folder, output)
        except OSError as error:
            raise InputError(f"nscf: {path} cannot be read ({error.strerror}); give pw.x's .save folder") from error
        except (ElementTree.ParseError, AttributeError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"nscf: {path} is not a complete pw.x output ({error}); run the nscf again") from error

    @classmethod
    def _from_xml(cls, folder: Path, output: ElementTree.Element) -> SaveFolder:
        if not _truth(output, "magnetization/lsda") or _truth(output, "magnetization/noncolin"):
            raise InputError(f"nscf: {folder} is not a collinear spin-polarised run; set nspin = 2")
        structure = _find(output, "atomic_structure")
        alat = float(structure.attrib["alat"])
        cell = np.array([_floats(structure, f"cell/{a}") for a in ("a1", "a2", "a3")])
        atoms = structure.findall("atomic_positions/atom")
        bands = _find(output, "band_structure")
        points = bands.findall("ks_energies")
        cartesian = np.array([_floats(p, "k_point") for p in points]) * 2 * np.pi / alat
        energies = np.array([_floats(p, "eigenvalues") for p in points]) * HARTREE_EV
        return cls(
            folder=folder,
            cell=cell,
            species=tuple(atom.attrib["name"] for atom in atoms),
            positions=np.array([_floats(atom, ".") for atom in atoms]),
            kpoints=cartesian @ cell.T / (2 * np.pi),
            energies=energies.reshape(len(points), 2, -1).swapaxes(0, 1),
            electrons=float(_floats(bands, "nelec")[0]),
            fermi_energy=float(_floats(bands, "fermi_energy")[0]) * HARTREE_EV,
        )

    @property
    def reciprocal(self) -> Floats:
        """Reciprocal lattice vectors as rows, 1/bohr."""
        return np.asarray(2 * np.pi * np.linalg.inv(self.cell).T, dtype=np.float64)

    def wave_function_file(self, spin: int, k: int) -> Path:
        """Path of the states of one spin (0 up, 1 down) at k point number k (from 0)."""
        return self.folder / f"wfc{('up', 'dw')[spin]}{k + 1}.dat"

    def check_wave_functions(self) -> None:
        """Refuse before any work when a wave-function file is missing or empty."""
        for spin in range(2):
            for k in range(len(self.kpoints)):
                path = self.wave_function_file(spin, k)
                if not path.is_file() or path.stat().st_size == 0:
                    raise InputError(
                        f"nscf: {path.name} is missing or empty in {self.folder} (k point {k + 1} of "
                        f"{len(self.kpoints)}); the nscf must keep its wave functions on a shared disk"
                    )

    def wave_functions(self, spin: int, k: int) -> WaveFunctions:
        """Read the states of one spin at one k point.

        Raises
        ------
        InputError
            If the file is truncated or belongs to another k point or spin.
        """
        path = self.wave_function_file(spin, k)
        try:
            raw = path.read_bytes()
            index, spin_index, gamma_only, kpoint = _header(raw)
            if gamma_only:
                raise ValueError("written with the Gamma-point trick; give the k points as an explicit list")
            if index != k + 1 or spin_index != spin + 1:
                raise ValueError(f"holds k point {index}, spin {spin_index}; {k + 1}, {spin + 1} expected")
            miller, coefficients = _body(raw)
        except (OSError, ValueError, struct.error) as error:
            raise InputError(f"nscf: {path} cannot be read ({error}); run the nscf again") from error
        return WaveFunctions(kpoint, miller, coefficients, self.reciprocal)


def _find(element: ElementTree.Element, path: str) -> ElementTree.Element:
    found = element.find(path)
    if found is None:
        raise ValueError(f"section {path} is missing")
    return found


def _floats(element: ElementTree.Element, path: str) -> Floats:
    numbers = np.array((_find(element, path).text or "").split(), dtype=float)
    if not np.isfinite(numbers).all():
        raise ValueError(f"section {path} holds numbers that are not finite")
    return numbers


def _truth(element: ElementTree.Element, path: str) -> bool:
    found = element.find(path)
    return found is not None and (found.text or "").strip().lower() == "true"


def _record(raw: bytes, offset: int) -> tuple[memoryview, int]:
    """One Fortran record (4-byte lengths before and after) and where the next one starts."""
    (length,) = struct.unpack_from("<i", raw, offset)
    end = offset + 4 + length
    if length < 0 or end + 4 > len(raw) or struct.unpack_from("<i", raw, end)[0] != length:
        raise ValueError("the file is truncated or no Fortran file")
    return memoryview(raw)[offset + 4 : end], end + 4


def _header(raw: bytes) -> tuple[int, int, bool, Floats]:
    record, _ = _record(raw, 0)
    if len(record) != 44:
        raise ValueError(f"first record of {len(record)} bytes, 44 expected")
    index, *kpoint, spin, gamma_only, _ = struct.unpack("<i3diid", record)
    return index, spin, bool(gamma_only), np.array(kpoint)


def _body(raw: bytes) -> tuple[Integers, Complexes]:
    _, offset = _record(raw, 0)
    sizes, offset = _record(raw, offset)
    _, waves, spinor, bands = struct.unpack("<4i", sizes)
    if spinor != 1:
        raise ValueError(f"npol = {spinor}: a noncollinear run; set nspin = 2")
    _, offset = _record(raw, offset)
    record, offset = _record(raw, offset)
    miller = np.frombuffer(record, dtype="<i4").reshape(waves, 3).astype(np.int64)
    coefficients = np.empty((bands, waves), dtype=complex)
    for band in range(bands):
        record, offset = _record(raw, offset)
        coefficients[band] = np.frombuffer(record, dtype="<c16")
    if not np.isfinite(coefficients).all():
        raise ValueError("holds numbers that are not finite")
    return miller, coefficients


def in_angstrom(lengths: Floats) -> Floats:
    """Bohr to Angstrom."""
    return lengths * BOHR_ANGSTROM
