"""`dmi-engine build | run | inspect`: the engine from the command line and from a job script."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .. import __version__
from .errors import InputError

COMPLETE = "dmi-engine: complete"
"""Last line of standard output of a run that finished: what AiiDA's parsers decide by."""
BAD_INPUT = 2
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
    "processes",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0, or 2 for bad input)."""
    options = _parser().parse_args(arguments)
    try:
        options.function(options)
    except InputError as error:
        # One line, whatever a library put into its message.
        print(f"dmi-engine: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    print(COMPLETE)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dmi-engine",
        description="Dzyaloshinskii-Moriya interaction and ground-state spin currents from Wannier functions.",
    )
    parser.add_argument("--version", action="version", version=f"dmi-engine {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    build = commands.add_parser("build", help="write a model file from pw.x and wannier90.x output")
    build.add_argument("spec", type=Path, metavar="SPEC.yaml")
    build.add_argument("--output", type=Path, help="model file to write (default: the spec's output, or model.h5)")
    build.set_defaults(function=_build)

    run = commands.add_parser("run", help="compute D, Q, a(I), a(II) of a model file")
    run.add_argument("spec", type=Path, metavar="SPEC.yaml")
    run.add_argument("--output", type=Path, help="result file to write (default: the spec's output, or result.nc)")
    run.add_argument("--processes", type=int, help="worker processes (default: the spec's processes, or 1)")
    run.set_defaults(function=_run)

    inspect = commands.add_parser("inspect", help="check a model file and say what is in it")
    inspect.add_argument("model", type=Path, metavar="MODEL.h5")
    inspect.set_defaults(function=_inspect)
    return parser


def _load_spec(path: Path) -> dict[str, Any]:
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(spec, Mapping):
        raise InputError(f"{path}: holds {type(spec).__name__}, expected keys and values such as 'mesh: 24'")
    return {str(key): value for key, value in spec.items()}


def _output(options: argparse.Namespace, spec: Mapping[str, Any], default: str) -> Path:
    path = Path(options.output or options.spec.parent / str(spec.get("output", default)))
    if not path.parent.is_dir():
        raise InputError(f"output: folder {path.parent} does not exist; make it first")
    return path


def _build(options: argparse.Namespace) -> None:
    from .build import BuildSpec, build

    spec = _load_spec(options.spec)
    output = _output(options, spec, "model.h5")
    spec.pop("output", None)
    model = build(BuildSpec.from_mapping(spec, options.spec.parent), progress=True)
    model.save(output)
    print(describe(model))
    print(f"wrote {output}")


def _run(options: argparse.Namespace) -> None:
    from .compute import compute
    from .model import WannierModel
    from .results import save_result

    spec = _load_spec(options.spec)
    for key in spec:
        if key not in RUN_KEYS:
            raise InputError(f"{key}: unknown key; expected {', '.join(RUN_KEYS)}")
    for key in ("model", "mesh"):
        if key not in spec:
            raise InputError(f"{key}: missing; dmi-engine run needs it")
    output = _output(options, spec, "result.nc")
    model = WannierModel.load(options.spec.parent / str(spec["model"]))
    arguments = {key: value for key, value in spec.items() if key not in ("model", "output")}
    if isinstance(arguments["mesh"], list):
        arguments["mesh"] = tuple(arguments["mesh"])
    if options.processes is not None:
        arguments["processes"] = options.processes
    result = compute(model, progress=True, **arguments)
    save_result(result, output)
    print(f"wrote {output}")


def _inspect(options: argparse.Namespace) -> None:
    from .model import WannierModel

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
