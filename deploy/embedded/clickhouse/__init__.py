"""ClickHouse on one machine with nothing installed but Python: its engine (chDB) behind its own HTTP protocol.

What a client of a ClickHouse server may miss:

- There is one user, no TLS, no native protocol (port 9000), and no system.query_log.
- The engine gives queries ids of its own, which SQL shows. The client's ids are in the answers and work in KILL QUERY.
- As in clickhouse-local, the table function file() and engines like File reach every file that the server's user may
  read or write. Whoever may query has these rights: set a password where others use the machine.
- Native carries no more than the format itself; what newer clients ask for by client_protocol_version is left out, and
  clickhouse-go over HTTP cannot do without.
- ``input()`` stands in INSERT … SELECT alone, with its structure as one literal; in other words it is refused.
- Progress is not sent as headers meanwhile (send_progress_in_http_headers), and async_insert does not wait for others.
"""

from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.process import EmbeddedClickHouse
from deploy.embedded.clickhouse.settings import ClickHouseServerSettings

__all__ = ["ClickHouseError", "ClickHouseServerSettings", "EmbeddedClickHouse"]
