"""The spec of `dmi-engine run`: from YAML to what is computed, every key and value checked before it is."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..arguments import check_keys, known_keys, named, whole
from ..errors import InputError
from ..files.lock import Lock
from ..files.regular import check_writable, path_of
from ..files.yaml_text import load_yaml
from ..integrate.settings import Settings
from ..model.rashba import RashbaModel
from ..model.wannier import WannierModel
from . import further
from .compute import MOST_PROCESSES, prepared
from .summation import MEMORY_LIMIT

FILES = ("model", "output", "checkpoint")
RUNNING = ("processes", "memory_limit")
AXES = (
    "mesh",
    "soi_scales",
    "fermi_shifts",
    "temperatures",
    "directions",
    "soi_masks",
    "fermi_level",
    "symmetry",
    "tolerance",
    "max_mesh",
    "method",
    "quantities",
    "cutoff",
)
"""Of `compute`; the sections of `further` come beside them."""
LONGEST = 2**24
"""Characters of a spec; what is longer is another kind of file."""


def load_spec(path: Path) -> dict[str, Any]:
    """Keys and values of a SPEC.yaml.

    Raises
    ------
    InputError
        If it cannot be read, or is no mapping of names.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
        if len(text) > LONGEST:
            raise ValueError("it is too long")
        spec = load_yaml(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(spec, Mapping):
        raise InputError(f"{path}: holds {type(spec).__name__}, expected keys and values such as 'mesh: 24'")
    for key in spec:
        if not isinstance(key, str):
            raise InputError(f"{path}: {named(key)} was given as a key, expected a name")
    return dict(spec)


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """What `dmi-engine run` is to do.

    Parameters
    ----------
    path : Path
        The spec's own.
    model : Path or RashbaModel
    output, checkpoint : Path
    running : dict
        Of RUNNING, as `compute` takes them.
    axes : dict
        Of AXES.
    sections : dict
        Of `further.SECTIONS`.
    """

    path: Path
    model: Path | RashbaModel
    output: Path
    checkpoint: Path
    running: dict[str, Any]
    axes: dict[str, Any]
    sections: dict[str, Any]

    @classmethod
    def read(
        cls, path: Path, output: Path | None = None, checkpoint: Path | None = None, processes: int | None = None
    ) -> RunSpec:
        """From a SPEC.yaml; relative paths in it are taken from its folder.

        Parameters
        ----------
        path : Path
        output, checkpoint, processes
            From the command line: they go before the spec's.

        Raises
        ------
        InputError
            Naming the key that is missing, unknown or of the wrong kind. What depends on the model is left to `check`.
        """
        spec, folder = load_spec(path), path.parent
        check_keys(spec, [*FILES, *AXES, *RUNNING, *further.SECTIONS], ["model"], "run")
        further.check_keys(spec)
        axes = {key: spec[key] for key in AXES if key in spec}
        if axes.get("mesh") is None and axes.get("tolerance") is None:
            raise InputError("mesh: missing; dmi-engine run needs it, or a tolerance to refine the mesh to")
        output = path_of("output", folder, spec.get("output", "result.nc")) if output is None else output
        if checkpoint is None and spec.get("checkpoint") is not None:
            checkpoint = path_of("checkpoint", folder, spec["checkpoint"])
        number = spec.get("processes", 1) if processes is None else processes
        given = spec["model"]
        return cls(
            path=path,
            model=_rashba(given) if isinstance(given, Mapping) else path_of("model", folder, given),
            output=output,
            checkpoint=Path(f"{output}.checkpoint") if checkpoint is None else checkpoint,
            running={
                "processes": whole("processes", number, most=MOST_PROCESSES),
                "memory_limit": whole("memory_limit", spec.get("memory_limit", MEMORY_LIMIT)),
            },
            axes=axes,
            sections={key: spec[key] for key in further.SECTIONS if key in spec},
        )

    @contextlib.contextmanager
    def sole_writer(self) -> Iterator[None]:
        """All outputs can be written and are this run's alone, while the block runs.

        Raises
        ------
        InputError
            Naming the key of the file that cannot be written, or that another run is writing.
        """
        inputs = [self.path] if isinstance(self.model, RashbaModel) else [self.path, self.model]
        check_writable("output", self.output, inputs)
        check_writable("checkpoint", self.checkpoint, [*inputs, self.output])
        for file in further.output_files(self.sections, self.output):
            check_writable("output", file, [*inputs, self.output, self.checkpoint])
        with Lock("output", self.output):
            yield

    def load_model(self) -> WannierModel | RashbaModel:
        """The model.

        Raises
        ------
        InputError
            If its file is none.
        """
        return self.model if isinstance(self.model, RashbaModel) else WannierModel.load(self.model)

    def check(self, model: WannierModel | RashbaModel) -> Settings:
        """Every value of the spec against the model: nothing is refused any more once the sum has begun.

        Raises
        ------
        InputError
            Naming the key, its value and what is expected.
        """
        model, settings = prepared(model, **self.axes)
        further.check(self.sections, model, settings)
        return settings


def _rashba(given: Mapping[str, Any]) -> RashbaModel:
    """The Rashba model, whose parameters stand in place of a file's name."""
    try:
        return RashbaModel(**known_keys("model", given, ["alpha", "exchange", "mass"], ["alpha", "exchange"]))
    except InputError as error:
        raise InputError(
            f"model: {dict(given)} was given, expected a model file, or the Rashba model's alpha (eV*Angstrom), "
            f"exchange (eV) and mass (electron masses); {error}"
        ) from error
