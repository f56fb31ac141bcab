"""Parsers of dmi-engine jobs: good, refused, truncated, empty and missing output."""

import dataclasses
import io
import json

import pytest
from aiida import orm
from aiida.common import AttributeDict, LinkType
from aiida.plugins import ParserFactory

from aiida_dmi.engine import WannierModel, compute, save_result
from aiida_dmi.engine.build.overlaps import Summary
from aiida_dmi.engine.run.cli import COMPLETE

JOBS = {
    "dmi.model": ("model", "model.h5"),
    "dmi.overlaps": ("output_parameters", "aiida.overlaps.json"),
    "dmi.response": ("response", "result.nc"),
}


@pytest.fixture(params=sorted(JOBS))
def job(request):
    return request.param


@pytest.fixture
def good_file(job, model_file, tmp_path):
    """A valid output file of the job, in the folder that AiiDA would retrieve to."""
    target = tmp_path / JOBS[job][1]
    if job == "dmi.model":
        target.write_bytes(model_file.read_bytes())
    elif job == "dmi.overlaps":
        target.write_text(
            json.dumps(dataclasses.asdict(Summary(32, 36, 18, 8, 0.16, (0.0, 0.0, 0.0), 7, 5, 2e-5, 1.2)))
        )
    else:
        save_result(compute(WannierModel.load(model_file), 2), target)
    return target


@pytest.fixture
def retrieved(job, computer):
    """A job whose standard output and error hold given texts (None: file not there)."""

    def make(stdout, stderr=""):
        node = orm.CalcJobNode(computer=computer, process_type=f"aiida.calculations:{job}")
        node.set_option("resources", {"num_machines": 1})
        node.store()
        folder = orm.FolderData()
        for name, text in (("dmi-engine.out", stdout), ("dmi-engine.err", stderr)):
            if text is not None:
                folder.base.repository.put_object_from_filelike(io.BytesIO(text.encode()), name)
        folder.base.links.add_incoming(node, LinkType.CREATE, link_label="retrieved")
        folder.store()
        return node

    return make


@pytest.fixture
def parse(job, retrieved, tmp_path):
    """Parse such a job."""

    def run(stdout, stderr=""):
        results, calcfunction = ParserFactory(job).parse_from_node(
            retrieved(stdout, stderr), store_provenance=False, retrieved_temporary_folder=str(tmp_path)
        )
        return AttributeDict(results), calcfunction

    return run


def test_good(job, parse, good_file):
    results, node = parse(f"wrote {good_file.name}\n{COMPLETE}\n", "progress 1/1\n")
    assert node.is_finished_ok, node.exit_message
    output = results[JOBS[job][0]]
    if job == "dmi.overlaps":
        assert output.get_dict() == json.loads(good_file.read_text())
    else:
        assert output.get_content(mode="rb") == good_file.read_bytes()


@pytest.mark.usefixtures("good_file")
def test_refusal_is_passed_on(parse):
    _, node = parse("", "reading\ndmi-engine: mesh: 0 was given, expected a positive integer\n")
    assert node.exit_status == 320
    assert node.exit_message.endswith("mesh: 0 was given, expected a positive integer")


@pytest.mark.usefixtures("good_file")
@pytest.mark.parametrize("stdout", ["", "wrote model.h5\n", f"{COMPLETE[:-3]}\n"])
def test_without_its_last_line_a_run_is_incomplete(parse, stdout):
    """Also when the file is there and valid, whatever the scheduler says: a killed job with noise on stderr."""
    _, node = parse(stdout, "slurmstepd: error: *** JOB CANCELLED\n")
    assert node.exit_status == 312
    assert "JOB CANCELLED" in node.exit_message


NOISE = "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0\n" * 500 + "mpirun noticed that it was killed\n"


@pytest.mark.usefixtures("good_file")
def test_noise_and_the_scheduler_do_not_undo_a_complete_run(retrieved, job, tmp_path):
    """Exit code 0 in so many words: at None, AiiDA would keep what the scheduler makes of the noise."""
    parser = ParserFactory(job)(retrieved(f"wrote it\n{COMPLETE}\n", NOISE))
    code = parser.parse(retrieved_temporary_folder=str(tmp_path))
    assert code is not None
    assert code.status == 0
    assert JOBS[job][0] in parser.outputs


@pytest.mark.usefixtures("good_file")
@pytest.mark.parametrize("end", [1, 5, 12, len(COMPLETE)])
def test_cut_off_in_its_last_line(parse, end):
    """Killed while it said that it was complete, noise on stderr: it did not say so."""
    _, node = parse(f"wrote it\n{COMPLETE[:-end]}", NOISE)
    assert node.exit_status == 312
    assert "killed" in node.exit_message


def test_missing_stdout(parse):
    _, node = parse(None, None)
    assert node.exit_status == 302


def test_file_not_written(job, parse):
    _, node = parse(f"{COMPLETE}\n")
    assert node.exit_status == 330
    assert JOBS[job][1] in node.exit_message


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_truncated_file(parse, good_file, keep):
    content = good_file.read_bytes()
    good_file.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    _, node = parse(f"{COMPLETE}\n")
    assert node.exit_status == 330
    assert "not a readable" in node.exit_message


def test_foreign_file(parse, good_file):
    good_file.write_text("not what was expected")
    _, node = parse(f"{COMPLETE}\n")
    assert node.exit_status == 330


@pytest.mark.parametrize("job", ["dmi.overlaps"])
@pytest.mark.parametrize("content", ["{}", '{"bands": 32}', "[1, 2]"])
def test_summary_without_its_numbers(job, parse, good_file, content):
    good_file.write_text(content)
    _, node = parse(f"{COMPLETE}\n")
    assert node.exit_status == 330
    assert "smallest_singular_value" in node.exit_message
