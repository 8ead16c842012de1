"""ClickHouse's own client for Node, where Node is at hand."""

import shutil
import subprocess
from pathlib import Path

from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.kafka.jars import default_cache

CLIENT = "@clickhouse/client@1.23.1"
SCRIPT = Path(__file__).with_name("node_client.mjs")

if shutil.which("node") and shutil.which("npm"):

    def run(*command: str, cwd: Path) -> str:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def test_the_client_passes(clickhouse: EmbeddedClickHouse, database: str) -> None:
        packages = default_cache() / "npm" / CLIENT.replace("/", "-").strip("@")
        if not (packages / "node_modules" / "@clickhouse" / "client").is_dir():
            packages.mkdir(parents=True, exist_ok=True)
            run("npm", "install", "--no-audit", "--no-fund", "--no-save", CLIENT, cwd=packages)
        # Node looks for packages beside the script.
        script = packages / SCRIPT.name
        script.write_bytes(SCRIPT.read_bytes())
        assert run("node", str(script), clickhouse.url, f"t_{database}", cwd=packages) == "passed\n"
