"""Workchains as the database would hold them: made in milliseconds, where their numbers do not matter."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType

from aiida_dmi.engine import WannierModel, compute
from aiida_dmi.engine.output.results import save_result
from aiida_dmi.engine.output.units import per_length


@pytest.fixture(scope="session")
def result_file(model_file, tmp_path_factory):
    """A real result of the Co/Pt model, on a mesh that is too coarse for anything."""
    path = tmp_path_factory.mktemp("result") / "result.nc"
    model = WannierModel.load(model_file)
    masks = {"all": [1, 1], "Co": [0, 1]}
    save_result(compute(model, mesh=4, fermi_shifts=[-0.1, 0.0, 0.1], temperatures=[1500.0], soi_masks=masks), path)
    return path


@pytest.fixture
def make_chain(aiida_profile, model_node, result_file):
    """A stored, sealed DmiWorkChain that started from a model: `make_chain(label, status=0, scale=1.0, ...)`."""
    from aiida_dmi.data.response import DmiData

    model_node.store()

    def make(label="film", status=0, scale=1.0, description="", message=None, closure=0.05, outputs=True):
        chain = orm.WorkChainNode(label=label, description=description, process_type="aiida.workflows:dmi.dmi")
        chain.base.links.add_incoming(model_node, LinkType.INPUT_WORK, "model")
        chain.set_process_label("DmiWorkChain")
        chain.set_process_state("finished")
        chain.set_exit_status(status)
        if message:
            chain.set_exit_message(message)
        chain.store()
        if outputs:
            response = DmiData(result_file.absolute())
            result = response.dataset
            area = float(result.attrs["cell_area"])
            point = result.sel(soi_scale=1.0, fermi_shift=0.0, i="y", j="x").isel(direction=0, mask=0, temperature=0)
            values = {}
            for name in ("D", "Q", "D_1", "Q_1", "a_I", "a_II"):
                number = scale * float(point[name])
                values[f"{name}_yx"] = {
                    "meV_angstrom": number,
                    "meV_angstrom_error": 0.1,
                    "pJ_per_m": float(per_length(scale * point[name], area)),
                    "pJ_per_m_error": 0.01,
                }
            summary = {
                "values": values, "closure": closure, "soi_scale": 1.0, "fermi_shift_eV": 0.0, "direction": "0,0,1",
                "mask": "all", "temperature_K": 1500.0, "chemical_potential_eV": 3.8, "cell_area_angstrom2": area,
            }  # fmt: skip
            gate = {"response": {"closure": {"value": closure, "passed": status == 0}}, "warnings": []}
            for name, node in (
                ("response", response),
                ("output_parameters", orm.Dict(summary)),
                ("quality", orm.Dict(gate)),
            ):
                node.store()
                node.base.links.add_incoming(chain, LinkType.RETURN, name)
        chain.seal()
        return chain

    return make


@pytest.fixture
def unique(request):
    """A name no other test's campaign has."""
    return f"{request.node.name.replace('[', '_').rstrip(']')}-{np.random.default_rng().integers(1 << 30)}"
