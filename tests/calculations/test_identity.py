"""What a job's result depends on enters its hash, and nothing else does: real runs of dmi-engine, cached by AiiDA."""

import os
import shutil
import sys
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from aiida import engine, orm
from aiida.manage.caching import enable_caching

import aiida_dmi
from aiida_dmi.calculations.response import DmiCalculation

PARAMETERS = {"mesh": 4, "soi_scales": [1.0], "temperatures": [1500.0]}

TIMES = """\
#!{python}
# dmi-engine, whose D is multiplied.
import sys
from pathlib import Path
from aiida_dmi.engine import load_result, save_result
from aiida_dmi.engine.run.cli import main

status = main()
result = load_result("result.nc")
save_result(result.assign(D={factor} * result.D), Path("result.nc"))
sys.exit(status)
"""


def write(path, text):
    """An executable file under a path where there may be one already, as a package manager replaces it."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.chmod(0o755)
    os.replace(new, path)
    return path


@pytest.fixture
def program(tmp_path):
    """Path of a dmi-engine of one's own."""
    return write(tmp_path / "dmi-engine", Path(sys.executable).with_name("dmi-engine").read_text())


@pytest.fixture
def code(computer, program):
    return orm.InstalledCode(
        label="own", computer=computer, filepath_executable=str(program), default_calc_job_plugin="dmi.response"
    ).store()


@pytest.fixture
def run_with(model_node):
    """D and the job of one point by a code; options change its layout."""

    def respond(code, parameters=PARAMETERS, parent_folder=None, **options):
        builder = DmiCalculation.get_builder()
        builder.code, builder.model, builder.parameters = code, model_node, orm.Dict(parameters)
        if parent_folder is not None:
            builder.parent_folder = parent_folder
        for name, value in options.items():
            builder.metadata.options[name] = value
        with enable_caching():
            results, node = engine.run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
        return results["response"].dataset.D.values, node

    return respond


@pytest.fixture
def run(run_with, code):
    """By the code of one's own."""
    return partial(run_with, code)


@pytest.fixture
def run_usual(run_with, codes):
    """By the dmi-engine of this environment, as other tests have done already."""
    return partial(run_with, codes["engine"])


def reused(node):
    return node.base.caching.is_created_from_cache


def test_the_same_job_is_reused(run):
    first, job = run()
    again, other = run()
    assert not reused(job)
    assert reused(other)
    np.testing.assert_array_equal(first, again)


def test_a_program_replaced_under_its_path_is_another_one(run, program):
    before, _ = run()
    write(program, TIMES.format(python=sys.executable, factor=1000))
    after, job = run()
    assert not reused(job)
    np.testing.assert_allclose(after, 1000 * before)
    # ... and the first one, put back, is the first one again.
    write(program, Path(sys.executable).with_name("dmi-engine").read_text())
    assert reused(run()[1])


def test_a_program_behind_a_wrapper(run, program, tmp_path):
    behind = write(tmp_path / "real-engine", TIMES.format(python=sys.executable, factor=1))
    write(program, f'#!/bin/bash\nexport SOMETHING=1\nexec "{behind}" "$@"\n')
    before, _ = run()
    write(behind, TIMES.format(python=sys.executable, factor=1000))
    after, job = run()
    assert not reused(job)
    np.testing.assert_allclose(after, 1000 * before)


def test_what_a_wrapper_writes_is_no_program(run, program, tmp_path):
    log = tmp_path / "log"
    write(program, f'#!/bin/bash\ndate >> {log}\nexec {Path(sys.executable).with_name("dmi-engine")} "$@"\n')
    run()
    log.write_text(f"{log.read_text()} and more")
    assert reused(run()[1])


@pytest.fixture
def environment(tmp_path):
    """Another environment: its interpreter, and its copy of the package."""
    site = tmp_path / "site" / "aiida_dmi"
    source = Path(aiida_dmi.__file__).parent
    shutil.copytree(source / "engine", site / "engine")
    for name in ("__init__.py", "launch.py"):
        shutil.copy(source / name, site)
    (tmp_path / "bin").mkdir()
    python = write(
        tmp_path / "bin" / "python3",
        f'#!/bin/bash\nPYTHONPATH={site.parent} exec {sys.executable} "$@"\n',
    )
    return python, site


@pytest.mark.parametrize("by", ["version", "source"])
def test_an_upgraded_package_under_the_same_script(run, program, environment, by):
    """The script in bin/ is the same before and after an upgrade."""
    python, site = environment
    write(program, f"#!{python}\nimport sys\nfrom aiida_dmi.launch import engine\nsys.exit(engine())\n")
    before, _ = run()
    if by == "version":
        init = site / "__init__.py"
        init.write_text(init.read_text().replace(aiida_dmi.__version__, "99.0.0"))
    module = site / "engine" / "output" / "results.py"
    module.write_text(f"{module.read_text()}\n# another release\n")
    after, job = run()
    assert not reused(job)
    np.testing.assert_array_equal(before, after)
    assert reused(run()[1])


def test_the_plugins_version(run, monkeypatch):
    run()
    monkeypatch.setattr(aiida_dmi, "__version__", "99.0.0")
    assert not reused(run()[1])
    assert reused(run()[1])


@pytest.mark.parametrize("group", ["aiida.calculations", "aiida.parsers"])
def test_every_plugin_has_a_cache_version(group):
    plugins = [point.load() for point in entry_points(group=group) if point.name.startswith("dmi.")]
    assert len(plugins) == 5
    for plugin in plugins:
        assert isinstance(plugin.CACHE_VERSION, int), plugin


@pytest.mark.parametrize(
    "options",
    [
        {"processes": 2},
        {"processes": 2, "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1, "num_cores_per_mpiproc": 2}},
        {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 2}, "withmpi": True},
        {"max_wallclock_seconds": 99, "max_memory_kb": 10**6, "queue_name": "other", "account": "other"},
        {"custom_scheduler_commands": "#SBATCH --constraint=fast", "rerunnable": True, "mpirun_extra_params": ["-v"]},
    ],
)
def test_the_layout_is_not_part_of_it(run_usual, options):
    """The result is the same bit for bit (`tests/engine/processes/test_workers.py`)."""
    run_usual()
    assert reused(run_usual(**options)[1])


def test_nor_is_the_checkpoint_that_it_went_on_from(run_usual, computer, tmp_path):
    run_usual()
    assert reused(run_usual(parent_folder=orm.RemoteData(computer=computer, remote_path=str(tmp_path)))[1])


@pytest.mark.parametrize(
    "change", [{"mesh": 6}, {"soi_scales": [0.5]}, {"fermi_level": "dft"}, {"soi_masks": {"x": [1, 0]}}]
)
def test_the_parameters_are(run_usual, change):
    run_usual()
    assert not reused(run_usual({**PARAMETERS, **change})[1])


def test_a_program_that_is_not_there_fails_as_before(run, program):
    program.unlink()
    with pytest.raises(AssertionError, match="No such file"):
        run()
