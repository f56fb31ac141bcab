"""The steps of `dmi.wannier_model` up to its tries: relaxation, density, a magnet, bands at the check points."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import BaseRestartWorkChain, ExitCode, ToContext
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.aiida_types import exit_code
from aiida_dmi.calculations.functions import (
    check_kpoints,
    plan_wannierisation,
    scalar_relativistic_average,
)
from aiida_dmi.structures.film import cancels
from aiida_dmi.structures.runs import film_record, relaxed_film
from aiida_dmi.workflows import scratch
from aiida_dmi.workflows.pw_steps import PwBaseWorkChain, PwRelaxWorkChain
from aiida_dmi.workflows.retries import first_choice
from aiida_dmi.workflows.reuse import ReusingWorkChain
from aiida_dmi.workflows.steps import start, step_failed, words_of_last_job

LEAST_MOMENT = 0.05
"""mu_B per cell (absolute magnetisation) below which the scf has lost its moment."""
MOST_LOST = 3
"""Times that the folder of a finished step may vanish before the run gives up."""


class DensitySteps(ReusingWorkChain, BaseRestartWorkChain):
    """What `WannierModelWorkChain` begins with, which has the ports, exit codes and context that these steps use."""

    def setup(self) -> None:
        """Scalar-relativistic average of every pseudopotential; one element is averaged once."""
        super().setup()
        averages: dict[str, UpfData] = {}
        for pseudo in self.inputs.pseudos.values():
            if pseudo.uuid not in averages:
                averages[pseudo.uuid] = scalar_relativistic_average(pseudo)
        self.ctx.averaged = {kind: averages[pseudo.uuid] for kind, pseudo in self.inputs.pseudos.items()}
        self.ctx.structure = self.inputs.structure
        self.ctx.film = self.inputs.film if "film" in self.inputs else film_record(self.inputs.structure)
        if "film" not in self.inputs and not self.needs_relaxation():
            self.out("film", self.ctx.film)
        self.ctx.choice, self.ctx.lost, self.ctx.bands_done = 0, 0, False
        self.ctx.settings = first_choice(self.inputs.wannierisation)
        self.ctx.kpoints, self.ctx.wannier90 = self.inputs.kpoints, self.inputs.wannier90.parameters
        if "parent_folder" in self.inputs:
            self.ctx.scf_folder = self.inputs.parent_folder
            self.ctx.scf_parameters = self.inputs.parent_folder.creator.outputs.output_parameters
            self.report(f"scf: taken from PwCalculation<{self.inputs.parent_folder.creator.pk}>")

    def needs_relaxation(self) -> bool:
        """Whether the film is to be relaxed."""
        return bool(self.inputs.get("relax", None))

    def run_relax(self) -> ToContext[str, Any]:
        """Positions of the atoms, in the cell as it is."""
        inputs = AttributeDict(self.exposed_inputs(PwRelaxWorkChain, namespace="relax"))
        inputs.structure = self.ctx.structure
        inputs.base_relax.pw.pseudos = self.ctx.averaged
        return ToContext(relax=start(self, PwRelaxWorkChain, inputs, "relax", "collinear film, cell fixed"))

    def inspect_relax(self) -> ExitCode | None:
        """The relaxed film takes the place of the given one."""
        if not self.ctx.relax.is_finished_ok:
            return self._failed("RELAX", self.ctx.relax)
        self.ctx.structure = self.ctx.relax.outputs.output_structure
        self.ctx.film = relaxed_film(self.ctx.film, self.ctx.structure)
        self.out_many({"structure": self.ctx.structure, "film": self.ctx.film})
        return None

    def needs_density(self) -> bool:
        """Whether density or bands at the check points are missing: not computed yet, or gone from the computer."""
        return self.needs_scf() or not self.ctx.bands_done

    def needs_scf(self) -> bool:
        """Whether there is no density."""
        return self.ctx.get("scf_folder", None) is None

    def run_scf(self) -> ToContext[str, Any]:
        """Self-consistent density."""
        inputs = AttributeDict(self.exposed_inputs(PwBaseWorkChain, namespace="scf"))
        inputs.pw.structure = self.ctx.structure
        inputs.pw.pseudos = self.ctx.averaged
        return ToContext(scf=start(self, PwBaseWorkChain, inputs, "scf", "collinear density, no spin-orbit"))

    def inspect_scf(self) -> ExitCode | None:
        """The scf must have converged."""
        if not self.ctx.scf.is_finished_ok:
            return self._failed("SCF", self.ctx.scf)
        self.ctx.scf_folder = self.ctx.scf.outputs.remote_folder
        self.ctx.scf_parameters = self.ctx.scf.outputs.output_parameters
        return None

    def check_magnet(self) -> ExitCode | None:
        """... to a magnet with one magnetisation."""
        total, absolute = (self.ctx.scf_parameters.get(f"{of}_magnetization", None) for of in ("total", "absolute"))
        if absolute is not None and abs(absolute) < LEAST_MOMENT:
            return exit_code(self, "ERROR_NO_MAGNETIC_MOMENT", moment=absolute)
        if None not in (total, absolute) and cancels(total, absolute):
            return exit_code(self, "ERROR_ANTIFERROMAGNETIC", total=total, absolute=absolute)
        return None

    def plan(self) -> None:
        """Projections, semicore and number of bands of the present choice, once a choice."""
        if self.ctx.get("planned", None) == self.ctx.choice:
            return
        self.ctx.planned = self.ctx.choice
        self.ctx.plan = plan_wannierisation(self.ctx.structure, self.ctx.settings, **dict(self.inputs.pseudos))

    def run_bands(self) -> ToContext[str, Any] | ExitCode | None:
        """Bands at the check points, no more than there are functions."""
        if self.ctx.bands_done:
            return None
        density = self.ctx.scf_folder
        known = scratch.is_fresh(density, self.node)
        if not known and scratch.is_gone(density) and not self._bands_are_in_the_cache(density):
            return self._lose_density("bands")
        excluded, functions = len(self.ctx.plan["exclude_bands"]), self.ctx.plan["num_wann"]
        started = {}
        for step, spinors, pseudos in (("bands", 1, self.ctx.averaged), ("spin_orbit_bands", 2, self.inputs.pseudos)):
            if not self.inputs.get(step, None):
                continue
            inputs = AttributeDict(self.exposed_inputs(PwBaseWorkChain, namespace=step))
            parameters = inputs.pw.parameters.get_dict()
            parameters.setdefault("SYSTEM", {}).setdefault("nbnd", spinors * (excluded + functions))
            inputs.pw.parameters = orm.Dict(parameters)
            inputs.pw.structure = self.ctx.structure
            inputs.pw.pseudos = dict(pseudos)
            inputs.pw.parent_folder = self.ctx.scf_folder
            inputs.kpoints = self._check_kpoints()
            # The highest of so few bands is occupied here and there by design.
            inputs.handler_overrides = orm.Dict({"sanity_check_insufficient_bands": {"enabled": False}})
            started[step] = start(self, PwBaseWorkChain, inputs, step, "high-symmetry and random points, for the gate")
        return ToContext(**started)

    def inspect_bands(self) -> ExitCode | None:
        """They must have converged."""
        if self.needs_scf() or self.ctx.bands_done:
            return None
        for step in ("bands", "spin_orbit_bands"):
            if step in self.ctx and not self.ctx[step].is_finished_ok:
                if scratch.is_gone(self.ctx.scf_folder):
                    return self._lose_density(step)
                return self._failed("BANDS", self.ctx[step], step=step)
        self.ctx.bands_done = True
        return None

    def _bands_are_in_the_cache(self, density: orm.RemoteData) -> bool:
        return scratch.served_from_cache(density, self._check_kpoints())

    def _check_kpoints(self) -> orm.KpointsData:
        if "check_kpoints" not in self.ctx:
            self.ctx.check_kpoints = check_kpoints(self.ctx.structure, self.inputs.random_points)
        points: orm.KpointsData = self.ctx.check_kpoints
        return points

    def _lose_density(self, step: str) -> ExitCode | None:
        """The scf's folder is gone, as where scratch was emptied after the run that the cache took it from."""
        folder = self.ctx.scf_folder
        self.report(f"{step}: the density in {folder.get_remote_path()} is gone from the computer; the scf once more")
        scratch.forget([folder])
        self.ctx.scf_folder = None
        self.ctx.lost += 1
        return exit_code(self, "ERROR_FOLDERS_VANISH", times=self.ctx.lost) if self.ctx.lost > MOST_LOST else None

    # -- endings ---------------------------------------------------------------------------------------

    def _out_density(self) -> None:
        """The scf that everything stands on: the last one, once none follows."""
        if self.ctx.get("scf_folder", None) is not None:
            self.out_many({"scf_parameters": self.ctx.scf_parameters, "scf_folder": self.ctx.scf_folder})

    def _failed(self, code: str, node: Any, **context: Any) -> ExitCode:
        self._out_density()
        return step_failed(self, code, node, **{"message": words_of_last_job(node), **context})
