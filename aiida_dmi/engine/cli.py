"""`dmi-engine overlaps | build | run | inspect`: the engine from the command line and from a job script."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from .errors import InputError, StoppedError, brief
from .workers import mpi_communicator
from .yaml_text import load_yaml

if TYPE_CHECKING:
    import xarray as xr

COMPLETE = "dmi-engine: complete"
"""Last line of standard output of a run that finished: what AiiDA's parsers decide by."""
BAD_INPUT = 2
STOPPED = 1
GRACE = 10.0
"""Seconds that an MPI rank other than the first leaves the first to report the same error."""
LONGEST = 1000
"""Characters of a refusal."""
RUN_KEYS = (
    "model",
    "output",
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
    "processes",
    "memory_limit",
    "checkpoint",
    "cutoff",
)
"""Of `compute`; the sections of `further.py` come beside them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0, 2 for bad input, 1 for a run that could not go on).

    Under MPI every rank computes; the first alone prints and writes, and an error on any rank ends all of them.
    """
    options = _parser().parse_args(arguments)
    communicator = None
    try:
        communicator = mpi_communicator()
        options.function(options, communicator)
    except InputError as error:
        return _refused(error, communicator)
    except StoppedError as error:
        return _stopped(error, communicator)
    except MemoryError as error:
        words = (
            f"memory: {error or 'nothing is left'}; give the job more, or take a coarser mesh or smaller memory_limit"
        )
        return _stopped(StoppedError(words), communicator)
    except Exception:
        if communicator is None:
            raise
        traceback.print_exc()
        communicator.Abort(1)
        return 1
    if _is_root(communicator):
        print(COMPLETE)
    return 0


def _is_root(communicator: Any) -> bool:
    """Whether this rank speaks to the user and writes files."""
    return communicator is None or communicator.Get_rank() == 0


def _refused(error: InputError, communicator: Any) -> int:
    """Report bad input in one line; the ranks that did not meet the error wait for this one, so they are ended."""
    if not _is_root(communicator):
        time.sleep(GRACE)
    # One line, whatever a library put into its message, and not all of a damaged file.
    print(f"dmi-engine: {brief(error, LONGEST)}", file=sys.stderr, flush=True)
    if communicator is not None:
        communicator.Abort(BAD_INPUT)
    return BAD_INPUT


def _stopped(error: StoppedError, communicator: Any) -> int:
    """Report in one line what ended a run; not as `dmi-engine:`, by which AiiDA knows refused input."""
    print(f"dmi-engine stopped: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
    if communicator is not None:
        communicator.Abort(STOPPED)
    return STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dmi-engine",
        description="Dzyaloshinskii-Moriya interaction and ground-state spin currents from Wannier functions.",
    )
    parser.add_argument("--version", action="version", version=f"dmi-engine {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    overlaps = commands.add_parser("overlaps", help="write .amn, .mmn and .eig for wannier90.x from pw.x output")
    overlaps.add_argument("spec", type=Path, metavar="SPEC.yaml")
    overlaps.add_argument(
        "--output",
        dest="seedname",
        type=Path,
        metavar="SEED",
        help="files to write, without suffix (default: the spec's seedname, or aiida)",
    )
    overlaps.set_defaults(function=_overlaps)

    build = commands.add_parser("build", help="write a model file from pw.x and wannier90.x output")
    build.add_argument("spec", type=Path, metavar="SPEC.yaml")
    build.add_argument("--output", type=Path, help="model file to write (default: the spec's output, or model.h5)")
    build.set_defaults(function=_build)

    run = commands.add_parser("run", help="compute D, Q, a(I), a(II) of a model file")
    run.add_argument("spec", type=Path, metavar="SPEC.yaml")
    run.add_argument("--output", type=Path, help="result file to write (default: the spec's output, or result.nc)")
    run.add_argument(
        "--checkpoint",
        type=Path,
        help="file that a killed run resumes from (default: the spec's checkpoint, or OUTPUT.checkpoint)",
    )
    run.add_argument("--processes", type=int, help="worker processes (default: the spec's processes, or 1)")
    run.set_defaults(function=_run)

    inspect = commands.add_parser("inspect", help="check a model file and say what is in it")
    inspect.add_argument("model", type=Path, metavar="MODEL.h5")
    inspect.set_defaults(function=_inspect)
    return parser


def _load_spec(path: Path) -> dict[str, Any]:
    try:
        spec = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(spec, Mapping):
        raise InputError(f"{path}: holds {type(spec).__name__}, expected keys and values such as 'mesh: 24'")
    return {str(key): value for key, value in spec.items()}


def _path(options: argparse.Namespace, spec: Mapping[str, Any], key: str, default: str | None = None) -> Path:
    """A file's path from the command line, from the spec (relative to its folder), or the default."""
    given = getattr(options, key, None)
    if given is not None:
        return Path(given)
    name = spec.get(key, default)
    if not isinstance(name, str) or not name:
        raise InputError(f"{key}: {name!r} was given, expected a file name")
    return Path(options.spec.parent / name)


def _check_writable(key: str, path: Path, others: Iterable[Path]) -> None:
    """Refuse what cannot be written, or would overwrite one of the other files, before anything is computed."""
    if not os.path.isdir(path.parent):
        raise InputError(f"{key}: folder {path.parent} does not exist; make it first")
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{key}: {path} is a folder or a device, expected a file name")
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except (OSError, ValueError) as error:
        raise InputError(f"{key}: {path} cannot be written ({error}); name a file in a folder of yours") from error
    os.close(handle)
    os.unlink(temporary)
    for other in others:
        both = os.path.exists(path) and os.path.exists(other)
        if path.resolve() == other.resolve() or (both and os.path.samefile(path, other)):
            raise InputError(f"{key}: {path} is a file of this run already and would be overwritten; name another one")


def _overlaps(options: argparse.Namespace, communicator: Any) -> None:
    from .build.overlaps import SUFFIXES, OverlapsSpec, write_overlaps

    if not _is_root(communicator):
        return
    content = _load_spec(options.spec)
    seed = _path(options, content, "seedname", "aiida")
    content.pop("seedname", None)
    spec = OverlapsSpec.from_mapping(content, options.spec.parent)
    files = [Path(f"{seed}{suffix}") for suffix in SUFFIXES]
    for file in files:
        _check_writable("seedname", file, [options.spec, *spec.input_files()])
    try:
        summary = write_overlaps(spec, seed, progress=True)
    except OSError as error:
        raise InputError(f"seedname: {seed}{{{','.join(SUFFIXES)}}} cannot be written ({error})") from error
    print(summary.describe())
    print(f"wrote {', '.join(str(file) for file in files)}")


def _build(options: argparse.Namespace, communicator: Any) -> None:
    from .build import BuildSpec, build

    if not _is_root(communicator):
        return
    content = _load_spec(options.spec)
    output = _path(options, content, "output", "model.h5")
    content.pop("output", None)
    spec = BuildSpec.from_mapping(content, options.spec.parent)
    _check_writable("output", output, [options.spec, *spec.input_files()])
    model = build(spec, progress=True)
    try:
        model.save(output)
    except OSError as error:
        raise InputError(f"output: {output} cannot be written ({error})") from error
    print(describe(model))
    print(f"wrote {output}")


def _run(options: argparse.Namespace, communicator: Any) -> None:
    from . import further
    from .compute import compute
    from .results import save_result

    spec = _load_spec(options.spec)
    _check_run_keys(spec, further.SECTIONS)
    further.check(spec)
    output = _path(options, spec, "output", "result.nc")
    checkpoint = Path(f"{output}.checkpoint")
    if options.checkpoint is not None or spec.get("checkpoint") is not None:
        checkpoint = _path(options, spec, "checkpoint")
    arguments = {key: value for key, value in spec.items() if key in RUN_KEYS and key not in ("model", "output")}
    if isinstance(arguments.get("mesh"), list):
        arguments["mesh"] = tuple(arguments["mesh"])
    if options.processes is not None:
        arguments["processes"] = options.processes
    arguments["checkpoint"] = checkpoint
    if _is_root(communicator):
        inputs = [options.spec] if isinstance(spec["model"], Mapping) else [options.spec, _path(options, spec, "model")]
        _check_writable("output", output, inputs)
        _check_writable("checkpoint", checkpoint, [*inputs, output])
        for file in further.output_files(spec, output):
            _check_writable("output", file, [*inputs, output, checkpoint])
    model = _model(options, spec)

    def save(result: xr.Dataset) -> None:
        """Before the checkpoint goes: a run killed until here can be resumed."""
        try:
            # A section that does not fit must not cost the tensors: they are written first.
            save_result(result, output)
            if further.changes_result(spec):
                save_result(further.extended(spec, result), output)
        except OSError as error:
            raise StoppedError(
                f"output: {output} cannot be written ({error}); make room and run again, it goes on from the checkpoint"
            ) from error

    result = compute(model, communicator=communicator, save=save, progress=True, **arguments)
    if _is_root(communicator):
        print(f"wrote {output}")
        for file in further.write(spec, model, result, output):
            print(f"wrote {file}")


def _check_run_keys(spec: Mapping[str, Any], sections: Sequence[str]) -> None:
    for key in spec:
        if key not in (*RUN_KEYS, *sections):
            raise InputError(f"{key}: unknown key; expected {', '.join((*RUN_KEYS, *sections))}")
    if "model" not in spec:
        raise InputError("model: missing; dmi-engine run needs it")
    if spec.get("mesh") is None and spec.get("tolerance") is None:
        raise InputError("mesh: missing; dmi-engine run needs it, or a tolerance to refine the mesh to")


def _model(options: argparse.Namespace, spec: Mapping[str, Any]) -> Any:
    """A model file, or the Rashba model where its parameters are given in place of a file."""
    from .model import WannierModel
    from .rashba import RashbaModel

    given = spec["model"]
    if not isinstance(given, Mapping):
        return WannierModel.load(_path(options, spec, "model"))
    known = ("alpha", "exchange", "mass")
    fits = set(given) <= set(known) and {"alpha", "exchange"} <= set(given)
    if not fits or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in given.values()):
        raise InputError(
            f"model: {dict(given)} was given, expected a model file, or the Rashba model's alpha (eV*Angstrom), "
            "exchange (eV) and mass (electron masses)"
        )
    return RashbaModel(**{key: float(value) for key, value in given.items()})


def _inspect(options: argparse.Namespace, communicator: Any) -> None:
    from .model import WannierModel

    if _is_root(communicator):
        print(describe(WannierModel.load(options.model)))


def describe(model: Any) -> str:
    """A few lines on a WannierModel: contents and the quality numbers a build checks."""
    mesh = "x".join(str(m) for m in model.mesh)
    lines = [
        f"atoms                {' '.join(model.symbols)}",
        f"Wannier functions    {model.functions} a spin, {model.electrons:g} electrons a cell",
        f"ab-initio mesh       {mesh} ({len(model.kpoints)} k points)",
        f"Fermi energy         {model.fermi_energy:.4f} eV",
        f"time reversal        broken by {model.time_reversal_error:.1e} (eV, Angstrom; at most 1e-3 is good)",
        f"up and down          functions correspond within {model.correspondence_error:.1e} (0 is perfect)",
    ]
    if model.dimension == 2:
        lines.insert(3, f"cell area            {model.area:.4f} Angstrom^2")
    if model.moments is not None:
        lines.append(f"moments              {' '.join(f'{m:.2f}' for m in model.moments)} mu_B")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
