"""What the embedded ClickHouse reads in a request."""

import base64

import pytest
from multidict import CIMultiDict

from deploy.embedded.clickhouse.call import read_call, read_credentials
from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.statuses import status_of


def test_what_is_not_the_protocols_own_is_a_setting() -> None:
    call = read_call(
        "POST",
        {},
        {"query": "SELECT 1", "max_threads": "2", "param_id": "7", "query_id": "q", "user": "u", "compress": "1"},
    )
    assert dict(call.settings) == {"max_threads": "2"}
    assert dict(call.parameters) == {"id": "7"}
    assert (call.query, call.query_id, call.framed_answer, call.read_only) == (b"SELECT 1", "q", True, False)


def test_headers_win_over_parameters() -> None:
    headers = CIMultiDict({"x-clickhouse-format": "JSON", "X-CLICKHOUSE-DATABASE": "mail"})
    call = read_call("GET", headers, {"default_format": "CSV", "database": "default"})
    assert (call.default_format, call.database, call.read_only) == ("JSON", "mail", True)


def test_every_query_has_an_id() -> None:
    assert read_call("POST", {}, {}).query_id != read_call("POST", {}, {}).query_id
    assert read_call("POST", {"X-ClickHouse-Query-Id": "h"}, {}).query_id == "h"


def test_a_forms_tables_are_no_settings() -> None:
    given = {"t_format": "CSV", "t_structure": "a Int8", "date_time_input_format": "best_effort"}
    assert dict(read_call("POST", {}, given, described=["t"]).settings) == {"date_time_input_format": "best_effort"}


def test_compression_can_be_turned_off() -> None:
    headers = {"Accept-Encoding": "gzip"}
    assert read_call("GET", headers, {}).answer_encoding == "gzip"
    assert read_call("GET", headers, {"enable_http_compression": "0"}).answer_encoding is None


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"max threads": "1"}, 115),
        ({"a`b": "1"}, 115),
        ({"session_timeout": "-1"}, 374),
        ({"session_timeout": "3601"}, 374),
        ({"buffer_size": "many"}, 72),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, str], code: int) -> None:
    with pytest.raises(ClickHouseError) as refused:
        read_call("POST", {}, given)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("headers", "parameters", "user", "password"),
    [
        ({}, {}, "default", ""),
        ({"Authorization": "Basic " + base64.b64encode(b"u:p:q").decode()}, {}, "u", "p:q"),
        ({"X-ClickHouse-User": "u", "X-ClickHouse-Key": "k"}, {}, "u", "k"),
        ({}, {"user": "u", "password": "p"}, "u", "p"),
        ({}, {"password": "p"}, "default", "p"),
    ],
)
def test_credentials(headers: dict[str, str], parameters: dict[str, str], user: str, password: str) -> None:
    found = read_credentials(CIMultiDict(headers), parameters)
    assert (found.user, found.password) == (user, password)


@pytest.mark.parametrize(
    ("headers", "parameters"),
    [
        ({"Authorization": "Basic dTpw", "X-ClickHouse-User": "u"}, {}),
        ({"X-ClickHouse-User": "u"}, {"user": "u"}),
        ({"Authorization": "Bearer abc"}, {}),
        ({"Authorization": "Basic !"}, {}),
        ({"Authorization": "Basic dQ=="}, {}),
    ],
)
def test_credentials_that_make_no_sense(headers: dict[str, str], parameters: dict[str, str]) -> None:
    with pytest.raises(ClickHouseError) as refused:
        read_credentials(CIMultiDict(headers), parameters)
    assert refused.value.code == 516


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (62, 400),
        (117, 400),
        (194, 401),
        (516, 403),
        (60, 404),
        (81, 404),
        (159, 408),
        (48, 501),
        (164, 500),
        (241, 500),
    ],
)
def test_codes_have_clickhouses_statuses(code: int, status: int) -> None:
    assert status_of(code) == status
