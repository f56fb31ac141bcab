"""Every reader of a file on damaged copies of valid small ones: taken or refused, in bounded memory and time.

`make fuzz` runs 10^5 cases a text reader and 10^4 an HDF5 reader; without it a thousand are shared among the readers.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .readers import READERS
from .seeds import make

SCRIPT = Path(__file__).parent / "campaign.py"
FULL = "AIIDA_DMI_FUZZ" in os.environ
TEXT, HDF5 = (100_000, 10_000) if FULL else (46, 26)
"""Cases a reader."""
LIMIT = 4 * 3600 if FULL else 400


@pytest.fixture(scope="session")
def seeds(tmp_path_factory, upf_folder):
    folder = tmp_path_factory.mktemp("seeds")
    make(folder, upf_folder)
    return folder


def campaign(seeds, folder, readers, seed=0):
    """Counts of each reader; what the process said where it did not end well."""
    command = [sys.executable, SCRIPT, seeds, folder, *readers, "--text", TEXT, "--hdf5", HDF5, "--seed", seed]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr[-6000:]}\nthe last case is in {folder}"
    return [json.loads(line) for line in done.stdout.splitlines()]


GROUPS = {name: [name] for name in READERS} if FULL else {"all": list(READERS)}


@pytest.mark.parametrize("readers", GROUPS.values(), ids=GROUPS.keys())
def test_taken_or_refused(readers, seeds, tmp_path, say):
    counts = campaign(seeds, tmp_path, readers)
    assert [own["reader"] for own in counts] == readers
    for own in counts:
        say(
            f"{own['reader']:22} {own['cases']:7d} cases: {own['taken']:6d} taken, {own['refused']:6d} refused, "
            f"slowest {own['slowest']:.2f} s, peak {own['peak_MiB']:.0f} MiB, {own['seconds']:.0f} s"
        )
        # Damage that is always refused, or never, tests nothing.
        assert not FULL or (own["taken"] and bool(own["refused"]) == bool(READERS[own["reader"]].refusals))
        assert own["cases"] >= (HDF5 if READERS[own["reader"]].kind == "hdf5" else TEXT) * 0.9
    total = sum(own["cases"] for own in counts)
    if not FULL:
        say(f"{total} cases of {len(counts)} readers")
        assert total >= 1000
