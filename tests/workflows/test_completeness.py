"""WorkChain dmi.completeness: real pw.x, pp.x and dmi-engine on the tiny film, from its scf."""

import numpy as np
import pytest
from aiida import engine, orm
from aiida.common import LinkType
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.completeness import CompletenessSpec, complete
from aiida_dmi.engine.constants import BOHR_ANGSTROM
from aiida_dmi.workflows.completeness import CompletenessWorkChain

OPTIONS = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}, "withmpi": False}


@pytest.fixture
def builder(codes, computer, tiny, tiny_model):
    save = tiny.save()
    structure = orm.StructureData(cell=save.cell * BOHR_ANGSTROM, pbc=(True, True, False))
    for name, position in zip(save.species, save.positions * BOHR_ANGSTROM, strict=True):
        structure.append_atom(position=position, symbols=name)
    builder = CompletenessWorkChain.get_builder()
    builder.structure = structure
    builder.pseudos = {kind: UpfData(path) for kind, path in tiny.pseudopotentials.items()}
    builder.averaged = {kind: UpfData(path) for kind, path in tiny.averages.items()}
    builder.model = WannierModelData(tiny.model)
    builder.scf_folder = orm.RemoteData(str(tiny.folder / "scf"), computer=computer)
    builder.scf_parameters = orm.Dict({"fermi_energy": save.fermi_energy})
    mesh = orm.KpointsData()
    mesh.set_kpoints_mesh([4, 4, 1])
    builder.kpoints = mesh
    builder.nscf.pw.code = codes["pw"]
    builder.nscf.pw.metadata.options = OPTIONS
    system = {"ecutwfc": 5, "nbnd": 5, "nspin": 2, "occupations": "smearing", "smearing": "mv", "degauss": 0.02}
    magnetic = {f"starting_magnetization({kind})": 0.5 for kind in (1, 2)}
    parameters = {
        "CONTROL": {"calculation": "nscf"},
        "SYSTEM": {**system, **magnetic},
        "ELECTRONS": {"conv_thr": 1e-10},
    }
    builder.nscf.pw.parameters = orm.Dict(parameters)
    builder.potential.code = codes["pp"]
    builder.potential.metadata.options = OPTIONS
    builder.completeness.code = codes["engine"]
    builder.completeness.parameters = orm.Dict({"temperatures": [3000.0]})
    return builder


def test_from_the_density_to_the_comparison(builder, tiny, tmp_path):
    """Five bands do not reach high enough: more, and then what the engine makes of the plain programs' files."""
    results, node = engine.run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    calls = (LinkType.CALL_CALC, LinkType.CALL_WORK)
    links = [link.link_label for link in node.base.links.get_outgoing(link_type=calls).all()]
    assert links.count("nscf") == 2
    assert {"potential_up", "potential_down", "completeness"} <= set(links)
    found = results["completeness"].dataset
    expected = complete(CompletenessSpec.from_mapping(tiny.spec(temperatures=[3000.0]), tmp_path))
    assert found.attrs["irreducible_points"] == 6
    scale = float(np.abs(expected["a_I"]).max())
    for name in ("D_1", "a_I", "a_II"):
        np.testing.assert_allclose(found[name], expected[name], atol=3e-4 * scale)
        np.testing.assert_array_equal(found[f"{name}_wannier"], expected[f"{name}_wannier"])
    # The same states given: none are computed.
    nscf = [link.node for link in node.base.links.get_outgoing().all() if link.link_label == "nscf"][-1]
    builder.nscf_folder, builder.nscf_bands = nscf.outputs.remote_folder, nscf.outputs.output_band
    results, node = engine.run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert not [job for job in node.called_descendants if job.process_label == "PwCalculation"]
    np.testing.assert_array_equal(results["completeness"].dataset.D_1, found.D_1)


def test_a_density_that_is_gone_is_said(builder, tmp_path):
    """Before anything starts from it: AiiDA would try again and again."""
    builder.scf_folder = orm.RemoteData(str(tmp_path / "gone"), computer=builder.scf_folder.computer)
    _, node = engine.run_get_node(builder)
    assert node.exit_status == CompletenessWorkChain.exit_codes.ERROR_FOLDER_GONE.status
    assert f"step nscf: the density in {tmp_path / 'gone'} is gone from the computer; launch again" in node.exit_message
