"""Small disks that can be filled: where the system lets this user mount any, which takes root."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

SIZE = {"kafka": "400m", "clickhouse": "400m", "journal": "200m"}
"""By the name of the folder below the data folder; `tests.chaos.plan.DISKS` names them too."""
BALLAST = "ballast"
BLOCK = b"\0" * 1024 * 1024


@contextlib.asynccontextmanager
async def small_disks(data: Path, *, keep: Callable[[], object]) -> AsyncIterator[dict[str, Path]]:
    """Mount disks in memory for the servers and for ingest's journal below a data folder, for the length of the block.

    Gives where each is; nothing where mounting is not allowed. In the end, what is on them is kept if that is wanted.
    """
    disks: dict[str, Path] = {}
    try:
        for name, folder in _folders(data).items():
            options = f"size={SIZE[name]},mode=700"
            if not await _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)):
                break
            disks[name] = folder
        yield disks
    finally:
        for name, folder in disks.items():
            if keep():
                await _run("cp", "-a", str(folder), str(data / f"{name}-kept"))
            await _run("umount", "-l", str(folder))


def _folders(data: Path) -> dict[str, Path]:
    data.mkdir(parents=True, exist_ok=True)
    (data / "lock").touch()  # which tells `todoke up` that the folder is its own
    folders = {name: data / name for name in SIZE}
    for folder in folders.values():
        folder.mkdir()
    return folders


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with contextlib.suppress(OSError), (disk / BALLAST).open("ab", buffering=0) as ballast:
        while True:
            if ballast.write(BLOCK) < len(BLOCK):
                os.fsync(ballast.fileno())


def empty(disk: Path) -> None:
    """Give the room back."""
    (disk / BALLAST).unlink(missing_ok=True)


async def _run(*command: str) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return False
    return await process.wait() == 0
