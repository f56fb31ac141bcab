"""Parser of Wannier90's output.

Wannier90 exits with status 0 also when it fails, so the only word on success is the line that it writes last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.engine import ExitCode
from aiida.parsers import Parser
from numpy.typing import NDArray

from aiida_dmi.aiida_types import exit_code

__all__ = ("Wannier90Parser", "find_error", "parse_bands", "parse_wout")

# What Wannier90 writes before it stops, most specific first, and the exit code it means.
_ERRORS = (
    ("Unable to satisfy B1", "ERROR_BVECTORS"),
    ("B1 condition not satisfied", "ERROR_BVECTORS"),
    ("Eq. (B1) not satisfied", "ERROR_BVECTORS"),
    ("kmesh_get_bvector: Not enough bvectors found", "ERROR_BVECTORS"),
    ("kmesh_get: something wrong, found too many nearest neighbours", "ERROR_BVECTORS"),
    ("Energy window contains fewer states than number of target WFs", "ERROR_DISENTANGLEMENT_NOT_ENOUGH_STATES"),
    ("The outer energy window contains no eigenvalues", "ERROR_DISENTANGLEMENT_NOT_ENOUGH_STATES"),
    ("Error plotting WF cube", "ERROR_PLOT_WF_CUBE"),
    ("Exiting......", "ERROR_EXITING_MESSAGE_IN_STDOUT"),
)

_SETTING = re.compile(r"^\s*\|\s+(?P<label>\S.*?)\s+:\s+(?P<value>\S+)\s+\|\s*$")
_FUNCTION = re.compile(r"WF centre and spread\s*(?P<number>\S+)\s*\((?P<centre>[^)]*)\)\s*(?P<spread>\S+)")
_SPREAD = re.compile(r"Omega (?P<part>I|D|OD|Total)\s*=\s*(?P<value>\S+)")
_RATIO = re.compile(r"Wannier Function Num:\s*(?P<number>\S+)\s+Maximum Im/Re Ratio\s*=\s*(?P<value>\S+)")


class Wannier90Parser(Parser):
    """Parser of a ``dmi.wannier90`` calculation."""

    CACHE_VERSION = 1

    def parse(self, **kwargs: Any) -> ExitCode:
        """Create the output nodes and return the exit code.

        Exit code 0 is returned explicitly: it then overrides a complaint of the scheduler about a run that Wannier90
        has finished. ``output_parameters`` is also there for a failed run, with what could be read.
        """
        try:
            files = self.retrieved.base.repository.list_object_names()
        except NotExistent:
            return exit_code(self, "ERROR_NO_RETRIEVED_FOLDER")
        seedname = self.node.get_options()["input_filename"].removesuffix(".win")
        lines = self._read(f"{seedname}.wout") if f"{seedname}.wout" in files else []
        parameters = parse_wout(lines)
        error = self._find_error(seedname, files, lines)
        if error is None:
            parameters["warnings"] += self._output_bands(seedname, files)
            self._output_nnkp(seedname, kwargs.get("retrieved_temporary_folder"))
        if lines:
            self.out("output_parameters", orm.Dict(parameters))
        return ExitCode(0) if error is None else self.exit_codes(error)

    def _read(self, filename: str) -> list[str]:
        # A file cut off by a full disk can end in anything, so undecodable bytes must not stop the parser.
        content = self.retrieved.base.repository.get_object_content(filename, mode="rb")
        return content.decode("utf-8", errors="replace").splitlines()

    def _find_error(self, seedname: str, files: Sequence[str], lines: Sequence[str]) -> str | None:
        """Log what went wrong and return the label of its exit code, None for a completed run."""
        error_files = [name for name in files if name.startswith(f"{seedname}.") and name.endswith(".werr")]
        for name in error_files:
            self.logger.error("%s: %s", name, "\n".join(self._read(name)).strip() or "(empty)")

        error = find_error(lines, seedname) if f"{seedname}.wout" in files else "ERROR_OUTPUT_STDOUT_MISSING"
        if error_files and error in (None, "ERROR_OUTPUT_STDOUT_INCOMPLETE", "ERROR_OUTPUT_STDOUT_MISSING"):
            # The error file says more than a .wout file without a message, and Wannier90 3.1 reports a mistake
            # in its input in the error file only, before there is a .wout file.
            return "ERROR_WERR_FILE_PRESENT"
        if error is not None:
            self.logger.error("%s.wout ends with: %s", seedname, "\n".join(lines[-5:]) or "(nothing)")
        return error

    def _output_nnkp(self, seedname: str, folder: str | None) -> None:
        # A parser run again, on a stored node, has no temporary folder.
        path = Path(folder or "") / f"{seedname}.nnkp"
        if folder is not None and path.is_file():
            self.out("nnkp_file", orm.SinglefileData(file=path))

    def _output_bands(self, seedname: str, files: Sequence[str]) -> list[str]:
        """Create ``interpolated_bands`` if there are bands, and return warnings."""
        names = [f"{seedname}_band{suffix}" for suffix in (".dat", ".kpt", ".labelinfo.dat")]
        if not set(names) <= set(files):
            return []
        try:
            kpoints, energies, labels = parse_bands(*map(self._read, names))
        except ValueError as error:
            return [f"interpolated bands could not be read: {error}"]
        bands = orm.BandsData()
        bands.set_cell_from_structure(self.node.inputs.structure)
        bands.set_kpoints(kpoints)
        bands.set_bands(energies, units="eV")
        bands.labels = labels
        self.out("interpolated_bands", bands)
        return []


def find_error(lines: Sequence[str], seedname: str) -> str | None:
    """Return the label of the exit code that a ``.wout`` file calls for, None if Wannier90 has completed.

    Parameters
    ----------
    lines
        Lines of the file.
    seedname
        Seed of the run, part of the line that ends a ``postproc_setup`` run.

    Examples
    --------
    >>> find_error([" All done: wannier90 exiting"], "aiida") is None
    True
    >>> find_error([" Exiting.......", " param_read: mp_grid is missing"], "aiida")
    'ERROR_EXITING_MESSAGE_IN_STDOUT'
    """
    for marker, label in _ERRORS:
        if any(marker in line for line in lines):
            return label
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    completed = last in ("All done: wannier90 exiting", f"Exiting... {seedname}.nnkp written.")
    return None if completed else "ERROR_OUTPUT_STDOUT_INCOMPLETE"


def parse_wout(lines: Sequence[str]) -> dict[str, Any]:
    """Return what a ``.wout`` file says, under the keys of aiida-wannier90.

    Parameters
    ----------
    lines
        Lines of the file, which may stop anywhere.

    Returns
    -------
    dict
        Always ``warnings``, a list of strings. As far as the file goes, ``number_wfs``, ``length_units``,
        ``output_verbosity``, ``preprocess_only``, ``convergence_tolerance``, ``r2mn_writeout``, ``xyz_writeout``
        ('T' or 'F'); ``wannier_functions_initial`` and ``wannier_functions_output``, lists of dictionaries with
        ``wf_ids``, ``wf_centres`` (three numbers, `length_units`), ``wf_spreads`` (`length_units` squared) and, after a
        plot, ``im_re_ratio``; ``Omega_I``, ``Omega_D``, ``Omega_OD`` and ``Omega_total`` (`length_units` squared).
        A number that does not fit its column (``********``) is None.
    """
    text = [line.strip() for line in lines]
    warnings = [line for line in text if "warning" in line.lower()]
    out: dict[str, Any] = {"warnings": warnings, **_parse_settings(lines)}
    if out.get("length_units", "Ang") != "Ang":
        warnings.append(f"lengths are in {out['length_units']}, not in Ang")

    for state, key in (("Initial State", "wannier_functions_initial"), ("Final State", "wannier_functions_output")):
        if state in text:
            out[key] = _parse_functions(text[text.index(state) + 1 :])
    if "Final State" in text:
        after = text[text.index("Final State") :]
        spreads = (match for line in after if (match := _SPREAD.search(line)))
        names = {"I": "Omega_I", "D": "Omega_D", "OD": "Omega_OD", "Total": "Omega_total"}
        out.update({names[match["part"]]: _real(match["value"]) for match in spreads})
        warnings += _final_warnings(out, text)

    ratios = {_integer(m["number"]): _real(m["value"]) for line in text if (m := _RATIO.search(line))}
    if ratios:
        # A restart for plots prints the ratios of functions whose centres are in the run before.
        functions = out.setdefault("wannier_functions_output", [{"wf_ids": number} for number in ratios])
        for function in functions:
            if function["wf_ids"] in ratios:
                function["im_re_ratio"] = ratios[function["wf_ids"]]
    return out


def parse_bands(
    band: Iterable[str], kpt: Iterable[str], labelinfo: Iterable[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[tuple[int, str]]]:
    """Return interpolated bands.

    Parameters
    ----------
    band, kpt, labelinfo
        Lines of ``SEED_band.dat``, ``SEED_band.kpt`` and ``SEED_band.labelinfo.dat``.

    Returns
    -------
    kpoints
        Crystal coordinates, shape (nk, 3).
    energies
        Energies, shape (nk, nbands), eV.
    labels
        Index, from 0, and name of the labelled k-points.

    Raises
    ------
    ValueError
        If a file is cut off or has something else in the place of a number.
    """
    kpoints = np.array([[float(x) for x in line.split()[:3]] for line in list(kpt)[1:] if line.strip()])
    energies = np.array([float(line.split()[-1]) for line in band if line.strip()])
    nk = len(kpoints)
    if kpoints.shape != (nk, 3) or nk == 0 or energies.size == 0 or energies.size % nk:
        raise ValueError(f"{energies.size} energies do not fit {nk} k-points")
    if not (np.isfinite(kpoints).all() and np.isfinite(energies).all()):
        raise ValueError("an energy or a k-point is not a finite number")

    # A point listed twice, where a piece of the path has no length, keeps its last label.
    rows = [line.split() for line in labelinfo if line.strip()]
    if any(len(row) < 2 for row in rows):
        raise ValueError("a line of the labels has no index")
    names = {int(row[1]) - 1: row[0] for row in rows}
    if not set(names) <= set(range(nk)):
        raise ValueError(f"labels count up to {max(names) + 1}, k-points up to {nk}")
    # SEED_band.dat lists one band after the other.
    return kpoints, energies.reshape(-1, nk).T, sorted(names.items())


def _parse_settings(lines: Iterable[str]) -> dict[str, Any]:
    """Return the settings that Wannier90 repeats in boxes at the head of its output."""
    wanted: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
        ("Number of Wannier Functions", "number_wfs", _integer),
        ("Length Unit", "length_units", str),
        ("Output verbosity", "output_verbosity", _integer),
        ("Post-processing setup", "preprocess_only", str),
        ("Convergence tolerence", "convergence_tolerance", _real),
        ("Write r^2_nm to file", "r2mn_writeout", str),
        ("Write xyz WF centres to file", "xyz_writeout", str),
    )
    settings: dict[str, Any] = {}
    for match in filter(None, map(_SETTING.match, lines)):
        for label, key, convert in wanted:
            # The disentanglement has a tolerance of its own, under the same name, in a later box.
            if match["label"].startswith(label) and key not in settings:
                settings[key] = convert(match["value"])
    return settings


def _parse_functions(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return number, centre and spread of the functions listed at the beginning of `lines`."""
    functions: list[dict[str, Any]] = []
    for line in lines:
        if (match := _FUNCTION.search(line)) is None:
            break
        centre = [_real(component) for component in match["centre"].split(",")]
        functions.append(
            {
                "wf_ids": _integer(match["number"]) or len(functions) + 1,
                "wf_centres": centre if len(centre) == 3 else [None, None, None],
                "wf_spreads": _real(match["spread"]),
            }
        )
    return functions


def _final_warnings(out: dict[str, Any], text: Sequence[str]) -> list[str]:
    """Return what is to be said about the final state."""
    warnings = []
    if not any("Wannierisation convergence criteria satisfied" in line for line in text):
        warnings.append("Wannierisation finished because num_iter was reached.")
    functions = out["wannier_functions_output"]
    if len(functions) != out.get("number_wfs"):
        warnings.append(f"the final state lists {len(functions)} functions, expected {out.get('number_wfs')}")
    if unread := [f["wf_ids"] for f in functions if None in (*f["wf_centres"], f["wf_spreads"])]:
        warnings.append(f"centres or spreads of functions {unread} are not numbers")
    return warnings


def _real(text: str) -> float | None:
    """Return a number, None where there is none: AiiDA stores neither NaN nor infinity."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
