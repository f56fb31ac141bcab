"""WorkChain `dmi.wannier_functions`: one try, from a converged density to the model file."""

from __future__ import annotations

from math import prod
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ExitCode, ProcessBuilder, ToContext
from aiida_pseudo.data.pseudo.upf import UpfData
from aiida_quantumespresso.calculations.pw2wannier90 import Pw2wannier90Calculation

from aiida_dmi.aiida_types import Spec, exit_code, if_
from aiida_dmi.calculations.functions import (
    complete_mesh,
    irreducible_mesh,
    planned_projections,
    wannier90_parameters,
)
from aiida_dmi.calculations.model import WannierModelCalculation
from aiida_dmi.calculations.overlaps import OverlapsCalculation
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.build.atomic_functions import ATOMIC, HYDROGENIC
from aiida_dmi.workflows import scratch, validation
from aiida_dmi.workflows.codes import Wannier90Calculation
from aiida_dmi.workflows.model_inputs import checked_film, model_ports
from aiida_dmi.workflows.ports import fill
from aiida_dmi.workflows.protocols.mixin import FilmProtocols
from aiida_dmi.workflows.pw_steps import PwBaseWorkChain
from aiida_dmi.workflows.reuse import ReusingWorkChain
from aiida_dmi.workflows.steps import last_words, start, step_failed, words_of_last_job

SPINS = ("up", "down")
CUT_OFF = ("ERROR_NO_RETRIEVED_FOLDER", "ERROR_OUTPUT_STDOUT_MISSING", "ERROR_OUTPUT_STDOUT_INCOMPLETE")
"""Exit codes of wannier90.x and dmi-engine jobs that did not reach their end: the settings are not to blame."""
LEAST_WINDOW = 0.5
"""eV above the Fermi energy that the frozen window has to reach: D comes from there."""


class WannierFunctionsWorkChain(FilmProtocols, ReusingWorkChain):
    """nscf, overlaps and Wannier functions of both spins and the model file, with one choice of settings."""

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define ports, outline and exit codes."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, validator=validation.structure, help="The film.")
        pseudos = {"valid_type": UpfData, "dynamic": True, "required": True}
        spec.input_namespace("pseudos", help="Fully relativistic pseudopotential of every kind.", **pseudos)
        spec.input_namespace("averaged", help="Their scalar-relativistic averages.", **pseudos)
        spec.input("kpoints", valid_type=orm.KpointsData, validator=validation.mesh, help="The ab-initio mesh.")
        spec.input("settings", valid_type=orm.Dict, help="`frozen_window` (eV above E_F), `trial_functions`.")
        spec.input("plan", valid_type=orm.Dict, help="From `plan_wannierisation`.")
        spec.input("scf_folder", valid_type=orm.RemoteData, help="Of the scf run.")
        spec.input("scf_parameters", valid_type=orm.Dict, help="Output parameters of the scf run.")
        spec.input("nscf_folder", valid_type=orm.RemoteData, required=False, help="Of a nscf run with enough bands.")
        spec.input("nscf_bands", valid_type=orm.BandsData, required=False, help="Its bands, of all k points or fewer.")
        chained = (
            "kpoints",
            "kpoints_distance",
            "kpoints_force_parity",
            "pw.structure",
            "pw.pseudos",
            "pw.parent_folder",
        )
        spec.expose_inputs(PwBaseWorkChain, namespace="nscf", exclude=chained)
        either = {"required": False, "populate_defaults": False}
        spec.expose_inputs(
            OverlapsCalculation,
            namespace="overlaps",
            exclude=("nscf", "nnkp_file", "spin", "symmetry", "trial_functions", "pseudos"),
            namespace_options={**either, "help": "Overlaps by dmi-engine, in seconds."},
        )
        spec.expose_inputs(
            Pw2wannier90Calculation,
            namespace="pw2wannier90",
            exclude=("nnkp_file", "parent_folder", "parameters"),
            namespace_options={**either, "help": "Overlaps by pw2wannier90.x, instead."},
        )
        spec.expose_inputs(
            Wannier90Calculation,
            namespace="wannier90",
            exclude=("structure", "kpoints", "projections", "remote_input_folder", "local_input_folder"),
        )
        spec.expose_inputs(
            WannierModelCalculation,
            namespace="model",
            exclude=("nscf", "wannier_up", "wannier_down", "pseudos", "scf_parameters", "symmetry"),
        )
        spec.inputs.validator = cls.validate_inputs

        spec.outline(
            if_(cls.needs_nscf)(cls.run_nscf, cls.inspect_nscf),
            cls.choose_window,
            cls.run_neighbours,
            cls.inspect_neighbours,
            cls.run_overlaps,
            cls.inspect_overlaps,
            cls.run_wannier90,
            cls.inspect_wannier90,
            cls.run_model,
            cls.inspect_model,
        )

        spec.output("model", valid_type=WannierModelData, required=False, help="The Wannier model.")
        spec.output("nscf_folder", valid_type=orm.RemoteData, required=False, help="Of the nscf run.")
        spec.output("nscf_bands", valid_type=orm.BandsData, required=False, help="The nscf run's bands.")
        spec.exit_code(
            402,
            "ERROR_SUB_PROCESS_FAILED_NSCF",
            message="step nscf: pw.x failed ({pk}, exit {status}): {message} See `verdi process report {pk}`: "
            "number of bands, disk, walltime",
        )
        spec.exit_code(
            403,
            "ERROR_SUB_PROCESS_FAILED_NEIGHBOURS",
            message="step wannier90 -pp: failed ({pk}, exit {status}); see `verdi calcjob outputcat {pk}`: mesh and "
            "cell",
        )
        spec.exit_code(
            404,
            "ERROR_SUB_PROCESS_FAILED_OVERLAPS",
            message="step overlaps, spin {spin}: failed ({pk}, exit {status}): {message}",
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
            407,
            "ERROR_FROZEN_WINDOW",
            message="step frozen window: more states than the {functions} Wannier functions a spin lie below "
            "{reach:.2f} eV above the Fermi energy; give more orbitals",
        )
        spec.exit_code(
            408,
            "ERROR_CUT_OFF",
            message="step {step}: cut off ({pk}, exit {status}): {message}; walltime, memory or a kill: run again with "
            "caching, finished steps are then not repeated",
        )
        spec.exit_code(
            409,
            "ERROR_FOLDER_GONE",
            message="step {step}: {folders} is not on the computer any more; the jobs that made it no longer serve as "
            "cache, run again",
        )

    @staticmethod
    def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
        """One way to the overlaps; a nscf run with its bands, on all k points where pw2wannier90.x is to read them."""
        if ("nscf_folder" in inputs) != ("nscf_bands" in inputs):
            return "nscf_folder and nscf_bands go together: give both or neither"
        if inputs.get("pw2wannier90") and "nscf_bands" in inputs:
            given, needed = len(inputs["nscf_bands"].get_kpoints()), prod(inputs["kpoints"].get_kpoints_mesh()[0])
            if given != needed:
                return (
                    f"nscf_bands: of {given} k points, pw2wannier90 needs all {needed} of the mesh; "
                    "use the inputs `overlaps` (dmi-engine), or leave nscf_folder and nscf_bands out"
                )
        atomic = "settings" in inputs and inputs["settings"].get("trial_functions", HYDROGENIC) == ATOMIC
        if atomic and inputs.get("pw2wannier90"):
            return "settings: trial_functions atomic are made by dmi-engine; use the inputs `overlaps`"
        return one_way_to_overlaps(inputs)

    # -- steps -----------------------------------------------------------------------------------------

    def needs_nscf(self) -> bool:
        """Whether the bands have to be computed."""
        if "nscf_folder" in self.inputs:
            self.ctx.nscf_folder, self.ctx.nscf_bands = self.inputs.nscf_folder, self.inputs.nscf_bands
        self.ctx.kpoints = complete_mesh(self.inputs.kpoints)
        if "overlaps" in self.inputs:
            self.ctx.reduced = irreducible_mesh(self.ctx.kpoints, self.inputs.structure, self.inputs.scf_parameters)
        return "nscf_folder" not in self.inputs

    def run_nscf(self) -> ToContext[str, Any] | ExitCode:
        """Bands and wave functions on the irreducible points of the mesh; on all if pw2wannier90.x is to read them."""
        inputs = AttributeDict(self.exposed_inputs(PwBaseWorkChain, namespace="nscf"))
        parameters = inputs.pw.parameters.get_dict()
        parameters.setdefault("SYSTEM", {}).setdefault("nbnd", self.inputs.plan["nbnd"])
        inputs.pw.parameters = orm.Dict(parameters)
        inputs.pw.structure = self.inputs.structure
        inputs.pw.pseudos = dict(self.inputs.averaged)
        inputs.pw.parent_folder = self.inputs.scf_folder
        inputs.kpoints = self.ctx.reduced["kpoints"] if "overlaps" in self.inputs else self.ctx.kpoints
        density, above = self.inputs.scf_folder, self.node.caller or self.node
        known = scratch.is_fresh(density, above)
        if not known and scratch.is_gone(density) and not scratch.served_from_cache(density, inputs.kpoints):
            return self._gone([density], "nscf")
        why = f"{parameters['SYSTEM']['nbnd']} bands on {self._points_in_words()}"
        return ToContext(nscf=start(self, PwBaseWorkChain, inputs, "nscf", why))

    def inspect_nscf(self) -> ExitCode | None:
        """The nscf must have converged."""
        if not self.ctx.nscf.is_finished_ok:
            gone = scratch.gone_among([self.inputs.scf_folder])
            if gone:
                return self._gone(gone, "nscf")
            return step_failed(self, "NSCF", self.ctx.nscf, message=words_of_last_job(self.ctx.nscf))
        self.ctx.nscf_folder, self.ctx.nscf_bands = (
            self.ctx.nscf.outputs.remote_folder,
            self.ctx.nscf.outputs.output_band,
        )
        return None

    def choose_window(self) -> ExitCode | None:
        """Wannier90's parameters, from the bands that were computed."""
        self.out_many({"nscf_folder": self.ctx.nscf_folder, "nscf_bands": self.ctx.nscf_bands})
        self.ctx.parameters = wannier90_parameters(
            self.inputs.wannier90.parameters,
            self.inputs.settings,
            self.inputs.plan,
            self.inputs.scf_parameters,
            self.inputs.kpoints,
            self.ctx.nscf_bands,
        )
        asked, fermi = self.inputs.settings["frozen_window"], self.inputs.scf_parameters["fermi_energy"]
        top = self.ctx.parameters["dis_froz_max"]
        # Against the sum it was made by: the difference would be off by a rounding.
        is_cut = top < fermi + asked
        if is_cut and top - fermi < min(LEAST_WINDOW, asked):
            return exit_code(self, "ERROR_FROZEN_WINDOW", functions=self.inputs.plan["num_wann"], reach=top - fermi)
        cut = f", {asked:g} eV were asked for: above it there are more states than functions" if is_cut else ""
        self.report(f"frozen window: up to {top - fermi:.2f} eV above the Fermi energy{cut}")
        self.ctx.projections = planned_projections(self.inputs.plan)
        return None

    def run_neighbours(self) -> ToContext[str, Any]:
        """wannier90.x -pp: which k points are neighbours, the same for both spins."""
        inputs = self._wannier90()
        inputs.settings = orm.Dict({"postproc_setup": True})
        why = self.inputs.wannier90.metadata.get("description") or ""
        return ToContext(neighbours=start(self, Wannier90Calculation, inputs, "neighbours", why))

    def inspect_neighbours(self) -> ExitCode | None:
        """It must have written its .nnkp."""
        job = self.ctx.neighbours
        return None if job.is_finished_ok else self._job_failed("NEIGHBOURS", job, "wannier90 -pp")

    def run_overlaps(self) -> ToContext[str, Any]:
        """Overlaps between neighbours and with the trial functions, for both spins."""
        return self._for_both_spins("overlaps", *self._overlaps())

    def inspect_overlaps(self) -> ExitCode | None:
        """Both must have finished."""
        return self._inspect_both("overlaps", "OVERLAPS")

    def run_wannier90(self) -> ToContext[str, Any]:
        """wannier90.x for both spins."""

        def prepare(spin: str) -> AttributeDict:
            inputs = self._wannier90()
            inputs.remote_input_folder = self.ctx[f"overlaps_{spin}"].outputs.remote_folder
            return inputs

        return self._for_both_spins("wannier90", Wannier90Calculation, prepare)

    def inspect_wannier90(self) -> ExitCode | None:
        """Both must have finished."""
        return self._inspect_both("wannier90", "WANNIER90")

    def run_model(self) -> ToContext[str, Any]:
        """dmi-engine build."""
        inputs = AttributeDict(self.exposed_inputs(WannierModelCalculation, namespace="model"))
        inputs.nscf = self.ctx.nscf_folder
        for spin in SPINS:
            inputs[f"wannier_{spin}"] = self.ctx[f"wannier90_{spin}"].outputs.remote_folder
        inputs.pseudos = dict(self.inputs.pseudos)
        inputs.scf_parameters = self.inputs.scf_parameters
        inputs.update(self._symmetry())
        return ToContext(model=start(self, WannierModelCalculation, inputs, "model"))

    def inspect_model(self) -> ExitCode | None:
        """Output the model."""
        job = self.ctx.model
        if not job.is_finished_ok:
            return self._job_failed("MODEL", job, "model")
        self.out("model", job.outputs.model)
        return None

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
        """Builder with the programs' inputs by a protocol.

        What an scf run and a choice of settings give is left to the caller, who has them: `averaged`, `settings`,
        `plan`, `scf_folder`, `scf_parameters`.

        Parameters
        ----------
        codes, structure, protocol, overrides, pseudos, magnetic_moments, options, npool
            As `WannierModelWorkChain.get_builder_from_protocol`.
        """
        checked = checked_film(structure, protocol, overrides, magnetic_moments)
        ports = model_ports(codes, checked, protocol, overrides, pseudos, options, npool)
        programs = ("nscf", "overlaps", "pw2wannier90", "wannier90", "model")
        return fill(cls.get_builder(), ports, only=("structure", "pseudos", "kpoints", *programs))

    # -- helpers ---------------------------------------------------------------------------------------

    def _points_in_words(self) -> str:
        """Which k points the nscf run computes, and where the others come from."""
        points = len(self.ctx.kpoints.get_kpoints())
        if "overlaps" not in self.inputs or self.ctx.reduced["symmetry"]["points"] == points:
            return f"the complete mesh of {points} k points"
        symmetry = self.ctx.reduced["symmetry"]
        operations = len(symmetry["operations"]) - 1
        group = f" and {operations} {'operation' if operations == 1 else 'operations'} of the film"
        others = f"time reversal{group if operations else ''}"
        return f"{symmetry['points']} of {points} k points, the others by {others}"

    def _symmetry(self) -> dict[str, orm.Dict]:
        """Input of the jobs that read the nscf run: none if that has all points, or one of each pair k and -k."""
        if "overlaps" not in self.inputs:
            return {}
        symmetry, computed = self.ctx.reduced["symmetry"], len(self.ctx.nscf_bands.get_kpoints())
        return {"symmetry": symmetry} if len(symmetry["operations"]) > 1 and computed == symmetry["points"] else {}

    def _wannier90(self) -> AttributeDict:
        inputs = AttributeDict(self.exposed_inputs(Wannier90Calculation, namespace="wannier90"))
        inputs.structure = self.inputs.structure
        inputs.parameters = self.ctx.parameters
        inputs.kpoints = self.ctx.kpoints
        inputs.projections = self.ctx.projections
        return inputs

    def _overlaps(self) -> tuple[Any, Any]:
        """Which program computes the overlaps, and its inputs for one spin."""
        nnkp = self.ctx.neighbours.outputs.nnkp_file
        if "overlaps" in self.inputs:

            def by_engine(spin: str) -> AttributeDict:
                inputs = AttributeDict(self.exposed_inputs(OverlapsCalculation, namespace="overlaps"))
                inputs.update({"nscf": self.ctx.nscf_folder, "nnkp_file": nnkp, "spin": orm.Str(spin)})
                inputs.update(self._symmetry())
                if self.inputs.settings.get("trial_functions", HYDROGENIC) == ATOMIC:
                    inputs.update({"trial_functions": orm.Str(ATOMIC), "pseudos": self.inputs.averaged})
                return inputs

            return OverlapsCalculation, by_engine

        def by_pw2wannier90(spin: str) -> AttributeDict:
            inputs = AttributeDict(self.exposed_inputs(Pw2wannier90Calculation, namespace="pw2wannier90"))
            inputs.update({"parent_folder": self.ctx.nscf_folder, "nnkp_file": nnkp})
            inputs.parameters = orm.Dict({"INPUTPP": {"spin_component": spin, "write_amn": True, "write_mmn": True}})
            return inputs

        return Pw2wannier90Calculation, by_pw2wannier90

    def _for_both_spins(self, step: str, process: Any, prepare: Any) -> ToContext[str, Any]:
        return ToContext(
            **{f"{step}_{spin}": start(self, process, prepare(spin), f"{step}, spin {spin}") for spin in SPINS}
        )

    def _inspect_both(self, step: str, code: str) -> ExitCode | None:
        failed = [s for s in SPINS if not self.ctx[f"{step}_{s}"].is_finished_ok]
        codes = [self._job_failed(code, self.ctx[f"{step}_{s}"], f"{step}, spin {s}", spin=s) for s in failed]
        return codes[0] if codes else None

    def _job_failed(self, code: str, job: orm.CalcJobNode, step: str, **context: Any) -> ExitCode:
        # The exit codes of Wannier90's plugin let a killed job serve as a cache source: it would stay killed for ever.
        job.base.caching.is_valid_cache = False
        if gone := scratch.gone_among(link.node for link in job.base.links.get_incoming().all()):
            return self._gone(gone, step)
        cut_off = {c.status for label, c in job.process_class.exit_codes.items() if label in CUT_OFF}
        if job.exit_status in cut_off:
            details = {"step": step, "pk": job.pk, "status": job.exit_status, "message": last_words(job)}
            return exit_code(self, "ERROR_CUT_OFF", **details)
        return step_failed(self, code, job, **context)

    def _gone(self, folders: list[orm.RemoteData], step: str) -> ExitCode:
        """A step cannot go on from what an earlier one left: that is done again, not taken from the cache."""
        scratch.forget(folders)
        names = ", ".join(f"{folder.get_remote_path()} (RemoteData<{folder.pk}>)" for folder in folders)
        return exit_code(self, "ERROR_FOLDER_GONE", step=step, folders=names)


def one_way_to_overlaps(inputs: dict[str, Any]) -> str | None:
    """`overlaps` or `pw2wannier90`."""
    given = [name for name in ("overlaps", "pw2wannier90") if inputs.get(name)]
    if len(given) == 1:
        return None
    return f"{' and '.join(given) or 'neither overlaps nor pw2wannier90'} given; give the inputs of one of the two"
