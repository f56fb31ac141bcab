"""WorkChain `dmi.dmi`: from a slab to D, Q and the decomposition a(I) + a(II)."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ExitCode, ProcessSpec, ToContext, WorkChain, if_

from aiida_dmi.calculations.functions import headline
from aiida_dmi.calculations.response import DmiCalculation
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.data.response import DmiData
from aiida_dmi.workflows.builders import dmi_builder
from aiida_dmi.workflows.wannier_model import WannierModelWorkChain


class DmiWorkChain(WorkChain):
    """The Dzyaloshinskii-Moriya interaction and the ground-state spin current of a magnetic film.

    Starts from a structure, or from a finished `model`: then no DFT is run.
    """

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define ports, outline and exit codes."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, required=False, help="The film, normal +z.")
        spec.input("model", valid_type=WannierModelData, required=False, help="A finished Wannier model.")
        spec.input(
            "thickness",
            valid_type=orm.Float,
            required=False,
            help="Of the magnetic film, Angstrom, for mJ/m^2.",
            validator=lambda node, _: None if node is None or node.value > 0 else "thickness: must be positive",
        )
        spec.expose_inputs(
            WannierModelWorkChain,
            namespace="wannier_model",
            exclude=("structure",),
            namespace_options={
                "required": False,
                "populate_defaults": False,
                "help": "From the structure to the model.",
            },
        )
        spec.expose_inputs(DmiCalculation, namespace="response", exclude=("model",))
        spec.inputs.validator = cls.validate_inputs

        spec.outline(
            if_(cls.needs_model)(cls.run_model, cls.inspect_model),
            cls.run_response,
            cls.inspect_response,
            cls.results,
        )

        spec.output("response", valid_type=DmiData, help="D, Q, D(1), Q(1), a(I), a(II): axes, units, errors.")
        spec.output("model", valid_type=WannierModelData, required=False, help="The Wannier model.")
        spec.output("scf_parameters", valid_type=orm.Dict, required=False, help="Output parameters of the scf run.")
        spec.output("output_parameters", valid_type=orm.Dict, help="Headline values with units and errors.")
        spec.exit_code(
            401,
            "ERROR_SUB_PROCESS_FAILED_MODEL",
            message="step model: WannierModelWorkChain<{pk}> failed, exit {status}: {message}",
        )
        spec.exit_code(
            402,
            "ERROR_SUB_PROCESS_FAILED_RESPONSE",
            message="step response: dmi-engine run failed ({pk}, exit {status}): {message}",
        )

    @staticmethod
    def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
        """Either a finished model, or a structure with all that makes its model."""
        if "model" in inputs:
            if "wannier_model" in inputs or "structure" in inputs:
                return "model: given together with a structure; give one of them"
            return None
        if "structure" not in inputs or "wannier_model" not in inputs:
            return "structure: missing; give a structure with the inputs of `wannier_model`, or a finished `model`"
        structure = inputs["structure"]
        message = WannierModelWorkChain.validate_structure(structure, None)
        if message is None:
            message = WannierModelWorkChain.validate_inputs({**inputs["wannier_model"], "structure": structure}, None)
        masks = inputs["response"]["parameters"].get("soi_masks", None) or {}
        for name, weights in masks.items():
            if message is None and len(weights) != len(structure.sites):
                atoms = len(structure.sites)
                message = f"response.parameters: soi_masks: {name} has {len(weights)} weights for {atoms} atoms"
        return message

    def needs_model(self) -> bool:
        """Whether DFT has to be run."""
        return "model" not in self.inputs

    def run_model(self) -> ToContext:
        """From the structure to the model."""
        inputs = AttributeDict(self.exposed_inputs(WannierModelWorkChain, namespace="wannier_model"))
        inputs.structure = self.inputs.structure
        inputs.metadata.call_link_label = "wannier_model"
        return ToContext(wannier_model=self.submit(WannierModelWorkChain, **inputs))

    def inspect_model(self) -> ExitCode | None:
        """Take over the model."""
        node = self.ctx.wannier_model
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_MODEL.format(
                pk=node.pk, status=node.exit_status, message=node.exit_message
            )
        self.out_many({"model": node.outputs.model, "scf_parameters": node.outputs.scf_parameters})
        return None

    def run_response(self) -> ToContext:
        """Every xi, shift, direction, mask and temperature in one job."""
        inputs = AttributeDict(self.exposed_inputs(DmiCalculation, namespace="response"))
        inputs.model = self.inputs.model if "model" in self.inputs else self.ctx.wannier_model.outputs.model
        inputs.metadata.call_link_label = "response"
        node = self.submit(DmiCalculation, **inputs)
        self.report(f"response: DmiCalculation<{node.pk}> started")
        return ToContext(response=node)

    def inspect_response(self) -> ExitCode | None:
        """Take over the arrays."""
        node = self.ctx.response
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_RESPONSE.format(
                pk=node.pk, status=node.exit_status, message=node.exit_message
            )
        self.out("response", node.outputs.response)
        return None

    def results(self) -> None:
        """Headline values."""
        optional = {}
        if "wannier_model" in self.ctx:
            optional["scf_parameters"] = self.ctx.wannier_model.outputs.scf_parameters
        if "thickness" in self.inputs:
            optional["thickness"] = self.inputs.thickness
        self.out("output_parameters", headline(self.ctx.response.outputs.response, **optional))

    @classmethod
    def get_builder_from_protocol(cls, codes: Any, structure: orm.StructureData, **options: Any) -> Any:
        """Builder with all inputs by a protocol.

        Parameters
        ----------
        codes : dict
            `pw`, `pw2wannier90`, `wannier90`, `engine`.
        structure : StructureData
        **options
            protocol, overrides, pseudos, magnetic_moments, options; see `aiida_dmi.workflows.builders`.
        """
        return dmi_builder(cls, codes, structure, **options)
