"""Cutoffs of the plane waves: what the family recommends for a film's elements, unless they are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiida_pseudo.data.pseudo.upf import UpfData
from aiida_pseudo.groups.family import PseudoPotentialFamily
from aiida_pseudo.groups.mixins import RecommendedCutoffMixin

from aiida_dmi.calculations.functions import read_pseudo
from aiida_dmi.engine.errors import InputError
from aiida_dmi.workflows import families
from aiida_dmi.workflows.families import REFERENCE, STRINGENCIES
from aiida_dmi.workflows.protocols.schema import NORM_CONSERVING, check_cutoffs

OVERRIDE = "scf.parameters.SYSTEM.ecutwfc"


def settle(inputs: dict[str, Any], elements: Iterable[str], group: PseudoPotentialFamily | None) -> dict[str, Any]:
    """Set the cutoffs of a protocol's inputs where they are not given.

    Parameters
    ----------
    inputs : dict
        Of `load_protocol`; ecutwfc and ecutrho of the scf are set in them.
    elements : iterable of str
        Of the film, of virtual crystals both.
    group : PseudoPotentialFamily or None
        None: the pseudopotentials are of no common family.

    Returns
    -------
    dict
        What was decided, as it is recorded with the run: `ecutwfc`, `ecutrho` (Ry), `family`, `stringency` (None: the
        cutoff was given), `elements`, `recommended` (stringency to ecutwfc, ecutrho), `reference` (ecutwfc that the
        quality gate holds it against; None: none is recommended), `words`.

    Raises
    ------
    InputError
        If nothing is given and nothing recommended, with the command that sets it; or the cutoffs do not fit together.
    """
    names = sorted(set(elements))
    system = inputs["scf"]["parameters"]["SYSTEM"]
    table = {} if group is None else families.cutoffs_by_element(group, names)
    known = families.largest(table)
    stringency = None
    if "ecutwfc" not in system:
        stringency = _stringency(inputs["cutoffs"], known, group)
        system["ecutwfc"], density = known[stringency]
        # `load_protocol` lets it follow an ecutwfc that is given.
        system.setdefault("ecutrho", max(density, NORM_CONSERVING * system["ecutwfc"]))
    check_cutoffs(inputs)
    return {
        "ecutwfc": system["ecutwfc"],
        "ecutrho": system["ecutrho"],
        "family": None if group is None else group.label,
        "stringency": stringency,
        "elements": names,
        "recommended": {name: list(pair) for name, pair in known.items()},
        "reference": known[_reference(known)][0] if known else None,
        "words": _words(system, stringency, known, table, group),
    }


def elements_of(pseudos: Mapping[str, UpfData]) -> set[str]:
    """Elements of a film's pseudopotentials, both of virtual crystals."""
    return {element for pseudo in pseudos.values() for element in read_pseudo(pseudo).elements}


def basis(record: Mapping[str, Any]) -> float | None:
    """The cutoff of a record in units of the recommended one; None where none is recommended."""
    reference = record["reference"]
    return None if reference is None else record["ecutwfc"] / reference


def _stringency(wanted: str, known: families.Cutoffs, group: PseudoPotentialFamily | None) -> str:
    """The one that is wanted; of a family that has not all three, the next higher one.

    Raises
    ------
    InputError
        If there is none.
    """
    if group is None:
        raise InputError(
            "pseudos: of no common family, so that no cutoff is recommended for them; give one in the overrides "
            f"({OVERRIDE}, Ry), or install them as one family (`aiida-dmi setup --pseudos FOLDER --family LABEL`)"
        )
    if not known:
        set_them = f"`aiida-pseudo family cutoffs set -s {REFERENCE} -u Ry {group.label} FILE.json`"
        if not isinstance(group, RecommendedCutoffMixin):
            again = "`aiida-pseudo install family FOLDER LABEL -F pseudo.family.cutoffs -P pseudo.upf`"
            set_them = f"{again}, then {set_them.replace(group.label, 'LABEL')}"
        raise InputError(
            f"pseudo_family: {group.label!r} recommends no cutoffs; set them ({set_them}), or give one "
            f"in the overrides ({OVERRIDE}, Ry)"
        )
    at_least = STRINGENCIES[STRINGENCIES.index(wanted) :] if wanted in STRINGENCIES else (wanted,)
    for name in at_least:
        if name in known:
            return name
    raise InputError(
        f"cutoffs: {wanted!r} was given, {group.label} has {', '.join(known)}; give one of these, or {OVERRIDE} in Ry"
    )


def _reference(known: families.Cutoffs) -> str:
    """What is judged against: `normal`, of a family without it the highest it has."""
    return REFERENCE if REFERENCE in known else max(known, key=lambda name: known[name])


def _words(
    system: Mapping[str, Any],
    stringency: str | None,
    known: families.Cutoffs,
    table: Mapping[str, families.Cutoffs],
    group: PseudoPotentialFamily | None,
) -> str:
    """Where the cutoffs come from, one line."""
    first = f"{system['ecutwfc']:g} and {system['ecutrho']:g} Ry"
    if group is None:
        return f"{first}, given; the pseudopotentials are of no common family that recommends one"
    if stringency is not None:
        most = max(table, key=lambda name: table[name][stringency])
        return f"{first}: {stringency} of {group.label}, {most} needs most"
    if not known:
        return f"{first}, given; {group.label} recommends none"
    reference = _reference(known)
    return f"{first}, given; {group.label} recommends {known[reference][0]:g} Ry ({reference})"
