"""The wheel holds all that the pipeline needs, and runs outside the checkout."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.traffic.running import RunningPipeline

CHECKOUT = Path(__file__).parents[2]


def python(*arguments: str) -> str:
    ended = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False, cwd=CHECKOUT
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def todoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, from a wheel that was built and installed without any network.

    Its environment shares the packages that it depends on with the one that runs the tests, but not that one's
    editable installation: lines of a ``.pth`` file are folders to look in, whose own ``.pth`` files are not read.
    """
    folder = tmp_path_factory.mktemp("wheel")
    pip = ("-m", "pip", "--disable-pip-version-check")
    python(*pip, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(folder), ".")
    (wheel,) = folder.glob("todoke-*.whl")
    environment = folder / "environment"
    python("-m", "venv", "--without-pip", str(environment))
    inside = str(environment / "bin" / "python")
    python(*pip, "--python", inside, "install", "--no-index", "--no-deps", str(wheel))
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin" / "todoke"


@pytest.mark.timeout(300)
async def test_the_pipeline_runs_from_a_wheel_outside_the_checkout(todoke: Path, tmp_path: Path) -> None:
    async with RunningPipeline(tmp_path / "data", todoke=todoke) as pipeline:
        site = todoke.parents[1]
        (samples,) = site.glob("lib/python*/site-packages/deploy/samples")
        files = [str(path) for path in sorted(samples.iterdir())]
        code, said = await pipeline.command("send", *files)
        assert code == 0, said
        assert len(said.splitlines()) == len(files)

        code, said = await pipeline.audit()
        assert code == 0, said
        code, said = await pipeline.command("consume", "mail.lifecycles")
        assert code == 0, said
        assert '"state":"bounced"' in said
        assert str(CHECKOUT) not in pipeline.output
        assert await pipeline.stop() == 0
