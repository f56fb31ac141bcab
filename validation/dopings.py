"""The paper's four dopings as virtual crystals, self-consistent, beside the rigid shift: `make dopings` (nights).

Mn1-xCrx/W1-xTax and Mn1-xFex/W1-xRex on Mn/W(001), Co1-xFex/Pt1-xIrx and Co1-xNix/Pt1-xAux on Co/Pt(111): the magnet
alone, the substrate alone, and both. A campaign of its own for each film (`aiida-dmi table dopings-...`): what is in
the database is not computed again, and a run that was killed goes on. What is there is drawn.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from aiida_pseudo.groups.mixins import RecommendedCutoffMixin

from aiida_dmi.cli.pseudopotentials import ensure_pseudo_family
from aiida_dmi.cli.setup import ensure_codes, ensure_computer, ensure_profile
from aiida_dmi.engine.errors import InputError
from aiida_dmi.screening.controller import screen
from aiida_dmi.screening.plots import plot_doping_parts
from aiida_dmi.screening.spec import parse_spec
from aiida_dmi.screening.table import campaign_table, write_table
from aiida_dmi.workflows.families import PSEUDO_DOJO

NEIGHBOURS = {"Co/Pt(111)": (("Fe", "Ir"), ("Ni", "Au")), "Mn/W(001)": (("Cr", "Ta"), ("Fe", "Re"))}
"""Elements on the left and on the right of magnet and substrate."""
FILMS = (("Co/Pt(111)", "1+2"), ("Mn/W(001)", "1+3"), ("Co/Pt(111)", "3+3"))
PARTS = (0.1, 0.25)
SHIFTS = [round(0.1 * step, 1) for step in range(-8, 9) if step]
"""eV: |x| of 0.25 and more."""
IMAGES = Path(__file__).parents[1] / "docs" / "images"


def spec(name: str, layers: str, family: RecommendedCutoffMixin) -> dict[str, Any]:
    """The campaign of a film: one cutoff for all of it, so that nothing but the doping differs."""
    magnet, substrate = name.partition("(")[0].split("/")
    elements = [magnet, substrate, *(element for pair in NEIGHBOURS[name] for element in pair)]
    cutoff, _ = family.get_recommended_cutoffs(elements=elements, stringency="low", unit="Ry")
    mixed = [
        {"vca": {part: {element: [x]} for part, element in zip(hosts, others, strict=True)}}
        for left_or_right in NEIGHBOURS[name]
        for hosts, others in (
            ((magnet,), left_or_right[:1]),
            ((substrate,), left_or_right[1:]),
            ((magnet, substrate), left_or_right),
        )
        for x in PARTS
    ]
    return {
        "name": f"dopings-{magnet}-{substrate}-{layers}",
        "protocol": "fast",
        "systems": [{"film": name, "layers": [layers], "dopings": [{"rigid": {"shifts": SHIFTS}}, *mixed]}],
        "temperatures": [300.0],
        "overrides": {
            "pseudo_family": PSEUDO_DOJO,
            "scf": {"parameters": {"SYSTEM": {"ecutwfc": cutoff}}},
            "response": {"soi_scales": [1.0]},
        },
    }


def draw(campaign: str) -> None:
    """Table and figure of what has been computed."""
    table = campaign_table(campaign, points=True)
    write_table(table, Path(__file__).with_name(f"{campaign}.csv"))
    try:
        figure = plot_doping_parts(table)
    except InputError as error:
        print(f"{campaign}: {error}")
        return
    figure.savefig(IMAGES / f"{campaign}.png", dpi=150)


def main(arguments: list[str] | None = None) -> int:
    """Compute what is missing, draw what is there; the exit status is the number of films that gave no result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layers", nargs="*", help="such as 'Co/Pt(111):1+2'; default all")
    parser.add_argument("--pseudos", help="folder or archive of PseudoDojo's set, where the profile has none")
    given = parser.parse_args(arguments)
    ensure_profile()
    codes = ensure_codes(ensure_computer())
    family = ensure_pseudo_family(PSEUDO_DOJO, given.pseudos)
    failed = 0
    for name, layers in FILMS:
        if given.layers and f"{name}:{layers}" not in given.layers:
            continue
        campaign = parse_spec(spec(name, layers, family))
        entries = screen(campaign, codes, in_process=True)
        failed += sum(entry.state != "finished" for entry in entries)
        draw(campaign.name)
    return failed


if __name__ == "__main__":
    sys.exit(main())
