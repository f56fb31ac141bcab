"""WorkChain `dmi.wannier_model`: from a slab to a Wannier model that passed the quality gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import (
    BaseRestartWorkChain,
    ExitCode,
    ProcessBuilder,
    ProcessHandlerReport,
    process_handler,
)
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.aiida_types import Spec, if_, while_
from aiida_dmi.calculations.quality import assess_model
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.headline import mesh_label
from aiida_dmi.workflows import cleaning, scratch, validation
from aiida_dmi.workflows.density import MOST_LOST, DensitySteps
from aiida_dmi.workflows.model_inputs import checked_film, model_ports
from aiida_dmi.workflows.origin import define_origin, origin_of
from aiida_dmi.workflows.ports import fill
from aiida_dmi.workflows.protocols.mixin import FilmProtocols
from aiida_dmi.workflows.pw_steps import PwBaseWorkChain, PwRelaxWorkChain
from aiida_dmi.workflows.retries import MODEL, RETRIES, WANNIER90, WINDOW, change, next_choice, reach_of
from aiida_dmi.workflows.wannier_functions import WannierFunctionsWorkChain, one_way_to_overlaps

Try = WannierFunctionsWorkChain.exit_codes
CHOICE = ("settings", "kpoints", "wannier90")
"""What a choice consists of, as `next_choice` gives it."""


class WannierModelWorkChain(FilmProtocols, DensitySteps):
    """[relax,] scf, then tries with one choice of Wannier functions after the other until the model is good enough.

    A try that fails, or whose model fails the quality gate in a way that other Wannier functions or a denser mesh may
    mend, is followed by another, chosen by what its numbers say (`workflows.retries`). The scf is done once, the nscf
    again only for more bands or more points.
    """

    _process_class = WannierFunctionsWorkChain

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define ports, outline and exit codes."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, validator=validation.structure, help="The film.")
        spec.input(
            "film",
            valid_type=orm.Dict,
            required=False,
            validator=validation.film,
            help="What the intake decided of the film (`structures.film.Film.record`); default: decided anew.",
        )
        spec.input_namespace(
            "pseudos",
            valid_type=UpfData,
            dynamic=True,
            required=True,
            validator=validation.pseudos,
            help="Fully relativistic norm-conserving pseudopotential of every kind.",
        )
        spec.input(
            "cutoffs",
            valid_type=orm.Dict,
            required=False,
            validator=validation.cutoffs,
            help="What was decided of the cutoffs (`workflows.cutoffs.settle`); the quality gate holds that of the scf "
            "against its `reference` (Ry). Without it the gate does not know `basis`.",
        )
        spec.input(
            "kpoints",
            valid_type=orm.KpointsData,
            validator=validation.mesh,
            help="The ab-initio mesh of the Wannier functions: Gamma-centred, complete.",
        )
        spec.input(
            "wannierisation",
            valid_type=orm.Dict,
            validator=validation.wannierisation,
            help="`orbitals` (of s, p, d, f, on every atom), `bands_per_function`, `frozen_window` (eV above E_F), and "
            "`retries`: how many further tries there may be, which change what the numbers of the last one call for.",
        )
        spec.input(
            "quality",
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            validator=validation.limits,
            help="Limits of the quality gate; a quantity without one is measured and not judged.",
        )
        spec.input(
            "random_points",
            valid_type=orm.Int,
            default=lambda: orm.Int(40),
            validator=validation.random_points,
            help="K points besides the film's high-symmetry ones at which the model's bands are held against pw.x's.",
        )
        spec.input(
            "force",
            valid_type=orm.Bool,
            default=lambda: orm.Bool(False),
            help="Take the first model whatever the gate says; the outputs carry the warning.",
        )
        spec.input(
            "parent_folder",
            valid_type=orm.RemoteData,
            required=False,
            validator=validation.finished_run,
            help="Of a finished scf run of this film: none is run then.",
        )
        optional = {"required": False, "populate_defaults": False}
        chained = ("pw.structure", "pw.pseudos", "pw.parent_folder")
        spec.expose_inputs(
            PwRelaxWorkChain,
            namespace="relax",
            exclude=("structure", "base_relax.pw.pseudos", "base_init_relax"),
            namespace_options={**optional, "help": "Relaxation of the collinear film before anything else."},
        )
        spec.expose_inputs(PwBaseWorkChain, namespace="scf", exclude=chained)
        spec.expose_inputs(
            PwBaseWorkChain,
            namespace="bands",
            exclude=(*chained, "kpoints", "kpoints_distance", "kpoints_force_parity"),
            namespace_options={**optional, "help": "Bands at the check points, which the model is held against."},
        )
        spec.expose_inputs(
            PwBaseWorkChain,
            namespace="spin_orbit_bands",
            exclude=(*chained, "kpoints", "kpoints_distance", "kpoints_force_parity"),
            namespace_options={**optional, "help": "Noncollinear bands (lforcet), which Hbar + V is held against."},
        )
        steps = ("nscf", "overlaps", "pw2wannier90", "wannier90", "model")
        spec.expose_inputs(WannierFunctionsWorkChain, include=steps)
        define_origin(spec)
        spec.inputs.validator = cls.validate_inputs

        spec.outline(
            cls.setup,
            if_(cls.needs_relaxation)(cls.run_relax, cls.inspect_relax),
            while_(cls.should_run_process)(
                while_(cls.needs_density)(
                    if_(cls.needs_scf)(cls.run_scf, cls.inspect_scf),
                    cls.check_magnet,
                    cls.plan,
                    cls.run_bands,
                    cls.inspect_bands,
                ),
                cls.prepare_process,
                cls.run_process,
                cls.inspect_process,
            ),
            cls.results,
        )

        spec.output("model", valid_type=WannierModelData, help="The Wannier model.")
        spec.output("structure", valid_type=orm.StructureData, required=False, help="The relaxed film.")
        spec.output("film", valid_type=orm.Dict, required=False, help="Its record, of the film as it was computed.")
        spec.output("scf_parameters", valid_type=orm.Dict, help="Output parameters of the scf run.")
        spec.output("scf_folder", valid_type=orm.RemoteData, required=False, help="Of the scf run.")
        spec.output("nscf_folder", valid_type=orm.RemoteData, required=False, help="Of the model's nscf run.")
        spec.output("nscf_bands", valid_type=orm.BandsData, required=False, help="The nscf run's bands.")
        spec.output("quality", valid_type=orm.Dict, required=False, help="The gate: values, limits, what failed.")
        step = "step {step}: pw.x failed ({{pk}}, exit {{status}}): {{message}} `verdi process report {{pk}}`: {hint}"
        spec.exit_code(
            410,
            "ERROR_SUB_PROCESS_FAILED_RELAX",
            message=step.format(step="relax", hint="starting geometry, scf convergence"),
        )
        spec.exit_code(
            411,
            "ERROR_SUB_PROCESS_FAILED_SCF",
            message=step.format(step="scf", hint="convergence, cutoff, starting moments"),
        )
        spec.exit_code(
            412,
            "ERROR_SUB_PROCESS_FAILED_BANDS",
            message=step.format(step="{step}", hint="number of bands, memory"),
        )
        spec.exit_code(
            413,
            "ERROR_NO_MAGNETIC_MOMENT",
            message="step scf: the film lost its moment (absolute magnetization {moment:.3f} mu_B); without exchange "
            "splitting there is no DMI: check the starting moments and the structure",
        )
        spec.exit_code(
            414,
            "ERROR_ANTIFERROMAGNETIC",
            message="step scf: the film ended antiferromagnetic (total magnetization {total:+.3f} mu_B, absolute "
            "{absolute:.3f}); D here is of one magnetisation that turns as a whole, of ferromagnets and ferrimagnets: "
            "give other starting moments",
        )
        spec.exit_code(
            420,
            "ERROR_WANNIERISATION_FAILED",
            message="no choice of Wannier functions worked ({tries} tried); the last one: {message}",
        )
        spec.exit_code(
            421,
            "ERROR_FOLDERS_VANISH",
            message="the folder of a finished step vanished from the computer {times} times; use a work folder that "
            "nobody empties",
        )
        spec.exit_code(430, "ERROR_QUALITY", message="quality gate: {message}")

    @staticmethod
    def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
        """One pseudopotential a kind, a film that starts magnetic, one way to the overlaps."""
        message = one_way_to_overlaps(inputs)
        if message is not None or "structure" not in inputs:
            return message
        return validation.model_of_film(inputs)

    # -- tries -----------------------------------------------------------------------------------------

    def prepare_process(self) -> None:
        """Inputs of the next try."""
        self.plan()
        inputs = AttributeDict(self.exposed_inputs(WannierFunctionsWorkChain))
        inputs.structure = self.ctx.structure
        inputs.pseudos = dict(self.inputs.pseudos)
        inputs.averaged = self.ctx.averaged
        inputs.kpoints, inputs.wannier90.parameters = self.ctx.kpoints, self.ctx.wannier90
        inputs.settings, inputs.plan = self.ctx.settings, self.ctx.plan
        inputs.scf_folder, inputs.scf_parameters = self.ctx.scf_folder, self.ctx.scf_parameters
        bands = self.ctx.get("nscf_bands", None)
        if bands is not None and bands.get_bands().shape[-1] >= self.ctx.plan["nbnd"]:
            inputs.nscf_folder, inputs.nscf_bands = self.ctx.nscf_folder, bands
        self.ctx.inputs = inputs
        settings = ", ".join(f"{key} {value}" for key, value in sorted(self.ctx.settings.get_dict().items()))
        mesh = mesh_label(self.ctx.kpoints.get_kpoints_mesh()[0][:2])
        most = 1 + self._retries()
        self.report(f"Wannier functions, try {self.ctx.choice + 1} of {most} at most: mesh {mesh}, {settings}")

    @process_handler(priority=600)
    def keep_nscf(self, node: orm.WorkChainNode) -> None:
        """Bands that a try computed serve the later ones."""
        if "nscf_bands" in node.outputs:
            self.ctx.nscf_folder, self.ctx.nscf_bands = node.outputs.nscf_folder, node.outputs.nscf_bands

    @process_handler(priority=550, exit_codes=[Try.ERROR_CUT_OFF])
    def repeat(self, node: orm.WorkChainNode) -> ProcessHandlerReport:
        """A job was killed: other functions would be another result, so the same choice once more."""
        if self.ctx.get("cut_off", False):
            return self._end("ERROR_WANNIERISATION_FAILED", tries=self.ctx.choice + 1, message=node.exit_message)
        self.ctx.cut_off = True
        self.report(f"{node.exit_message}; the same choice once more")
        return ProcessHandlerReport(True)

    @process_handler(priority=520, exit_codes=[Try.ERROR_FOLDER_GONE])
    def compute_again(self, node: orm.WorkChainNode) -> ProcessHandlerReport:
        """What an earlier step left is gone: that step is done again, with the same choice."""
        self.ctx.lost += 1
        if self.ctx.lost > MOST_LOST:
            return self._end("ERROR_FOLDERS_VANISH", times=self.ctx.lost)
        for folder in ("scf_folder", "nscf_folder"):
            if self.ctx.get(folder, None) is not None and scratch.is_gone(self.ctx[folder]):
                scratch.forget([self.ctx[folder]])
                self.ctx[folder] = None
        if self.ctx.get("nscf_folder", None) is None:
            self.ctx.nscf_bands = None
        self.report(f"{node.exit_message}; once more")
        return ProcessHandlerReport(True)

    @process_handler(
        priority=500,
        exit_codes=[
            Try.ERROR_SUB_PROCESS_FAILED_WANNIER90,
            Try.ERROR_SUB_PROCESS_FAILED_MODEL,
            Try.ERROR_FROZEN_WINDOW,
        ],
    )
    def try_next_choice(self, node: orm.WorkChainNode) -> ProcessHandlerReport:
        """Wannier90 or the model's own checks refused the functions: the next choice."""
        failures = {Try.ERROR_FROZEN_WINDOW.status: WINDOW, Try.ERROR_SUB_PROCESS_FAILED_WANNIER90.status: WANNIER90}
        if self._next_choice(node.exit_message or "no message", failure=failures.get(node.exit_status, MODEL)):
            return ProcessHandlerReport(True)
        return self._end("ERROR_WANNIERISATION_FAILED", tries=self.ctx.choice + 1, message=node.exit_message)

    @process_handler(
        priority=400,
        exit_codes=[
            Try.ERROR_SUB_PROCESS_FAILED_NSCF,
            Try.ERROR_SUB_PROCESS_FAILED_NEIGHBOURS,
            Try.ERROR_SUB_PROCESS_FAILED_OVERLAPS,
        ],
    )
    def give_up(self, node: orm.WorkChainNode) -> ProcessHandlerReport:
        """Steps that no other choice mends; pw.x has had its own restarts by then."""
        return self._end("ERROR_WANNIERISATION_FAILED", tries=self.ctx.choice + 1, message=node.exit_message)

    @process_handler(priority=300, exit_codes=[ExitCode(0)])
    def quality_gate(self, node: orm.WorkChainNode) -> ProcessHandlerReport | None:
        """The model against its limits."""
        bands = {step: self.ctx[step].outputs.output_band for step in ("bands", "spin_orbit_bands") if step in self.ctx}
        known = {"cutoffs": self.inputs.cutoffs} if "cutoffs" in self.inputs else {}
        self.ctx.quality = assess_model(
            node.outputs.model,
            self.inputs.quality,
            self.ctx.scf_parameters,
            nscf_bands=node.outputs.nscf_bands,
            **bands,
            **known,
        )
        messages = self.ctx.quality["messages"]
        if not messages:
            self.report("quality gate: passed")
            return None
        if self.inputs.force.value:
            self.report(f"quality gate: {'; '.join(messages)}; goes on by force")
            return None
        if self.ctx.quality["retry"] and self._next_choice(f"quality gate: {'; '.join(messages)}", self.ctx.quality):
            return ProcessHandlerReport(True)
        self.out("quality", self.ctx.quality)
        return self._end("ERROR_QUALITY", message="; ".join(messages))

    def results(self) -> ExitCode | None:
        """The model and how good it is."""
        self._out_density()
        done = self.ctx.children[-1].outputs
        self.out_many({name: done[name] for name in ("model", "nscf_folder", "nscf_bands")})
        self.out("quality", self.ctx.quality)
        return None

    def on_terminated(self) -> None:
        """Remove what the jobs left on the computer once the model is stored, where that is asked for."""
        super(BaseRestartWorkChain, self).on_terminated()
        if self.inputs.clean_workdir.value and self.node.is_finished_ok:
            removed, kept = cleaning.clean(self.node)
            self.report("; ".join([f"cleaned {removed} folders, their jobs no longer serve as cache", *kept]))

    def _retries(self) -> int:
        return int(self.inputs.wannierisation.get(RETRIES, 0))

    def _next_choice(self, why: str, quality: orm.Dict | None = None, failure: str = "") -> bool:
        """Go on to a choice that the numbers of the last one call for; False if there is none."""
        if self.ctx.choice >= self._retries():
            return False
        settings, kpoints = self.ctx.settings, self.ctx.kpoints
        gate = None if quality is None else quality.get_dict()
        changed = change(settings.get_dict(), reach_of(kpoints, self.ctx.structure), gate, failure)
        if changed is None:
            self.report(f"{why}; no change of the Wannier functions is known that would help")
            return False
        known = {"failure": orm.Str(failure)} if quality is None else {"quality": quality}
        try:
            found = next_choice(settings, kpoints, self.ctx.structure, self.ctx.wannier90, **known)
        except InputError as error:
            self.report(f"{why}; {error}")
            return False
        self.ctx.choice += 1
        self.ctx.settings, self.ctx.kpoints, self.ctx.wannier90 = (found[key] for key in CHOICE)
        words = [f"{key} {value}" for key, value in changed.settings.items()]
        if changed.factor > 1:
            # The states of the other mesh serve no longer.
            self.ctx.nscf_folder, self.ctx.nscf_bands = None, None
            meshes = (mesh_label(one.get_kpoints_mesh()[0][:2]) for one in (kpoints, self.ctx.kpoints))
            words.append("mesh {1} in place of {0}".format(*meshes))
        self.report(f"{why}; {changed.why}; next: {', '.join(words)}")
        return True

    def _end(self, code: str, **details: Any) -> ProcessHandlerReport:
        """No further try; also after the last one the exit code says why, not merely that there are no more."""
        self.ctx.is_finished = True
        self._out_density()
        return ProcessHandlerReport(True, self.exit_codes[code].format(**details))

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
        codes : dict
            `pw`, `wannier90`, `engine`; `pw2wannier90` where the overlaps are to come from it.
        structure : StructureData
            The film, of any origin: `structures.slab.film_of` turns it where it does not lie as a film does.
        protocol : str, optional
            Name in protocols/film.yaml.
        overrides : dict, optional
            Nested as the protocol's inputs; unknown keys are refused by name.
        pseudos : dict, optional
            Fully relativistic UpfData of every kind; default those of `overrides['pseudo_family']`, without one of the
            family that `families.family` decides on. Cutoffs that are not given are those that it, or the one family
            that holds all of the given ones, recommends.
        magnetic_moments : dict, optional
            Name (element, layer such as Co.1, kind) to starting moment in mu_B; default what the structure came with,
            else the protocol's table for the magnetic elements. A moment makes no element magnetic:
            `overrides['film']` does, with `magnets`.
        options : dict, optional
            `metadata.options` of the parallel programs: resources, max_wallclock_seconds, queue_name, ...
        npool : int, optional
            Pools of k points of every pw.x run; default chosen for each from the film's size (`layout.pw_layout`).

        Raises
        ------
        ValueError
            If a code, a pseudopotential or a magnetic atom is missing, the structure is no film, a key is unknown, or
            what the overrides ask for belongs to a response.
        """
        if isinstance(overrides, Mapping) and overrides.get("completeness") is not None:
            raise InputError(
                "overrides: completeness: it is put into a response, and a model alone has none; leave it out, or run "
                "dmi.dmi (aiida-dmi launch dmi)"
            )
        checked = checked_film(structure, protocol, overrides, magnetic_moments)
        ports = model_ports(codes, checked, protocol, overrides, pseudos, options, npool)
        ports.origin = origin_of(protocol, overrides, pseudos, magnetic_moments, ports.cutoffs)
        return fill(cls.get_builder(), ports)
