"""Times of the documented provenance queries on a synthetic database of many results.

    AIIDA_PATH=FOLDER python benchmarks/queries.py [RESULTS] [--profile NAME]

Without --profile a SQLite profile is made in AIIDA_PATH; give a PostgreSQL profile to measure that one. Nodes are
inserted in bulk: attributes and links are a campaign's, files are not there.
"""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Callable, Sized

import numpy as np
from aiida import load_profile, orm
from aiida.common.links import LinkType
from aiida.common.timezone import now
from aiida.manage import get_manager
from aiida.orm.entities import EntityTypes
from sqlalchemy import text
from temporary_profile import used

from aiida_dmi.calculations.quality import MODEL, RESPONSE, judged
from aiida_dmi.cli.setup import ensure_profile
from aiida_dmi.provenance import queries
from aiida_dmi.screening.campaign import FACTS, KEY, PREFIX
from aiida_dmi.screening.inputs import MARK
from aiida_dmi.screening.table import campaign_table

RESULTS_A_MODEL = 20
IMAGE = "quantum_espresso:qe-7.3.1"
TYPES = {
    "model": "data.dmi.model.WannierModelData.",
    "response": "data.dmi.response.DmiData.",
    "dict": "data.core.dict.Dict.",
    "pseudo": "data.pseudo.upf.UpfData.",
    "structure": "data.core.structure.StructureData.",
    "code": "data.core.code.installed.InstalledCode.",
    "image": "data.core.code.containerized.ContainerizedCode.",
    "job": "process.calculation.calcjob.CalcJobNode.",
    "chain": "process.workflow.workchain.WorkChainNode.",
}

GATES = {
    name: judged(quantities, dict.fromkeys(quantities, 0.01), {})["quantities"]
    for name, quantities in (("model", MODEL), ("response", RESPONSE))
} | {"warnings": []}
"""Output `quality` of a DmiWorkChain, as large as a real one."""


class Filler:
    """Nodes and links, collected and inserted at once."""

    def __init__(self) -> None:
        self._storage = get_manager().get_profile_storage()
        self._user = orm.User.collection.get_default().pk
        self._nodes: list[dict] = []
        self._links: list[dict] = []

    def node(
        self, kind: str, attributes: dict, label: str = "", description: str = "", extras: dict | None = None
    ) -> int:
        """Place of a node in what is inserted."""
        moment = now()
        self._nodes.append(
            {
                "uuid": str(uuid.uuid4()), "node_type": TYPES[kind], "process_type": None, "label": label,
                "description": description, "ctime": moment, "mtime": moment, "attributes": attributes,
                "extras": extras or {}, "repository_metadata": {}, "user_id": self._user, "dbcomputer_id": None,
            }
        )  # fmt: skip
        return len(self._nodes) - 1

    def link(self, source: int, target: int, kind: LinkType, label: str) -> None:
        """From one number to another."""
        self._links.append({"input_id": source, "output_id": target, "type": kind.value, "label": label})

    def flush(self) -> list[int]:
        """Write everything down; the nodes' numbers in the database."""
        with self._storage.transaction():
            pks = self._storage.bulk_insert(EntityTypes.NODE, self._nodes)
            for link in self._links:
                link |= {end: pks[link[end]] for end in ("input_id", "output_id")}
            self._storage.bulk_insert(EntityTypes.LINK, self._links)
        return pks


def fill(results: int) -> None:
    """A campaign `synthetic`: 20 results a model, as shifted and masked runs are; every hundredth failed."""
    rng = np.random.default_rng(7)
    filler = Filler()
    elements = ("Cr", "Mn", "Fe", "Co", "Ni", "Ta", "W", "Re", "Ir", "Pt", "Au")
    pseudos = {
        e: filler.node("pseudo", {"element": e, "md5": uuid.uuid4().hex, "filename": f"{e}.upf"}) for e in elements
    }
    engine, pw = (filler.node("code", {"filepath_executable": name}, name) for name in ("dmi-engine", "pw.x"))
    # Every fourth model's pw.x comes from an image.
    packed = filler.node("image", {"filepath_executable": "pw.x", "image_name": IMAGE}, "pw.x-image")
    chains = []
    for number in range(-(-results // RESULTS_A_MODEL)):
        magnet, substrate = elements[rng.integers(5)], elements[5 + rng.integers(6)]
        film = filler.node("structure", {}, f"{magnet}/{substrate} {number}")
        maker = filler.node("chain", {"process_label": "WannierModelWorkChain", "exit_status": 0, "sealed": True})
        build = filler.node("job", {"process_label": "WannierModelCalculation", "exit_status": 0, "sealed": True})
        model = filler.node("model", {"functions": 18})
        for name in (magnet, substrate):
            filler.link(pseudos[name], build, LinkType.INPUT_CALC, f"pseudos__{name}")
        filler.link(engine, build, LinkType.INPUT_CALC, "code")
        filler.link(pw if number % 4 else packed, maker, LinkType.INPUT_WORK, "scf__pw__code")
        filler.link(engine, maker, LinkType.INPUT_WORK, "model__code")
        filler.link(film, maker, LinkType.INPUT_WORK, "structure")
        filler.link(film, build, LinkType.INPUT_CALC, "structure")
        filler.link(build, model, LinkType.CREATE, "model")
        filler.link(maker, model, LinkType.RETURN, "model")
        for point in range(RESULTS_A_MODEL):
            key, label = uuid.uuid4().hex, f"{magnet}/{substrate}(111) {number}.{point}"
            state = {
                "process_label": "DmiWorkChain",
                "process_state": "finished",
                "exit_status": 430 if point == 7 and number % 5 == 0 else 0,
                "sealed": True,
            }
            facts = {"label": label, "magnet": magnet, "substrate": substrate}
            chain = filler.node("chain", state, label, f"{MARK} {key}", {KEY: key, FACTS: facts})
            job = filler.node("job", {"process_label": "DmiCalculation", "exit_status": 0, "sealed": True})
            response = filler.node("response", {"engine_version": "0.1.0" if point else "0.0.9", "mesh": [192, 192]})
            summary = filler.node("dict", headline(float(rng.normal(0, 10)), float(rng.exponential(0.1))))
            gates = filler.node("dict", GATES)
            filler.link(model, chain, LinkType.INPUT_WORK, "model")
            filler.link(model, job, LinkType.INPUT_CALC, "model")
            filler.link(engine, job, LinkType.INPUT_CALC, "code")
            filler.link(job, response, LinkType.CREATE, "response")
            filler.link(chain, response, LinkType.RETURN, "response")
            filler.link(chain, summary, LinkType.RETURN, "output_parameters")
            filler.link(chain, gates, LinkType.RETURN, "quality")
            chains.append(chain)
    pks = filler.flush()
    group, _ = orm.Group.collection.get_or_create(f"{PREFIX}synthetic")
    rows = [{"dbnode_id": pks[chain], "dbgroup_id": group.pk} for chain in chains]
    storage = get_manager().get_profile_storage()
    storage.bulk_insert(EntityTypes.GROUP_NODE, rows)
    # What PostgreSQL does by itself within a minute; without it some queries take ten times as long.
    storage.get_session().execute(text("ANALYZE"))
    storage.get_session().commit()


def headline(d: float, closure: float) -> dict:
    """As a DmiWorkChain's output_parameters, as large as a real one."""
    value = {"meV_angstrom": d, "pJ_per_m": d / 4, "mJ_per_m2": d * 1.2}
    value |= {f"{unit}_error": abs(number) / 100 for unit, number in value.items()}
    names = [f"{name}_{ij}" for name in ("D", "Q", "D_1", "Q_1", "a_I", "a_II") for ij in ("yx", "xy")]
    return {
        "values": dict.fromkeys(names, value), "closure": closure, "soi_scale": 1.0, "fermi_shift_eV": 0.0,
        "direction": "0,0,1", "mask": "all", "temperature_K": 300.0, "chemical_potential_eV": 3.7,
        "fermi_level": "neutral", "fermi_energy_eV": 3.7, "mesh": [192, 192], "nested_mesh": [96, 96],
        "cell_area_angstrom2": 6.65, "thickness_angstrom": 2.04, "total_magnetization_bohr": 2.5,
        "absolute_magnetization_bohr": 2.8, "sign": "F = sum_j D_j . (n x dn/dr_j)",
        "error": "change from the nested coarser mesh",
    }  # fmt: skip


def timed(ask: Callable[[], Sized], server: int | None = None) -> tuple[float, float, int]:
    """A question's wall seconds, processor seconds (of this process and of the database server), and rows."""

    def cpu() -> float:
        return time.process_time() + (0.0 if server is None else used(server))

    began, before = time.perf_counter(), cpu()
    found = ask()
    return time.perf_counter() - began, cpu() - before, len(found)


def main() -> None:
    """Fill and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=int, nargs="?", default=10000)
    parser.add_argument("--profile")
    parser.add_argument("--server", type=int, help="pid of PostgreSQL on this machine, to count its processor time too")
    arguments = parser.parse_args()
    load_profile(arguments.profile) if arguments.profile else print(ensure_profile("queries"))
    have = orm.QueryBuilder().append(orm.Group, filters={"label": f"{PREFIX}synthetic"}).count()
    if not have:
        began = time.perf_counter()
        fill(arguments.results)
        print(f"filled in {time.perf_counter() - began:.1f} s")
    pseudo = orm.QueryBuilder().append(orm.Node, filters={"attributes.filename": "Pt.upf"}).first(flat=True)
    one = orm.QueryBuilder().append(orm.Node, filters={"node_type": TYPES["response"]}).first(flat=True)
    engine = orm.QueryBuilder().append(orm.InstalledCode, filters={"label": "dmi-engine"}).first(flat=True)
    pw = orm.QueryBuilder().append(orm.InstalledCode, filters={"label": "pw.x"}).first(flat=True)
    questions = {
        "films |D| >= 4 pJ/m, closure <= 0.1": lambda: queries.films(4.0, 0.1),
        "films of a campaign": lambda: queries.films(4.0, 0.1, campaign="synthetic", passed=True),
        "made with pseudopotential Pt": lambda: queries.made_with_pseudo(pseudo),
        "made with code dmi-engine": lambda: queries.made_with_code(engine),
        "made with code pw.x": lambda: queries.made_with_code(pw),
        f"made with image {IMAGE}": lambda: queries.made_with_image(IMAGE),
        "made with version 0.0.9": lambda: queries.made_with_version("0.0.9"),
        "slab of a result": lambda: [queries.slab_of(one)],
        "table of the campaign": lambda: campaign_table("synthetic"),
    }
    for name, ask in questions.items():
        wall, cpu, rows = timed(ask, arguments.server)
        print(f"{name:42s} {wall:7.2f} s ({cpu:.2f} s of a processor) {rows:7d} rows")


if __name__ == "__main__":
    main()
