"""The spec of `dmi-engine complete`: what a completeness file is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..arguments import check_keys, choice, label, named, number, numbers, refusal, whole
from ..build.given import LARGEST
from ..build.quantum_espresso import SCHEMA
from ..files.regular import path_of
from ..integrate.settings import AUTOMATIC, SYMMETRISED

FILES = ("model", "nscf", "potentials", "pseudopotentials")
AXES = ("soi_masks", "temperatures", "fermi_shifts", "fermi_level", "symmetry")
RUNNING = ("processes", "memory_limit")
OUTPUTS = ("output", "checkpoint")
FERMI_LEVELS = ("neutral", "dft")
MEMORY_LIMIT = 1024**3
MOST_PROCESSES = 4096


@dataclasses.dataclass(frozen=True)
class CompletenessSpec:
    """What `complete` compares, and at which masks, temperatures and shifts.

    Parameters
    ----------
    model : Path
        Model file, of the same film.
    nscf : Path
        pw.x's `.save` folder, collinear, on the mesh: complete, one of each pair k and -k, or irreducible.
    potentials : pair of Path
        pp.x's files (plot_num = 1) of spin_component 1 and 2, of the scf that the nscf started from.
    pseudopotentials : dict
        Species name to the path of its fully relativistic UPF file.
    soi_masks, temperatures, fermi_shifts
        As of `compute`.
    fermi_level : 'neutral', 'dft', float or tuple of float
        'neutral': where the model holds its electrons on a fine mesh, at each temperature; 'dft': the model's
        `fermi_energy`; or eV, one number or one a temperature.
    symmetry : bool or str
        'model': the model is symmetrised first; 'auto': where that is possible; as of `compute`, for it to be the
        same model.
    processes, memory_limit : int
    """

    model: Path
    nscf: Path
    potentials: tuple[Path, Path]
    pseudopotentials: dict[str, Path]
    soi_masks: Any = None
    temperatures: Any = (300.0,)
    fermi_shifts: Any = (0.0,)
    fermi_level: str | float | tuple[float, ...] = "neutral"
    symmetry: bool | str = False
    processes: int = 1
    memory_limit: int = MEMORY_LIMIT

    @classmethod
    def from_mapping(cls, spec: Mapping[str, Any], folder: Path, processes: int | None = None) -> CompletenessSpec:
        """From a SPEC.yaml's content; relative paths are taken from `folder`.

        Raises
        ------
        InputError
            Naming the key that is missing, unknown or of the wrong kind. `complete` checks what depends on the model.
        """
        check_keys(spec, [*FILES, *AXES, *RUNNING, *OUTPUTS], FILES, "complete")
        potentials = spec["potentials"]
        if not isinstance(potentials, list) or len(potentials) != 2:
            raise refusal("potentials", potentials, "two files of pp.x, spin up and down")
        files = spec["pseudopotentials"]
        if not isinstance(files, Mapping) or not files:
            raise refusal("pseudopotentials", files, "species names with UPF paths")
        count = spec.get("processes", 1) if processes is None else processes
        return cls(
            model=path_of("model", folder, spec["model"]),
            nscf=path_of("nscf", folder, spec["nscf"]),
            potentials=(path_of("potentials", folder, potentials[0]), path_of("potentials", folder, potentials[1])),
            pseudopotentials={
                label("pseudopotentials", name): path_of(f"pseudopotentials: {named(name)}", folder, path)
                for name, path in files.items()
            },
            processes=whole("processes", count, most=MOST_PROCESSES),
            memory_limit=whole("memory_limit", spec.get("memory_limit", MEMORY_LIMIT)),
            **cls.checked_axes(spec),
        )

    @staticmethod
    def checked_axes(spec: Mapping[str, Any]) -> dict[str, Any]:
        """Those of AXES that a spec has; masks, temperatures and shifts are checked against the model.

        Raises
        ------
        InputError
        """
        axes = {key: spec[key] for key in AXES if key in spec}
        checks = {"fermi_level": _fermi_level, "symmetry": _symmetry}
        return {key: checks[key](value) if key in checks else value for key, value in axes.items()}

    def input_files(self) -> list[Path]:
        """The files that are read: none of them may become an output."""
        own = [self.model, *self.potentials, *self.pseudopotentials.values()]
        return [*own, self.nscf / SCHEMA, *self.nscf.glob("wfc*")]


def _fermi_level(value: Any) -> str | float | tuple[float, ...]:
    if isinstance(value, str):
        return choice("fermi_level", value, FERMI_LEVELS)
    expected = f"{' or '.join(FERMI_LEVELS)}, a number in eV, or a list of one a temperature"
    if isinstance(value, list):
        return numbers("fermi_level", value, expected)
    return number("fermi_level", value, expected, least=-LARGEST, most=LARGEST)


def _symmetry(value: Any) -> bool | str:
    if value is False or (isinstance(value, str) and value in (SYMMETRISED, AUTOMATIC)):
        return value
    raise refusal("symmetry", value, f"false or '{SYMMETRISED}' or '{AUTOMATIC}'; the mesh is reduced in any case")
