"""``python -m deploy.embedded.clickhouse``: serve one folder."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

import uvloop
from pydantic import SecretStr, ValidationError

from deploy.embedded.clickhouse.server import serve
from deploy.embedded.clickhouse.settings import LOOPBACK, ClickHouseServerSettings
from deploy.embedded.errors import EmbeddedServerError
from deploy.exit import Exit, exit_code
from deploy.logs import set_up

_PASSWORD = "TODOKE_CLICKHOUSE__PASSWORD"  # noqa: S105 - the name of a variable


def main(arguments: list[str] | None = None) -> int:
    """Run the server until it is told to end; give the exit code."""
    given = _parser().parse_args(arguments)
    set_up("clickhouse", form=given.log_format, level=given.log_level)
    try:
        settings = ClickHouseServerSettings(
            path=given.data,
            host=given.host,
            port=given.port,
            user=given.user,
            password=SecretStr(os.environ.get(_PASSWORD, "")),
            max_concurrent_queries=given.max_concurrent_queries,
            max_memory=given.max_memory,
            stop_within=given.stop_within,
        )
    except ValidationError as error:
        for each in error.errors():
            where = ".".join(str(part) for part in each["loc"])
            sys.stderr.write(f"{where}: {each['msg']}\n" if where else each["msg"].removeprefix("Value error, ") + "\n")
        return Exit.MISUSED
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except EmbeddedServerError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code(error)
    return Exit.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.embedded.clickhouse",
        description="Serve a data folder with ClickHouse's own engine on ClickHouse's HTTP protocol.",
        epilog=f"The password is read from the variable {_PASSWORD}. Without one, only {LOOPBACK} is served. "
        "SIGTERM ends it in good order. Exit codes: 0 ended as asked, 1 failed, 2 wrong use, folder or port in use.",
    )
    defaults = ClickHouseServerSettings.model_fields
    parser.add_argument("--data", "--path", type=Path, required=True, metavar="DIR", help=defaults["path"].description)
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on  [%(default)s]")
    parser.add_argument("--port", type=int, default=8123, help="port to listen on, 0 picks a free one  [%(default)s]")
    parser.add_argument("--user", default="default", help="the one user's name  [%(default)s]")
    parser.add_argument(
        "--max-concurrent-queries", type=int, default=64, metavar="N", help="queries at a time  [%(default)s]"
    )
    parser.add_argument(
        "--max-memory", type=int, default=0, metavar="BYTES", help="what the engine may use; 0: 90%% of the machine's"
    )
    parser.add_argument(
        "--stop-within", type=float, default=10.0, metavar="SECONDS", help="time for queries at the end  [%(default)g]"
    )
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    return parser


if __name__ == "__main__":
    sys.exit(main())
