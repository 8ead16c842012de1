import io
import re
from pathlib import Path

import pytest

from deploy.cli import COMMANDS, main
from deploy.data_folder import DataFolder
from deploy.exit import Exit
from deploy.ports import free_port
from deploy.version import VERSION


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == Exit.OK
    assert capsys.readouterr().out == f"todoke {VERSION}\n"


def test_the_exit_codes_are_those_that_the_page_and_the_help_list(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "operate.md").read_text(encoding="utf-8")
    codes = [int(code) for code in re.findall(r"^\| (\d+) \| ", page, re.MULTILINE)]
    main(["--help"])
    helped = [int(code) for code in re.findall(r"^ +(\d+)  \S", capsys.readouterr().out, re.MULTILINE)]

    assert codes == helped == sorted(Exit)


def test_wrong_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["frobnicate"]) == Exit.MISUSED
    said = capsys.readouterr().err
    assert "No such command 'frobnicate'." in said
    assert "Did you mean" not in said


@pytest.mark.parametrize(
    ("typed", "meant"), [("upp", "up"), ("adit", "audit"), ("sinks", "sink"), ("sink clikhouse", "clickhouse")]
)
def test_a_mistyped_command_names_the_one_that_is_meant(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed.split()) == Exit.MISUSED
    assert f"No such command '{typed.rsplit(maxsplit=1)[-1]}'. Did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*COMMANDS, "sink clickhouse", "sink topics"])
def test_every_command_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == Exit.OK
    text = capsys.readouterr().out
    assert re.search(r"^  Examples?:\n    ", text, re.MULTILINE), "the examples keep their lines"
    assert f"todoke {name}" in text


ON_A_PIPELINE = [
    *("audit", "consume mail.events", "ingest", "migrate", "rebuild --yes", "replay", "send nowhere.json"),
    *("sink clickhouse", "topics", "worker"),
]


@pytest.mark.parametrize("command", ON_A_PIPELINE)
def test_a_data_folder_in_which_nothing_runs_leads_to_no_other_pipeline(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TODOKE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")  # another pipeline's, which is not meant
    data = tmp_path / "mistyped"

    assert main([*command.split(), "--data", str(data)]) == Exit.MISUSED
    said = capsys.readouterr().err
    assert f"no pipeline runs in the data folder {data}, nor did one before" in said
    assert f"`todoke up --data {data}`" in said

    with DataFolder(data):
        pass
    assert main([*command.split(), "--data", str(data)]) == Exit.UNREACHABLE
    assert f"no pipeline runs in the data folder {data}: start it" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["send README.md" if "send" in command else command for command in ON_A_PIPELINE])
def test_a_data_folder_that_a_variable_names_leads_to_no_default_addresses(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TODOKE_DATA", str(tmp_path / "mistyped"))

    assert main(command.split()) == Exit.MISUSED
    assert f"no pipeline runs in the data folder {tmp_path / 'mistyped'}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["audit", "rebuild --yes", "replay", "sink clickhouse"])
@pytest.mark.parametrize("variable", ["TODOKE_KAFKA__BOOTSTRAP_SERVERS", "TODOKE_CLICKHOUSE__PORT"])
def test_a_command_between_two_stores_looks_at_the_addresses_of_both(
    command: str,
    variable: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("TODOKE_DATA", "mistyped")
    assert main(command.split()) == Exit.MISUSED
    assert f"no pipeline runs in the data folder {tmp_path / 'mistyped'}" in capsys.readouterr().err


def test_addresses_that_are_set_need_no_data_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TODOKE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")

    assert main(["consume", "mail.events"]) == Exit.UNREACHABLE
    said = capsys.readouterr().err
    assert "127.0.0.1:1" in said
    assert "data folder" not in said

    monkeypatch.delenv("TODOKE_KAFKA__BOOTSTRAP_SERVERS")
    assert main(["consume", "nothing"]) == Exit.MISUSED
    told = (
        f"no pipeline runs in the data folder {tmp_path / 'data'}, so the default is tried for the address of Kafka: "
    )
    assert told in capsys.readouterr().err


def test_the_settings_are_shown_wherever_nothing_runs(tmp_path: Path) -> None:
    assert main(["config", "--data", str(tmp_path / "new")]) == Exit.OK


def test_a_missing_file_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "nowhere.json"]) == Exit.MISUSED
    assert "nowhere.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["json", "form", "ndjson"])
def test_the_form_of_a_payload_is_named_as_the_end_of_a_file(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "--form", form, "nowhere"]) == Exit.MISUSED
    assert "nowhere cannot be read" in capsys.readouterr().err


def test_an_empty_standard_input_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"\n")
    with empty.open(encoding="utf-8") as opened:
        for source in (None, opened):
            monkeypatch.setattr("sys.stdin", source)
            assert main(["send", "--form", "ndjson", "-"]) == Exit.MISUSED
            assert "standard input is empty" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "todoke.example.com", "http://", "http://[::1", "http://a:b"])
def test_what_is_no_address_is_told_at_once(url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    payload = tmp_path / "one.json"
    payload.write_bytes(b"{}")

    assert main(["send", "--url", url, str(payload)]) == Exit.MISUSED
    assert f"{url} is no address of a server" in capsys.readouterr().err


def test_an_address_that_names_an_endpoint_is_told_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    payload = tmp_path / "one.json"
    payload.write_bytes(b"{}")

    assert main(["send", "--url", "http://127.0.0.1:1/v1/webhooks/cmc", str(payload)]) == Exit.MISUSED
    assert "leave out what begins at /v1/, and say --source NAME" in capsys.readouterr().err


def test_what_keeps_a_post_from_being_taken_is_told_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    payload = tmp_path / "one.json"
    payload.write_bytes(b"{}")
    url = f"http://127.0.0.1:{free_port('127.0.0.1')}"

    assert main(["send", "--url", url, "--patience", "2.5", str(payload)]) == Exit.UNREACHABLE
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"todoke: not taken yet (nothing listens at {url}); trying for up to 2.5 s",
        f"todoke: {url}/v1/webhooks/cmc did not take the post within 2.5 s; nothing listens at {url}",
    ]


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        ("n\n", Exit.FAILED, "nothing was done"),
        ("\n", Exit.FAILED, "nothing was done"),
        ("", Exit.MISUSED, "give --yes"),
        (None, Exit.MISUSED, "give --yes"),
    ],
)
def test_nothing_is_emptied_unless_somebody_says_yes(
    given: str | None, code: Exit, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TODOKE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("TODOKE_CLICKHOUSE__HOST", "clickhouse.internal")
    monkeypatch.setattr("sys.stdin", None if given is None else io.StringIO(given))

    assert main(["rebuild"]) == code
    said = "".join(capsys.readouterr())
    assert "Empty the tables of the database mail in ClickHouse at clickhouse.internal:8123 and" in said
    assert told in said
