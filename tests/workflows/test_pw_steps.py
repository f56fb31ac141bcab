"""Steps of pw.x that break down: what is tried next, what is not tried, and what pw.x itself said of it."""

import io

import pytest
from aiida import engine, orm
from aiida.common import AttributeDict, LinkType
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager

from aiida_dmi.structures.bilayer import co_pt111
from aiida_dmi.workflows.model_inputs import mesh_of
from aiida_dmi.workflows.pw_steps import PwBaseWorkChain, PwCalculation

from .conftest import QUICK, jobs_of, said

RULER = " " + 78 * "%"
ABORT = """\
--------------------------------------------------------------------------
MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD
with errorcode 101.

NOTE: invoking MPI_ABORT causes Open MPI to kill all MPI processes.
--------------------------------------------------------------------------
"""
SEGFAULT = "mpirun noticed that process rank 0 with PID 0 on node n exited on signal 11 (Segmentation fault).\n"
KILL = "mpirun noticed that process rank 0 with PID 0 on node n exited on signal 9 (Killed).\n"
START = "     Starting wfcs are   30 randomized atomic wfcs +    9 random wfcs\n     Computing kpt #:     1  of     6\n"
ITERATED = "     iteration #  1     ecut=    96.00 Ry\n     estimated scf accuracy    <       3.2 Ry\n"
Codes = PwCalculation.exit_codes


def crash(routine, message):
    return f"{RULER}\n     task #         1\n     from {routine} : error #         1\n     {message}\n{RULER}\n"


def failed(computer, exit_code, output=START, stderr="", crash_file=""):
    """A pw.x job as AiiDA keeps it."""
    job = orm.CalcJobNode(computer=computer, process_type=PwCalculation.build_process_type())
    job.set_process_label("PwCalculation")
    job.set_option("resources", {"num_machines": 1})
    job.set_option("output_filename", "aiida.out")
    job.set_option("scheduler_stderr", "_scheduler-stderr.txt")
    job.set_option("scheduler_stdout", "_scheduler-stdout.txt")
    job.set_exit_status(exit_code.status)
    job.set_exit_message(exit_code.message)
    job.set_process_state("finished")
    job.store()
    retrieved = orm.FolderData()
    for name, text in (("aiida.out", output), ("_scheduler-stderr.txt", stderr), ("CRASH", crash_file)):
        if text:
            retrieved.base.repository.put_object_from_filelike(io.BytesIO(text.encode()), name)
    retrieved.base.links.add_incoming(job, LinkType.CREATE, "retrieved")
    retrieved.store()
    return job


@pytest.fixture
def workchain(codes, pseudo_family):
    """A PwBaseWorkChain after its setup: two ranks in two pools."""

    def make(pools=2, ranks=2, **electrons):
        film = co_pt111(1, 1)
        builder = PwBaseWorkChain.get_builder()
        builder.kpoints = mesh_of(film, {"kpoints_mesh": [2, 2]})
        builder.pw.code, builder.pw.structure = codes["pw"], film
        builder.pw.pseudos = {kind: pseudo_family.get_pseudo(kind) for kind in ("Co", "Pt")}
        builder.pw.parameters = orm.Dict({"CONTROL": {"calculation": "scf"}, "SYSTEM": {}, "ELECTRONS": electrons})
        builder.pw.parallelization = orm.Dict({"npool": pools})
        builder.pw.metadata.options.resources = {"num_machines": 1, "num_mpiprocs_per_machine": ranks}
        process = instantiate_process(get_manager().get_runner(), builder)
        process.setup()
        process.validate_kpoints()
        return process

    made = []
    yield lambda **options: made.append(make(**options)) or made[-1]
    for process in made:
        process.kill()


def inspected(process, job):
    """What the workchain does about a job, and the settings that matter of the next one."""
    process.ctx.children, process.ctx.iteration = [job], 1
    result = process.inspect_process()
    inputs = AttributeDict(process.ctx.inputs)
    electrons = inputs.parameters["ELECTRONS"]
    return result, (
        electrons.get("startingwfc"),
        electrons.get("diagonalization"),
        inputs.parallelization["npool"],
        inputs.metadata.options["resources"]["num_mpiprocs_per_machine"],
    )


def test_breakdown_at_the_start_is_started_otherwise(workchain, computer):
    """MPI_ABORT at the first k point of the second pool, no CRASH file: one thing after the other, then an end."""
    process = workchain()
    tried = []
    for _ in range(5):
        result, settings = inspected(process, failed(computer, Codes.ERROR_OUTPUT_STDOUT_INCOMPLETE, stderr=ABORT))
        tried.append((result.status, settings))
    assert tried == [
        (0, ("random", None, 2, 2)),
        (0, ("random", None, 1, 2)),
        (0, ("random", "cg", 1, 2)),
        (0, ("random", "cg", 1, 1)),
        (PwBaseWorkChain.exit_codes.ERROR_NO_OTHER_START.status, ("random", "cg", 1, 1)),
    ]
    reports = said(process.node)
    for words in (
        "failed (MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD); once more with random starting wave",
        "once more with one pool of k points",
        "once more with conjugate-gradient diagonalisation",
        "once more with one MPI rank",
        "no other way to start it is left",
    ):
        assert words in reports


@pytest.mark.parametrize(
    ("exit_code", "files", "settings"),
    [
        (Codes.ERROR_DIAGONALIZATION_TOO_MANY_BANDS_NOT_CONVERGED, {}, ("random", None, 2, 2)),
        (Codes.ERROR_S_MATRIX_NOT_POSITIVE_DEFINITE, {}, ("random", None, 2, 2)),
        (Codes.ERROR_COMPUTING_CHOLESKY, {}, ("random", None, 2, 2)),
        # The word of another pool's rank is in CRASH alone.
        (
            Codes.ERROR_UNEXPECTED_PARSER_EXCEPTION,
            {"crash_file": crash("cdiaghg", "eigenvectors failed to converge"), "output": ITERATED},
            ("random", None, 2, 2),
        ),
        (Codes.ERROR_OUTPUT_FILES, {"stderr": SEGFAULT, "output": ""}, ("random", None, 2, 2)),
        (Codes.ERROR_NPOOLS_TOO_HIGH, {}, (None, None, 1, 2)),
    ],
)
def test_what_another_start_may_mend(workchain, computer, exit_code, files, settings):
    result, found = inspected(workchain(), failed(computer, exit_code, **files))
    assert (result.status, found) == (0, settings)


@pytest.mark.parametrize(
    ("exit_code", "files"),
    [
        # Ended from outside: nothing goes on unasked.
        (Codes.ERROR_OUTPUT_STDOUT_INCOMPLETE, {"stderr": KILL}),
        (Codes.ERROR_OUTPUT_STDOUT_INCOMPLETE, {"stderr": "slurmstepd: error: Detected 1 oom-kill event(s)\n" + ABORT}),
        (Codes.ERROR_OUTPUT_STDOUT_INCOMPLETE, {"stderr": ""}),
        # It had started well.
        (Codes.ERROR_OUTPUT_STDOUT_INCOMPLETE, {"stderr": SEGFAULT, "output": START + ITERATED}),
        # pw.x knows what is wrong, and it is not how it starts.
        (Codes.ERROR_OUTPUT_FILES, {"stderr": ABORT, "crash_file": crash("readpp", "file not found")}),
    ],
)
def test_what_no_other_start_mends(workchain, computer, exit_code, files):
    process = workchain()
    result, settings = inspected(process, failed(computer, exit_code, **files))
    assert result.status == PwBaseWorkChain.exit_codes.ERROR_UNHANDLED_FAILURE.status
    assert settings == (None, None, 2, 2)


def test_nothing_is_tried_twice(workchain, computer):
    """One rank that starts at random with conjugate gradients has nothing left."""
    process = workchain(pools=1, ranks=1, startingwfc="random", diagonalization="cg")
    result, _ = inspected(process, failed(computer, Codes.ERROR_COMPUTING_CHOLESKY))
    assert result.status == PwBaseWorkChain.exit_codes.ERROR_NO_OTHER_START.status


def test_run_that_passes_for_finished(workchain, computer):
    """A CRASH file beside an output with warnings: aiida-quantumespresso finds no error in it."""
    process = workchain()
    job = failed(computer, engine.ExitCode(0), crash_file=crash("davcio", "error reading file"))
    result, _ = inspected(process, job)
    assert result.status == PwBaseWorkChain.exit_codes.ERROR_NO_OTHER_START.status


# -- with the real programs --------------------------------------------------------------------------------


ABORTS_ONCE = """\
#!/bin/bash
# pw.x whose bands break down at the first k point unless they start at random.
if grep -q "calculation = 'bands'" aiida.in && ! grep -q "startingwfc = 'random'" aiida.in; then
    cat > aiida.out <<'OUT'
{start}OUT
    cat >&2 <<'ERR'
{abort}ERR
    exit 101
fi
exec "{program}" "$@"
"""


def test_chain_goes_on_after_a_breakdown(quick_builder, codes, computer, tmp_path):
    """The repaired path with the real pw.x: bands that abort are run again at random, and the film ends well."""
    script = tmp_path / "pw-aborts"
    script.write_text(ABORTS_ONCE.format(start=START, abort=ABORT, program=codes["pw"].filepath_executable))
    script.chmod(0o755)
    code = orm.InstalledCode(
        label="pw-aborts",
        computer=computer,
        filepath_executable=str(script),
        default_calc_job_plugin="quantumespresso.pw",
    ).store()
    # A window of its own, so that the cache takes none of these jobs for those of other tests' films.
    window = {"wannierisation": {**QUICK["wannierisation"], "frozen_window": 2.8}}
    _, node = engine.run_get_node(quick_builder(window, {"pw": code}))
    assert node.is_finished_ok, node.exit_message
    bands = [
        job for job in jobs_of(node, "PwCalculation") if job.inputs.parameters["CONTROL"]["calculation"] == "bands"
    ]
    assert [job.inputs.parameters["ELECTRONS"].get("startingwfc") for job in bands] == [None, "random"]
    assert "once more with random starting wave functions" in said(node)
    assert "bands" in node.outputs.quality["model"]


@pytest.mark.parametrize(("step", "exit_status"), [("relax", 410), ("scf", 411), ("bands", 412), ("nscf", 420)])
def test_reason_of_pw_reaches_the_exit_message(quick_builder, step, exit_status):
    """A keyword that this pw.x does not know, passed on unchecked: pw.x says so, and the workchain repeats it."""
    changes = {step: {**QUICK.get(step, {}), "parameters": {"ELECTRONS": {"no_such_keyword": 1}}}}
    if step == "scf":
        changes["scf"]["parameters"] |= {"SYSTEM": {"ecutwfc": 16.0}}
    _, node = engine.run_get_node(quick_builder({**changes, "unchecked_keywords": ["no_such_keyword"]}))
    assert node.exit_status == 401
    model = next(n for n in node.called if n.process_label == "WannierModelWorkChain")
    assert model.exit_status == exit_status
    assert "pw.x said: read_namelists" in node.exit_message
    assert "no_such_keyword" in node.exit_message
    assert f"step {step}" in node.exit_message
    # It is no matter of how pw.x starts: one job of this step, no more.
    last = jobs_of(node, "PwCalculation")[-1]
    others = [job for job in jobs_of(node, "PwCalculation") if job.inputs.parameters == last.inputs.parameters]
    assert len(others) == 1
