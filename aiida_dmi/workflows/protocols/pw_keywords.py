"""What pw.x can be told, and what of it this workflow decides: the keywords of `parameters`, checked one by one.

Names come from ASE's list, which follows Quantum ESPRESSO's documentation, types and possible values from the
description of pw.x's input that aiida-quantumespresso carries. Both are data of packages that are kept; what they do
not know yet goes through by the protocol's `unchecked_keywords`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree

from aiida_quantumespresso.calculations import helpers
from ase.io.espresso_namelist.keys import pw_keys

from aiida_dmi.workflows.protocols.strict import PlacedError, number, shown

NAMELISTS = ("CONTROL", "SYSTEM", "ELECTRONS")
"""Of every step; a relaxation has IONS too."""
SCF_LIKE = ("scf", "relax")
"""Steps that make a density; the others take the scf's, and with it its SYSTEM."""

_CELL = "cell and atoms are those of the film"
_FILES = "files are placed by AiiDA"
_COLLINEAR = "the run is collinear, the spin-orbit interaction is added as an operator"
_MOMENTS = "starting moments are given in mu_B: magnetic_moments, on the command line --moment NAME=MU_B"
_BANDS = "the run computes a density and its bands, nothing else"
OWNED: dict[str, str] = {
    **dict.fromkeys(
        ("ibrav", "celldm", "a", "b", "c", "cosab", "cosac", "cosbc", "nat", "ntyp", "space_group", "uniqueb",
         "origin_choice", "rhombohedral"), _CELL),
    **dict.fromkeys(("outdir", "prefix", "pseudo_dir", "wfcdir", "lkpoint_dir", "wf_collect"), _FILES),
    **dict.fromkeys(("lforcet", "angle1", "angle2"), _COLLINEAR),
    **dict.fromkeys(("starting_magnetization", "starting_spin_angle"), _MOMENTS),
    **dict.fromkeys(
        ("lberry", "lelfield", "lorbm", "gdir", "nppstr", "nberrycyc", "efield", "efield_cart", "efield_phase", "trism",
         "lfcp", "lfcpopt", "one_atom_occupations"), _BANDS),
    **dict.fromkeys(
        ("tot_magnetization", "twochem", "nbnd_cond", "nelec_cond", "degauss_cond"),
        "it makes two Fermi levels, the theory here has one"),
    **dict.fromkeys(
        ("lgcscf", "gcscf_mu", "gcscf_beta", "gcscf_conv_thr"), "the number of electrons is that of the film"),
    "restart_mode": "the workflow decides where a job starts from",
}  # fmt: skip
"""Keywords that cannot be given, with the reason."""

FIXED: dict[str, tuple[Any, str]] = {
    "nspin": (2, _COLLINEAR),
    "noncolin": (False, _COLLINEAR),
    "lspinorb": (False, _COLLINEAR),
    "occupations": ("smearing", "bands above the Fermi level and one Fermi energy are needed"),
    "startingpot": ("atomic", "the workflow decides where a job starts from"),
    "scf_must_converge": (True, "everything after it rests on the density"),
}
"""Keywords that can have one value only."""

NOT_HERE: dict[str, tuple[tuple[str, ...], str]] = {
    "disk_io": (("nowf", "minimal", "none"), "later steps read density and wave functions"),
    "startingwfc": (("file",), "the workflow decides where a job starts from"),
    "ion_dynamics": (
        ("verlet", "langevin", "langevin-smc", "beeman"),
        "positions are relaxed, not moved in time",
    ),
    "input_dft": (
        ("pbe0", "hse", "hse06", "b3lyp", "b3lyp-v1r", "x3lyp", "gaupbe", "hf", "pbe0+d3"),
        "bands of a hybrid functional do not follow from a density",
    ),
}
"""Values of pw.x that the workflow cannot use."""

NEWER: dict[str, tuple[str, ...]] = {
    "verbosity": ("debug", "medium", "default", "minimal"),
    "disk_io": ("nowf", "minimal"),
    "diagonalization": ("ppcg", "paro", "ParO", "rmm-davidson", "rmm-paro"),
    "esm_bc": ("bc4",),
    "vdw_corr": ("none", "mbd", "MBD", "many-body-dispersion", "mbd_vdw"),
    "ion_dynamics": ("fire",),
}
"""Values that the description of pw.x's input does not have, of the releases up to 7.4."""

Limits = tuple[float, float, str]
POSITIVE: Limits = (0.0, math.inf, "a number above 0")
RANGES: dict[str, Limits] = {
    "ecutwfc": (0.0, 1000.0, "a number above 0 and at most 1000 (Ry)"),
    "ecutrho": (0.0, 10000.0, "a number above 0 and at most 10000 (Ry)"),
    "degauss": (0.0, 0.5, "a number above 0 and at most 0.5 (Ry)"),
    "mixing_beta": (0.0, 1.0, "a number above 0 and at most 1"),
    **dict.fromkeys(
        ("conv_thr", "diago_thr_init", "diago_cg_maxiter", "diago_david_ndim", "mixing_ndim", "electron_maxstep",
         "nbnd", "forc_conv_thr", "etot_conv_thr", "max_seconds", "nstep", "upscale", "bfgs_ndim", "trust_radius_max",
         "trust_radius_min", "trust_radius_ini", "nr1", "nr2", "nr3", "nr1s", "nr2s", "nr3s", "ecutfock"), POSITIVE),
}  # fmt: skip
"""Above the first, up to the second number."""

TEXT = re.compile(r"[ -&(-~]*")
"""What can stand between a namelist's quotes: printable ASCII without the quote itself."""


@dataclasses.dataclass(frozen=True)
class Keyword:
    """What is known of a keyword of pw.x.

    Attributes
    ----------
    kind : str
        'LOGICAL', 'INTEGER', 'REAL', 'CHARACTER'; '' where it is not known.
    shape : str
        'one', 'species' (a value a kind) or 'array'.
    values : tuple of str
        Possible ones; empty where all are.
    """

    kind: str = ""
    shape: str = "one"
    values: tuple[str, ...] = ()


@functools.cache
def known() -> dict[str, dict[str, Keyword]]:
    """Namelist to keyword to what is known of it."""
    found = {namelist.upper(): {name: Keyword() for name in names} for namelist, names in pw_keys.items()}
    for namelist in _description().iter("namelist"):
        name = namelist.attrib["name"].upper()
        for group in namelist.iter():
            for element in group:
                if element.tag in ("var", "dimension", "multidimension"):
                    keyword = _keyword(element, group.attrib.get("type", ""))
                    found.setdefault(name, {})[element.attrib["name"].lower()] = keyword
    return found


def _description() -> ElementTree.Element:
    """pw.x's input as the newest file of aiida-quantumespresso describes it."""
    folder = files(helpers)
    versions = {
        tuple(int(part) for part in match[1].split(".")): file
        for file in folder.iterdir()
        if (match := re.fullmatch(r"INPUT_PW-([\d.]+)\.xml", file.name))
    }
    return ElementTree.fromstring(versions[max(versions)].read_bytes())


def _keyword(element: ElementTree.Element, kind: str) -> Keyword:
    name = element.attrib["name"].lower()
    shape = "one" if element.tag == "var" else "array"
    if element.tag == "dimension" and element.attrib["end"].startswith("ntyp"):
        shape = "species"
    listed = [value for option in element.iter("opt") for value in re.findall(r"'([^']+)'", option.attrib["val"])]
    values = dict.fromkeys([*listed, *NEWER.get(name, ())]) if listed else {}
    return Keyword(element.attrib.get("type", kind).upper(), shape, tuple(values))


def normalised(parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Namelists in upper case, keywords in lower case, as AiiDA takes them.

    Raises
    ------
    PlacedError
        If a namelist is no mapping, or a keyword is given twice, in upper and in lower case.
    """
    result: dict[str, dict[str, Any]] = {}
    for namelist, content in parameters.items():
        if not isinstance(namelist, str):
            raise PlacedError((str(namelist),), " was given, expected the name of a namelist")
        name = namelist.upper()
        if name not in known():
            raise PlacedError((namelist,), f" is unknown; expected one of {', '.join(NAMELISTS)}{_home(namelist)}")
        if not isinstance(content, Mapping):
            raise PlacedError((namelist,), f": {shown(content)} was given, expected a mapping of pw.x's keywords")
        result.setdefault(name, {})
        for keyword, value in content.items():
            if not isinstance(keyword, str):
                raise PlacedError((name, str(keyword)), " was given, expected a keyword of pw.x")
            if keyword.lower() in result[name]:
                raise PlacedError((name, keyword), " is given twice, in upper and in lower case; give one")
            result[name][keyword.lower()] = value
    return result


def _home(keyword: str) -> str:
    """Where a keyword belongs that stands in the wrong place."""
    homes = [namelist for namelist, keywords in known().items() if keyword.lower() in keywords]
    return f" ({keyword.lower()} belongs to {homes[0]})" if homes else ""


def checked(
    parameters: Mapping[str, Any], step: str, calculation: str, unchecked: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """`parameters` of a step as a user gives them, normalised, each keyword possible.

    Parameters
    ----------
    parameters : mapping
        Namelist to keyword to value; None takes a keyword of the protocol away.
    step : str
        'scf', 'nscf', 'bands', 'spin_orbit_bands' or 'relax'.
    calculation : str
        What the step runs, pw.x's `calculation`.
    unchecked : collection of str
        Keywords that are passed on as they are, unless the workflow decides them.

    Raises
    ------
    PlacedError
        Naming the keyword, what was given and what is expected.
    """
    result = normalised(parameters)
    allowed = (*NAMELISTS, "IONS") if step == "relax" else NAMELISTS
    passed = {name.lower() for name in unchecked}
    for namelist, content in result.items():
        if namelist not in allowed:
            raise PlacedError((namelist,), f" is no namelist of this step; expected one of {', '.join(allowed)}")
        if namelist == "SYSTEM" and content and step not in SCF_LIKE:
            raise PlacedError(
                (namelist, next(iter(content))),
                " was given, but this step's SYSTEM is the scf's: give it in scf.parameters"
                + ("; bands follow from wannierisation.bands_per_function" if "nbnd" in content else ""),
            )
        for keyword, value in content.items():
            place = (namelist, keyword)
            if keyword == "calculation":
                _require_fixed(place, value, calculation, f"this is what the step {step} runs")
            elif keyword in passed and keyword not in {*OWNED, *FIXED}:
                _require_plain(place, value)
            else:
                content[keyword] = _value(place, value)
    return result


def _value(place: tuple[str, str], value: Any) -> Any:
    namelist, keyword = place
    if keyword in OWNED:
        raise PlacedError(place, f" cannot be given: {OWNED[keyword]}")
    if keyword not in known()[namelist]:
        raise PlacedError(place, _unknown(namelist, keyword))
    if value is None:
        return None
    if keyword in FIXED:
        _require_fixed(place, value, *FIXED[keyword])
    above, most, words = RANGES.get(keyword, (-math.inf, math.inf, ""))
    if known()[namelist][keyword].kind == "INTEGER":
        words = words.replace("a number", "an integer")
    found = _of_type(place, value, known()[namelist][keyword], words)
    excluded, reason = NOT_HERE.get(keyword, ((), ""))
    if isinstance(found, str) and found.lower() in excluded:
        raise PlacedError(place, f": {shown(value)} was given, but {reason}")
    if words and not above < found <= most:
        raise PlacedError(place, f": {shown(value)} was given, expected {words}")
    return found


def _unknown(namelist: str, keyword: str) -> str:
    if home := _home(keyword):
        return f" is no keyword of {namelist}{home}"
    near = get_close_matches(keyword, [name for name in known()[namelist] if name not in OWNED], n=1)
    meant = f"did you mean {near[0]}? One" if near else "one"
    return f" is no keyword of pw.x's {namelist}; {meant} of a newer pw.x has to stand in `unchecked_keywords` too"


def _require_fixed(place: tuple[str, str], value: Any, expected: Any, reason: str) -> None:
    if type(value) is not type(expected) or value != expected:
        words = str(expected).lower() if isinstance(expected, bool) else repr(expected)
        raise PlacedError(place, f": {shown(value)} was given, expected {words} or nothing: {reason}")


def _of_type(place: tuple[str, str], value: Any, keyword: Keyword, expected: str = "") -> Any:
    """The value as pw.x reads it: of the keyword's type, a word of its list in the list's spelling."""
    if not keyword.kind:
        _require_plain(place, value)
        return value
    fits, words = KINDS[keyword.kind]
    if keyword.shape == "species":
        if not isinstance(value, Mapping) or not all(isinstance(k, str) and fits(v) for k, v in value.items()):
            raise PlacedError(place, f": {shown(value)} was given, expected {words} for each kind, as {{Co: 1.0}}")
        return dict(value)
    if keyword.shape == "array":
        if not isinstance(value, list):
            raise PlacedError(place, f": {shown(value)} was given, expected a list")
        _require_plain(place, value)
        return value
    if not fits(value):
        raise PlacedError(place, f": {shown(value)} was given, expected {expected or words}")
    if not keyword.values:
        return value
    spelling = {word.lower(): word for word in reversed(keyword.values)}
    if value not in keyword.values and str(value).lower() not in spelling:
        near = get_close_matches(str(value).lower(), spelling, n=1)
        meant = f"; did you mean {spelling[near[0]]}?" if near else ""
        raise PlacedError(place, f": {shown(value)} was given, expected one of {', '.join(keyword.values)}{meant}")
    return value if value in keyword.values else spelling[str(value).lower()]


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and TEXT.fullmatch(value) is not None


KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "LOGICAL": (lambda value: isinstance(value, bool), "true or false"),
    "INTEGER": (_is_integer, "an integer"),
    "REAL": (number, "a number"),
    "CHARACTER": (_is_text, "text without quotes"),
}


def _require_plain(place: tuple[str, str], value: Any) -> None:
    """Of a keyword that is not known more is not asked: a value that stays inside its line of the namelist."""
    values = list(value.values()) if isinstance(value, Mapping) else [value]
    while any(isinstance(item, list) for item in values):
        values = [part for item in values for part in (item if isinstance(item, list) else [item])]
    if not all(item is None or isinstance(item, bool) or number(item) or _is_text(item) for item in values):
        raise PlacedError(place, f": {shown(value)} was given, expected numbers, true, false or text without quotes")
