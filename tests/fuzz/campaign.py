"""Fuzz some readers in a process of its own, with a ceiling on its memory and on the time of each case.

python campaign.py SEEDS FOLDER --text N --hdf5 N [--seed N] READER ...   prints one line of JSON a reader.
A case that kills the process is left in FOLDER.
"""

import argparse
import faulthandler
import json
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from mutations import byte_changes, damaged_bytes, damaged_hdf5, damaged_text, hdf5_changes, text_changes
from readers import READERS, check

MEMORY = 512 * 1024**2
"""Bytes beyond what the process has after the valid file was read."""
SECONDS = 5.0
"""Of CPU time a case."""
CHUNK = 2000
"""Cases that hypothesis keeps in mind; then it starts anew with another seed."""
SETTINGS = settings(
    deadline=None,
    database=None,
    print_blob=False,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


class TooSlowError(BaseException):
    """A case took more CPU time than a reader may; no reader takes it for an error of its file."""


def too_slow(*_):
    raise TooSlowError(f"more than {SECONDS:g} s of CPU time")


def cases(kind, content):
    """Strategy of damaged contents: of HDF5 files half the cases are damaged bytes, half other HDF5 files."""
    if kind == "text":
        text = content.decode("utf-8", errors="surrogateescape")
        return text_changes.map(lambda c: damaged_text(text, c).encode("utf-8", errors="surrogateescape"))
    damaged = byte_changes.map(lambda c: damaged_bytes(content, c))
    return damaged | hdf5_changes.map(lambda c: damaged_hdf5(content, c)) if kind == "hdf5" else damaged


def fuzz(name, seeds, folder, number, seed):
    """Counts of one reader; an exception of the first case that is neither taken nor refused, shrunk."""
    reader = READERS[name]
    path = reader.prepare(seeds, folder)
    content = path.read_bytes()
    assert check(reader, path), f"{name}: the valid file is refused"
    limit_memory()
    counts = {"reader": name, "cases": 0, "taken": 0, "refused": 0, "slowest": 0.0}

    def one(damaged):
        path.write_bytes(damaged)
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        start = time.process_time()
        taken = check(reader, path)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        counts["slowest"] = max(counts["slowest"], time.process_time() - start)
        counts["cases"] += 1
        counts["taken" if taken else "refused"] += 1

    start = time.monotonic()
    for part in range(0, number, CHUNK):
        run = given(cases(reader.kind, content))(one)
        run = hypothesis.seed(seed + part)(settings(SETTINGS, max_examples=min(CHUNK, number - part))(run))
        run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**counts, "seconds": time.monotonic() - start, "peak_MiB": peak}


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    now = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (int(now.split()[1]) * 1024 + MEMORY, resource.RLIM_INFINITY))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("readers", nargs="+", choices=list(READERS))
    parser.add_argument("--text", type=int, required=True)
    parser.add_argument("--hdf5", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faulthandler.enable()
    signal.signal(signal.SIGVTALRM, too_slow)
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", category=RuntimeWarning, module="aiida_dmi")
    for name in options.readers:
        number = options.hdf5 if READERS[name].kind == "hdf5" else options.text
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        print(json.dumps(fuzz(name, options.seeds, folder, number, options.seed)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
