import hashlib
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.embedded.kafka import KAFKA_VERSION, JarRefusedError, JarsUnavailableError
from deploy.embedded.kafka.jars import BROKER_LOCK, Progress, class_path, locked_jars
from deploy.embedded.kafka.lock import write_lock

JARS = {"a": b"first jar", "b": b"second jar"}


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "jgo.lock.toml"
    path.write_text(
        "".join(
            f'[[dependencies]]\ngroupId = "net.example"\nartifactId = "{name}"\nversion = "1.0"\npackaging = "jar"\n'
            f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n'
            for name, content in JARS.items()
        )
    )
    return path


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Maven repository of our own, and jgo's configuration naming it; gives its folder."""
    folder = tmp_path / "server"
    for name, content in JARS.items():
        path = folder / "net" / "example" / name / "1.0" / f"{name}-1.0.jar"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        configuration = tmp_path / "jgo.conf"
        configuration.write_text(f"[repositories]\ncentral = http://127.0.0.1:{http.server_port}\n")
        monkeypatch.setenv("JGO_CONFIG_FILE", str(configuration))
        yield folder
        http.shutdown()
        thread.join()


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "none.conf"))


@pytest.mark.usefixtures("server")
def test_fetches_once_and_tells_how_far_it_is(lock: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    paths = class_path(lock, cache=tmp_path / "cache", progress=seen.append)
    assert [path.read_bytes() for path in paths] == list(JARS.values())
    assert [(progress.done, progress.total) for progress in seen] == [(0, 2), (1, 2), (2, 2)]
    assert str(seen[-1]) == "2 of 2 jars, 0.0 MB fetched"

    assert class_path(lock, cache=tmp_path / "cache", progress=seen.append) == paths
    assert len(seen) == 3


@pytest.mark.usefixtures("server", "lock")
def test_leaves_nothing_but_the_jars(lock: Path, tmp_path: Path) -> None:
    class_path(lock, cache=tmp_path / "cache")
    assert {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()} == {"a-1.0.jar", "b-1.0.jar"}
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["jars"]


def test_refuses_what_a_server_changed(lock: Path, server: Path, tmp_path: Path) -> None:
    next(server.rglob("b-1.0.jar")).write_bytes(b"something else")
    with pytest.raises(JarRefusedError, match=r"not the net\.example:b:jar:1\.0"):
        class_path(lock, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("b-1.0.jar"))


@pytest.mark.usefixtures("server")
def test_refuses_a_jar_that_was_changed_later(lock: Path, tmp_path: Path) -> None:
    tampered = class_path(lock, cache=tmp_path / "cache")[0]
    tampered.write_bytes(b"first jaR")
    with pytest.raises(JarRefusedError, match="delete it, and the next start fetches it again") as raised:
        class_path(lock, cache=tmp_path / "cache")
    assert str(tampered) in str(raised.value)
    assert hashlib.sha256(b"first jaR").hexdigest() in str(raised.value)

    tampered.unlink()
    assert class_path(lock, cache=tmp_path / "cache")[0].read_bytes() == JARS["a"]


def test_goes_on_where_a_fetch_broke_off(lock: Path, server: Path, tmp_path: Path) -> None:
    broken = next(server.rglob("b-1.0.jar"))
    broken.write_bytes(JARS["b"][:-1])
    with pytest.raises(JarRefusedError):
        class_path(lock, cache=tmp_path / "cache")
    broken.write_bytes(JARS["b"])
    # Whether or not the other one was done when the error came, the next try brings what is missing, and only that.
    there = len(list((tmp_path / "cache" / "jars").rglob("*.jar")))
    seen: list[Progress] = []
    assert len(class_path(lock, cache=tmp_path / "cache", progress=seen.append)) == 2
    assert [progress.done for progress in seen] == list(range(there, 3))


@pytest.mark.usefixtures("no_network")
def test_says_what_to_do_without_network(lock: Path, tmp_path: Path) -> None:
    with pytest.raises(JarsUnavailableError, match="Connect this machine to the network") as raised:
        class_path(lock, cache=tmp_path / "cache")
    assert "2 of 2 jars are missing" in str(raised.value)
    assert raised.value.retriable


def test_says_what_to_do_where_nothing_can_be_kept(lock: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JarsUnavailableError, match="choose another cache folder"):
        class_path(lock, cache=tmp_path / "file")


def test_a_lock_without_checksum_is_refused(lock: Path) -> None:
    lock.write_text(re.sub(r'sha256 = "\w+"\n', "", lock.read_text(), count=1))
    with pytest.raises(JarRefusedError, match="without its SHA-256"):
        locked_jars(lock)


POM = """<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>net.example</groupId><artifactId>{name}</artifactId><version>1.0</version>
  <dependencies>{needs}</dependencies>
</project>"""
NEEDS = (
    "<dependency><groupId>net.example</groupId><artifactId>{name}</artifactId><version>1.0</version>"
    "<scope>{scope}</scope></dependency>"
)


def test_a_lock_pins_all_that_a_program_needs_to_run(server: Path, tmp_path: Path) -> None:
    needs = NEEDS.format(name="b", scope="runtime") + NEEDS.format(name="only-for-its-tests", scope="test")
    for name, written in (("a", needs), ("b", "")):
        pom = server / "net" / "example" / name / "1.0" / f"{name}-1.0.pom"
        pom.write_text(POM.format(name=name, needs=written))
    path = tmp_path / "new.lock.toml"
    assert write_lock(["net.example:a:1.0"], path) == 2
    assert [(jar.artifact, jar.sha256) for jar in locked_jars(path)] == [
        (name, hashlib.sha256(content).hexdigest()) for name, content in JARS.items()
    ]
    assert "://" not in path.read_text()


def test_the_brokers_lock_pins_one_version_of_each_jar_and_names_no_server() -> None:
    jars = locked_jars(BROKER_LOCK)
    assert len(jars) > 40
    assert len({(jar.group, jar.artifact) for jar in jars}) == len(jars)
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in jars)
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {KAFKA_VERSION}
    assert "://" not in BROKER_LOCK.read_text()
