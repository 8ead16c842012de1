import orjson
import pytest

from ingest.problems import PROBLEMS, RefusedError, WrongSecretError, answer


def kinds(of: type[RefusedError]) -> set[type[RefusedError]]:
    return {kind for below in of.__subclasses__() for kind in {below} | kinds(below)}


def test_the_table_has_every_kind_once() -> None:
    assert set(PROBLEMS) == kinds(RefusedError)
    assert len({problem.name for problem in PROBLEMS.values()}) == len(PROBLEMS)


@pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.__name__)
def test_every_kind_is_answered_as_a_problem(kind: type[RefusedError]) -> None:
    error = kind("do this", "Basic") if issubclass(kind, WrongSecretError) else kind("do this")
    response = answer(error, retry_after=7)
    assert isinstance(response.body, bytes)
    assert orjson.loads(response.body) == {
        "type": f"urn:todoke:problem:{PROBLEMS[kind].name}",
        "title": PROBLEMS[kind].title,
        "status": response.status,
        "detail": "do this",
    }
    assert response.content_type == "application/problem+json"
    assert ("Retry-After" in response.headers) == (response.status == 503) == error.retriable
    assert ("WWW-Authenticate" in response.headers) == (response.status == 401)
