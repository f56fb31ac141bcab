"""CalcJob `dmi.overlaps`: `dmi-engine overlaps` on the computer that holds the wave functions."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.aiida_types import Spec
from aiida_dmi.calculations.engine import EngineCalculation, define_symmetry, refused_folders
from aiida_dmi.engine.build.atomic_functions import ATOMIC, HYDROGENIC, KINDS
from aiida_dmi.engine.files.yaml_text import dump_yaml
from aiida_dmi.engine.model.file import SPINS


class OverlapsCalculation(EngineCalculation):
    """Writes aiida.amn, .mmn and .eig of one spin, as pw2wannier90.x does, for norm-conserving pseudopotentials.

    They stay in its remote folder, the `remote_input_folder` of a wannier90.x run.
    """

    COMMAND = "overlaps"
    PARSER = "dmi.overlaps"
    INPUT_FILE = "overlaps.yaml"
    SEED = "aiida"
    FILE = f"{SEED}.overlaps.json"
    NNKP_FILE = f"{SEED}.nnkp"

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define ports."""
        super().define(spec)
        spec.input("nscf", valid_type=orm.RemoteData, help="Folder of the nscf pw.x run, wave functions kept.")
        spec.input(
            "nnkp_file",
            valid_type=orm.SinglefileData,
            help="The .nnkp file of `wannier90.x -pp`; the same one serves both spins.",
        )
        spec.input("spin", valid_type=orm.Str, validator=cls.validate_spin, help="'up' or 'down'.")
        define_symmetry(spec)
        spec.input(
            "trial_functions",
            valid_type=orm.Str,
            required=False,
            validator=cls.validate_trial_functions,
            help="'hydrogenic', as projections of the .nnkp file are (default), or 'atomic': of `pseudos`.",
        )
        spec.input_namespace(
            "pseudos", valid_type=UpfData, dynamic=True, help="Of every kind; given for atomic trial functions only."
        )
        spec.inputs.validator = cls.validate_inputs
        spec.output(
            "output_parameters",
            valid_type=orm.Dict,
            help="bands, kpoints, functions, neighbours; smallest_singular_value of the projections A(k) over all k "
            "(near 0: some function is not in the bands), smallest_at that k point; computed k points of the nscf, "
            "operations that gave others and symmetry_residual (eV), by how much the states break them; seconds.",
        )
        spec.default_output_node = "output_parameters"

    @staticmethod
    def validate_spin(node: orm.Str, _: Any) -> str | None:
        """One of the two channels."""
        return None if node.value in SPINS else f"spin: {node.value!r} was given, expected one of {', '.join(SPINS)}"

    @staticmethod
    def validate_trial_functions(node: orm.Str | None, _: Any) -> str | None:
        """One of those that the engine makes."""
        if node is None or node.value in KINDS:
            return None
        return f"trial_functions: {node.value!r} was given, expected one of {', '.join(KINDS)}"

    @staticmethod
    def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
        """The engine reads the wave functions in place; atomic functions are made of pseudopotentials."""
        kind = inputs["trial_functions"].value if "trial_functions" in inputs else HYDROGENIC
        if (kind == ATOMIC) != bool(inputs.get("pseudos")):
            return f"pseudos: given for trial_functions {ATOMIC}, and only for these; they are {kind}"
        return refused_folders(inputs, ("nscf",))

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the spec; link the nscf run's folder."""
        spec: dict[str, Any] = {
            "nscf": f"nscf/{self.SAVE_FOLDER}",
            "nnkp": self.NNKP_FILE,
            "spin": self.inputs.spin.value,
        }
        if "symmetry" in self.inputs:
            spec["operations"] = self.inputs.symmetry["operations"]
        pseudos = self.inputs.get("pseudos", {})
        if pseudos:
            spec |= {"trial_functions": ATOMIC, "pseudos": {kind: f"{kind}.upf" for kind in pseudos}}
        with folder.open(self.INPUT_FILE, "w") as handle:
            handle.write(dump_yaml(spec))

        info = self.calc_info(output=self.SEED)
        nnkp = self.inputs.nnkp_file
        files = [(upf.uuid, upf.filename, f"{kind}.upf") for kind, upf in pseudos.items()]
        info.local_copy_list = [(nnkp.uuid, nnkp.filename, self.NNKP_FILE), *files]
        self.link_folders(info, ["nscf"])
        return info
