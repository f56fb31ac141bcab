"""pw.x's save folder: structure, bands and plane-wave functions of a collinear nscf run.

Read from data-file-schema.xml and from wfcup<ik>, wfcdw<ik>, either as Fortran records (.dat) or as HDF5 (.hdf5); these
two forms, and which versions wrote those that were read, are described in wave_function_files.py.

The XML file: what is read here stands in the same place, under the same name, in Quantum ESPRESSO 6.7 to 7.5 (the
writer, Modules/qes_write_module.f90, and PW/src/pw_restart_new.f90 of 6.7, 6.8, 7.0, 7.1, 7.2, 7.3, 7.3.1, 7.4, 7.4.1
and 7.5, whose schemas are qes_030920 to qes_250521.xsd). What changed is not read here: `magnetization` is optional
since 7.0 and has site moments (`band_structure` always has the same flags); `num_of_atomic_wfc` and `wf_collected` left
`band_structure` in 7.4. `alat` is optional in all the schemas and always written by pw.x. In all of them
`two_fermi_energies` stands in place of `fermi_energy` where tot_magnetization is fixed.

Run: 6.7, by the tests; 7.2, once by hand, whose XML is kept in the tests. Real XML files of other people's runs of 6.1,
6.6, 7.2 and 7.5 (spin-polarised; taken), and of 6.8, 7.0, 7.1, 7.3.1, 7.4 and 7.4.1 (unpolarised; refused as such) were
read once. 7.3: only its sources.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from ..constants import BOHR_ANGSTROM, HARTREE_EV
from ..errors import InputError, brief
from ..model.harmonics import real_harmonics
from .given import LARGEST
from .wave_function_files import FORTRAN, HDF5, StoredStates, read_states

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Complexes = npt.NDArray[np.complex128]

SCHEMA = "data-file-schema.xml"
# A wave-function file and the XML file hold the same k point and lattice to 10 digits and more (1/bohr).
RECIPROCAL_TOLERANCE = 1e-6


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
    plane_waves : ndarray of int, shape (q,)
        How many there are at every k point.
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
    plane_waves: Integers
    electrons: float
    fermi_energy: float

    @classmethod
    def read(cls, folder: str | Path) -> SaveFolder:
        """Read data-file-schema.xml.

        Raises
        ------
        InputError
            If it is missing, truncated, holds numbers that are none, or is not of a collinear spin-polarised run
            with one Fermi energy.
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
        except InputError:
            raise
        except (ElementTree.ParseError, ValueError, LookupError) as error:
            raise InputError(
                f"nscf: {path} is not a complete pw.x output ({brief(error)}); run the nscf again"
            ) from error

    @classmethod
    def _from_xml(cls, folder: Path, output: ElementTree.Element) -> SaveFolder:
        bands = _find(output, "band_structure")
        if not _truth(bands, "lsda") or _truth(bands, "noncolin"):
            raise InputError(f"nscf: {folder} is not a collinear spin-polarised run; set nspin = 2")
        if bands.find("two_fermi_energies") is not None:
            raise InputError(
                f"nscf: {folder} has a Fermi energy for each spin, expected one; "
                "run scf and nscf without tot_magnetization"
            )
        structure = _find(output, "atomic_structure")
        atoms = structure.findall("atomic_positions/atom")
        points = bands.findall("ks_energies")
        if not atoms or not points:
            raise ValueError(f"{len(atoms)} atoms and {len(points)} k points")
        cell = np.array([_floats(structure, f"cell/{a}", 3) for a in ("a1", "a2", "a3")])
        alat = float(structure.attrib["alat"])
        if not (abs(np.linalg.det(cell)) > 1 and 1e-3 < alat < LARGEST):
            raise ValueError(f"section cell spans {abs(np.linalg.det(cell)):.3g} bohr^3 and alat is {alat:g} bohr")
        cartesian = np.array([_floats(p, "k_point", 3) for p in points]) * 2 * np.pi / alat
        # Both spins' bands stand in one list, spin up first, equally many.
        count = 2 * int(_floats(bands, "nbnd_up", 1)[0])
        energies = np.array([_floats(p, "eigenvalues", count) for p in points]) * HARTREE_EV
        return cls(
            folder=folder,
            cell=cell,
            species=tuple(atom.attrib["name"] for atom in atoms),
            positions=np.array([_floats(atom, ".", 3) for atom in atoms]),
            kpoints=cartesian @ cell.T / (2 * np.pi),
            energies=energies.reshape(len(points), 2, -1).swapaxes(0, 1),
            plane_waves=np.array([_floats(p, "npw", 1)[0] for p in points]).astype(np.int64),
            electrons=float(_floats(bands, "nelec", 1)[0]),
            fermi_energy=float(_floats(bands, "fermi_energy", 1)[0]) * HARTREE_EV,
        )

    @property
    def reciprocal(self) -> Floats:
        """Reciprocal lattice vectors as rows, 1/bohr."""
        return np.asarray(2 * np.pi * np.linalg.inv(self.cell).T, dtype=np.float64)

    def wave_function_file(self, spin: int, k: int) -> Path:
        """Path of the states of one spin (0 up, 1 down) at k point number k (from 0), Fortran or HDF5.

        Raises
        ------
        InputError
            If there is no such file, or one of each form: one of them is of another run.
        """
        stem = f"wfc{('up', 'dw')[spin]}{k + 1}"
        paths = [self.folder / (stem + form) for form in (FORTRAN, HDF5)]
        found = [path for path in paths if path.is_file() and path.stat().st_size > 0]
        if not found:
            raise InputError(
                f"nscf: {stem}{FORTRAN} is missing or empty in {self.folder}, and so is {stem}{HDF5} (k point {k + 1} "
                f"of {len(self.kpoints)}); the nscf must keep its wave functions on a shared disk"
            )
        if len(found) > 1:
            raise InputError(
                f"nscf: {stem}{FORTRAN} and {stem}{HDF5} are both in {self.folder}, expected one of them; "
                "remove the one that an older run left"
            )
        return found[0]

    def check_wave_functions(self) -> None:
        """Refuse before any work when a wave-function file is missing, empty or there in two forms."""
        for spin in range(2):
            for k in range(len(self.kpoints)):
                self.wave_function_file(spin, k)

    def wave_functions(self, spin: int, k: int) -> WaveFunctions:
        """Read the states of one spin at one k point.

        Raises
        ------
        InputError
            If the file is missing, damaged, or belongs to another k point, spin or run.
        """
        path = self.wave_function_file(spin, k)
        try:
            states = read_states(path)
            self._check_states(states, spin, k)
        except (OSError, ValueError) as error:
            raise InputError(f"nscf: {path} cannot be read ({brief(error)}); run the nscf again") from error
        return WaveFunctions(states.kpoint, states.miller, states.coefficients, self.reciprocal)

    def _check_states(self, states: StoredStates, spin: int, k: int) -> None:
        """Refuse a file that is whole, but not the one that this folder's XML file describes."""
        if (states.index, states.spin) != (k + 1, spin + 1):
            raise ValueError(f"holds k point {states.index}, spin {states.spin}; {k + 1}, {spin + 1} expected")
        (bands, waves), expected = states.coefficients.shape, (self.energies.shape[-1], self.plane_waves[k])
        if (bands, waves) != expected:
            raise ValueError(f"{bands} bands of {waves} plane waves, {expected[0]} of {expected[1]} expected")
        if not np.abs(states.kpoint - self.kpoints[k] @ self.reciprocal).max() <= RECIPROCAL_TOLERANCE:
            raise ValueError(f"its k point {states.kpoint} is not number {k + 1} of {SCHEMA}")
        if not np.abs(states.reciprocal - self.reciprocal).max() <= RECIPROCAL_TOLERANCE:
            raise ValueError(f"its reciprocal lattice is not that of {SCHEMA}")


def _find(element: ElementTree.Element, path: str) -> ElementTree.Element:
    found = element.find(path)
    if found is None:
        raise ValueError(f"section {path} is missing")
    return found


def _floats(element: ElementTree.Element, path: str, count: int) -> Floats:
    """The numbers of a section, as many as it must hold."""
    numbers = np.array((_find(element, path).text or "").split(), dtype=float)
    if len(numbers) != count:
        raise ValueError(f"section {path} holds {len(numbers)} numbers, expected {count}")
    if not (np.abs(numbers) < LARGEST).all():
        raise ValueError(f"section {path} holds numbers that are not finite, or not below {LARGEST:g}")
    return numbers


def _truth(element: ElementTree.Element, path: str) -> bool:
    found = element.find(path)
    return found is not None and (found.text or "").strip().lower() == "true"


def in_angstrom(lengths: Floats) -> Floats:
    """Bohr to Angstrom."""
    return lengths * BOHR_ANGSTROM
