from deploy.table import counted, cut, table, width


def test_east_asian_characters_take_two_columns() -> None:
    assert width("届けtodoke") == 10
    assert width("ｶﾞ") == 2
    assert width("e\N{COMBINING ACUTE ACCENT}") == 1


def test_what_is_too_long_ends_in_an_ellipsis() -> None:
    assert cut("届け出", 5) == "届け…"
    assert cut("todoke", 6) == "todoke"


def test_a_line_fits_the_terminal_and_keeps_what_is_short() -> None:
    told = table(("id", "reason"), [("1", "届け" * 20)], fit=20)

    assert {width(line) for line in told.splitlines()} <= set(range(1, 21))
    assert told.splitlines()[2] == "1   届け届け届け届…"


def test_elastic_columns_are_cut_first() -> None:
    told = table(("id", "text"), [("1234567890123456", "届け" * 20)], fit=30, elastic=("text",))

    assert told.splitlines()[2] == "1234567890123456  届け届け届…"


def test_columns_line_up() -> None:
    lines = table(("a", "b"), [("届け", "1"), ("x", "2\n3")]).splitlines()

    assert lines == ["a     b", "────  ───", "届け  1", "x     2 3"]


def test_numbers_agree_with_what_is_counted() -> None:
    assert [counted(number, "loss", "losses") for number in (0, 1, 2)] == ["0 losses", "1 loss", "2 losses"]
