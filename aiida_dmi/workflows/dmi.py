"""WorkChain `dmi.dmi`: from a slab to D, Q and the decomposition a(I) + a(II)."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ExitCode, ProcessBuilder, ToContext
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.aiida_types import Spec, exit_code, if_
from aiida_dmi.calculations.functions import corrected_response, headline, scalar_relativistic_average
from aiida_dmi.calculations.quality import assess_response, quality_summary
from aiida_dmi.data.completeness import CompletenessData
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.data.response import DmiData
from aiida_dmi.workflows import cleaning, validation
from aiida_dmi.workflows.completeness import CompletenessWorkChain
from aiida_dmi.workflows.completeness_inputs import completeness_ports, serves_both
from aiida_dmi.workflows.model_inputs import checked_film, model_ports
from aiida_dmi.workflows.origin import ORIGIN, define_origin, origin_of
from aiida_dmi.workflows.ports import fill
from aiida_dmi.workflows.protocols.mixin import FilmProtocols
from aiida_dmi.workflows.protocols.utils import load_protocol
from aiida_dmi.workflows.response_base import DmiBaseWorkChain
from aiida_dmi.workflows.response_inputs import (
    check_of_model,
    film_for,
    gate_ports,
    response_ports,
    shape_of_film,
    shape_of_model,
)
from aiida_dmi.workflows.reuse import ReusingWorkChain
from aiida_dmi.workflows.steps import start, step_failed
from aiida_dmi.workflows.wannier_model import WannierModelWorkChain


class DmiWorkChain(FilmProtocols, ReusingWorkChain):
    """The Dzyaloshinskii-Moriya interaction and the ground-state spin current of a magnetic film.

    Starts from a structure, or from a finished `model`: then no DFT is run.
    """

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define ports, outline and exit codes."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, required=False, help="The film, normal +z.")
        spec.input(
            "model",
            valid_type=WannierModelData,
            required=False,
            help="A finished Wannier model; given with a structure, it has to be that structure's.",
        )
        spec.input(
            "film",
            valid_type=orm.Dict,
            required=False,
            validator=validation.film,
            help="What the intake decided of the film (`structures.film.Film.record`); default: decided anew.",
        )
        spec.input(
            "thickness",
            valid_type=orm.Float,
            required=False,
            help="Of the magnetic film, Angstrom, for mJ/m^2, in place of the film's own.",
            validator=lambda node, _: None if node is None or node.value > 0 else "thickness: must be positive",
        )
        spec.input(
            "quality",
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            validator=validation.limits,
            help="Limits of the response's gate: closure, symmetry_residual, k_error.",
        )
        spec.input(
            "force",
            valid_type=orm.Bool,
            default=lambda: orm.Bool(False),
            help="End well whatever the response's gate says; the outputs carry the warning.",
        )
        spec.expose_inputs(
            WannierModelWorkChain,
            namespace="wannier_model",
            exclude=("structure", "film", ORIGIN),
            namespace_options={
                "required": False,
                "populate_defaults": False,
                "help": "From the structure to the model.",
            },
        )
        spec.expose_inputs(DmiBaseWorkChain, namespace="response", exclude=("dmi.model",))
        spec.expose_inputs(
            CompletenessWorkChain,
            namespace="completeness",
            exclude=(
                *("structure", "pseudos", "averaged", "model", "scf_folder", "scf_parameters"),
                *("nscf_folder", "nscf_bands"),
            ),
            namespace_options={
                "required": False,
                "populate_defaults": False,
                "help": "What the Wannier functions leave out, in plane waves; left out: the numbers stay theirs.",
            },
        )
        define_origin(spec)
        spec.inputs.validator = cls.validate_inputs

        spec.outline(
            if_(cls.needs_model)(cls.run_model, cls.inspect_model),
            if_(cls.wants_completeness)(cls.run_completeness, cls.inspect_completeness),
            cls.run_response,
            cls.inspect_response,
            cls.results,
        )

        spec.output("response", valid_type=DmiData, help="D, Q, D(1), Q(1), a(I), a(II): axes, units, errors.")
        spec.output(
            "completeness",
            valid_type=CompletenessData,
            required=False,
            help="D(1), a(I), a(II) exact in plane waves and of the model: `response` is corrected by it.",
        )
        spec.output("model", valid_type=WannierModelData, required=False, help="The Wannier model.")
        spec.output("structure", valid_type=orm.StructureData, required=False, help="The relaxed film.")
        spec.output("film", valid_type=orm.Dict, required=False, help="The film's record after its relaxation.")
        spec.output("scf_parameters", valid_type=orm.Dict, required=False, help="Output parameters of the scf run.")
        spec.output("quality", valid_type=orm.Dict, required=False, help="The gates of model and response, warnings.")
        spec.output("output_parameters", valid_type=orm.Dict, help="Headline values with units and errors.")
        spec.exit_code(
            401,
            "ERROR_SUB_PROCESS_FAILED_MODEL",
            message="step model: WannierModelWorkChain<{pk}> failed, exit {status}: {message}",
        )
        spec.exit_code(
            402,
            "ERROR_SUB_PROCESS_FAILED_RESPONSE",
            message="step response: DmiBaseWorkChain<{pk}> failed, exit {status}: {message}",
        )
        spec.exit_code(
            403,
            "ERROR_SUB_PROCESS_FAILED_COMPLETENESS",
            message="step completeness: CompletenessWorkChain<{pk}> failed, exit {status}: {message}",
        )
        spec.exit_code(430, "ERROR_QUALITY", message="quality gate of the response: {message}")

    @staticmethod
    def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
        """Either a finished model, or a structure with all that makes its model."""
        if "model" in inputs:
            if inputs.get("wannier_model"):
                return "model: given together with the inputs of wannier_model; give one of them"
            if inputs.get("completeness"):
                return "completeness: given with a finished model, whose scf is gone; start from the structure"
            return validation.same_atoms(inputs["model"], inputs["structure"]) if "structure" in inputs else None
        if "structure" not in inputs or "wannier_model" not in inputs:
            return "structure: missing; give a structure with the inputs of `wannier_model`, or a finished `model`"
        structure = inputs["structure"]
        message = validation.structure(structure)
        if message is None:
            message = WannierModelWorkChain.validate_inputs({**inputs["wannier_model"], "structure": structure}, None)
        response = inputs["response"]["dmi"]["parameters"]
        asked = response.get("quantities", None)
        if message is None and inputs.get("completeness") and asked is not None and "D_1" not in asked:
            message = (
                f"completeness: the response's quantities are {', '.join(asked)}; D_1 has to be among them, or leave "
                "it out with `completeness: null`"
            )
        masks = response.get("soi_masks", None) or {}
        for name, weights in masks.items():
            if message is None and len(weights) != len(structure.sites):
                atoms = len(structure.sites)
                message = f"response.dmi.parameters: soi_masks: {name} has {len(weights)} weights for {atoms} atoms"
        return message or validation.film_of_structure(inputs.get("film"), structure)

    def needs_model(self) -> bool:
        """Whether DFT has to be run."""
        if "model" in self.inputs:
            self.ctx.model = self.inputs.model
        return "model" not in self.inputs

    def run_model(self) -> ToContext[str, Any]:
        """From the structure to the model."""
        inputs = AttributeDict(self.exposed_inputs(WannierModelWorkChain, namespace="wannier_model"))
        inputs.structure = self.inputs.structure
        if "film" in self.inputs:
            inputs.film = self.inputs.film
        if self.wants_completeness():
            inputs.clean_workdir = orm.Bool(False)  # the density is needed once more: see `on_terminated`
        return ToContext(wannier_model=start(self, WannierModelWorkChain, inputs, "wannier_model"))

    def inspect_model(self) -> ExitCode | None:
        """Take over the model."""
        node = self.ctx.wannier_model
        for name in ("model", "structure", "film", "scf_parameters"):
            if name in node.outputs:
                self.out(name, node.outputs[name])
        if not node.is_finished_ok:
            if "quality" in node.outputs:
                self.out("quality", quality_summary(model=node.outputs.quality))
            return step_failed(self, "MODEL", node)
        self.ctx.model = node.outputs.model
        return None

    def wants_completeness(self) -> bool:
        """Whether what the Wannier functions leave out is to be put back."""
        return bool(self.inputs.get("completeness", None))

    def run_completeness(self) -> ToContext[str, Any]:
        """D(1), a(I), a(II) in plane waves, from the density of the model's scf."""
        done = self.ctx.wannier_model.outputs
        inputs = AttributeDict(self.exposed_inputs(CompletenessWorkChain, namespace="completeness"))
        inputs.structure = done.structure if "structure" in done else self.inputs.structure
        inputs.pseudos = dict(self.inputs.wannier_model.pseudos)
        inputs.averaged = {kind: scalar_relativistic_average(pseudo) for kind, pseudo in inputs.pseudos.items()}
        inputs.model = self.ctx.model
        inputs.scf_folder, inputs.scf_parameters = done.scf_folder, done.scf_parameters
        if serves_both(self.inputs.wannier_model, inputs.kpoints):
            inputs.nscf_folder, inputs.nscf_bands = done.nscf_folder, done.nscf_bands
        return ToContext(completeness=start(self, CompletenessWorkChain, inputs, "completeness"))

    def inspect_completeness(self) -> ExitCode | None:
        """Take over the comparison."""
        node = self.ctx.completeness
        if not node.is_finished_ok:
            return step_failed(self, "COMPLETENESS", node)
        self.out("completeness", node.outputs.completeness)
        return None

    def run_response(self) -> ToContext[str, Any]:
        """Every xi, shift, direction, mask and temperature in one job."""
        inputs = AttributeDict(self.exposed_inputs(DmiBaseWorkChain, namespace="response"))
        inputs.dmi.model = self.ctx.model
        return ToContext(response=start(self, DmiBaseWorkChain, inputs, "response"))

    def inspect_response(self) -> ExitCode | None:
        """Take over the arrays."""
        node = self.ctx.response
        if not node.is_finished_ok:
            return step_failed(self, "RESPONSE", node)
        self.ctx.result = node.outputs.response
        if "completeness" in self.ctx:
            self.ctx.result = corrected_response(self.ctx.result, self.ctx.completeness.outputs.completeness)
        self.out("response", self.ctx.result)
        return None

    def results(self) -> ExitCode | None:
        """Headline values, and the gate of the response: numbers that fail it are kept, with the exit code."""
        response = self.ctx.result
        film = self.node.outputs.film if "film" in self.node.outputs else self.inputs.get("film", None)
        optional = {} if film is None else {"film": film}
        gates = {"response": assess_response(response, self.inputs.quality, **optional)}
        if "wannier_model" in self.ctx:
            optional["scf_parameters"] = self.ctx.wannier_model.outputs.scf_parameters
            gates["model"] = self.ctx.wannier_model.outputs.quality
        if "thickness" in self.inputs:
            optional["thickness"] = self.inputs.thickness
        self.out("output_parameters", headline(response, **optional))
        self.out("quality", quality_summary(**gates))
        failed = gates["response"]["messages"]
        if failed and not self.inputs.force.value:
            return exit_code(self, "ERROR_QUALITY", message="; ".join(failed))
        self.report(
            "quality gate of the response: " + ("; ".join([*failed, "goes on by force"]) if failed else "passed")
        )
        return None

    def on_terminated(self) -> None:
        """Remove what the jobs left, where that is asked for and the model's workchain was not to do it."""
        super().on_terminated()
        if self.wants_completeness() and self.node.is_finished_ok and self.inputs.wannier_model.clean_workdir.value:
            removed, kept = cleaning.clean(self.node)
            self.report("; ".join([f"cleaned {removed} folders, their jobs no longer serve as cache", *kept]))

    @classmethod
    def get_builder_from_protocol(
        cls,
        codes: dict[str, orm.AbstractCode],
        structure: orm.StructureData,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        pseudos: dict[str, UpfData] | None = None,
        magnetic_moments: dict[str, float] | None = None,
        options: dict[str, Any] | None = None,
        npool: int | None = None,
    ) -> ProcessBuilder:
        """Builder with all inputs by a protocol.

        Parameters
        ----------
        codes, structure, protocol, overrides, pseudos, magnetic_moments, options, npool
            As `WannierModelWorkChain.get_builder_from_protocol`. The masks of `overrides['response']['soi_masks']` name
            atoms, as in {'interface': ['Co', 'Pt.1']} (see `aiida_dmi.structures.layers.mask_weights`), or give one
            weight an atom.

        Raises
        ------
        ValueError
            As there, and if the engine would refuse the response.
        """
        checked = checked_film(structure, protocol, overrides, magnetic_moments)
        inputs = load_protocol(protocol, overrides)
        model = model_ports(codes, checked, protocol, overrides, pseudos, options, npool)
        shape = shape_of_film(model, len(checked.film.symbols))
        builder = cls.get_builder()
        builder.structure, builder.film = checked.structure, model.film
        builder.origin = origin_of(protocol, overrides, pseudos, magnetic_moments, model.cutoffs)
        fill(builder["wannier_model"], model, but=("structure", "film"))
        response = response_ports(codes["engine"], checked.film, shape, inputs, options)
        fill(builder["response"], response)
        if inputs["completeness"] is not None:
            fill(builder["completeness"], completeness_ports(codes, checked, model, response, inputs, options))
        return fill(builder, gate_ports(inputs))

    @classmethod
    def get_builder_from_model(
        cls,
        code: orm.AbstractCode,
        model: WannierModelData,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> ProcessBuilder:
        """Builder that starts from a finished model: another xi, shift, direction or mask runs only the response.

        Parameters
        ----------
        code : Code
            dmi-engine.
        model : WannierModelData
        protocol, overrides, options
            As `get_builder_from_protocol`, of the overrides only the sections `response_inputs.OF_MODEL`.

        Raises
        ------
        ValueError
            If the overrides say anything of steps that are done, or the engine would refuse the response.
        """
        check_of_model(overrides)
        inputs = load_protocol(protocol, overrides)
        builder = cls.get_builder()
        builder.model = model
        film = film_for(model, inputs)
        if film is not None and any(film.magnetic):
            builder.film = orm.Dict(film.record())
        fill(builder["response"], response_ports(code, film or model.load(), shape_of_model(model), inputs, options))
        builder.origin = origin_of(protocol, overrides)
        return fill(builder, gate_ports(inputs))
