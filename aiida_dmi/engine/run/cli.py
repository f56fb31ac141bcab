"""`dmi-engine overlaps | build | run | complete | inspect`: the engine from the command line and from a job script."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ..errors import InputError, StoppedError, brief
from ..processes.console import COMPLETE, Ended, Tolerant, ended_by_signals, tolerant_streams
from ..processes.workers import mpi_communicator

if TYPE_CHECKING:
    import xarray as xr

BAD_INPUT = 2
STOPPED = 1
GRACE = 10.0
"""Seconds that an MPI rank other than the first leaves the first to report the same error."""
LONGEST = 1000
"""Characters of a refusal."""
BY_SIGNAL = 128
"""A process that a signal has ended has this and the signal's number as its status."""


def program() -> int:
    """`main` as a process of its own, which Ctrl-C and the signals that end a job end with one line."""
    try:
        return main()
    except KeyboardInterrupt as ending:
        number = ending.number if isinstance(ending, Ended) else int(signal.SIGINT)
        with tolerant_streams():
            print(
                f"dmi-engine stopped: ended by {signal.Signals(number).name}; the same command goes on from the "
                "checkpoint, if there is one",
                file=sys.stderr,
            )
        return BY_SIGNAL + number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0, 2 for bad input, 1 for a run that could not go on).

    Under MPI every rank computes; the first alone prints and writes, and an error on any rank ends all of them.
    """
    with tolerant_streams() as (output, errors):
        try:
            options = _parser().parse_args(arguments)
        except SystemExit as ending:  # --help, --version, or an option that there is not
            raise SystemExit(_undelivered("", output) or ending.code) from None
        communicator = None
        try:
            communicator = mpi_communicator()
            # Under MPI the launcher ends the ranks, also those that wait for another one.
            with ended_by_signals() if communicator is None else contextlib.nullcontext():
                said = options.function(options, communicator)
        except InputError as error:
            return _refused(error, communicator)
        except StoppedError as error:
            return _stopped(error, communicator)
        except MemoryError as error:
            remedy = "give the job more, or take a coarser mesh or smaller memory_limit"
            return _stopped(StoppedError(f"memory: {error or 'nothing is left'}; {remedy}"), communicator)
        except Exception:
            if communicator is None:
                raise
            traceback.print_exc()
            communicator.Abort(1)
            return 1
        return _finished(said, output, errors) if _is_root(communicator) else 0


def _is_root(communicator: Any) -> bool:
    """Whether this rank speaks to the user and writes files."""
    return communicator is None or communicator.Get_rank() == 0


def _finished(said: Sequence[str], output: Tolerant, errors: Tolerant) -> int:
    """Say what was done; where that cannot be said, the result is there all the same."""
    errors.flush()
    lines = [*said, f"standard error could not be written ({errors.reason})"] if errors.reason else [*said]
    print("\n".join([*lines, COMPLETE]))
    return _undelivered("".join(f"; {' '.join(line.split())}" for line in said), output)


def _undelivered(said: str, output: Tolerant) -> int:
    """The status of a command whose standard output could not be written; 0 where it could."""
    output.flush()
    if not output.reason:
        return 0
    print(f"dmi-engine stopped: standard output could not be written ({output.reason}){said}", file=sys.stderr)
    return STOPPED


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

    complete = commands.add_parser(
        "complete",
        help="compare D(1), a(I), a(II) of a model with those exact in plane waves, from pw.x and pp.x output",
    )
    complete.add_argument("spec", type=Path, metavar="SPEC.yaml")
    complete.add_argument(
        "--output", type=Path, help="completeness file to write (default: the spec's output, or completeness.nc)"
    )
    complete.add_argument(
        "--checkpoint",
        type=Path,
        help="file that a killed run resumes from (default: the spec's checkpoint, or OUTPUT.checkpoint)",
    )
    complete.add_argument("--processes", type=int, help="worker processes (default: the spec's processes, or 1)")
    complete.set_defaults(function=_complete)

    inspect = commands.add_parser("inspect", help="check a model file and say what is in it")
    inspect.add_argument("model", type=Path, metavar="MODEL.h5")
    inspect.set_defaults(function=_inspect)
    return parser


# -- commands, each of which returns the lines that say what was done --------------------------------------


def _overlaps(options: argparse.Namespace, communicator: Any) -> list[str]:
    from ..build.overlaps import SUFFIXES, OverlapsSpec, write_overlaps
    from ..files.lock import Lock
    from ..files.regular import check_inputs, check_writable, path_of
    from .spec import load_spec

    if not _is_root(communicator):
        return []
    content = load_spec(options.spec)
    spec = OverlapsSpec.from_mapping(content, options.spec.parent)
    seed = options.seedname or path_of("seedname", options.spec.parent, content.get("seedname", "aiida"))
    files = [Path(f"{seed}{suffix}") for suffix in SUFFIXES]
    check_inputs(spec.input_files())
    for file in files:
        check_writable("seedname", file, [options.spec, *spec.input_files()])
    with Lock("seedname", files[0]):
        try:
            summary = write_overlaps(spec, seed, progress=True)
        except OSError as error:
            raise InputError(f"seedname: {seed}{{{','.join(SUFFIXES)}}} cannot be written ({error})") from error
    return [summary.describe(), f"wrote {', '.join(str(file) for file in files)}"]


def _build(options: argparse.Namespace, communicator: Any) -> list[str]:
    from ..build import BuildSpec, build
    from ..files.lock import Lock
    from ..files.regular import check_inputs, check_writable, path_of
    from .spec import load_spec

    if not _is_root(communicator):
        return []
    content = load_spec(options.spec)
    spec = BuildSpec.from_mapping(content, options.spec.parent)
    output = options.output or path_of("output", options.spec.parent, content.get("output", "model.h5"))
    check_inputs(spec.input_files())
    check_writable("output", output, [options.spec, *spec.input_files()])
    with Lock("output", output):
        model = build(spec, progress=True)
        try:
            model.save(output)
        except OSError as error:
            raise InputError(f"output: {output} cannot be written ({error})") from error
    return [describe(model), f"wrote {output}"]


def _run(options: argparse.Namespace, communicator: Any) -> list[str]:
    from ..output.results import save_result
    from . import further
    from .compute import compute
    from .spec import RunSpec

    spec = RunSpec.read(options.spec, options.output, options.checkpoint, options.processes)
    output, sections = spec.output, spec.sections
    with spec.sole_writer() if _is_root(communicator) else contextlib.nullcontext():
        model = spec.load_model()
        spec.check(model)

        def save(result: xr.Dataset) -> None:
            """Before the checkpoint goes: a run that is killed, or finds the disk full, until here can be resumed."""
            try:
                # A section may not cost the tensors: they are written first.
                save_result(result, output)
                if further.changes_result(sections):
                    save_result(further.extended(sections, result), output)
                further.write(sections, model, output)
            except OSError as error:
                raise StoppedError(
                    f"output: {output} or a file beside it cannot be written ({error}); make room and run again, it "
                    "goes on from the checkpoint"
                ) from error

        result = compute(
            model,
            communicator=communicator,
            save=save,
            progress=True,
            checkpoint=spec.checkpoint,
            **spec.axes,
            **spec.running,
        )
        if not _is_root(communicator):
            return []
        try:
            further.write_constants(sections, result, output)
        except (InputError, OSError) as error:
            raise StoppedError(f"{error}; everything else is written, {output} first") from error
    return [f"wrote {file}" for file in (output, *further.output_files(sections, output))]


def _complete(options: argparse.Namespace, communicator: Any) -> list[str]:
    from ..completeness import CompletenessSpec, complete, save_completeness
    from ..files.lock import Lock
    from ..files.regular import check_inputs, check_writable, path_of
    from .spec import load_spec

    content, folder = load_spec(options.spec), options.spec.parent
    spec = CompletenessSpec.from_mapping(content, folder, options.processes)
    output = options.output or path_of("output", folder, content.get("output", "completeness.nc"))
    checkpoint = options.checkpoint
    if checkpoint is None:
        named = content.get("checkpoint")
        checkpoint = Path(f"{output}.checkpoint") if named is None else path_of("checkpoint", folder, named)
    inputs = [options.spec, *spec.input_files()]
    check_inputs(spec.input_files())
    if _is_root(communicator):
        check_writable("output", output, inputs)
        check_writable("checkpoint", checkpoint, [*inputs, output])

    def save(result: xr.Dataset) -> None:
        """Before the checkpoint goes."""
        try:
            save_completeness(result, output)
        except OSError as error:
            raise StoppedError(
                f"output: {output} cannot be written ({error}); make room and run again, it goes on from the checkpoint"
            ) from error

    with Lock("output", output) if _is_root(communicator) else contextlib.nullcontext():
        result = complete(spec, communicator=communicator, checkpoint=checkpoint, save=save, progress=True)
    return [*described(result), f"wrote {output}"] if _is_root(communicator) else []


def described(result: xr.Dataset) -> list[str]:
    """A few lines on a completeness file: D(1) exact and of the model, at every mask and temperature without shift."""
    at = result.isel(fermi_shift=abs(result["fermi_shift"]).argmin("fermi_shift"))
    lines = []
    for mask in at["mask"].values:
        for kelvin in at["temperature"].values:
            one = at.sel(mask=mask, temperature=kelvin)
            exact, model = (float(one[name].sel(i="y", j="x")) for name in ("D_1", "D_1_wannier"))
            lines.append(
                f"D(1)_yx, {mask}, {kelvin:g} K: exact {exact:.4g}, of the model {model:.4g} meV*Angstrom; "
                f"completeness {float(one['completeness']):.3f}"
            )
    return lines


def _inspect(options: argparse.Namespace, communicator: Any) -> list[str]:
    from ..model.wannier import WannierModel

    return [describe(WannierModel.load(options.model))] if _is_root(communicator) else []


def describe(model: Any) -> str:
    """A few lines on a WannierModel: contents and the quality numbers a build checks."""
    from ..model.wannier import COMPUTED

    mesh = "x".join(str(m) for m in model.mesh)
    computed = f", {model.attributes[COMPUTED]} of them computed" if COMPUTED in model.attributes else ""
    lines = [
        f"atoms                {' '.join(model.symbols)}",
        f"Wannier functions    {model.functions} a spin, {model.electrons:g} electrons a cell",
        f"ab-initio mesh       {mesh} ({len(model.kpoints)} k points{computed})",
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
    sys.exit(program())
