"""CalcJob `dmi.model`: `dmi-engine build` on the computer that holds the wave functions."""

from __future__ import annotations

from typing import Any

import yaml
from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob, CalcJobProcessSpec
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.data.model import WannierModelData

REMOTES = ("nscf", "wannier_up", "wannier_down")


class WannierModelCalculation(CalcJob):
    """Builds the Wannier model file from a nscf run, two Wannier90 runs and the pseudopotentials."""

    INPUT_FILE = "build.yaml"
    MODEL_FILE = "model.h5"
    OUTPUT_FILE = "dmi-engine.out"
    ERROR_FILE = "dmi-engine.err"
    SEED = "aiida"
    SAVE_FOLDER = "out/aiida.save"

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define ports and exit codes."""
        super().define(spec)
        spec.input("nscf", valid_type=orm.RemoteData, help="Folder of the nscf pw.x run, wave functions kept.")
        spec.input("wannier_up", valid_type=orm.RemoteData, help="Folder of the spin-up wannier90.x run.")
        spec.input("wannier_down", valid_type=orm.RemoteData, help="Folder of the spin-down wannier90.x run.")
        spec.input_namespace(
            "pseudos",
            valid_type=UpfData,
            dynamic=True,
            required=True,
            help="Fully relativistic pseudopotential of every kind.",
        )
        spec.input(
            "scf_parameters",
            valid_type=orm.Dict,
            required=False,
            validator=cls.validate_scf_parameters,
            help="`output_parameters` of the scf run: its Fermi energy becomes the model's.",
        )
        spec.inputs.validator = cls.validate_inputs
        options = spec.inputs["metadata"]["options"]
        options["parser_name"].default = "dmi.model"
        options["resources"].default = {"num_machines": 1, "num_mpiprocs_per_machine": 1}
        options["withmpi"].default = False
        options["environment_variables"].default = {"OMP_NUM_THREADS": "1"}

        spec.output("model", valid_type=WannierModelData, help="The Wannier model.")
        spec.exit_code(
            302,
            "ERROR_OUTPUT_STDOUT_MISSING",
            message="dmi-engine left no output; see _scheduler-stderr.txt: is the code installed there?",
            invalidates_cache=True,
        )
        spec.exit_code(
            312,
            "ERROR_OUTPUT_STDOUT_INCOMPLETE",
            message="dmi-engine build did not reach its end (killed, out of time or memory?); it said last: {message}",
            invalidates_cache=True,
        )
        spec.exit_code(320, "ERROR_BAD_INPUT", message="dmi-engine build refused its input: {message}")
        spec.exit_code(
            330,
            "ERROR_OUTPUT_MODEL_INVALID",
            message="the model file is missing or invalid: {message}",
            invalidates_cache=True,
        )

    @staticmethod
    def validate_scf_parameters(node: orm.Dict | None, _: Any) -> str | None:
        """The scf's Fermi energy must be there."""
        if node is not None and not isinstance(node.get("fermi_energy", None), (int, float)):
            return "scf_parameters: has no number `fermi_energy`; give the output_parameters of the scf PwCalculation"
        return None

    @staticmethod
    def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
        """Everything must lie on one computer: the engine reads the wave functions in place."""
        folders = [inputs[name] for name in REMOTES if name in inputs]
        computers = {folder.computer.uuid for folder in folders}
        if "code" in inputs and inputs["code"].computer is not None:
            computers.add(inputs["code"].computer.uuid)
        if len(computers) > 1:
            labels = sorted({folder.computer.label for folder in folders})
            return f"nscf, wannier_up, wannier_down and the code must be on one computer, found {', '.join(labels)}"
        # A workchain that exposes these ports leaves pseudos out and fills them in itself.
        if "pseudos" in inputs and not inputs["pseudos"]:
            return "pseudos: none given; one fully relativistic pseudopotential a kind is needed"
        return None

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the spec; link the folders of the earlier runs."""
        pseudos = dict(self.inputs.pseudos)
        spec: dict[str, Any] = {
            "nscf": f"nscf/{self.SAVE_FOLDER}",
            "wannier_up": f"wannier_up/{self.SEED}",
            "wannier_down": f"wannier_down/{self.SEED}",
            "pseudopotentials": {kind: f"pseudos/{kind}.upf" for kind in pseudos},
        }
        if "scf_parameters" in self.inputs:
            spec["fermi_energy"] = float(self.inputs.scf_parameters["fermi_energy"])
        with folder.open(self.INPUT_FILE, "w") as handle:
            yaml.safe_dump(spec, handle, sort_keys=False)

        code = CodeInfo()
        code.code_uuid = self.inputs.code.uuid
        code.cmdline_params = ["build", self.INPUT_FILE, "--output", self.MODEL_FILE]
        code.stdout_name = self.OUTPUT_FILE
        code.stderr_name = self.ERROR_FILE

        info = CalcInfo()
        info.codes_info = [code]
        info.local_copy_list = [(p.uuid, p.filename, f"pseudos/{kind}.upf") for kind, p in pseudos.items()]
        remotes = {name: self.inputs[name] for name in REMOTES}
        info.remote_symlink_list = [(r.computer.uuid, r.get_remote_path(), name) for name, r in remotes.items()]
        info.retrieve_list = [self.OUTPUT_FILE, self.ERROR_FILE]
        # Stored once, in the output node.
        info.retrieve_temporary_list = [self.MODEL_FILE]
        return info
