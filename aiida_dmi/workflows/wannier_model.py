"""WorkChain `dmi.wannier_model`: from a slab to its Wannier model."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ExitCode, ProcessSpec, ToContext, WorkChain
from aiida.plugins import CalculationFactory, WorkflowFactory
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.calculations.functions import (
    complete_mesh,
    plan_wannierisation,
    read_pseudo,
    scalar_relativistic_average,
    wannier90_parameters,
)
from aiida_dmi.calculations.model import WannierModelCalculation
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.errors import InputError
from aiida_dmi.workflows.builders import wannier_model_builder
from aiida_dmi.workflows.codes import Wannier90Calculation

PwBaseWorkChain = WorkflowFactory("quantumespresso.pw.base")
Pw2wannier90Calculation = CalculationFactory("quantumespresso.pw2wannier90")

SPINS = ("up", "down")


class WannierModelWorkChain(WorkChain):
    """scf, nscf, Wannier functions of both spins and the model file of one collinear film."""

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define ports, outline and exit codes."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, validator=cls.validate_structure, help="The film.")
        spec.input_namespace(
            "pseudos",
            valid_type=UpfData,
            dynamic=True,
            required=True,
            validator=cls.validate_pseudos,
            help="Fully relativistic norm-conserving pseudopotential of every kind.",
        )
        spec.input(
            "kpoints",
            valid_type=orm.KpointsData,
            validator=cls.validate_kpoints,
            help="The ab-initio mesh of the Wannier functions: Gamma-centred, complete.",
        )
        spec.input(
            "wannierisation",
            valid_type=orm.Dict,
            help="`orbitals` (of s, p, d, f, on every atom), `bands_per_function`, `frozen_window` (eV above E_F).",
        )
        spec.expose_inputs(PwBaseWorkChain, namespace="scf", exclude=("pw.structure", "pw.pseudos", "pw.parent_folder"))
        spec.expose_inputs(
            PwBaseWorkChain,
            namespace="nscf",
            exclude=(
                "kpoints",
                "kpoints_distance",
                "kpoints_force_parity",
                "pw.structure",
                "pw.pseudos",
                "pw.parent_folder",
            ),
        )
        spec.expose_inputs(
            Pw2wannier90Calculation,
            namespace="pw2wannier90",
            exclude=("nnkp_file", "parent_folder", "parameters"),
        )
        spec.expose_inputs(
            Wannier90Calculation,
            namespace="wannier90",
            exclude=("structure", "kpoints", "projections", "remote_input_folder", "local_input_folder"),
        )
        spec.expose_inputs(
            WannierModelCalculation,
            namespace="model",
            exclude=("nscf", "wannier_up", "wannier_down", "pseudos", "scf_parameters"),
        )
        spec.inputs.validator = cls.validate_inputs

        spec.outline(
            cls.average_pseudos,
            cls.run_scf,
            cls.inspect_scf,
            cls.plan,
            cls.run_nscf,
            cls.inspect_nscf,
            cls.run_neighbours,
            cls.inspect_neighbours,
            cls.run_overlaps,
            cls.inspect_overlaps,
            cls.run_wannier90,
            cls.inspect_wannier90,
            cls.run_model,
            cls.inspect_model,
        )

        spec.output("model", valid_type=WannierModelData, help="The Wannier model.")
        spec.output("scf_parameters", valid_type=orm.Dict, help="Output parameters of the scf run.")
        spec.exit_code(
            401,
            "ERROR_SUB_PROCESS_FAILED_SCF",
            message="step scf: pw.x failed ({pk}, exit {status}); see `verdi process report {pk}`: convergence, "
            "cutoff, starting moments",
        )
        spec.exit_code(
            402,
            "ERROR_SUB_PROCESS_FAILED_NSCF",
            message="step nscf: pw.x failed ({pk}, exit {status}); see `verdi process report {pk}`: "
            "number of bands, disk",
        )
        spec.exit_code(
            403,
            "ERROR_SUB_PROCESS_FAILED_NEIGHBOURS",
            message="step wannier90 -pp, spin {spin}: failed ({pk}, exit {status}); see `verdi calcjob "
            "outputcat {pk}`: mesh and cell",
        )
        spec.exit_code(
            404,
            "ERROR_SUB_PROCESS_FAILED_OVERLAPS",
            message="step pw2wannier90, spin {spin}: failed ({pk}, exit {status}); see `verdi calcjob outputcat {pk}`",
        )
        spec.exit_code(
            405,
            "ERROR_SUB_PROCESS_FAILED_WANNIER90",
            message="step wannier90, spin {spin}: failed ({pk}, exit {status}); see `verdi calcjob outputcat {pk}`: "
            "frozen window (too many states?), projections",
        )
        spec.exit_code(
            406,
            "ERROR_SUB_PROCESS_FAILED_MODEL",
            message="step model: dmi-engine build failed ({pk}, exit {status}): {message}",
        )
        spec.exit_code(
            410,
            "ERROR_NO_MAGNETIC_MOMENT",
            message="step scf: the film lost its moment (absolute magnetization {moment:.3f} mu_B); without exchange "
            "splitting there is no DMI: check the starting moments and the structure",
        )

    # -- validation ----------------------------------------------------------------------------------

    @staticmethod
    def validate_structure(structure: orm.StructureData, _: Any) -> str | None:
        """A film: periodic in x and y, its vectors in the xy plane."""
        if tuple(structure.pbc) != (True, True, False):
            return f"structure: pbc {tuple(structure.pbc)} was given, a film needs (True, True, False)"
        if any(abs(vector[2]) > 1e-6 for vector in structure.cell[:2]):
            return "structure: the film's lattice vectors do not lie in the xy plane; turn its normal to z"
        if any("." in kind or not kind.isidentifier() for kind in structure.get_kind_names()):
            return f"structure: kind names {structure.get_kind_names()} must be letters and digits, such as Pt1"
        return None

    @staticmethod
    def validate_pseudos(pseudos: dict[str, UpfData], _: Any) -> str | None:
        """Fully relativistic and norm-conserving: checked before anything runs."""
        for kind, pseudo in (pseudos or {}).items():
            try:
                read_pseudo(pseudo).require_fully_relativistic(pseudo.filename)
            except InputError as error:
                return f"pseudos.{kind}: {error}"
        return None

    @staticmethod
    def validate_kpoints(kpoints: orm.KpointsData, _: Any) -> str | None:
        """A Gamma-centred mesh."""
        try:
            _, offset = kpoints.get_kpoints_mesh()
        except AttributeError:
            return "kpoints: a list was given, a mesh is needed"
        return f"kpoints: offset {offset} was given, a Gamma-centred mesh is needed" if any(offset) else None

    @staticmethod
    def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
        """One pseudopotential a kind, and a film that starts magnetic."""
        if "structure" not in inputs:
            return None
        kinds = inputs["structure"].get_kind_names()
        if sorted(inputs.get("pseudos", {})) != sorted(kinds):
            return f"pseudos: given for {sorted(inputs.get('pseudos', {}))}, the structure's kinds are {sorted(kinds)}"
        system = inputs["scf"]["pw"]["parameters"].get_dict().get("SYSTEM", {})
        if system.get("nspin") != 2:
            return f"scf: nspin = {system.get('nspin')} was given, a collinear run (nspin = 2) is needed"
        starting = system.get("starting_magnetization", {})
        if not any(starting.get(kind) for kind in kinds) and not system.get("tot_magnetization"):
            return (
                f"structure: no magnetic atom among the kinds {', '.join(kinds)}: starting_magnetization is zero for "
                "all; give `magnetic_moments` for the kinds that carry the film's magnetism"
            )
        return None

    # -- steps -----------------------------------------------------------------------------------------

    def average_pseudos(self) -> None:
        """Scalar-relativistic average of every pseudopotential; one element is averaged once."""
        averages: dict[str, UpfData] = {}
        for pseudo in self.inputs.pseudos.values():
            if pseudo.uuid not in averages:
                averages[pseudo.uuid] = scalar_relativistic_average(pseudo)
        self.ctx.averaged = {kind: averages[pseudo.uuid] for kind, pseudo in self.inputs.pseudos.items()}

    def run_scf(self) -> ToContext:
        """Self-consistent density."""
        inputs = AttributeDict(self.exposed_inputs(PwBaseWorkChain, namespace="scf"))
        inputs.pw.structure = self.inputs.structure
        inputs.pw.pseudos = self.ctx.averaged
        return ToContext(scf=self._submit(PwBaseWorkChain, inputs, "scf"))

    def inspect_scf(self) -> ExitCode | None:
        """The scf must have converged, to a magnet."""
        if not self.ctx.scf.is_finished_ok:
            return self._failed("SCF", self.ctx.scf)
        moment = self.ctx.scf.outputs.output_parameters.get("absolute_magnetization", None)
        if moment is not None and abs(moment) < 0.05:
            return self.exit_codes.ERROR_NO_MAGNETIC_MOMENT.format(moment=moment)
        self.out("scf_parameters", self.ctx.scf.outputs.output_parameters)
        return None

    def plan(self) -> None:
        """Projections, semicore, bands and window of the Wannier functions."""
        self.ctx.plan = plan_wannierisation(
            self.inputs.structure, self.inputs.wannierisation, **dict(self.inputs.pseudos)
        )
        self.ctx.wannier90 = wannier90_parameters(
            self.inputs.wannier90.parameters,
            self.inputs.wannierisation,
            self.ctx.plan,
            self.ctx.scf.outputs.output_parameters,
            self.inputs.kpoints,
        )

    def run_nscf(self) -> ToContext:
        """Bands and wave functions on the complete mesh."""
        inputs = AttributeDict(self.exposed_inputs(PwBaseWorkChain, namespace="nscf"))
        parameters = inputs.pw.parameters.get_dict()
        parameters.setdefault("SYSTEM", {}).setdefault("nbnd", self.ctx.plan["nbnd"])
        inputs.pw.parameters = orm.Dict(parameters)
        inputs.pw.structure = self.inputs.structure
        inputs.pw.pseudos = self.ctx.averaged
        inputs.pw.parent_folder = self.ctx.scf.outputs.remote_folder
        inputs.kpoints = complete_mesh(self.inputs.kpoints)
        self.ctx.kpoints = inputs.kpoints
        return ToContext(nscf=self._submit(PwBaseWorkChain, inputs, "nscf"))

    def inspect_nscf(self) -> ExitCode | None:
        """The nscf must have converged."""
        return None if self.ctx.nscf.is_finished_ok else self._failed("NSCF", self.ctx.nscf)

    def run_neighbours(self) -> ToContext:
        """wannier90.x -pp for both spins."""
        settings = orm.Dict({"postproc_setup": True})
        return self._for_both_spins("neighbours", Wannier90Calculation, self._wannier90, settings=settings)

    def inspect_neighbours(self) -> ExitCode | None:
        """Both must have written their .nnkp."""
        return self._inspect_both("neighbours", "NEIGHBOURS")

    def run_overlaps(self) -> ToContext:
        """pw2wannier90.x for both spins."""
        return self._for_both_spins("overlaps", Pw2wannier90Calculation, self._pw2wannier90)

    def inspect_overlaps(self) -> ExitCode | None:
        """Both must have finished."""
        return self._inspect_both("overlaps", "OVERLAPS")

    def run_wannier90(self) -> ToContext:
        """wannier90.x for both spins."""
        return self._for_both_spins("wannier90", Wannier90Calculation, self._wannier90)

    def inspect_wannier90(self) -> ExitCode | None:
        """Both must have finished."""
        return self._inspect_both("wannier90", "WANNIER90")

    def run_model(self) -> ToContext:
        """dmi-engine build."""
        inputs = AttributeDict(self.exposed_inputs(WannierModelCalculation, namespace="model"))
        inputs.nscf = self.ctx.nscf.outputs.remote_folder
        for spin in SPINS:
            inputs[f"wannier_{spin}"] = self.ctx[f"wannier90_{spin}"].outputs.remote_folder
        inputs.pseudos = dict(self.inputs.pseudos)
        inputs.scf_parameters = self.ctx.scf.outputs.output_parameters
        return ToContext(model=self._submit(WannierModelCalculation, inputs, "model"))

    def inspect_model(self) -> ExitCode | None:
        """Output the model."""
        job = self.ctx.model
        if not job.is_finished_ok:
            return self._failed("MODEL", job, message=job.exit_message)
        self.out("model", job.outputs.model)
        return None

    # -- helpers ---------------------------------------------------------------------------------------

    def _wannier90(self, spin: str) -> AttributeDict:
        inputs = AttributeDict(self.exposed_inputs(Wannier90Calculation, namespace="wannier90"))
        inputs.structure = self.inputs.structure
        inputs.parameters = self.ctx.wannier90
        inputs.kpoints = self.ctx.kpoints
        inputs.projections = (
            self.ctx.projections if "projections" in self.ctx else orm.List(self.ctx.plan["projections"])
        )
        self.ctx.projections = inputs.projections
        if f"overlaps_{spin}" in self.ctx:
            inputs.remote_input_folder = self.ctx[f"overlaps_{spin}"].outputs.remote_folder
        return inputs

    def _pw2wannier90(self, spin: str) -> AttributeDict:
        inputs = AttributeDict(self.exposed_inputs(Pw2wannier90Calculation, namespace="pw2wannier90"))
        inputs.parent_folder = self.ctx.nscf.outputs.remote_folder
        inputs.nnkp_file = self.ctx[f"neighbours_{spin}"].outputs.nnkp_file
        inputs.parameters = orm.Dict({"INPUTPP": {"spin_component": spin, "write_amn": True, "write_mmn": True}})
        return inputs

    def _for_both_spins(self, step: str, process: Any, prepare: Any, **extra: Any) -> ToContext:
        return ToContext(
            **{
                f"{step}_{spin}": self._submit(process, {**prepare(spin), **extra}, f"{step}, spin {spin}")
                for spin in SPINS
            }
        )

    def _submit(self, process: Any, inputs: dict[str, Any], step: str) -> Any:
        inputs = AttributeDict(inputs)
        metadata = AttributeDict(inputs.get("metadata", {}))
        metadata.call_link_label = step.replace(", spin ", "_").replace(" ", "_")
        inputs.metadata = metadata
        node = self.submit(process, **inputs)
        self.report(f"{step}: {process.__name__}<{node.pk}> started")
        return node

    def _inspect_both(self, step: str, code: str) -> ExitCode | None:
        failed = [(s, self.ctx[f"{step}_{s}"]) for s in SPINS if not self.ctx[f"{step}_{s}"].is_finished_ok]
        return self._failed(code, failed[0][1], spin=failed[0][0]) if failed else None

    def _failed(self, code: str, node: Any, **context: Any) -> ExitCode:
        details = {"pk": node.pk, "status": node.exit_status, **context}
        return self.exit_codes[f"ERROR_SUB_PROCESS_FAILED_{code}"].format(**details)

    @classmethod
    def get_builder_from_protocol(cls, codes: Any, structure: orm.StructureData, **options: Any) -> Any:
        """Builder with all inputs by a protocol; see `aiida_dmi.workflows.builders.wannier_model_builder`."""
        return wannier_model_builder(cls, codes, structure, **options)
