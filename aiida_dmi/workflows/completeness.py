"""WorkChain `dmi.completeness`: what the Wannier functions of a model leave out, from the density of its scf."""

from __future__ import annotations

import math
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ExitCode, ToContext
from aiida_pseudo.data.pseudo.upf import UpfData
from aiida_quantumespresso.calculations.pp import PpCalculation

from aiida_dmi.aiida_types import Spec, exit_code, while_
from aiida_dmi.calculations.completeness import CompletenessCalculation
from aiida_dmi.data.completeness import CompletenessData
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.completeness.active import highest_needed
from aiida_dmi.engine.completeness.potential import TOTAL_POTENTIAL
from aiida_dmi.engine.output.headline import mesh_label
from aiida_dmi.workflows import scratch, validation
from aiida_dmi.workflows.pw_steps import PwBaseWorkChain
from aiida_dmi.workflows.reuse import ReusingWorkChain
from aiida_dmi.workflows.steps import start, step_failed, words_of_last_job

SPINS = ("up", "down")
MORE_BANDS = 1.25
"""Times as many where those that were computed do not reach high enough."""
MOST_TRIES = 4
MARGIN = 0.5
"""eV that the model's chemical potential may lie above the scf's Fermi energy."""
GRID = {"iflag": 3}
"""PpCalculation wants a plot as well; the potential itself stays in pp.x's folder, as `filplot`."""


class CompletenessWorkChain(ReusingWorkChain):
    """Nscf on the irreducible points of a mesh, both spins' potentials, and the comparison with the model."""

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define ports, outline and exit codes."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, validator=validation.structure, help="The film.")
        pseudos = {"valid_type": UpfData, "dynamic": True, "required": True}
        spec.input_namespace("pseudos", help="Fully relativistic pseudopotential of every kind.", **pseudos)
        spec.input_namespace("averaged", help="Their scalar-relativistic averages, those of the scf.", **pseudos)
        spec.input("model", valid_type=WannierModelData, help="The Wannier model of the same scf.")
        spec.input("scf_folder", valid_type=orm.RemoteData, help="Of the scf run.")
        spec.input("scf_parameters", valid_type=orm.Dict, help="Output parameters of the scf run.")
        spec.input(
            "nscf_folder",
            valid_type=orm.RemoteData,
            required=False,
            help="Of a nscf run on the mesh, or its irreducible points: taken if its bands reach high enough.",
        )
        spec.input("nscf_bands", valid_type=orm.BandsData, required=False, help="Its bands.")
        spec.input(
            "kpoints",
            valid_type=orm.KpointsData,
            validator=validation.mesh,
            help="The mesh: 12x12 of a hexagonal, 8x8 of a square film at least.",
        )
        chained = (
            "kpoints",
            "kpoints_distance",
            "kpoints_force_parity",
            "pw.structure",
            "pw.pseudos",
            "pw.parent_folder",
        )
        spec.expose_inputs(PwBaseWorkChain, namespace="nscf", exclude=chained)
        spec.expose_inputs(PpCalculation, namespace="potential", exclude=("parent_folder", "parameters"))
        spec.expose_inputs(
            CompletenessCalculation,
            namespace="completeness",
            exclude=("model", "nscf", "potential_up", "potential_down", "pseudos"),
        )
        spec.outline(
            cls.take_nscf,
            while_(cls.needs_bands)(cls.run_nscf, cls.inspect_nscf),
            cls.run_potentials,
            cls.inspect_potentials,
            cls.run_completeness,
            cls.inspect_completeness,
        )
        spec.output("completeness", valid_type=CompletenessData, help="D(1), a(I), a(II) exact and of the model.")
        spec.exit_code(
            402,
            "ERROR_SUB_PROCESS_FAILED_NSCF",
            message="step nscf: pw.x failed ({pk}, exit {status}): {message}",
        )
        spec.exit_code(
            403,
            "ERROR_SUB_PROCESS_FAILED_POTENTIAL",
            message="step potential, spin {spin}: pp.x failed ({pk}, exit {status}): {message}",
        )
        spec.exit_code(
            404,
            "ERROR_SUB_PROCESS_FAILED_COMPLETENESS",
            message="step completeness: dmi-engine complete failed ({pk}, exit {status}): {message}",
        )
        spec.exit_code(
            405,
            "ERROR_BANDS",
            message="step nscf: {bands} bands end {reach:.2f} eV above the Fermi energy, {needed:.2f} eV are needed; "
            "lower the temperatures or shifts",
        )
        spec.exit_code(
            406,
            "ERROR_FOLDER_GONE",
            message="step {step}: the density in {folder} is gone from the computer; launch again, the scf is then "
            "computed anew",
        )

    # -- bands -----------------------------------------------------------------------------------------

    def take_nscf(self) -> None:
        """The states that there are already, if they suffice and are still there."""
        if "nscf_folder" not in self.inputs or "nscf_bands" not in self.inputs:
            return
        self.ctx.bands, self.ctx.nscf_folder = self.inputs.nscf_bands, self.inputs.nscf_folder
        words = f"{self._number()} bands, up to {self._reach() - self._fermi:.2f} eV above the Fermi energy"
        if self.needs_bands():
            self.report(f"the nscf that there is has {words}, {self._needed() - self._fermi:.2f} eV are needed")
        elif scratch.is_gone(self.ctx.nscf_folder):
            self.report("the nscf's folder is gone from the computer; it is run again")
            self.ctx.bands = None
        else:
            self.report(f"no nscf is run: that of the Wannier functions has {words}")

    def needs_bands(self) -> bool:
        """Whether there are none yet, or too few."""
        return self.ctx.get("bands", None) is None or not self._reach() >= self._needed()

    def run_nscf(self) -> ToContext[str, Any] | ExitCode:
        """Bands and wave functions on the points that pw.x takes for irreducible."""
        tries = self.ctx.get("tries", 0)
        inputs = AttributeDict(self.exposed_inputs(PwBaseWorkChain, namespace="nscf"))
        parameters = inputs.pw.parameters.get_dict()
        bands = parameters["SYSTEM"]["nbnd"]
        if self.ctx.get("bands", None) is not None:
            bands = max(bands, math.ceil(MORE_BANDS * self._number()))
        if tries == MOST_TRIES:
            return exit_code(
                self,
                "ERROR_BANDS",
                bands=self._number(),
                reach=self._reach() - self._fermi,
                needed=self._needed() - self._fermi,
            )
        if gone := self._density_gone("nscf", scratch.served_from_cache, self.inputs.kpoints):
            return gone
        self.ctx.tries = tries + 1
        parameters["SYSTEM"] |= {"nbnd": bands, "nosym": False, "noinv": False}
        # The active bands are taken as they are: the highest of them as converged as the others.
        parameters.setdefault("ELECTRONS", {})["diago_full_acc"] = True
        inputs.pw.parameters = orm.Dict(parameters)
        inputs.pw.structure = self.inputs.structure
        inputs.pw.pseudos = dict(self.inputs.averaged)
        inputs.pw.parent_folder = self.inputs.scf_folder
        inputs.kpoints = self.inputs.kpoints
        mesh = mesh_label(self.inputs.kpoints.get_kpoints_mesh()[0])
        why = f"{bands} bands on the irreducible points of {mesh}"
        return ToContext(nscf=start(self, PwBaseWorkChain, inputs, "nscf", why))

    def inspect_nscf(self) -> ExitCode | None:
        """It must have converged."""
        node = self.ctx.nscf
        if not node.is_finished_ok:
            return step_failed(self, "NSCF", node, message=words_of_last_job(node))
        self.ctx.bands, self.ctx.nscf_folder = node.outputs.output_band, node.outputs.remote_folder
        return None

    # -- potentials ------------------------------------------------------------------------------------

    def run_potentials(self) -> ToContext[str, Any] | ExitCode:
        """pp.x for both spins, on the scf's density."""
        if gone := self._density_gone("potential", scratch.has_served, PpCalculation):
            return gone
        jobs = {}
        for component, spin in enumerate(SPINS, start=1):
            inputs = AttributeDict(self.exposed_inputs(PpCalculation, namespace="potential"))
            inputs.parent_folder = self.inputs.scf_folder
            asked = {"plot_num": TOTAL_POTENTIAL, "spin_component": component}
            inputs.parameters = orm.Dict({"INPUTPP": asked, "PLOT": GRID})
            inputs.metadata.options.parse_data_files = False
            jobs[f"potential_{spin}"] = start(self, PpCalculation, inputs, f"potential, spin {spin}")
        return ToContext(**jobs)

    def inspect_potentials(self) -> ExitCode | None:
        """Both must have finished."""
        for spin in SPINS:
            job = self.ctx[f"potential_{spin}"]
            if not job.is_finished_ok:
                return step_failed(self, "POTENTIAL", job, spin=spin)
        return None

    # -- comparison ------------------------------------------------------------------------------------

    def run_completeness(self) -> ToContext[str, Any]:
        """dmi-engine complete."""
        inputs = AttributeDict(self.exposed_inputs(CompletenessCalculation, namespace="completeness"))
        inputs.model = self.inputs.model
        inputs.nscf = self.ctx.nscf_folder
        for spin in SPINS:
            inputs[f"potential_{spin}"] = self.ctx[f"potential_{spin}"].outputs.remote_folder
        inputs.pseudos = dict(self.inputs.pseudos)
        return ToContext(completeness=start(self, CompletenessCalculation, inputs, "completeness"))

    def inspect_completeness(self) -> ExitCode | None:
        """Take over the file."""
        job = self.ctx.completeness
        if not job.is_finished_ok:
            return step_failed(self, "COMPLETENESS", job)
        self.out("completeness", job.outputs.completeness)
        return None

    # -- helpers ---------------------------------------------------------------------------------------

    def _density_gone(self, step: str, served: Any, what: Any) -> ExitCode | None:
        """A step would start from a folder that is gone, and is not in the cache: then the scf is no cache source."""
        folder = self.inputs.scf_folder
        known = scratch.is_fresh(folder, self.node.caller or self.node)
        if known or not scratch.is_gone(folder) or served(folder, what):
            return None
        scratch.forget([folder])
        return exit_code(self, "ERROR_FOLDER_GONE", step=step, folder=folder.get_remote_path())

    @property
    def _fermi(self) -> float:
        return float(self.inputs.scf_parameters["fermi_energy"])

    def _needed(self) -> float:
        """Energy that the bands have to reach, eV."""
        parameters = self.inputs.completeness.parameters
        shifts, temperatures = parameters.get("fermi_shifts", [0.0]), parameters.get("temperatures", [300.0])
        return highest_needed(self._fermi + MARGIN + max(shifts), max(temperatures))

    def _reach(self) -> float:
        """Where the highest band is lowest, eV."""
        return float(self.ctx.bands.get_bands()[..., -1].min())

    def _number(self) -> int:
        """Of the bands that there are."""
        return int(self.ctx.bands.get_bands().shape[-1])
