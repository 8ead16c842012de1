from deploy.table import cut, table, width


def test_east_asian_characters_take_two_columns() -> None:
    assert width("届けtodoke") == 10
    assert width("ｶﾞ") == 2
    assert width("e\N{COMBINING ACUTE ACCENT}") == 1


def test_what_is_too_long_ends_in_an_ellipsis() -> None:
    assert cut("届け出", 5) == "届け…"
    assert cut("todoke", 6) == "todoke"


def test_columns_line_up() -> None:
    lines = table(("a", "b"), [("届け", "1"), ("x", "2\n3")]).splitlines()

    assert lines == ["a     b", "────  ───", "届け  1", "x     2 3"]
