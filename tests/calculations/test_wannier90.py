"""``dmi.wannier90``: its interface against aiida-wannier90 2.2.0, its input file, and real runs of wannier90.x.

``tests/data/aiida_wannier90_2.2.0.json`` is what :func:`describe` returns for the original. To write it again, in an
environment that has aiida-wannier90 2.2.0::

    python tests/calculations/test_wannier90.py aiida_wannier90.calculations > tests/data/aiida_wannier90_2.2.0.json
"""

import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.exceptions import InputValidationError
from aiida.common.folders import SandboxFolder
from aiida.engine import CalcJob, run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.tools import RealhydrogenOrbital

from aiida_dmi.calculations import wannier90_input
from aiida_dmi.calculations.wannier90 import Wannier90Calculation

REFERENCE = Path(__file__).parents[1] / "data" / "aiida_wannier90_2.2.0.json"
EXECUTABLE = shutil.which("wannier90.x")
real = pytest.mark.skipif(EXECUTABLE is None, reason="wannier90.x is not on PATH")


def describe(process_class):
    """Return the ports and exit codes that a calculation adds to those of CalcJob, or changes."""

    def describe_port(port):
        valid_type = port.valid_type if isinstance(port.valid_type, tuple) else (port.valid_type,)
        described = {"valid_type": sorted(t.__name__ for t in valid_type if t is not None), "required": port.required}
        if getattr(port, "has_default", lambda: False)() and not callable(port.default):
            described["default"] = port.default
        return described

    def changed(own, inherited):
        before = {name: describe_port(port) for name, port in inherited.items()}
        after = {name: describe_port(port) for name, port in own.items()}
        return {name: port for name, port in after.items() if before.get(name) != port}

    own, base = process_class.spec(), CalcJob.spec()
    return {
        "inputs": changed(own.inputs, base.inputs),
        "metadata.options": changed(own.inputs["metadata"]["options"], base.inputs["metadata"]["options"]),
        "outputs": changed(own.outputs, base.outputs),
        "default_output_node": own.default_output_node,
        "exit_codes": {
            label: {"status": code.status, "message": code.message, "invalidates_cache": code.invalidates_cache}
            for label, code in own.exit_codes.items()
            if base.exit_codes.get(label) != code
        },
    }


def test_interface_is_that_of_aiida_wannier90():
    expected = json.loads(REFERENCE.read_text())
    expected["metadata.options"]["parser_name"]["default"] = "dmi.wannier90"
    assert describe(Wannier90Calculation) == expected


# The toy model: two orbitals in a slab, with Gaussian Wannier functions. The overlaps of its Bloch functions follow
# exactly from centres and widths, and so does what Wannier90 must find.

MESH = (4, 4, 1)
CELL = np.diag([3.0, 3.0, 10.0])
CENTRES = np.array([[0.3, 0.2, 0.4], [1.7, 1.6, 1.0]])
SIGMA = np.array([0.6, 0.8])  # of the density, Angstrom
PATH = {
    "path": [["GAMMA", "X"], ["X", "M"]],
    "point_coords": {"GAMMA": [0, 0, 0], "X": [0.5, 0, 0], "M": [0.5, 0.5, 0]},
}


def hamiltonian(k):
    """Return H(k) of the toy model, shape (2, 2), eV, with hopping to nearest cells only."""
    x, y = np.exp(2j * np.pi * k[0]), np.exp(2j * np.pi * k[1])
    diagonal = -0.5 * (x + 1 / x + y + 1 / y).real * np.array([1.0, -0.4]) + np.array([-1.0, 1.5])
    hybridisation = 0.3 + 0.2 * x + 0.1 * y
    return np.diag(diagonal) + np.array([[0, hybridisation], [np.conj(hybridisation), 0]])


def overlap_files(nnkp, num_wann=2):
    """Return the content of aiida.mmn, aiida.amn and aiida.eig for the k-points and neighbours of a .nnkp file."""

    def block(name):
        rows = re.search(rf"begin {name}\n(.*?)end {name}", nnkp, re.DOTALL)[1].splitlines()
        return [row.split() for row in rows]

    kpoints = np.array(block("kpoints")[1:], dtype=float)
    neighbours = np.array(block("nnkpts")[1:], dtype=int)
    nk, nn = len(kpoints), len(neighbours) // len(kpoints)
    rng = np.random.default_rng(1)
    energies, states = [], []
    for k in kpoints:
        energy, state = np.linalg.eigh(hamiltonian(k))
        energies.append(energy)
        # A phase of its own for every Bloch function, as a DFT code leaves it.
        states.append(state * np.exp(2j * np.pi * rng.random(2)))

    mmn = ["toy model", f"2 {nk} {nn}"]
    for k, near, *shift in neighbours:
        b = (kpoints[near - 1] + shift - kpoints[k - 1]) @ (2 * np.pi * np.linalg.inv(CELL).T)
        form = np.exp(-1j * CENTRES @ b - 0.5 * SIGMA**2 * (b @ b))
        M = states[k - 1].conj().T @ np.diag(form) @ states[near - 1]
        mmn += [f"{k} {near} " + " ".join(map(str, shift)), *(f"{z.real:.14f} {z.imag:.14f}" for z in M.T.flat)]
    amn = ["toy model", f"2 {nk} {num_wann}"]
    eig = []
    for k in range(nk):
        A = states[k].conj().T
        amn += [
            f"{m + 1} {n + 1} {k + 1} {A[m, n].real:.14f} {A[m, n].imag:.14f}"
            for n in range(num_wann)
            for m in range(2)
        ]
        eig += [f"{n + 1} {k + 1} {energies[k][n]:.10f}" for n in range(2)]
    files = {"aiida.mmn": mmn, "aiida.amn": amn, "aiida.eig": eig}
    return {name: "\n".join(rows) + "\n" for name, rows in files.items()}


def expected_spreads():
    """Return the spreads that the finite differences of Wannier90 give for the toy model, Angstrom^2.

    <r^2> - <r>^2 = sum_b w_b (1 - |M(b)|^2); in a rectangular cell sum_b w_b is 1/b^2 for every axis.
    """
    b = 2 * np.pi / (np.array(MESH) * np.diag(CELL))
    return np.array([np.sum((1 - np.exp(-((s * b) ** 2))) / b**2) for s in SIGMA])


@pytest.fixture
def inputs(aiida_profile, aiida_code_installed):
    """Return the inputs of the toy model, without a folder of overlaps."""
    structure = orm.StructureData(cell=CELL.tolist(), pbc=(True, True, False))
    for position, name in zip(CENTRES, ("Co1", "Pt1"), strict=True):
        structure.append_atom(position=position, symbols=name[:2], name=name)
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh(MESH)
    return {
        "code": aiida_code_installed("wannier90", filepath_executable=EXECUTABLE or "/bin/true"),
        "structure": structure,
        "parameters": orm.Dict({"num_wann": 2, "num_iter": 0}),
        "kpoints": kpoints,
        "metadata": {"options": {"resources": {"num_machines": 1}, "withmpi": False}},
    }


@pytest.fixture
def folder(aiida_profile):
    """Return a local folder with empty overlap files, enough for what is decided before the run."""
    node = orm.FolderData()
    for name in ("aiida.mmn", "aiida.amn", "aiida.eig", "aiida.chk", "UNK00001.1"):
        node.base.repository.put_object_from_bytes(b"", name)
    return node.store()


def prepare(inputs):
    """Return the CalcInfo and the input file of a calculation that is not run."""
    process = instantiate_process(get_manager().get_runner(), Wannier90Calculation, **inputs)
    with SandboxFolder() as sandbox:
        return process.prepare_for_submission(sandbox), sandbox.get_content_list(), _read_win(sandbox)


def _read_win(sandbox):
    with sandbox.open(sandbox.get_content_list()[0]) as handle:
        return handle.read()


def test_input_file(inputs, folder):
    inputs["local_input_folder"] = folder
    inputs["parameters"] = orm.Dict(
        {"num_wann": 2, "exclude_bands": [1, 2, 3, 7], "bands_plot": True, "conv_tol": 1e-9}
    )
    inputs["projections"] = orm.Dict({"Co1": ["s", "d"], "Pt1": "p"})
    inputs["kpoint_path"] = orm.Dict(PATH)
    calcinfo, files, win = prepare(inputs)

    assert files == ["aiida.win"]
    assert "exclude_bands = 1-3,7\n" in win
    assert "bands_plot = .true.\n" in win
    assert "conv_tol = 1.0000000000d-09\n" in win
    assert "mp_grid = 4, 4, 1\n" in win
    assert "begin projections\nCo1:s;d\nPt1:p\nend projections\n" in win
    blocks = {name: rows.splitlines() for name, rows in re.findall(r"begin (\w+)\n(.*?)end \1", win, re.DOTALL)}
    kpoints = np.array([row.split() for row in blocks["kpoints"]], dtype=float)
    assert kpoints.shape == (16, 3)
    np.testing.assert_allclose(kpoints[6], [0.25, 0.5, 0])
    segment = blocks["kpoint_path"][1].split()
    assert (segment[0], segment[4]) == ("X", "M")
    np.testing.assert_allclose(np.array(segment[1:4] + segment[5:], dtype=float), [0.5, 0, 0, 0.5, 0.5, 0])
    assert [row.split()[0] for row in blocks["atoms_cart"]] == ["ang", "Co1", "Pt1"]
    np.testing.assert_allclose(np.array([r.split() for r in blocks["unit_cell_cart"][1:]], dtype=float), CELL)

    names = [name for _, name, _ in calcinfo.local_copy_list]
    assert names == ["aiida.mmn", "aiida.amn", "aiida.eig", "aiida.chk"]
    assert calcinfo.retrieve_temporary_list == []
    assert {"aiida.wout", "aiida_tb.dat", "aiida_u.mat"} <= set(calcinfo.retrieve_list)
    assert not any(name.endswith(".chk") for name in calcinfo.retrieve_list)


def test_settings(inputs, folder):
    inputs["local_input_folder"] = folder
    inputs["parameters"] = orm.Dict({"num_wann": 2, "wannier_plot": True})
    inputs["settings"] = orm.Dict(
        {
            "random_projections": True,
            "additional_retrieve_list": ["aiida.chk"],
            "exclude_retrieve_list": ["*_tb.dat"],
            "additional_local_copy_list": [[folder.uuid, "aiida.eig", "again.eig"]],
            "additional_remote_copy_list": [["computer", "/from", "to"]],
            "additional_remote_symlink_list": [["computer", "/from", "link"]],
        }
    )
    inputs["metadata"]["options"] |= {"input_filename": "aiida.win", "output_filename": "aiida.wout"}
    calcinfo, _, win = prepare(inputs)
    assert "begin projections\nrandom\nend projections\n" in win
    assert [name for _, _, name in calcinfo.local_copy_list][-2:] == ["UNK00001.1", "again.eig"]
    assert calcinfo.remote_copy_list == [("computer", "/from", "to")]
    assert calcinfo.remote_symlink_list == [("computer", "/from", "link")]
    assert "aiida.chk" in calcinfo.retrieve_list
    assert "aiida_tb.dat" not in calcinfo.retrieve_list


def test_remote_folder(inputs, aiida_localhost):
    inputs["remote_input_folder"] = orm.RemoteData(
        computer=aiida_localhost, remote_path="/scratch/pw2wannier90"
    ).store()
    inputs["metadata"]["options"] |= {"input_filename": "up.win", "output_filename": "up.wout"}
    calcinfo, files, _ = prepare(inputs)
    assert files == ["up.win"]
    links = {path: target for _, path, target in calcinfo.remote_symlink_list}
    assert links["/scratch/pw2wannier90/up.mmn"] == "up.mmn"
    assert links["/scratch/pw2wannier90/up*.eig"] == "."
    assert not any("UNK" in path for path in links)
    assert [path for _, path, _ in calcinfo.remote_copy_list] == ["/scratch/pw2wannier90/up*.chk"]
    assert calcinfo.local_copy_list == []


def test_explicit_kpoints_need_mp_grid(inputs, folder):
    inputs["local_input_folder"] = folder
    points = inputs["kpoints"].get_kpoints_mesh(print_list=True)
    inputs["kpoints"] = orm.KpointsData()
    inputs["kpoints"].set_kpoints(points)
    with pytest.raises(ValueError, match="add mp_grid to the parameters"):
        prepare(inputs)
    inputs["parameters"]["mp_grid"] = [4, 4, 1]
    assert "mp_grid = 4, 4, 1\n" in prepare(inputs)[2]


def test_bands_kpoints(inputs, folder):
    inputs["local_input_folder"] = folder
    inputs["bands_kpoints"] = orm.KpointsData()
    inputs["bands_kpoints"].set_kpoints([[0, 0, 0], [0.25, 0, 0], [0.5, 0, 0]])
    with pytest.raises(ValueError, match="it has no labels"):
        prepare(inputs)
    inputs["bands_kpoints"].labels = [(0, "GAMMA"), (2, "X")]
    win = prepare(inputs)[2]
    assert len(re.search(r"begin explicit_kpath\n(.*?)end", win, re.DOTALL)[1].splitlines()) == 3
    labels = re.search(r"begin explicit_kpath_labels\n(.*?)end", win, re.DOTALL)[1].splitlines()
    assert [row.split()[:2] for row in labels] == [["GAMMA", "0.0000000000"], ["X", "0.5000000000"]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": {"Num_wann": 2}}, "keys must be lower case; these are not: Num_wann"),
        ({"parameters": {"atoms_cart": "x", "postproc_setup": True}}, "remove them: atoms_cart, postproc_setup"),
        ({"parameters": {"exclude_bands": [1, 1]}}, "the same band occurs twice"),
        ({"parameters": {"exclude_bands": [0, 1]}}, "expected positive integers"),
        ({"parameters": {"kmesh_tol": None}}, "parameter kmesh_tol is None"),
        ({"parameters": {"mp_grid": [4, 4, 2]}}, "32 points, but there are 16 k-points"),
        ({"parameters": {"mp_grid": [16]}}, "expected three positive integers"),
        ({"parameters": {"bands_plot": True}}, "add the path"),
        ({"settings": {"Postproc_setup": True}}, "unknown keys Postproc_setup"),
        ({"settings": {"postproc_setup": "yes"}}, "postproc_setup is 'yes'; expected a bool"),
        ({"settings": {"random_projections": True}, "projections": ["Co1:s"]}, "make 'random' the first line"),
        ({"kpoint_path": {"path": [["G", "X"]], "point_coords": {"G": [0, 0, 0]}}}, "which point_coords does not have"),
        ({"input_filename": "aiida.in"}, "Wannier90 reads SEED.win only"),
        ({"input_filename": "up.win"}, "set it to 'up.wout'"),
        ({"settings": {"postproc_setup": True}}, "leave out local_input_folder"),
        ({"local_input_folder": None}, "neither of local_input_folder and remote_input_folder"),
        ({"local_input_folder": "empty"}, "lacks aiida.mmn, aiida.amn"),
    ],
)
def test_wrong_input(inputs, folder, changes, message):
    inputs["local_input_folder"] = folder
    for name, value in changes.items():
        if name == "input_filename":
            inputs["metadata"]["options"][name] = value
        elif value is None:
            del inputs[name]
        elif value == "empty":
            inputs[name] = orm.FolderData()
        else:
            inputs[name] = orm.List(value) if isinstance(value, list) else orm.Dict(value)
    with pytest.raises((ValueError, InputValidationError), match=re.escape(message)):
        prepare(inputs)


def test_orbital_line_names_what_is_missing():
    with pytest.raises(ValueError, match="lacks angular_momentum, magnetic_number"):
        wannier90_input.format_orbital({"position": (0, 0, 0)})


@real
def test_real_postproc_setup(inputs):
    """Wannier90 reads back, in its .nnkp file, the orbitals that it was given."""
    common = {"position": CENTRES[0].tolist(), "angular_momentum": 2, "magnetic_number": 3, "radial_nodes": 1}
    orbitals = [
        RealhydrogenOrbital(**common, z_orientation=[1, 0, 0], x_orientation=[0, 1, 0], diffusivity=2.0),
        RealhydrogenOrbital(position=CENTRES[1].tolist(), angular_momentum=0, magnetic_number=0, radial_nodes=0),
    ]
    inputs["projections"] = orm.OrbitalData()
    inputs["projections"].set_orbitals(orbitals)
    inputs["settings"] = orm.Dict({"postproc_setup": True})
    results, node = run_get_node(Wannier90Calculation, **inputs)

    assert node.is_finished_ok, node.exit_message
    assert results["output_parameters"]["preprocess_only"] == "T"
    nnkp = results["nnkp_file"].get_content()
    rows = [row.split() for row in re.search(r"begin projections\n(.*?)end", nnkp, re.DOTALL)[1].splitlines()]
    numbers = [[float(entry) for entry in row] for row in rows]
    # Position in crystal coordinates, l, mr, r; then z axis, x axis and zona.
    assert numbers == [
        [2],
        [0.1, pytest.approx(0.06667), 0.04, 2, 4, 2],
        [1, 0, 0, 0, 1, 0, 2],
        [pytest.approx(0.56667), pytest.approx(0.53333), 0.1, 0, 1, 1],
        [0, 0, 1, 1, 0, 0, 1],
    ]


@pytest.fixture
def nnkp(inputs):
    """Return the .nnkp file that Wannier90 writes for the toy model."""
    results, _ = run_get_node(Wannier90Calculation, **inputs, settings=orm.Dict({"postproc_setup": True}))
    return results["nnkp_file"].get_content()


@real
@pytest.mark.parametrize("where", ["local_input_folder", "remote_input_folder"])
def test_real_run(inputs, nnkp, where, tmp_path):
    for name, content in overlap_files(nnkp).items():
        (tmp_path / name).write_text(content)
    if where == "local_input_folder":
        inputs[where] = orm.FolderData(tree=tmp_path)
    else:
        inputs[where] = orm.RemoteData(computer=inputs["code"].computer, remote_path=str(tmp_path))
    inputs["parameters"] = orm.Dict(
        {"num_wann": 2, "num_iter": 0, "bands_plot": True, "bands_num_points": 10, "write_tb": True, "write_hr": True}
    )
    inputs["kpoint_path"] = orm.Dict(PATH)
    results, node = run_get_node(Wannier90Calculation, **inputs)

    assert node.exit_status == 0
    parameters = results["output_parameters"].get_dict()
    assert parameters["number_wfs"] == 2
    assert parameters["length_units"] == "Ang"
    functions = parameters["wannier_functions_output"]
    np.testing.assert_allclose([f["wf_centres"] for f in functions], CENTRES, atol=2e-6)
    np.testing.assert_allclose([f["wf_spreads"] for f in functions], expected_spreads(), atol=2e-8)
    assert parameters["Omega_total"] == pytest.approx(sum(expected_spreads()), abs=1e-8)
    assert parameters["warnings"] == ["Wannierisation finished because num_iter was reached."]
    assert {"aiida.wout", "aiida_hr.dat", "aiida_tb.dat"} <= set(results["retrieved"].list_object_names())

    # The hopping of the model ends inside the mesh, so that the interpolation is exact.
    bands = results["interpolated_bands"]
    exact = [np.linalg.eigvalsh(hamiltonian(k)) for k in bands.get_kpoints()]
    np.testing.assert_allclose(bands.get_bands(), exact, atol=2e-5)
    assert bands.labels == [(0, "GAMMA"), (10, "X"), (20, "M")]
    assert bands.pbc == (True, True, False)


@real
@pytest.mark.parametrize(
    ("parameters", "bands_in_mmn", "status"),
    [
        ({"num_wann": 2, "search_shells": 1}, 2, 401),
        ({"num_wann": 2, "no_such_keyword": 1}, 2, 300),
        ({"num_wann": 1, "num_bands": 2, "dis_win_max": -1.5}, 2, 402),
        ({"num_wann": 2}, 3, 400),
    ],
)
def test_real_failure(inputs, nnkp, parameters, bands_in_mmn, status, tmp_path):
    for name, content in overlap_files(nnkp, parameters["num_wann"]).items():
        (tmp_path / name).write_text(content.replace("model\n2 ", f"model\n{bands_in_mmn} "))
    inputs["local_input_folder"] = orm.FolderData(tree=tmp_path)
    inputs["parameters"] = orm.Dict(parameters)
    _, node = run_get_node(Wannier90Calculation, **inputs)
    assert node.exit_status == status


@real
def test_real_disentanglement(inputs, nnkp, tmp_path):
    """The tolerance reported is that of the spread, not the one of the disentanglement that has the same name."""
    for name, content in overlap_files(nnkp, num_wann=1).items():
        (tmp_path / name).write_text(content)
    inputs["local_input_folder"] = orm.FolderData(tree=tmp_path)
    inputs["parameters"] = orm.Dict(
        {"num_wann": 1, "num_bands": 2, "conv_tol": 1e-9, "dis_conv_tol": 1e-7, "conv_window": 3, "iprint": 3}
    )
    results, node = run_get_node(Wannier90Calculation, **inputs)
    assert node.exit_status == 0
    parameters = results["output_parameters"].get_dict()
    assert parameters["convergence_tolerance"] == 1e-9
    assert parameters["output_verbosity"] == 3
    np.testing.assert_allclose(parameters["wannier_functions_output"][0]["wf_centres"], CENTRES[0], atol=0.05)
    assert parameters["warnings"] == []


if __name__ == "__main__":
    print(json.dumps(describe(importlib.import_module(sys.argv[1]).Wannier90Calculation), indent=2))
