"""The documentation does what it says: its Python blocks, its command lines, its specs run, page by page.

Every Python block runs; command lines that do not stand in `NOT_RUN`, each with the reason. A launch and a campaign
are asked what they would run (`--dry-run`), meshes are small, and README's film has a low cutoff (`PYTHON_QUICK`);
nothing else is changed.
"""

from __future__ import annotations

import pkgutil
import re
import shlex
from importlib import import_module
from pathlib import Path

import ase.io
import pytest
import yaml
from aiida import orm
from aiida_pseudo.groups.family import PseudoPotentialFamily
from click.testing import CliRunner

import aiida_dmi
from aiida_dmi.cli import cli
from aiida_dmi.cli.pseudopotentials import ensure_pseudo_family
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.run.cli import main as dmi_engine
from aiida_dmi.screening.campaign import entries
from aiida_dmi.screening.controller import screen
from aiida_dmi.screening.spec import parse_spec
from aiida_dmi.structures.bilayer import co_pt111
from aiida_dmi.workflows.dmi import DmiWorkChain

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TEXTS = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
    if "_build" not in page.parts
}

PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```(?:text|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    .*\n|^\n)+", re.MULTILINE)
ANY_FENCE = re.compile(r"^```.*?^```\n", re.MULTILINE | re.DOTALL)

NOT_RUN = {
    "make": "every target is what CI or a user runs by itself; `make test` is this",
    "source": "of the shell",
    "export": "of the shell",
    "eval": "of the shell; tests/cli/test_completion.py asks as the shell asks",
    "pip install": "what is installed is what is tested",
    "~/dmi-engine": "an environment of its own on a cluster: tests/engine/test_standalone.py",
    "python3 -m venv": "likewise",
    "OMP_NUM_THREADS=1 python benchmarks": "minutes of a whole core",
    "python benchmarks": "likewise",
    "python validation": "pw.x for hours; the rest of it: tests/test_validation.py, tests/test_spirals.py",
    "aiida-pseudo install": "a download",
    "aiida-pseudo family": "AiiDA's own: tests/workflows/test_cutoffs.py sets a family's cutoffs",
    "aiida-dmi containers setup": "an image: tests/containers/test_codes.py",
    "aiida-dmi query made-with --image": "a code in an image: tests/provenance/test_campaign.py",
    "dmi-engine complete": "pw.x's and pp.x's files: tests/engine/completeness/test_run.py",
    "scripts/build-image.sh": "a container engine: `make test-containers`",
    "podman": "likewise",
    "apptainer": "likewise",
    "verdi": "AiiDA's own, and it would close this profile: tests/slurm, tests/workflows/test_daemon.py, "
    "tests/provenance/test_campaign.py run them as programs; ours of them: tests/report/test_commands.py",
}
"""First words of a command line, and why or where else it is run."""

QUICK_FILM = {
    "scf": {"parameters": {"SYSTEM": {"ecutwfc": 30.0, "ecutrho": 120.0}}, "kpoints_mesh": [4, 4]},
    "bands": {"random_points": 2},
    "wannierisation": {"kpoints_mesh": [4, 4]},
    "response": {"mesh": 12, "soi_scales": [1.0], "fermi_shifts": [0.0], "temperatures": [1500.0]},
    "force": True,
}
PROGRAMS = {"aiida-dmi", "dmi-engine", *(words.split()[0] for words in NOT_RUN)}
PYTHON_QUICK = {
    "overrides=overrides)\nresults": "overrides=QUICK_FILM)\nresults",
    "@dmi-podman": "@dmi-localhost",
}
"""What is put in place of words of a Python block: a film's chain in a minute, codes that every machine has."""
QUICK = {"mesh": 6, "soi_scales": [0.5, 1.0], "fermi_shifts": [-0.4, 0.0, 0.4], "temperatures": [1500.0]}


def commands(text: str) -> list[str]:
    """Command lines of a page, in order; comments after # are cut off, `;` parts them."""
    blocks = [(match.start(), match[1]) for match in FENCE.finditer(text)]
    # Blocks of other languages leave their place, so that what is indented in them is no command.
    rest = ANY_FENCE.sub(lambda match: re.sub(r"[^\n]", ".", match[0]), text)
    blocks += [(match.start(), match[0]) for match in INDENTED.finditer(rest)]
    found = []
    for _, block in sorted(blocks):
        for line in block.splitlines():
            words = line.strip().partition(" #")[0].strip()
            if words and words.split()[0].partition("/bin/")[0] in PROGRAMS:
                found += [part.strip() for part in words.split(";")]
    return found


def reason(command: str) -> str | None:
    """Why a command is not run."""
    return next((key for key in NOT_RUN if f"{command} ".startswith((f"{key} ", f"{key}/"))), None)


RUN = {name: [line for line in commands(text) if reason(line) is None] for name, text in TEXTS.items()}


@pytest.fixture(scope="module")
def campaign(aiida_profile, codes, pseudo_family, model_file):
    """The campaign `neighbours`, of a finished model: its run is what the pages call PK and UUID."""
    # A cluster's code, for the page that gives it processors: nothing is started there.
    cluster = orm.Computer("cluster", "localhost", transport_type="core.local", scheduler_type="core.slurm").store()
    orm.InstalledCode(cluster, "/opt/pw.x", label="pw-gpu", default_calc_job_plugin="quantumespresso.pw").store()
    # What `make demo` makes where there is no network: every page runs with it as printed.
    labels = orm.QueryBuilder().append(PseudoPotentialFamily, project="label")
    known = labels.all(flat=True)
    ensure_pseudo_family()
    model = WannierModelData(model_file.absolute()).store()
    content = {
        "name": "neighbours",
        "systems": [{"model": model.uuid}],
        "overrides": {"response": QUICK, "force": True},
        "codes": {name: code.full_label for name, code in codes.items()},
    }
    screen(parse_spec(content), in_process=True)
    (entry,) = entries("neighbours")
    assert entry.state == "finished", entry.message
    yield content, orm.load_node(entry.pk)
    # Runs of other tests are told by the families that hold their pseudopotentials.
    for label in set(labels.all(flat=True)) - set(known):
        orm.Group.collection.delete(orm.load_group(label).pk)


@pytest.fixture
def folder(campaign, upf_folder, monkeypatch, tmp_path):
    """The files that pages name, in a folder of its own."""
    content, _ = campaign
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / "model.h5").symlink_to(ROOT / "tests/data/copt11.h5")
    (tmp_path / "FOLDER").mkdir()
    for element in ("Co", "Pt"):
        (tmp_path / "FOLDER" / f"{element}.UPF").write_bytes((upf_folder / f"{element}.UPF").read_bytes())
    slab = co_pt111(1, 3).get_ase()
    slab.pbc = True
    ase.io.write(tmp_path / "slab.cif", slab)
    for name in ("neighbours", "films"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if PYTHON.search(text)])
def test_python_blocks_run(page, campaign, folder, codes):
    """Each block in the names of the blocks above it; PK is a run, and the other names are those of the README."""
    names = {"__name__": "documentation", "PK": campaign[1].pk, "codes": codes, "orm": orm}
    names |= {"DmiWorkChain": DmiWorkChain, "structure": co_pt111(1, 1), "QUICK_FILM": QUICK_FILM}
    for number, block in enumerate(PYTHON.findall(TEXTS[page]), 1):
        small = re.sub(r"mesh=\d+", "mesh=12", block)
        for words, quick in PYTHON_QUICK.items():
            small = small.replace(words, quick)
        exec(compile(small, f"{page}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", [name for name, lines in RUN.items() if lines])
def test_command_lines_run(page, campaign, folder, aiida_profile, capsys):
    content, node = campaign
    for text in YAML.findall(TEXTS[page]):
        write_spec(text, content, folder)
    for line in RUN[page]:
        words = [word.replace("PK", str(node.pk)).replace("UUID", node.uuid) for word in shlex.split(line)]
        if words[0] == "dmi-engine":
            assert dmi_engine(words[1:]) == 0, (line, capsys.readouterr().err)
            continue
        if words[1] == "launch" or words[1:2] == ["screen"]:
            words += [] if "--dry-run" in words else ["--dry-run"]
        words += ["--mesh", "12"] if words[1] in ("plot", "report") else []
        result = CliRunner().invoke(cli, ["-p", aiida_profile.name, *words[1:]])
        assert result.exit_code == 0, (line, result.output, result.exception)


def write_spec(text: str, campaign: dict, folder: Path) -> None:
    """A page's YAML under the name in its first line, with nodes and codes of this profile."""
    named = re.match(r"# (\S+\.yaml)", text)
    spec = yaml.safe_load(text)
    if named is None or not isinstance(spec, dict):
        return
    if "systems" in spec:
        real = {"structure": co_pt111(1, 1).store().uuid, "model": campaign["systems"][0]["model"]}
        for system in spec["systems"]:
            system |= {key: value for key, value in real.items() if key in system}
        spec["codes"] = campaign["codes"]
    if "mesh" in spec:
        spec["mesh"] = 6
    (folder / named[1]).write_text(yaml.safe_dump(spec))


def test_sections_of_the_engine_page_run(folder, capsys):
    """The second block of docs/engine.md holds further sections of the spec in the first."""
    first, second = (yaml.safe_load(text) for text in YAML.findall(TEXTS["docs/engine.md"])[:2])
    spec = {**first, **second, "mesh": 6, "k_map": {**second["k_map"], "mesh": 4}, "temperatures": [1500.0]}
    spec |= {"bands": {**second["bands"], "points": 12}, "density_of_states": {"mesh": 6}}
    (folder / "run.yaml").write_text(yaml.safe_dump(spec))
    assert dmi_engine(["run", "run.yaml"]) == 0, capsys.readouterr().err
    written = {path.name for path in folder.iterdir()}
    assert {
        "result.k_map.nc",
        "result.bands.nc",
        "result.density_of_states.nc",
        "result.micromagnetics.json",
    } <= written


def test_every_reason_is_needed():
    left_out = {reason(line) for text in TEXTS.values() for line in commands(text)} - {None}
    assert left_out <= set(NOT_RUN)
    assert all(
        any(words in block for text in TEXTS.values() for block in PYTHON.findall(text)) for words in PYTHON_QUICK
    )


def test_every_module_of_the_engine_has_its_room():
    table = (DOCS / "architecture.md").read_text(encoding="utf-8").split("## Rooms of the engine")[1].split("## ")[0]
    first = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = {name for cell in first for name in re.findall(r"`(\w+)/?`", cell)}
    modules = {path.stem for path in (ROOT / "aiida_dmi/engine").glob("*") if not path.name.startswith("__")}
    assert sorted(modules - named) == []
    assert sorted(named - modules) == []


OTHERS_MODULES = {
    "docs/comparison.md": "of other projects",
    "docs/how-to/add-a-quantity.md": "the one that is to be added; tests/engine/quantities/test_how_to.py adds it",
}


@pytest.mark.parametrize("page", [name for name in TEXTS if name not in OTHERS_MODULES])
def test_modules_that_a_page_names_exist(page):
    folders = [ROOT / name for name in ("aiida_dmi", "tests", "examples", "validation", "benchmarks", "docs")]
    known = [f"/{path.relative_to(ROOT).as_posix()}" for folder in folders for path in folder.rglob("*.py")]
    named = set(re.findall(r"`(\w[\w/]*\.py)\b", TEXTS[page]))
    assert sorted(name for name in named if not any(path.endswith(f"/{name}") for path in known)) == []


def test_every_public_thing_has_a_docstring():
    """The API pages list all of them; this is what they would say."""
    silent = []
    for found in pkgutil.walk_packages(aiida_dmi.__path__, "aiida_dmi."):
        module = import_module(found.name)
        for name, thing in vars(module).items():
            own = getattr(thing, "__module__", None) == found.name and callable(thing)
            if own and not name.startswith("_") and not (getattr(thing, "__doc__", "") or "").strip():
                silent.append(f"{found.name}.{name}")
    assert silent == []
