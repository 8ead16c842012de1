import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from deploy.cli import COMMANDS, main
from deploy.exit import Exit
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
    assert main(["upp"]) == Exit.MISUSED
    assert "No such command 'upp'" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = import_module(COMMANDS[name].module).command
    assert isinstance(command, click.Command)

    assert main([name, "--help"]) == Exit.OK
    text = capsys.readouterr().out
    assert re.search(r"^  Examples?:\n    ", text, re.MULTILINE), "the examples keep their lines"
    assert f"todoke {name}" in text


def test_a_missing_file_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "nowhere.json"]) == Exit.MISUSED
    assert "nowhere.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["json", "form", "ndjson"])
def test_the_form_of_a_payload_is_named_as_the_end_of_a_file(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "--form", form, "nowhere"]) == Exit.MISUSED
    assert "nowhere cannot be read" in capsys.readouterr().err
