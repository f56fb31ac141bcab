"""`metadata.options` of the jobs: what is asked of the scheduler for a program with ranks, and for one without."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_dmi.aiida_types import computer_of
from aiida_dmi.workflows.codes import ranks_inside

WALLTIME = 12 * 3600
"""Seconds of a job, unless told."""


def processors(code: orm.AbstractCode, options: dict[str, Any] | None) -> int:
    """Ranks on one machine: as given, else what the computer has by default."""
    resources = (options or {}).get("resources", {})
    if "num_mpiprocs_per_machine" in resources:
        return int(resources["num_mpiprocs_per_machine"])
    return int(computer_of(code).get_default_mpiprocs_per_machine() or 1)


def ranks_given(options: dict[str, Any] | None) -> bool:
    """Whether somebody said how many ranks there are to be."""
    return "num_mpiprocs_per_machine" in (options or {}).get("resources", {})


def parallel(code: orm.AbstractCode, options: dict[str, Any] | None, share: int = 1) -> dict[str, Any]:
    """Of a program with ranks; `share` of them run side by side.

    Raises
    ------
    ValueError
        If ranks are to be started both inside a container and in front of it.
    """
    inside = ranks_inside(code)
    if inside is not None and (options or {}).get("withmpi"):
        raise ValueError(
            f"options: withmpi True was given, but {code.full_label} starts its {inside} ranks in its container; "
            "mpirun in front would start independent runs in one folder; leave withmpi out"
        )
    per_machine = inside or max(1, processors(code, options) // share)
    machines = int((options or {}).get("resources", {}).get("num_machines", 1))
    return {
        "max_wallclock_seconds": WALLTIME,
        "withmpi": inside is None,
        "environment_variables": {"OMP_NUM_THREADS": "1"},
        **(options or {}),
        "resources": {
            **(options or {}).get("resources", {}),
            "num_machines": machines,
            "num_mpiprocs_per_machine": per_machine,
        },
    }


def one_thread() -> dict[str, Any]:
    """Ranks and worker processes are the parallel axis."""
    return {"environment_variables": {"OMP_NUM_THREADS": "1"}}


def serial(options: dict[str, Any] | None) -> dict[str, Any]:
    """Of a program with one rank."""
    return {
        "max_wallclock_seconds": WALLTIME,
        **(options or {}),
        "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1},
        "withmpi": False,
    }
