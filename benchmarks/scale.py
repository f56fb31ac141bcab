"""A synthetic campaign of many candidates through the daemon: throughput, sizes, query times, nothing lost or doubled.

    python benchmarks/scale.py --storage sqlite --output sqlite.json
    python benchmarks/scale.py --storage postgresql --output postgresql.json
    python benchmarks/scale.py --table sqlite.json postgresql.json

Every candidate is the response alone, of an existing model on a mesh that is too coarse for anything, as a real job of
dmi-engine; its Fermi-level shift makes it another one. Profile, scratch and PostgreSQL's cluster (Debian's programs, no
service) are in temporary folders that are gone afterwards; other profiles are left alone. Exit status 1 if a candidate
was lost or doubled, if anything was submitted again, if undisturbed a process is left open, or if a query took longer
than its limit. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml
from temporary_profile import (
    PROFILE,
    Processes,
    ScaleError,
    database_size,
    make_profile,
    postgres,
    profile,
    sizes,
    sqlite,
    used,
)

MESH = 4
QUERY_LIMIT = 2.0
"""Processor seconds, of client and server, for each documented query: what it takes on an idle machine."""
STARTED = re.compile(r"\] .*: started, DmiWorkChain<\d+>$", re.MULTILINE)
ENDED = re.compile(r"\] .*: (D_yx = .*|failed.*)$", re.MULTILINE)
TIMED = re.compile(r"^(.+?)\s+([\d.]+) s \(([\d.]+) s of a processor\)\s+(\d+) rows$", re.MULTILINE)
LOCKED = "database is locked"


def check(holds: bool, what: str) -> None:
    """Said when it holds, the end when not."""
    if not holds:
        raise ScaleError(what)
    print(f"  ok: {what}", flush=True)


# -- campaigns ---------------------------------------------------------------------------------------------


def write_spec(folder: Path, name: str, model: str, count: int, step: float) -> Path:
    """A campaign of one model; candidate n has the Fermi-level shift (n + 1) * step (eV) beside 0."""
    unjudged = dict.fromkeys(("closure", "k_error", "symmetry_residual"))
    spec = {
        "name": name,
        "systems": [
            {"model": model, "dopings": [{"rigid": {"shifts": [round((n + 1) * step, 6)]}}]} for n in range(count)
        ],
        "shifts": [0.0],
        "temperatures": [1500.0],
        "overrides": {"response": {"mesh": MESH, "soi_scales": [1.0]}, "quality": unjudged},
        "codes": {"engine": "engine@dmi-localhost"},
        # One process a job: the jobs are the parallel axis.
        "options": {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    return path


class Progress:
    """Takes the controller's output as it grows; kills a worker when half of the candidates have ended."""

    def __init__(self, count: int, kill: Callable[[], None] | None = None) -> None:
        self.count, self.kill = count, kill
        self.began = self.spoken = time.monotonic()
        self.first: float | None = None

    def __call__(self, text: str) -> None:
        if self.first is None and STARTED.search(text):
            self.first = time.monotonic()
        ended = len(ENDED.findall(text))
        if self.kill is not None and 2 * ended >= self.count:
            self.kill()
            self.kill = None
        if time.monotonic() - self.spoken > 30:
            self.spoken = time.monotonic()
            print(f"  {self.spoken - self.began:6.0f} s: {ended} of {self.count} candidates", flush=True)


def run_campaign(
    processes: Processes, spec: Path, active: int, progress: Progress, daemon: int, server: int | None
) -> dict[str, float]:
    """`aiida-dmi screen` to its end, and what it took; a campaign is timed from its first candidate's start."""
    owners = [pid for pid in (daemon, server) if pid is not None]
    before, jobs = [used(pid) for pid in owners], processes.orphans
    done = processes.run("aiida-dmi", "screen", spec, "--max-active", active, watch=progress, ok=(0, 1))
    cpu = [used(pid) - then for pid, then in zip(owners, before, strict=True)]
    if f"{progress.count} of {progress.count} candidates: " not in done["text"]:
        raise ScaleError(f"the controller ended early: {done['text'][-2000:]}")
    end = time.monotonic()
    first = progress.first or progress.began
    return {
        "seconds": done["seconds"],
        "before_first_s": first - progress.began,
        "per_minute": 60 * progress.count / (end - first),
        "controller_cpu_s": done["cpu"],
        "controller_memory_MiB": done["memory"],
        "jobs_cpu_s": processes.orphans - jobs,
        "daemon_cpu_s": cpu[0],
        "server_cpu_s": cpu[1] if server is not None else 0.0,
        "submitted": len(STARTED.findall(done["text"])),
    }


class Killer:
    """kill -9 of one worker; circus starts another in its place."""

    def __init__(self) -> None:
        self.killed: int | None = None
        self.workers = workers()

    def __call__(self) -> None:
        self.killed = self.workers[0]
        print(f"  kill -9 {self.killed}, one of the workers {self.workers}", flush=True)
        os.kill(self.killed, signal.SIGKILL)


def workers() -> list[int]:
    """Pids of the daemon's workers."""
    from aiida.engine.daemon.client import get_daemon_client

    info = get_daemon_client(PROFILE).get_worker_info()["info"]
    return sorted(int(pid) for pid in info if str(pid).isdigit())


def wait_for_workers(count: int) -> None:
    """Until circus has all of them; it looks every few seconds."""
    end = time.monotonic() + 120
    while len(now := workers()) != count:
        if time.monotonic() > end:
            raise ScaleError(f"{now}: expected {count} workers")
        time.sleep(1)


def check_campaign(name: str, count: int) -> list[str]:
    """Each candidate has exactly one workchain, which ended well, with one result of one job.

    Returns
    -------
    list of str
        Second and later jobs of a candidate, as a worker's death may make them (docs/scale.md).
    """
    from aiida import orm

    from aiida_dmi.screening.campaign import entries
    from aiida_dmi.screening.inputs import MARK

    found = entries(name)
    wrong = [f"{entry.label}: {entry.state} {entry.message}" for entry in found if entry.state != "finished"]
    check(not wrong, f"{name}: all candidates finished {'; '.join(wrong[:5])}".strip())
    check(len({entry.key for entry in found}) == len(found) == count, f"{name}: {count} candidates, none twice")
    # Of all workchains there are, in the campaign's group or not.
    marked = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={"description": {"like": f"{MARK} %"}}, project="description"
    )
    mine = {f"{MARK} {entry.key}" for entry in found}
    started = [description for description in marked.all(flat=True) if description in mine]
    check(len(started) == count, f"{name}: {len(started)} workchains started for {count} candidates")
    results, again = [], []
    for entry in found:
        chain = orm.load_node(entry.pk)
        jobs = [process for process in chain.called_descendants if isinstance(process, orm.CalcJobNode)]
        result = chain.outputs.response.uuid
        results += [result for job in jobs if "response" in job.outputs and job.outputs.response.uuid == result]
        again += [f"{entry.label}: {job.pk}, {job.process_state.value}, exit {job.exit_status}" for job in jobs[1:]]
    check(len(set(results)) == len(results) == count, f"{name}: {len(results)} results for {count} candidates")
    for line in again:
        print(f"  job begun again: {line}", flush=True)
    return again


def check_everything(count: int, again: int) -> int:
    """What the whole database holds after all campaigns; how many results were computed twice."""
    from aiida import orm

    from aiida_dmi.data.response import DmiData

    jobs, results = (orm.QueryBuilder().append(kind).count() for kind in (orm.CalcJobNode, DmiData))
    check(jobs == count + again, f"{jobs} jobs in the database for {count} candidates, {again} begun again")
    return results - count


def left_over() -> list[str]:
    """Processes that were never closed (AiiDA: sealed): still going on, or cut off as they began or ended."""
    from aiida import orm

    unsealed = {"or": [{"attributes.sealed": False}, {"attributes": {"!has_key": "sealed"}}]}
    found = orm.QueryBuilder().append(orm.ProcessNode, filters=unsealed).all(flat=True)
    return [f"{node.process_label}<{node.pk}> {node.process_state.value}, caller {node.caller}" for node in found]


def repeated_jobs(processes: Processes) -> int:
    """Jobs that a worker's death made the next one upload again: AiiDA puts the first folder aside."""
    return sum(1 for _ in (processes.folder / "scratch" / "lost+found").glob("*"))


def log_lines(processes: Processes, words: str) -> int:
    """Lines of the daemon's logs that contain these words."""
    logs = (processes.folder / ".aiida").glob("daemon/log/*.log")
    return sum(words in line for log in logs for line in log.read_text(errors="replace").splitlines())


# -- queries -----------------------------------------------------------------------------------------------


def query_times(name: str, server: int | None) -> dict[str, list[float]]:
    """Wall seconds, processor seconds and rows of the queries on a campaign's real results."""
    from aiida import orm
    from queries import timed

    from aiida_dmi.data.response import DmiData
    from aiida_dmi.provenance import queries
    from aiida_dmi.provenance.trace import trace
    from aiida_dmi.screening.table import campaign_table

    code = orm.load_code("engine@dmi-localhost")
    result = orm.QueryBuilder().append(DmiData).first(flat=True)
    version = result.base.attributes.get("engine_version")
    questions: dict[str, Callable[[], Any]] = {
        "all films": queries.films,
        "films of a campaign": lambda: queries.films(campaign=name),
        "made with the code": lambda: queries.made_with_code(code),
        "made with the version": lambda: queries.made_with_version(version),
        "slab of a result": lambda: [queries.slab_of(result)],
        "trace of a result": lambda: trace(result).splitlines(),
        "table of the campaign": lambda: campaign_table(name),
    }
    return {question: list(timed(ask, server)) for question, ask in questions.items()}


def synthetic_query_times(processes: Processes, results: int, server: int | None) -> dict[str, list[float]]:
    """The same of benchmarks/queries.py, whose nodes come into this database too."""
    script = Path(__file__).with_name("queries.py")
    options = ["--profile", PROFILE] + (["--server", server] if server is not None else [])
    text = processes.run(sys.executable, script, results, *options)["text"]
    return {name: [float(wall), float(cpu), int(rows)] for name, wall, cpu, rows in TIMED.findall(text)}


# -- the run -----------------------------------------------------------------------------------------------


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything for one storage; the numbers, as they stand in the JSON file."""
    folder = Path(tempfile.mkdtemp(prefix=f"dmi-scale-{arguments.storage}-"))
    processes = Processes(folder)
    os.environ.update({"AIIDA_PATH": str(folder), "OMP_NUM_THREADS": "1"})
    os.environ.pop("AIIDA_PROFILE", None)
    try:
        with {"sqlite": sqlite, "postgresql": postgres}[arguments.storage](processes) as storage:
            return campaigns(arguments, processes, storage)
    finally:
        processes.kill_left()
        shutil.rmtree(folder)


def campaigns(arguments: argparse.Namespace, processes: Processes, storage: dict[str, Any]) -> dict[str, Any]:
    """One campaign undisturbed, again, and one with a worker killed; then the queries."""
    from aiida.engine.daemon.client import get_daemon_client

    count, disturbed, active = arguments.candidates, arguments.disturbed or arguments.candidates, arguments.max_active
    print(f"{storage['version']}: {count} candidates, {arguments.workers} workers, {active} at a time", flush=True)
    model = make_profile(processes, storage)
    with profile():
        empty = sizes(processes, storage)
    report: dict[str, Any] = {
        "storage": storage["version"],
        "candidates": count,
        "disturbed_candidates": disturbed,
        "workers": arguments.workers,
        "max_active": active,
        "processors": len(os.sched_getaffinity(0)),
        "load_at_start": os.getloadavg()[0],
    }
    # Positive and negative shifts: other candidates.
    quiet = write_spec(processes.folder, "quiet", model, count, 0.4 / count)
    killed = write_spec(processes.folder, "killed", model, disturbed, -0.4 / disturbed)
    processes.run("verdi", "daemon", "start", arguments.workers, "--timeout", 120)
    try:
        daemon = get_daemon_client(PROFILE).get_daemon_pid()
        about = (active, daemon, storage["server"])
        report["quiet"] = campaign(processes, quiet, Progress(count), *about)
        report["worker_memory_MiB"] = max(psutil.Process(pid).memory_info().rss for pid in workers()) / 2**20
        with profile():
            full = sizes(processes, storage)
            check_campaign("quiet", count)
            left = left_over()
            check(not left, f"no process left over {'; '.join(left)}".strip())
        report["bytes_per_candidate"] = {name: (full[name] - empty[name]) / count for name in full}
        print(json.dumps(report), flush=True)

        print("the same again", flush=True)
        report["again"] = campaign(processes, quiet, Progress(count), *about)
        check(report["again"]["submitted"] == 0, "nothing was submitted again")

        print(f"{disturbed} others, a worker killed in the middle", flush=True)
        killer = Killer()
        report["killed"] = campaign(processes, killed, Progress(disturbed, killer), *about)
        check(killer.killed is not None, "a worker was killed")
        wait_for_workers(arguments.workers)
        check(killer.killed not in workers(), f"{arguments.workers} workers again: {workers()}")
    finally:
        processes.run("verdi", "daemon", "stop", "--timeout", 120)
    with profile():
        report["begun_again"] = {"quiet": check_campaign("quiet", count), "killed": check_campaign("killed", disturbed)}
        report["computed_twice"] = check_everything(count + disturbed, sum(map(len, report["begun_again"].values())))
        report["uploaded_again"] = repeated_jobs(processes)
        # All candidates have ended: what is left is what the killed worker was about to begin or had just ended.
        report["left_over"] = left_over()
        print("\n".join(f"  left over: {line}" for line in report["left_over"]), flush=True)
        report["locked"] = log_lines(processes, LOCKED)
        report["queries"] = query_times("quiet", storage["server"])
    print(f"{arguments.results} synthetic results", flush=True)
    report["results"] = arguments.results
    report["synthetic_queries"] = synthetic_query_times(processes, arguments.results, storage["server"])
    with profile():
        report["database_with_synthetic_results_bytes"] = database_size(storage)
    return report


def campaign(
    processes: Processes, spec: Path, progress: Progress, active: int, daemon: int, server: int | None
) -> dict[str, float]:
    """`run_campaign`, said in a line."""
    done = run_campaign(processes, spec, active, progress, daemon, server)
    print(f"  {done['seconds']:.0f} s, {done['per_minute']:.1f} candidates a minute", flush=True)
    return done


def slow_queries(report: dict[str, Any]) -> list[str]:
    """Queries over the limit, in words; or none measured at all."""
    groups = ("queries", "synthetic_queries")
    missing = [f"{group}: none measured" for group in groups if not report[group]]
    return missing + [
        f"{name} ({group}): {cpu:.2f} s of a processor, limit {QUERY_LIMIT:g} s"
        for group in groups
        for name, (_, cpu, _) in report[group].items()
        if cpu > QUERY_LIMIT
    ]


# -- the table ---------------------------------------------------------------------------------------------


def table(reports: list[dict[str, Any]]) -> str:
    """Markdown, a column for each storage."""

    def cpu(report: dict[str, Any], *names: str) -> float:
        return sum(report["quiet"][f"{name}_cpu_s"] for name in names) / report["candidates"]

    lines: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("candidates; with a worker killed", lambda r: f"{r['candidates']}; {r['disturbed_candidates']}"),
        (
            "workers; candidates at a time; processors",
            lambda r: f"{r['workers']}; {r['max_active']}; {r['processors']}",
        ),
        ("load of the machine at the start", lambda r: f"{r['load_at_start']:.1f}"),
        ("candidates per minute", lambda r: f"{r['quiet']['per_minute']:.1f}"),
        ("the same, a worker killed in the middle", lambda r: f"{r['killed']['per_minute']:.1f}"),
        ("CPU s per candidate", lambda r: f"{cpu(r, 'jobs', 'daemon', 'server', 'controller'):.1f}"),
        ("- job (dmi-engine and its shell)", lambda r: f"{cpu(r, 'jobs'):.1f}"),
        ("- workers, broker", lambda r: f"{cpu(r, 'daemon'):.1f}"),
        ("- database server", lambda r: f"{cpu(r, 'server'):.1f}"),
        ("- controller", lambda r: f"{cpu(r, 'controller'):.1f}"),
        *(
            (f"{name} per candidate (kB)", lambda r, name=name: f"{r['bytes_per_candidate'][name] / 1e3:.0f}")
            for name in ("database", "repository", "scratch")
        ),
        ("peak memory of the controller (MiB)", lambda r: f"{r['quiet']['controller_memory_MiB']:.0f}"),
        ("memory of a worker at the end (MiB)", lambda r: f"{r['worker_memory_MiB']:.0f}"),
        ("spec read until the first candidate starts (s)", lambda r: f"{r['quiet']['before_first_s']:.1f}"),
        (
            "`aiida-dmi screen` again (s); submitted",
            lambda r: f"{r['again']['seconds']:.1f}; {r['again']['submitted']:.0f}",
        ),
        (
            "jobs begun again, undisturbed; a worker killed; computed to the end twice; uploaded once more",
            lambda r: "; ".join(
                str(number)
                for number in (*map(len, r["begun_again"].values()), r["computed_twice"], r["uploaded_again"])
            ),
        ),
        ("processes left unsealed after the kill", lambda r: str(len(r["left_over"]))),
        (f"lines '{LOCKED}' in the daemon's logs", lambda r: str(r["locked"])),
    ]
    for group, where in (
        ("queries", lambda r: f"{r['candidates'] + r['disturbed_candidates']} results"),
        ("synthetic_queries", lambda r: f"with {r['results']} synthetic results"),
    ):
        lines.append((f"**queries (processor s; wall s; rows)**, {where(reports[0])}", lambda r: ""))
        lines += [
            (
                f"- {name}".replace("|", r"\|"),
                lambda r, group=group, name=name: "{1:.2f}; {0:.2f}; {2}".format(*r[group][name]),
            )
            for name in reports[0][group]
        ]
    lines.append(("database at the end (MB)", lambda r: f"{r['database_with_synthetic_results_bytes'] / 1e6:.0f}"))
    rows = [["", *(report["storage"] for report in reports)], ["---"] * (len(reports) + 1)]
    rows += [[name, *(say(report) for report in reports)] for name, say in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> int:
    """Measure one storage, or print the table of several."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--candidates", type=int, default=500, help="of the campaign (default 500)")
    parser.add_argument("--disturbed", type=int, help="of the campaign whose worker is killed (default: as many)")
    parser.add_argument("--workers", type=int, default=2, help="of the daemon (default 2)")
    parser.add_argument("--max-active", type=int, default=8, help="candidates at a time (default 8)")
    parser.add_argument("--results", type=int, default=10000, help="synthetic ones for the queries (default 10000)")
    parser.add_argument("--output", type=Path, help="the numbers as JSON")
    parser.add_argument("--table", nargs="+", type=Path, metavar="JSON", help="only print the table of such files")
    arguments = parser.parse_args()
    if arguments.table:
        print(table([json.loads(path.read_text()) for path in arguments.table]))
        return 0
    # So that what was started is stopped and removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        report = measure(arguments)
    except ScaleError as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2))
    print(table([report]))
    slow = slow_queries(report)
    for line in slow:
        print(f"FAILED: {line}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
