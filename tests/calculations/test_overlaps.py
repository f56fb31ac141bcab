"""CalcJob dmi.overlaps, run for real: a hydrogen layer from pw.x, then wannier90.x in its remote folder."""

import os
import subprocess

import pytest
from aiida import engine, orm

from aiida_dmi.calculations.overlaps import OverlapsCalculation
from aiida_dmi.calculations.wannier90 import Wannier90Calculation

CELL = [[2.5, 0.0, 0.0], [0.0, 2.5, 0.0], [0.0, 0.0, 5.0]]
MESH = [2, 2, 1]
POINTS = [[i / 2, j / 2, 0.0] for i in range(2) for j in range(2)]
PW = """&control
 calculation = 'scf', prefix = 'aiida', outdir = './out', pseudo_dir = '{pseudos}'
/
&system
 ibrav = 0, nat = 1, ntyp = 1, ecutwfc = 12, nspin = 2, starting_magnetization(1) = 1, nbnd = 6
 occupations = 'smearing', degauss = 0.02, nosym = .true., noinv = .true.
/
&electrons
 conv_thr = 1e-6
/
ATOMIC_SPECIES
H 1.0 H.UPF
CELL_PARAMETERS angstrom
{cell}
ATOMIC_POSITIONS angstrom
H 0 0 1
K_POINTS crystal
4
{points}
"""


@pytest.fixture(scope="module")
def nscf(computer, codes, upf_folder, tmp_path_factory):
    """Folder of a finished pw.x run, about a second."""
    folder = tmp_path_factory.mktemp("pw")
    cell = "\n".join(" ".join(map(str, row)) for row in CELL)
    points = "\n".join(f"{x} {y} {z} 1" for x, y, z in POINTS)
    (folder / "pw.in").write_text(PW.format(pseudos=upf_folder, cell=cell, points=points))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(codes["pw"].filepath_executable), "-in", "pw.in"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return orm.RemoteData(computer=computer, remote_path=str(folder)).store()


@pytest.fixture(scope="module")
def wannier90(codes):
    """Inputs of wannier90.x for one function in six bands."""
    structure = orm.StructureData(cell=CELL, pbc=(True, True, False))
    structure.append_atom(position=(0, 0, 1), symbols="H")
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh(MESH)
    return {
        "code": codes["wannier90"],
        "structure": structure,
        "kpoints": kpoints,
        "parameters": orm.Dict({"num_wann": 1, "num_bands": 6, "num_iter": 0, "dis_num_iter": 0}),
        "projections": orm.List(["H:s"]),
        "metadata": {"options": {"resources": {"num_machines": 1}, "withmpi": False}},
    }


@pytest.fixture(scope="module")
def nnkp_file(wannier90):
    """One for both spins."""
    settings = orm.Dict({"postproc_setup": True})
    results, node = engine.run_get_node(Wannier90Calculation, **wannier90, settings=settings)
    assert node.is_finished_ok, node.exit_message
    return results["nnkp_file"]


@pytest.fixture
def builder(codes, nscf, nnkp_file):
    builder = OverlapsCalculation.get_builder()
    builder.code = codes["engine"]
    builder.nscf = nscf
    builder.nnkp_file = nnkp_file
    builder.spin = orm.Str("down")
    return builder


def test_its_folder_is_what_wannier90_starts_from(builder, wannier90):
    results, node = engine.run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    parameters = results["output_parameters"]
    assert [parameters[key] for key in ("bands", "kpoints", "functions")] == [6, 4, 1]
    assert 0.1 < parameters["smallest_singular_value"] <= 1
    assert 0 < parameters["seconds"] < 60
    retrieved = results["retrieved"].base.repository.list_object_names()
    assert not [name for name in retrieved if name.startswith("aiida.")]

    functions, node = engine.run_get_node(
        Wannier90Calculation, **wannier90, remote_input_folder=results["remote_folder"]
    )
    assert node.is_finished_ok, node.exit_message
    (spread,) = [function["wf_spreads"] for function in functions["output_parameters"]["wannier_functions_output"]]
    assert 0.1 < spread < 10


def test_refusal_of_the_engine_is_the_exit_message(builder, nnkp_file):
    """Another cell's .nnkp file: seen before any work, and nothing is written."""
    text = nnkp_file.get_content().replace("2.5000000", "2.6000000")
    builder.nnkp_file = orm.SinglefileData.from_string(text, filename="other.nnkp")
    results, node = engine.run_get_node(builder)
    assert node.exit_status == OverlapsCalculation.exit_codes.ERROR_BAD_INPUT.status
    assert "its cell differs from the nscf's by 1.0e-01 Angstrom" in node.exit_message
    assert not [name for name in results["remote_folder"].listdir() if name.endswith((".amn", ".mmn", ".eig"))]


def test_unknown_spin_is_refused_at_once(builder):
    with pytest.raises(ValueError, match="'sideways' was given, expected one of up, down"):
        builder.spin = orm.Str("sideways")


def test_wave_functions_on_another_computer_are_refused(builder, tmp_path):
    elsewhere = orm.Computer("elsewhere", "cluster.example", "", "core.local", "core.direct", str(tmp_path)).store()
    builder.nscf = orm.RemoteData(computer=elsewhere, remote_path="/scratch/nscf").store()
    with pytest.raises(ValueError, match="must be on one computer, found elsewhere and"):
        engine.run(builder)


def test_operations_that_are_none_are_refused_at_once(builder):
    none = orm.Dict({"operations": [{"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}]})
    with pytest.raises(ValueError, match=r"symmetry: operations: entry 1: .* expected a mapping with rotation"):
        builder.symmetry = none
