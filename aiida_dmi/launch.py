"""Entry point of `dmi-engine`: sets the number of threads before numpy is loaded, then hands over."""

from __future__ import annotations

import os


def engine() -> int:
    """Run `dmi-engine` with one thread a process unless OMP_NUM_THREADS says otherwise.

    The matrices are small and worker processes are the parallel axis; threads on top only get in their way.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
    from aiida_dmi.engine.run.cli import program

    return program()
