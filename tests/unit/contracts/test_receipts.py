"""Names of accepted posts."""

import re

from streams.contracts.receipts import INSTANCE_DIGITS, SEQUENCE_DIGITS, draw_instance, receipt


def test_a_receipt_is_its_instance_and_its_number() -> None:
    assert receipt("0123456789abcdef0123", 255) == "0123456789abcdef01230000000000ff"


def test_receipts_of_an_instance_sort_by_their_number() -> None:
    instance = draw_instance()
    names = [receipt(instance, number) for number in (1, 9, 10, 15, 16, 255, 256, 10**9)]
    assert names == sorted(names)


def test_receipts_have_one_form() -> None:
    form = re.compile(rf"[0-9a-f]{{{INSTANCE_DIGITS + SEQUENCE_DIGITS}}}")
    assert form.fullmatch(receipt(draw_instance(), 16**SEQUENCE_DIGITS - 1))
    assert INSTANCE_DIGITS + SEQUENCE_DIGITS == 32


def test_instances_differ() -> None:
    assert len({draw_instance() for _ in range(1000)}) == 1000
