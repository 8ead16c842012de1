"""Sessions of the HTTP protocol: connections that keep temporary tables, settings and the database between requests."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from deploy.embedded.clickhouse.call import Call
from deploy.embedded.clickhouse.engine import Connection, Engine
from deploy.embedded.clickhouse.errors import ClickHouseError

logger = logging.getLogger(__name__)


class _Session:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.busy = False
        self.expiry: asyncio.TimerHandle | None = None
        self.sets: list[bytes] = []
        """The SET statements that the client has sent, so that they can be applied again."""


class Sessions:
    """Gives each request its connection: a new one, or its session's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[str, _Session] = {}
        self._closing: asyncio.Future[None] | None = None  # the last one, so that it is not lost before its end

    @asynccontextmanager
    async def connection(self, call: Call, settings: Mapping[str, str]) -> AsyncIterator[Connection]:
        """Lend a connection with the request's database and settings, which apply to this request alone.

        Raises:
            ClickHouseError: the session is in use, or missing; a setting or the database is not known.
        """
        if call.session_id is None:
            connection = await self._engine.submit(self._open, call, settings)
            try:
                yield connection
            finally:
                await asyncio.shield(self._engine.submit(connection.close))
            return
        session = await self._take(call, call.session_id)
        try:
            previous = await self._engine.submit(self._begin, session, call, settings)
            try:
                yield session.connection
            finally:
                await asyncio.shield(self._engine.submit(self._end, session, settings, previous))
        finally:
            self._give_back(call, call.session_id, session)

    def remember(self, call: Call, statement: bytes) -> None:
        """Take note of a SET that changed a session."""
        if call.session_id is not None and (session := self._sessions.get(call.session_id)) is not None:
            session.sets.append(statement)

    async def close(self) -> None:
        """Close all sessions."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            if session.expiry is not None:
                session.expiry.cancel()
            await self._engine.submit(session.connection.close)

    def _open(self, call: Call, settings: Mapping[str, str]) -> Connection:
        connection = self._engine.connect()
        try:
            if call.database:
                connection.use(call.database)
            connection.set(settings)
            if call.read_only and "readonly" not in settings:
                # 2: no writes, and this setting cannot be changed back. Last, for it forbids some of the above.
                connection.set({"readonly": "2"})
        except BaseException:
            connection.close()
            raise
        return connection

    async def _take(self, call: Call, name: str) -> _Session:
        session = self._sessions.get(name)
        if session is None:
            if call.session_check:
                raise ClickHouseError(372, "SESSION_NOT_FOUND", f"Session {name} not found")
            opened = _Session(await self._engine.submit(self._engine.connect))
            session = self._sessions.setdefault(name, opened)
            if session is not opened:  # another request has begun the session meanwhile
                await self._engine.submit(opened.connection.close)
        if session.busy:
            raise ClickHouseError(373, "SESSION_IS_LOCKED", f"Session {name} is locked by a concurrent client")
        session.busy = True
        if session.expiry is not None:
            session.expiry.cancel()
        return session

    def _give_back(self, call: Call, name: str, session: _Session) -> None:
        session.busy = False
        wait = 0 if call.close_session else call.session_timeout
        session.expiry = asyncio.get_running_loop().call_later(wait, self._expire, name)

    def _expire(self, name: str) -> None:
        session = self._sessions.pop(name, None)
        if session is not None:
            self._closing = self._engine.submit(session.connection.close)

    def _begin(self, session: _Session, call: Call, settings: Mapping[str, str]) -> str | None:
        previous = None
        if call.database:
            previous = session.connection.query("SELECT currentDatabase()", "TSVRaw")[0].decode().rstrip("\n")
            session.connection.use(call.database)
        session.connection.set(_revocable(settings))
        return previous

    def _end(self, session: _Session, settings: Mapping[str, str], previous: str | None) -> None:
        """Make the connection again what the session's own statements have made of it."""
        session.connection.reset(list(_revocable(settings)))
        for statement in session.sets:
            if any(re.search(rb"\b%s\b" % name.encode(), statement) for name in settings):
                session.connection.query(statement, "Null")
        if previous is not None:
            session.connection.use(previous)


def _revocable(settings: Mapping[str, str]) -> dict[str, str]:
    """Leave out what could not be taken back afterwards: in readonly mode this setting cannot be changed."""
    return {name: value for name, value in settings.items() if name != "readonly"}
