"""Where batches are worked on: here, in worker processes, or on MPI ranks; results always in the batches' order."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ..arguments import shown
from ..errors import InputError, StoppedError
from .heap import keep_heap

LESS = "run again with fewer processes (it goes on from the checkpoint) or with a smaller memory_limit"

HELD_BACK = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that wait while the workers are started."""

_kernel: Any = None


def _start(kernel: Any, parent: int) -> None:
    global _kernel  # noqa: PLW0603  (a pool's worker has no other place for what it starts with)
    _end_with(parent)
    # Where one worker is killed the pool ends the others with SIGTERM and waits: a handler that the calling program
    # had and that is forked with it (coverage's, for one) may not keep them.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C and the end of a terminal reach the whole group; the parent ends its workers itself.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # forked while they were held back
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    keep_heap()
    _kernel = kernel


def _end_with(parent: int) -> None:
    """Have the kernel end this worker when its parent dies, however it dies: a killed job must leave nothing."""
    if sys.platform != "linux":
        return
    set_death_signal = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Signals that arrive inside are delivered at its end."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(name: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_kernel, name)(*arguments)


class Workers:
    """Maps a kernel's method over batches.

    Partial sums are added by the caller in the order of the batches, so the result is the same, bit for bit, for
    any number of processes or ranks.

    Parameters
    ----------
    kernel : object
        Its methods take a batch first.
    processes : int
        Worker processes of this rank; 1 works here.
    communicator : mpi4py communicator, optional
        Batches are dealt out to its ranks; every rank gets every result.
    """

    def __init__(self, kernel: Any, processes: int, communicator: Any = None) -> None:
        self._kernel, self._processes = kernel, processes
        self._communicator = communicator if communicator is not None and communicator.Get_size() > 1 else None
        self._executor = None
        if processes > 1 and self._communicator is None:
            # fork shares the prepared operators; where it does not exist they are sent once.
            context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
            self._executor = ProcessPoolExecutor(
                processes, mp_context=context, initializer=_start, initargs=(kernel, os.getpid())
            )
            others = multiprocessing.active_children()
            # A signal that came between a fork and the pool's note of it would leave a worker that nobody knows: it
            # would take another's word to end, and that one would be waited for without end.
            with _held_back():
                self._executor.submit(os.getpid)  # forks them all
            self._children = [child for child in multiprocessing.active_children() if child not in others]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if self._executor is None:
            return
        if kind is not None and not issubclass(kind, Exception):
            # The run is being ended: what the workers are at is of no use any more.
            for child in self._children:
                child.kill()
        self._executor.shutdown(cancel_futures=True)

    def alike(self, kernel: Any) -> Workers:
        """As many for another kernel."""
        return Workers(kernel, self._processes, self._communicator)

    @property
    def root(self) -> bool:
        """Whether this rank speaks to the user and writes files."""
        return self._communicator is None or self._communicator.Get_rank() == 0

    def here(self, name: str, *arguments: Any) -> Any:
        """kernel.name(*arguments) in this process."""
        return getattr(self._kernel, name)(*arguments)

    def shared(self, value: Any) -> Any:
        """The first rank's value, on every rank."""
        return value if self._communicator is None else self._communicator.bcast(value, root=0)

    def map(self, name: str, batches: Sequence[Any], *arguments: Any) -> Iterator[Any]:
        """kernel.name(batch, *arguments) for every batch, in order.

        Raises
        ------
        StoppedError
            If memory ran out, or a worker process was killed.
        """
        try:
            yield from self._results(name, batches, arguments)
        except BrokenProcessPool as error:
            raise StoppedError(
                f"processes: a worker process was killed, most often for lack of memory; {LESS}"
            ) from error
        except MemoryError as error:
            raise StoppedError(f"memory: {error or 'nothing is left'}; {LESS}") from error

    def _results(self, name: str, batches: Sequence[Any], arguments: tuple[Any, ...]) -> Iterator[Any]:
        if self._executor is not None:
            yield from self._executor.map(_work, [name] * len(batches), [(b, *arguments) for b in batches])
        elif self._communicator is not None:
            yield from self._over_ranks(name, batches, arguments)
        else:
            for batch in batches:
                yield getattr(self._kernel, name)(batch, *arguments)

    def _over_ranks(self, name: str, batches: Sequence[Any], arguments: tuple[Any, ...]) -> Iterator[Any]:
        communicator: Any = self._communicator
        rank, size = communicator.Get_rank(), communicator.Get_size()
        for start in range(0, len(batches), size):
            mine = batches[start + rank : start + rank + 1]
            done = [getattr(self._kernel, name)(batch, *arguments) for batch in mine]
            for part in communicator.allgather(done):
                yield from part


def mpi_communicator() -> Any:
    """MPI's world where this process was started by mpirun or srun with several ranks, else None.

    Raises
    ------
    InputError
        If there are several ranks but mpi4py is not installed, or does not find the others: each would do all the
        work by itself.
    """
    ranks = _launched_ranks(os.environ)
    if ranks == 1:
        return None
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise InputError(
            "MPI: started with several ranks, but mpi4py is not installed; pip install aiida-dmi[mpi], or use "
            "`processes` without mpirun"
        ) from error
    if MPI.COMM_WORLD.Get_size() == 1:
        raise InputError(
            f"MPI: {ranks} ranks were started, but mpi4py's {MPI.get_vendor()[0]} finds only this one; start them with "
            "that library's mpirun, or srun --mpi=pmix, or build mpi4py with the library of this launcher"
        )
    return MPI.COMM_WORLD


def _launched_ranks(environment: Mapping[str, str]) -> int:
    """How many MPI ranks the launcher says it has started: 1 without a launcher."""

    def number(name: str) -> int:
        text = environment.get(name, "").strip()
        if text and not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
            raise InputError(
                f"{name}: {shown(text)} was given, expected a number of ranks; unset it, or start with mpirun or srun"
            )
        return int(text or 1)

    # Open MPI's mpirun; MPICH's and Intel's, and srun --mpi=pmi2.
    ranks = max(number("OMPI_COMM_WORLD_SIZE"), number("PMI_SIZE"))
    # srun --mpi=pmix gives a rank but no size. Without the rank, Slurm's numbers are those of the job that this one
    # process runs in.
    if "PMIX_RANK" in environment:
        step = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
        ranks = max(ranks, number(step))
    return ranks
