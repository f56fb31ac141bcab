"""CalcJob `dmi.completeness`: `dmi-engine complete` on the computer that holds the wave functions."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder

from aiida_dmi.aiida_types import Spec
from aiida_dmi.calculations.engine import (
    EngineCalculation,
    define_long_job,
    define_pseudos,
    pseudo_path,
    refused_folders,
    refused_pseudos,
)
from aiida_dmi.data.completeness import CompletenessData
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.completeness.spec import AXES, CompletenessSpec
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.files.yaml_text import dump_yaml

REMOTES = ("nscf", "potential_up", "potential_down")


class CompletenessCalculation(EngineCalculation):
    """Compares D(1), a(I), a(II) of a Wannier model with those exact in plane waves."""

    COMMAND = "complete"
    PARSER = "dmi.completeness"
    INPUT_FILE = "complete.yaml"
    FILE = "completeness.nc"
    CHECKPOINT_FILE = f"{FILE}.checkpoint"
    POTENTIAL_FILE = "aiida.filplot"

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define ports."""
        super().define(spec)
        spec.input("model", valid_type=WannierModelData, help="The Wannier model.")
        spec.input(
            "nscf",
            valid_type=orm.RemoteData,
            help="Folder of a nscf pw.x run on the mesh, or on its irreducible points; wave functions kept.",
        )
        for name, component in (("potential_up", 1), ("potential_down", 2)):
            spec.input(
                name,
                valid_type=orm.RemoteData,
                help=f"Folder of pp.x (PpCalculation) with plot_num = 1, spin_component = {component}, of the scf.",
            )
        define_pseudos(spec)
        spec.input(
            "parameters",
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            validator=cls.validate_parameters,
            help=f"Keys of a spec of dmi-engine complete: {', '.join(AXES)}.",
        )
        define_long_job(spec)
        spec.inputs.validator = cls.validate_inputs
        spec.output("completeness", valid_type=CompletenessData, help="D(1), a(I), a(II) exact and of the model.")

    @classmethod
    def validate_parameters(cls, node: orm.Dict | None, _: Any) -> str | None:
        """Keys and kinds; what depends on the model is checked by the engine before it computes."""
        given = {} if node is None else node.get_dict()
        if unknown := sorted(set(given) - set(AXES)):
            return f"parameters: unknown key {', '.join(unknown)}; expected {', '.join(AXES)}"
        try:
            CompletenessSpec.checked_axes(given)
        except InputError as error:
            return f"parameters: {error}"
        return None

    @staticmethod
    def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
        """Folders on one computer, and pseudopotentials."""
        return refused_folders(inputs, REMOTES) or refused_pseudos(inputs)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the spec; send the model along, link the folders of the earlier runs."""
        pseudos = dict(self.inputs.pseudos)
        spec: dict[str, Any] = {
            "model": self.MODEL_FILE,
            "nscf": f"nscf/{self.SAVE_FOLDER}",
            "potentials": [f"{name}/{self.POTENTIAL_FILE}" for name in REMOTES[1:]],
            "pseudopotentials": {kind: pseudo_path(kind) for kind in pseudos},
            **self.inputs.parameters.get_dict(),
        }
        with folder.open(self.INPUT_FILE, "w") as handle:
            handle.write(dump_yaml(spec))
        info = self.calc_info("--processes", str(self.inputs.metadata.options.processes))
        model = self.inputs.model
        info.local_copy_list = [
            (model.uuid, model.filename, self.MODEL_FILE),
            *((p.uuid, p.filename, pseudo_path(kind)) for kind, p in pseudos.items()),
        ]
        self.link_folders(info, REMOTES)
        self.resume(info)
        return info
