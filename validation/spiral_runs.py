"""pw.x on one film: collinear in the cell, noncollinear on a wound-up density in a supercell; what ran is kept."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from spiral_files import FILE, Density, with_spin_orbit

from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.build.quantum_espresso import SCHEMA, SaveFolder
from aiida_dmi.engine.completeness.potential import read_potentials
from aiida_dmi.engine.constants import HARTREE_EV
from aiida_dmi.engine.files.atomic import whole_file

Floats = npt.NDArray[np.float64]

SAVE = Path("out") / "aiida.save"
TEMPLATE_CUTOFF = 5.0
"""Ry, of the wave functions of a run that is only asked for its list of plane waves of the density."""


@dataclasses.dataclass(frozen=True)
class SpiralFilm:
    """One film, and how pw.x runs it.

    Parameters
    ----------
    folder : Path
        Of all its runs.
    atoms : Atoms
    pseudopotentials : dict
        Fully relativistic UPF file of every element.
    moments : dict
        starting_magnetization of every element.
    cutoff : float
        Ry.
    mesh : int
        Points a side of the scf.
    degauss : float
        Ry, of the scf, Marzari-Vanderbilt.
    functional : str
        `input_dft`. LDA knows one point of space at a time, so the potential of the wound-up density is the collinear
        one wound up. PBE does not: pw.x takes gradients of |m|, which has kinks where the collinear m changes its sign.
    """

    folder: Path
    atoms: Atoms
    pseudopotentials: dict[str, Path]
    moments: dict[str, float]
    cutoff: float
    mesh: int
    degauss: float = 0.02
    functional: str = "PBE"

    # -- collinear ---------------------------------------------------------------------------------------

    @functools.cached_property
    def collinear(self) -> tuple[SaveFolder, Floats]:
        """The scf of the cell, and both spins' local potentials (eV)."""
        folder = self.folder / "collinear"
        self._write_pseudopotentials(folder, None)
        mesh = f"K_POINTS automatic\n{self.mesh} {self.mesh} 1 0 0 0\n"
        text = self._input("scf", 1, self._collinear_system(), "conv_thr=1e-9, mixing_beta=0.4", mesh)
        self._run(folder, "pw.x", text)
        paths = []
        for spin in (1, 2):
            paths.append(folder / f"v{spin}")
            text = f"&INPUTPP\n prefix='aiida', outdir='out', filplot='v{spin}', plot_num=1, spin_component={spin}\n/\n"
            self._run(folder, "pp.x", text, f"pp{spin}")
        save = SaveFolder.read(folder / SAVE)
        return save, read_potentials((paths[0], paths[1]), save)

    def states(self, name: str, points: str, bands: int) -> SaveFolder:
        """Collinear states, in a folder of that name; `points`: pw.x's card."""
        self.collinear  # noqa: B018 - it has to have run
        folder = self.folder / name
        self._write_pseudopotentials(folder, None)
        if not (folder / SAVE).exists():
            source = self.folder / "collinear" / SAVE
            shutil.copytree(source, folder / SAVE, ignore=shutil.ignore_patterns("wfc*"))
        system = f"{self._collinear_system()}, nbnd={bands}, nosym=.true., noinv=.true."
        self._run(folder, "pw.x", self._input("nscf", 1, system, "conv_thr=1e-9, diago_full_acc=.true.", points))
        return SaveFolder.read(folder / SAVE)

    # -- spirals -----------------------------------------------------------------------------------------

    def energies(self, cells: int, turns: int, scale: float, kpoint: Floats, bands: int) -> Floats:
        """Eigenvalues (eV) of a supercell at one k point, in units of its reciprocal vectors.

        Noncollinear with `scale` times the spin-orbit interaction, not self-consistent: the collinear density wound up
        (`Density.wound`).
        """
        at = "_".join(f"{x:.6f}" for x in kpoint[:2])
        folder = self.folder / f"spiral-{cells}-{turns}-{scale:g}" / at
        energies = folder / "energies.npy"
        if energies.exists() and len(found := np.load(energies)) == bands:
            return np.asarray(found)
        self._write_pseudopotentials(folder, scale)
        (folder / SAVE).mkdir(parents=True, exist_ok=True)
        own = Density.read(self.folder / "collinear" / SAVE / FILE)
        own.wound(self.template(cells), cells, turns).write(folder / SAVE / FILE)
        shutil.copy(self.folder / f"template-{cells}" / SAVE / SCHEMA, folder / SAVE)  # pw.x wants the atoms from it
        system = f"nbnd={bands}, noncolin=.true., lspinorb=.true., {self._grid(cells)}"
        # Starting moments that are large and not parallel: pw.x then takes |m| for the gradients of PBE, not m along
        # one axis. They are for nothing else here.
        for i in range(1, len(self.moments) + 1):
            system += f", starting_magnetization({i})=1, angle1({i})={90 * (i % 2)}"
        system += ", occupations='smearing', smearing='fd', degauss=0.02, nosym=.true., noinv=.true."
        points = "K_POINTS crystal\n1\n" + " ".join(f"{x:.12f}" for x in kpoint) + " 1.0\n"
        self._run(folder, "pw.x", self._input("nscf", cells, system, "diago_thr_init=1e-9", points))
        schema = ElementTree.parse(folder / SAVE / SCHEMA)
        values = schema.findtext("output/band_structure/ks_energies/eigenvalues")
        found = np.array((values or "").split(), dtype=float) * HARTREE_EV
        shutil.rmtree(folder / "out")
        with whole_file(energies) as temporary, temporary.open("wb") as file:
            np.save(file, found)
        return np.asarray(found)

    def template(self, cells: int) -> Density:
        """Pw.x's plane waves of the supercell's density, by a run that is good for nothing else."""
        folder = self.folder / f"template-{cells}"
        self._write_pseudopotentials(folder, None)
        system = f"occupations='smearing', smearing='mv', degauss=0.1, ecutrho={4 * self.cutoff}, {self._grid(cells)}"
        system += ", nosym=.true., noinv=.true."
        text = self._input("scf", cells, system, "conv_thr=1e10", "K_POINTS crystal\n1\n0 0 0 1.0\n", TEMPLATE_CUTOFF)
        self._run(folder, "pw.x", text)
        return Density.read(folder / SAVE / FILE)

    def _collinear_system(self) -> str:
        moments = [f"starting_magnetization({i})={m}" for i, m in enumerate(self.moments.values(), 1)]
        smearing = f"nspin=2, occupations='smearing', smearing='mv', degauss={self.degauss}"
        return ", ".join([smearing, *moments])

    def _grid(self, cells: int) -> str:
        """The cell's own grid, repeated: what is diagonal in space is then turned point by point."""
        n1, n2, n3 = self.collinear[1].shape[1:]
        return f"nr1={cells * n1}, nr2={n2}, nr3={n3}"

    # -- files and programs ------------------------------------------------------------------------------

    def _write_pseudopotentials(self, folder: Path, scale: float | None) -> None:
        """The averages, or with `scale` times the spin-orbit interaction."""
        folder.mkdir(parents=True, exist_ok=True)
        for element, path in self.pseudopotentials.items():
            pseudo = Pseudopotential.read(path)
            used = pseudo.scalar_relativistic() if scale is None else with_spin_orbit(pseudo, scale)
            (folder / f"{element}.UPF").write_text(used.to_upf(), encoding="utf-8")

    def _input(
        self, calculation: str, cells: int, system: str, electrons: str, points: str, cutoff: float | None = None
    ) -> str:
        atoms = self.atoms.repeat((cells, 1, 1))
        species = list(self.pseudopotentials)
        masses = [atomic_masses[atomic_numbers[element]] for element in species]
        return "\n".join(
            [
                f"&CONTROL\n calculation='{calculation}', prefix='aiida', outdir='out', pseudo_dir='.'",
                " verbosity='high'\n/",
                f"&SYSTEM\n ibrav=0, nat={len(atoms)}, ntyp={len(species)}, ecutwfc={cutoff or self.cutoff},",
                f" input_dft='{self.functional}',",
                f" {system}\n/\n&ELECTRONS\n {electrons}\n/\nATOMIC_SPECIES",
                *(f"{element} {mass} {element}.UPF" for element, mass in zip(species, masses, strict=True)),
                "CELL_PARAMETERS angstrom",
                *(" ".join(f"{x:.12f}" for x in row) for row in atoms.cell),
                "ATOMIC_POSITIONS angstrom",
                *(f"{a.symbol} " + " ".join(f"{x:.12f}" for x in a.position) for a in atoms),
                points,
            ]
        )

    @staticmethod
    def _run(folder: Path, program: str, text: str, name: str = "run") -> None:
        """Run a program unless it has ended well on the same input."""
        given, said = folder / f"{name}.in", folder / f"{name}.out"
        if given.exists() and given.read_text() == text and said.exists() and "JOB DONE" in said.read_text():
            return
        given.write_text(text)
        with said.open("w") as output:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([program, "-in", given.name], cwd=folder, env=environment, stdout=output, check=True)
        if "JOB DONE" not in said.read_text():
            raise RuntimeError(f"{program} in {folder} did not end well: see {said}")
