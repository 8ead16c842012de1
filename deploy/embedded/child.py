"""Child processes that cannot outlive the process that started them."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True)


async def start_child(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log_path: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> asyncio.subprocess.Process:
    """Start a program in a session of its own, without standard input.

    The session keeps a Ctrl-C of the terminal from reaching the child, so that its parent alone decides the order in
    which things stop. On Linux the kernel kills the child when its parent dies, however it dies (prctl(2),
    PR_SET_PDEATHSIG). The kernel ties that to the *thread* that starts the child: call this from the main thread. Other
    systems have no such thing; there a child must guard what it holds by a lock that shows who holds it.

    Args:
        argv: the program, as a path, and its arguments.
        env: the whole environment; None passes on this process's own.
        cwd: the folder to run in; None stays in this process's own.
        log_path: file that output and errors are appended to; None gives both, as one stream, in ``process.stdout``.
        pass_fds: file descriptors that the child shares, under the same numbers.

    Raises:
        OSError: the program cannot be started, or the log not opened.
    """
    output = asyncio.subprocess.PIPE if log_path is None else os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=_tie_to_parent(os.getpid()) if sys.platform == "linux" else None,
        )
    finally:
        if log_path is not None:
            os.close(output)


def kill_family(pid: int) -> list[psutil.Process]:
    """Kill a process and everything that it started, which only Linux would do by itself; give what was killed."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    return family


def _tie_to_parent(parent: int) -> Callable[[], None]:
    """Give what the child does between fork and exec; only system calls, for other threads' locks are frozen there."""

    def tie() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above took hold
            os._exit(1)

    return tie
