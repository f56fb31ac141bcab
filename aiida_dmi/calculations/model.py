"""CalcJob `dmi.model`: `dmi-engine build` on the computer that holds the wave functions."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder

from aiida_dmi.aiida_types import Spec
from aiida_dmi.calculations.engine import (
    EngineCalculation,
    define_pseudos,
    define_symmetry,
    pseudo_path,
    refused_folders,
    refused_pseudos,
)
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

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define ports."""
        super().define(spec)
        spec.input("nscf", valid_type=orm.RemoteData, help="Folder of the nscf pw.x run, wave functions kept.")
        spec.input("wannier_up", valid_type=orm.RemoteData, help="Folder of the spin-up wannier90.x run.")
        spec.input("wannier_down", valid_type=orm.RemoteData, help="Folder of the spin-down wannier90.x run.")
        define_symmetry(spec)
        define_pseudos(spec)
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
        """Folders on one computer, and pseudopotentials."""
        return refused_folders(inputs, REMOTES) or refused_pseudos(inputs)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the spec; link the folders of the earlier runs."""
        pseudos = dict(self.inputs.pseudos)
        spec: dict[str, Any] = {
            "nscf": f"nscf/{self.SAVE_FOLDER}",
            "wannier_up": f"wannier_up/{self.SEED}",
            "wannier_down": f"wannier_down/{self.SEED}",
            "pseudopotentials": {kind: pseudo_path(kind) for kind in pseudos},
        }
        if "scf_parameters" in self.inputs:
            spec["fermi_energy"] = float(self.inputs.scf_parameters["fermi_energy"])
        if "symmetry" in self.inputs:
            spec["operations"] = self.inputs.symmetry["operations"]
        with folder.open(self.INPUT_FILE, "w") as handle:
            handle.write(dump_yaml(spec))

        info = self.calc_info()
        info.local_copy_list = [(p.uuid, p.filename, pseudo_path(kind)) for kind, p in pseudos.items()]
        self.link_folders(info, REMOTES)
        return info
