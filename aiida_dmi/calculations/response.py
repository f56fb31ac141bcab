"""CalcJob `dmi.response`: `dmi-engine run`, every xi, shift, direction, mask and temperature of one model."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder

from aiida_dmi.aiida_types import Spec
from aiida_dmi.calculations.engine import EngineCalculation, define_long_job
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.data.response import DmiData
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.files.yaml_text import dump_yaml
from aiida_dmi.engine.integrate.settings import Settings

DEFAULTS: dict[str, Any] = {
    "soi_scales": [1.0],
    "fermi_shifts": [0.0],
    "temperatures": [300.0],
    "directions": [[0, 0, 1]],
    "soi_masks": None,
    "fermi_level": "neutral",
    "method": "bands",
}
OPTIONAL = ("quantities", "symmetry", "tolerance", "max_mesh")
"""Arguments of `compute` that are left out: which quantities, and how their sum is converged."""


class DmiCalculation(EngineCalculation):
    """Computes D, Q, D(1), Q(1), a(I), a(II), or any other quantities, of a Wannier model."""

    COMMAND = "run"
    PARSER = "dmi.response"
    INPUT_FILE = "run.yaml"
    FILE = "result.nc"
    CHECKPOINT_FILE = f"{FILE}.checkpoint"

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define ports."""
        super().define(spec)
        spec.input("model", valid_type=WannierModelData, help="The Wannier model.")
        spec.input(
            "parameters",
            valid_type=orm.Dict,
            help="Arguments of the engine's `compute`: mesh, soi_scales, fermi_shifts (eV), temperatures (K), "
            "directions, soi_masks, fermi_level, method, quantities, symmetry, tolerance "
            "(meV*Angstrom, or '1 %' of D), max_mesh.",
        )
        define_long_job(spec)
        spec.inputs.validator = cls.validate_inputs

        # The longest job of all: where somebody stopped it on purpose, nothing goes on unasked.
        spec.exit_code(
            313,
            "ERROR_CANCELLED",
            message="dmi-engine run was ended on purpose: {message}; not started again unasked",
            invalidates_cache=True,
        )
        spec.output("response", valid_type=DmiData, help="D, Q, a(I), a(II) with named axes, units and errors.")

    @staticmethod
    def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
        """The engine's own check of its arguments, before anything is submitted."""
        if "parameters" not in inputs:
            return None
        atoms, dimension = None, 2
        if "model" in inputs:
            attributes = inputs["model"].base.attributes
            atoms, dimension = len(attributes.get("symbols")), 3 if attributes.get("mesh")[2] > 1 else 2
        message = refusal(inputs["parameters"].get_dict(), atoms, dimension)
        return None if message is None else f"parameters: {message}"

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the spec; send the model along."""
        with folder.open(self.INPUT_FILE, "w") as handle:
            handle.write(dump_yaml({"model": self.MODEL_FILE, **self.inputs.parameters.get_dict()}))

        info = self.calc_info("--processes", str(self.inputs.metadata.options.processes))
        info.local_copy_list = [(self.inputs.model.uuid, self.inputs.model.filename, self.MODEL_FILE)]
        self.resume(info)
        return info


def refusal(arguments: dict[str, Any], atoms: int | None = None, dimension: int = 2) -> str | None:
    """What the engine would say against arguments of `compute`.

    Parameters
    ----------
    arguments : dict
    atoms : int, optional
        Of the model; where there is none yet, the masks say how many atoms they are for.
    dimension : int
        Periodic directions of the model.
    """
    known = ("mesh", *DEFAULTS, *OPTIONAL)
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        return f"unknown key {', '.join(unknown)}; expected {', '.join(known)}"
    if arguments.get("mesh") is None and arguments.get("tolerance") is None:
        return "mesh is missing; give the points along each periodic direction, or a tolerance"
    if atoms is None:
        masks = arguments.get("soi_masks")
        first = next(iter(masks.values()), None) if isinstance(masks, dict) else None
        atoms = len(first) if isinstance(first, list) else 1
    try:
        Settings.checked(dimension=dimension, atoms=atoms, **{**DEFAULTS, **arguments})
    except InputError as error:
        return str(error)
    return None
