"""CalcJob `dmi.model`: `dmi-engine build` on the computer that holds the wave functions."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.aiida_types import Spec
from aiida_dmi.calculations.engine import EngineCalculation, define_symmetry
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.files.yaml_text import dump_yaml

REMOTES = ("nscf", "wannier_up", "wannier_down")


class WannierModelCalculation(EngineCalculation):
    """Builds the Wannier model file from a nscf run, two Wannier90 runs and the pseudopotentials."""

    COMMAND = "build"
    PARSER = "dmi.model"
    INPUT_FILE = "build.yaml"
    FILE = "model.h5"
    SEED = "aiida"
    SAVE_FOLDER = "out/aiida.save"

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define ports."""
        super().define(spec)
        spec.input("nscf", valid_type=orm.RemoteData, help="Folder of the nscf pw.x run, wave functions kept.")
        spec.input("wannier_up", valid_type=orm.RemoteData, help="Folder of the spin-up wannier90.x run.")
        spec.input("wannier_down", valid_type=orm.RemoteData, help="Folder of the spin-down wannier90.x run.")
        define_symmetry(spec)
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
        spec.output("model", valid_type=WannierModelData, help="The Wannier model.")

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
        if "symmetry" in self.inputs:
            spec["operations"] = self.inputs.symmetry["operations"]
        with folder.open(self.INPUT_FILE, "w") as handle:
            handle.write(dump_yaml(spec))

        info = self.calc_info()
        info.local_copy_list = [(p.uuid, p.filename, f"pseudos/{kind}.upf") for kind, p in pseudos.items()]
        remotes = {name: self.inputs[name] for name in REMOTES}
        info.remote_symlink_list = [(r.computer.uuid, r.get_remote_path(), name) for name, r in remotes.items()]
        return info
