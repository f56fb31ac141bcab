"""Small valid files to damage, all of them real: pw.x, wannier90.x and dmi-engine on a film of one Be atom."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np

from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.files.checkpoint import Checkpoint
from aiida_dmi.engine.run.cli import main as engine

from ..engine.build.conftest import run_program
from ..engine.build.test_save_folder import records, write_hdf5

SEEDNAME = {"up": "up", "down": "dn"}
CELL = "4 0 0\n0 5 0\n0 0 9\n"
KPOINTS = ["0 0 0", "0 0.5 0", "0.5 0 0", "0.5 0.5 0"]
PW = f"""\
&CONTROL
  calculation='scf', prefix='x', outdir='.', pseudo_dir='.'
/
&SYSTEM
  ibrav=0, nat=1, ntyp=1, ecutwfc=12, nspin=2, starting_magnetization(1)=1.0, nbnd=8, nosym=.true., noinv=.true.
  occupations='smearing', smearing='mv', degauss=0.02
/
&ELECTRONS
  conv_thr=1e-8
/
ATOMIC_SPECIES
Be 9.0 Be.UPF
CELL_PARAMETERS bohr
{CELL}ATOMIC_POSITIONS crystal
Be 0 0 0.3
K_POINTS crystal
4
""" + "".join(f"{k} 0.25\n" for k in KPOINTS)
WIN = f"""\
num_bands = 8
num_wann = 4
num_iter = 0
dis_num_iter = 0
dis_win_max = 60.0
write_u_matrices = true
bands_plot = true
bands_num_points = 6
mp_grid = 2 2 1
begin kpoint_path
G 0 0 0 X 0.5 0 0
X 0.5 0 0 M 0.5 0.5 0
end kpoint_path
begin projections
Be:s;p
end projections
begin unit_cell_cart
bohr
{CELL}end unit_cell_cart
begin atoms_frac
Be 0 0 0.3
end atoms_frac
begin kpoints
""" + "\n".join(KPOINTS) + "\nend kpoints\n"  # fmt: skip
SPECS = {
    "overlaps": "nscf: x.save\nnnkp: {seed}.nnkp\nspin: {spin}\nseedname: {seed}\n",
    "build": (
        "nscf: x.save\nwannier_up: up\nwannier_down: dn\npseudopotentials: {Be: FR-Be.UPF}\nfermi_energy: 0.1\n"
        "moments: [0.5]\noutput: model.h5\n"
    ),
    "run": (
        "model: model.h5\noutput: result.nc\nmesh: [4, 4]\nsoi_scales: [0.5, 1.0]\nfermi_shifts: [-0.1, 0]\n"
        "temperatures: [300, 1500.0]\ndirections: [[0, 0, 1], [1, 0, 1]]\nsoi_masks: {all: [1], none: [0]}\n"
        "fermi_level: dft\nsymmetry: false\nmethod: bands\nquantities: [D, Q, a_I, a_II, D_1]\nprocesses: 1\n"
        "memory_limit: 1000000\ncheckpoint: sums\nmax_mesh: 96\n"
        "k_map: {mesh: 2, quantities: [D], temperature: 300.0, mu: dft, direction: [0, 0, 1], mask: [1]}\n"
        "bands: {points: 3, path: [[G, [0, 0]], [X, [0.5, 0]]], soi_scales: [0, 1.0], direction: [1, 0, 0]}\n"
        "density_of_states: {mesh: 2, fermi_shifts: [0.0, 0.1], temperature: 300, broadening: 1e-1, soi_scale: 0.5}\n"
        "doping_axis: [Be]\nenergy_current: {dn_dt: [1.0e9, 0, 0]}\n"
    ),
    "rashba": (
        "model: {alpha: 0.1, exchange: 1.0, mass: 1.0}\ncutoff: 0.6\ntolerance: 1e3\nmesh: 9\nmax_mesh: 36\n"
        "output: rashba.nc\nsoi_masks: {'on': [1], \"1e3\": [0.5]}\nsymmetry: false\nmethod: bands\n"
        "k_map: {kpoints: [[0, 0], [0.1, -0.1]], cutoff: 0.6, mu: 0.1, quantities: [misalignment_band]}\n"
        "bands: {path: [[A, [0, 0]], [B, [0.4, 0]]], points: 5, cutoff: 0.6}\n"
    ),
    "screen": (
        "name: test\nsystems:\n- film: Co/Pt(111)\n  dopings:\n  - rigid: {shifts: [-0.1, 0.1], substituted: [Pt]}\n"
        "- magnets: [Co, Fe]\n  substrates: [Pt, Ir]\n  caps: [Cu]\n  surface: fcc111\nlayers: ['1+3', '2+3']\n"
        "dopings:\n- vca: {Co.1: {Fe: [0.1, 0.2]}}\n- exchange: {Pt.1: [Ir, Au]}\nmasks: {magnets: [Co]}\n"
        "directions: [[0, 0, 1]]\nshifts: [-0.2, 0.2]\ntemperatures: [300.0]\nmoments: {Co: 1.7}\n"
        "overrides: {response: {mesh: 48}, scf: {kpoints_distance: 0.2}}\ncodes: {pw: pw@localhost}\n"
        "options: {resources: {num_machines: 1}, max_wallclock_seconds: 3600}\n"
    ),
    "overrides": (
        "pseudo_family: PseudoDojo/0.4/PBE/FR/standard/upf\n"
        "relax: {fixed: [Pt.2], parameters: {IONS: {ion_dynamics: damp}}}\n"
        "scf:\n  kpoints_distance: 0.2\n  parameters:\n    CONTROL: {disk_io: low, tprnfor: true}\n"
        "    SYSTEM: {ecutwfc: 60, degauss: 0.01, smearing: mv, nspin: 2, hubbard_u: {Co: 3.0}, vdw_corr: dft-d3}\n"
        "    electrons: {mixing_beta: 0.3, conv_thr: 1.0e-9, diagonalization: cg, electron_maxstep: 80}\n"
        "nscf: {parameters: {ELECTRONS: {diago_full_acc: true}}}\nbands: {parameters: {CONTROL: {verbosity: high}}}\n"
        "check_spin_orbit: true\ncompleteness: null\noverlaps: dmi-engine\n"
        "wannierisation:\n  kpoints_mesh: [6, 6]\n  orbitals: [s, p, d]\n  frozen_window: 2.5\n"
        "  retries: 2\n"
        "  parameters: {num_iter: 10, guiding_centres: false, kmesh_tol: 1.0e-5, shell_list: [1, 2]}\n"
        "response: {mesh: 48, tolerance: null, soi_masks: {magnet: [Co]}, symmetry: model, temperatures: [300.0, 50]}\n"
        "quality: {bands: 100, closure: null}\nforce: false\nclean_workdir: true\nmagnetic_moments: {Co: 1.7, Fe: -2}\n"
        "unchecked_keywords: [newest]\n"
    ),
}

POINT = "direction: '0,0,1', mask: all, soi_scale: 1.0, temperature: 300, fermi_shift: 0.0"
SITES = (("Pt", 0.0, 0.0, 2.0), ("Pt", 1.386, 0.80021, 4.26), ("Co", 2.772, 1.60042, 6.3))
LATTICE = ((2.772, 0.0, 0.0), (1.386, 2.40062, 0.0), (0.0, 0.0, 20.0))


def slabs() -> dict[str, str]:
    """Co/Pt(111) in the formats that people have."""
    cell = "".join(f"{x} {y} {z}\n" for x, y, z in LATTICE)
    atoms = "".join(f"{symbol} {x} {y} {z}\n" for symbol, x, y, z in SITES)
    fractions = [(symbol, number / 3, z / 20) for number, (symbol, _, _, z) in enumerate(SITES)]
    return {
        "slab.cif": "data_slab\n_cell_length_a 2.772\n_cell_length_b 2.772\n_cell_length_c 20.0\n"
        "_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 60\n"
        "_symmetry_space_group_name_H-M 'P 1'\n_symmetry_Int_Tables_number 1\n"
        "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n"
        "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n"
        + "".join(f"{symbol}{n} {symbol} {u:.6f} {u:.6f} {z} 1.0\n" for n, (symbol, u, z) in enumerate(fractions)),
        "POSCAR": f"Pt Co\n1.0\n{cell}Pt Co\n2 1\nSelective dynamics\nCartesian\n"
        + "".join(f"{x} {y} {z} T T F\n" for _, x, y, z in SITES),
        "slab.xsf": f"CRYSTAL\nPRIMVEC\n{cell}PRIMCOORD\n3 1\n{atoms}",
        "slab.xyz": '3\nLattice="' + cell.replace("\n", " ").strip() + '" pbc="T T F" '
        "Properties=species:S:1:pos:R:3:initial_magmoms:R:1\n"
        + "".join(f"{symbol} {x} {y} {z} {1.9 if symbol == 'Co' else 0.0}\n" for symbol, x, y, z in SITES),
        "slab.in": "&CONTROL\n calculation='scf'\n/\n&SYSTEM\n ibrav=0, nat=3, ntyp=2, ecutwfc=60, nspin=2\n"
        " starting_magnetization(2)=0.3\n/\n&ELECTRONS\n/\nATOMIC_SPECIES\nPt 195.1 Pt.upf\nCo_1 58.9 Co.upf\n"
        f"CELL_PARAMETERS angstrom\n{cell}ATOMIC_POSITIONS angstrom\n{atoms.replace('Co', 'Co_1')}"
        "K_POINTS automatic\n6 6 1 0 0 0\n",
    }


def short(pseudo: Pseudopotential, points: int = 24) -> Pseudopotential:
    """The pseudopotential with its first points only: as a file it is whole, and it is read fast."""

    def cut(part):
        return dataclasses.replace(part, values=part.values[:points], **_index(part, points))

    return dataclasses.replace(
        pseudo,
        radii=pseudo.radii[:points],
        weights=pseudo.weights[:points],
        local=pseudo.local[:points],
        projectors=tuple(cut(p) for p in pseudo.projectors),
        orbitals=tuple(cut(o) for o in pseudo.orbitals),
        density=pseudo.density[:points],
        core_density=None if pseudo.core_density is None else pseudo.core_density[:points],
    )


def _index(part, points):
    return {"cutoff_index": min(part.cutoff_index, points)} if hasattr(part, "cutoff_index") else {}


def make(folder: Path, upf_folder: Path) -> None:
    """Run the chain in a folder; a few seconds."""
    pseudo = Pseudopotential.read(upf_folder / "Be.UPF")
    shutil.copy(upf_folder / "Be.UPF", folder / "FR-Be.UPF")
    (folder / "short.UPF").write_text(short(pseudo).to_upf())
    (folder / "Be.UPF").write_text(pseudo.scalar_relativistic().to_upf())
    (folder / "pw.in").write_text(PW)
    run_program(folder, "pw.x", ["-in", "pw.in"], ranks=1)
    for spin, seed in SEEDNAME.items():
        (folder / f"{seed}.win").write_text(WIN)
        run_program(folder, "wannier90.x", ["-pp", seed], ranks=1)
        _engine(folder, "overlaps", f"overlaps-{spin}", spin=spin, seed=seed)
        run_program(folder, "wannier90.x", [seed], ranks=1)
    _engine(folder, "build", "build")
    _engine(folder, "run", "run")
    with (folder / "run.yaml").open("a") as spec:  # one constant does not describe this film's D: it is only read
        spec.write(f"micromagnetics: {{thickness: 2.0, tolerance: 0.05, {POINT}}}\n")
    _engine(folder, "run", "rashba")
    for name in ("screen", "overrides"):
        (folder / f"{name}.yaml").write_text(SPECS[name])
    for name, text in slabs().items():
        (folder / name).write_text(text)
    write_hdf5(folder / "wfcup1.hdf5", records(folder / "x.save" / "wfcup1.dat"))
    sums = {"D": np.linspace(0, 1, 6).reshape(2, 3), "weights": np.ones(4), "history": "[]"}
    Checkpoint(folder / "checkpoint", "key").save("4x4", 3, sums, force=True)


def _engine(folder, command, name, **words):
    spec = folder / f"{name}.yaml"
    text = SPECS.get(name, SPECS[command])
    spec.write_text(text.format(**words) if words else text)
    assert engine([command, str(spec)]) == 0
