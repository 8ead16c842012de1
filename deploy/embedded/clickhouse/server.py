"""ClickHouse's HTTP interface on the engine of this process: https://clickhouse.com/docs/interfaces/http."""

import asyncio
import errno
import hmac
import logging
import re
import shutil
import signal
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from deploy.embedded.clickhouse.body import Body
from deploy.embedded.clickhouse.call import Call, Credentials, read_call, read_credentials
from deploy.embedded.clickhouse.engine import Engine, claim_signals
from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.folder import DataFolder
from deploy.embedded.clickhouse.forms import read_form
from deploy.embedded.clickhouse.queries import Queries
from deploy.embedded.clickhouse.reply import Holding, Reply
from deploy.embedded.clickhouse.run import ExternalTable
from deploy.embedded.clickhouse.settings import ClickHouseServerSettings
from deploy.embedded.errors import EmbeddedServerError, PortInUseError
from deploy.embedded.folder_lock import FolderLock
from deploy.memory import settle_memory

logger = logging.getLogger(__name__)

_SPARE_THREADS = 8  # beyond one for each query, so that what begins and ends queries does not wait for them
_READ_AHEAD = 2**20  # bytes of a body that are read before they are asked for
_KEEP_ALIVE = (
    30  # seconds, as ClickHouse announces; connections are kept a little longer, so that none is cut too early
)
_FORM = "multipart/form-data"
_HELP = """There is no handle {path}

Use / or /ping for health checks.
Or /replicas_status for more sophisticated health checks.

Send queries from your program with POST method or GET /?query=...
"""


class ClickHouseServer:
    """One data folder, served."""

    def __init__(self, settings: ClickHouseServerSettings) -> None:
        """Describe the server; nothing happens before ``start``."""
        self._settings = settings
        self._folder = DataFolder(settings.path)
        self._engine = Engine(
            self._folder.engine,
            threads=settings.max_concurrent_queries + _SPARE_THREADS,
            max_memory=settings.max_memory,
        )
        self._queries = Queries(
            self._engine,
            at_once=settings.max_concurrent_queries,
            max_body=settings.max_body,
        )
        self._holding = Holding(
            head=settings.buffer_size, in_memory=settings.hold_in_memory, folder=self._folder.temporary
        )
        self._lock: FolderLock | None = None
        self._runner: web.AppRunner | None = None
        self.url = ""
        """Where it answers, once it is started."""

    async def start(self) -> None:
        """Take the folder, start the engine and listen.

        Raises:
            EmbeddedServerError: one of its kinds, each with what to do.
        """
        listening = self._listen()
        try:
            self._lock = self._folder.lock()
            await self._open()
        except BaseException:
            listening.close()
            raise
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            keepalive_timeout=_KEEP_ALIVE + 5,
            read_bufsize=_READ_AHEAD,
            shutdown_timeout=self._settings.stop_within,
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listening, backlog=1024).start()
        host, port = listening.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._folder.announce(self.url)

    async def stop(self) -> None:
        """Stop listening, let queries finish for a while, cancel the rest, close the engine."""
        if self._runner is not None:
            await self._runner.cleanup()
        await self._queries.sessions.close()
        await self._engine.close()
        self._folder.conceal()

    def _listen(self) -> socket.socket:
        host, port = self._settings.host, self._settings.port
        try:
            return socket.create_server(
                (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError("ClickHouse", host, port) from error
            raise EmbeddedServerError(
                f"ClickHouse cannot listen on {host}, port {port}: {error.strerror or error}. Choose another address."
            ) from error

    async def _open(self) -> None:
        shutil.rmtree(self._folder.temporary, ignore_errors=True)
        self._folder.temporary.mkdir()
        claim_signals()
        self._folder.check(self._engine.installed())
        await self._engine.open()
        self._folder.mark(self._engine.version)

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/ping", self._ping)
        application.router.add_get("/replicas_status", self._ping)
        application.router.add_route("*", "/", self._answer)
        application.router.add_route("*", "/{path:.*}", self._unknown)
        return application

    async def _ping(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp hands it in
        return web.Response(text="Ok.\n", content_type="text/html", charset="UTF-8")

    async def _unknown(self, request: web.Request) -> web.Response:
        return web.Response(status=404, text=_HELP.format(path=request.path))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD", "POST"}:
            return web.Response(status=501, text=f"The method {request.method} is not supported; use GET or POST\n")
        if request.method != "POST" and "query" not in request.query:
            return await self._ping(request)
        call, reply = None, None
        try:
            call, tables = await self._read(request)
            reply = self._reply(request, call)
            # Of a form nothing is left to be read.
            body = None if request.content_type == _FORM else Body(call, request.content)
            return await reply.finish(await self._queries.run(call, body, tables, reply))
        except ClickHouseError as error:
            if "(version " not in error.message:
                error.message += f" (version {self._engine.version})"
            logger.warning("Query %s failed: %s", "" if call is None else call.query_id, _name(error))
            reply = reply or self._reply(request, None)
            return await reply.fail(error)
        finally:
            if reply is not None:
                reply.close()

    async def _read(self, request: web.Request) -> tuple[Call, list[ExternalTable]]:
        """Read a request, once it is clear that it may ask at all."""
        self._refuse_foreign(request)
        given: dict[str, str] = dict(request.query)
        self._authenticate(read_credentials(request.headers, given))
        if request.content_type != _FORM:
            return read_call(request.method, request.headers, given), []
        fields, tables = await read_form(request, given)
        described = [table.name for table in tables]
        return read_call(request.method, request.headers, given | fields, described=described), tables

    def _reply(self, request: web.Request, call: Call | None) -> Reply:
        return Reply(request, call, headers=self._headers(), holding=self._holding)

    def _headers(self) -> dict[str, str]:
        return {
            "X-ClickHouse-Server-Display-Name": "todoke",
            "X-ClickHouse-Timezone": self._engine.timezone,
            "Keep-Alive": f"timeout={_KEEP_ALIVE}, max=9999",
        }

    def _authenticate(self, credentials: Credentials) -> None:
        password = self._settings.password.get_secret_value()
        if credentials.scheme == "none" and password:
            raise ClickHouseError(
                194, "REQUIRED_PASSWORD", "Authentication failed: a user name and a password are required"
            )
        right_user = hmac.compare_digest(credentials.user.encode(), self._settings.user.encode())
        # Without a password any is right, as for ClickHouse's users "identified with no_password".
        right_password = not password or hmac.compare_digest(credentials.password.encode(), password.encode())
        if not (right_user and right_password):
            raise ClickHouseError(
                516,
                "AUTHENTICATION_FAILED",
                f"{credentials.user}: Authentication failed: password is incorrect, or there is no user with such name",
            )

    def _refuse_foreign(self, request: web.Request) -> None:
        """Without a password, keep web pages out that a browser on this machine shows.

        A page of any site may send requests to loopback; they carry its origin or, after DNS rebinding, its site's
        name.

        Raises:
            ClickHouseError: the request comes from such a page.
        """
        if self._settings.password.get_secret_value():
            return
        name = urlsplit(f"//{request.host}").hostname or ""
        origin = request.headers.get("Origin")
        if _is_public(name) or (origin is not None and urlsplit(origin).netloc != request.host):
            raise ClickHouseError(
                497, "ACCESS_DENIED", "Web pages of other sites may not send queries to a server without a password"
            )


def _is_public(name: str) -> bool:
    """Tell whether a host's name could be one of the public DNS."""
    try:
        ip_address(name)
    except ValueError:
        return "." in name.strip(".") and not name.endswith((".localhost", ".internal", ".local"))
    return False


def _name(error: ClickHouseError) -> str:
    """Name an error without its text, which may quote the query and with it secrets."""
    names = re.findall(r"\(([A-Z][A-Z0-9_]+)\)", error.message)
    return f"code {error.code}, {names[-1] if names else 'UNKNOWN'}"


async def serve(settings: ClickHouseServerSettings) -> None:
    """Serve a folder until SIGTERM or SIGINT, then end in good order.

    Raises:
        EmbeddedServerError: it cannot be served; the message says what to do.
    """
    server = ClickHouseServer(settings)
    await server.start()
    settle_memory()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    logger.info("Serving %s on %s", settings.path, server.url)
    await stopping.wait()
    logger.info("Stopping; queries have %g s", settings.stop_within)
    await server.stop()
    logger.info("Stopped")
