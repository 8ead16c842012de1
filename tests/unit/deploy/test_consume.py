import json

import pytest

from deploy.commands.consume import Form

HEADERS = [("reason", b"body_unreadable"), ("detail", b'it\'s "no" JSON')]


@pytest.mark.parametrize(
    ("value", "is_raw", "printed"),
    [
        (b'{"a":"\xe5\xb1\x8a"}', False, {"a": "届"}),
        (None, False, None),
        (b"<xml>\n\xff\n</xml>", True, "<xml>\n\ufffd\n</xml>"),
        (b'{"a":1}', True, '{"a":1}'),
        (b"foreign", False, "foreign"),
        (b'{\n"a":1}', False, '{\n"a":1}'),
    ],
)
@pytest.mark.parametrize("key", [None, b"a\x1fb\xff"])
def test_whatever_a_record_holds_is_one_json_value_a_line(
    value: bytes | None, key: bytes | None, *, is_raw: bool, printed: object
) -> None:
    shown = None if key is None else "a\x1fb\ufffd"
    named = {name: content.decode() for name, content in HEADERS}

    def line(form: Form) -> object:
        text = form.line(key, HEADERS, value, is_raw=is_raw)
        assert text.endswith("\n")
        assert text.count("\n") == 1
        return json.loads(text)

    assert line(Form(keys=False, headers=False)) == printed
    assert line(Form(keys=True, headers=False)) == {"key": shown, "value": printed}
    assert line(Form(keys=False, headers=True)) == {"headers": named, "value": printed}
    assert line(Form(keys=True, headers=True)) == {"key": shown, "headers": named, "value": printed}


def test_a_value_is_printed_as_it_is() -> None:
    assert Form(keys=False, headers=False).line(None, (), b'{"b": 1.0}', is_raw=False) == '{"b": 1.0}\n'
