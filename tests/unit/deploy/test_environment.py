import json
from pathlib import Path

import pytest

from deploy.environment import Environment, data_folder, for_child, read
from ingest.settings import check
from streams.contracts.errors import ConfigurationError, TodokeError


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def toml(text: str) -> Path:
    file = Path("todoke.toml")
    file.write_text(text, encoding="utf-8")
    return file


def refusal(**layers: object) -> str:
    with pytest.raises(ConfigurationError) as raised:
        read(**{"variables": {}, **layers})  # type: ignore[arg-type]  # layers by name
    return str(raised.value)


def test_defaults_work_without_any_configuration() -> None:
    environment = read(variables={})

    assert environment.settings.kafka.bootstrap_servers == "127.0.0.1:9092"
    assert list(environment.settings.sources) == ["cmc"]
    assert {origin for _, _, origin in environment.rows()} == {"default"}


def test_pipelines_of_two_prefixes_share_no_consumer_group() -> None:
    one, other = (read(variables={"TODOKE_TOPICS__PREFIX": prefix}).settings for prefix in ("mail.", "other."))

    assert one.worker_group() == "mail.inbox.worker"
    groups = [
        group for settings in (one, other) for group in (settings.worker_group(), *settings.sink_groups().values())
    ]
    assert len(set(groups)) == 6
    named = read(variables={"TODOKE_WORKER__GROUP": "mine"}).settings
    assert named.worker_group() == "mine"


def test_each_layer_overrides_the_one_before() -> None:
    toml('[kafka]\nbootstrap_servers = "file:1"\nsasl_username = "file"\n[topics]\nprefix = "file."\nshards = 7\n')
    environment = read(
        running={"kafka.bootstrap_servers": "run:1", "ingest.port": 4000},
        variables={"TODOKE_TOPICS__PREFIX": "variable.", "TODOKE_TOPICS__SHARDS": "8"},
        flags={("topics", "shards"): 9, ("topics", "prefix"): None},
    )
    settings = environment.settings

    assert (settings.ingest.port, environment.origin(("ingest", "port"))) == (4000, "run.json")
    assert settings.kafka.bootstrap_servers == "file:1"
    assert environment.origin(("kafka", "bootstrap_servers")) == "todoke.toml"
    assert settings.topics.prefix == "variable."
    assert environment.origin(("topics", "prefix")) == "TODOKE_TOPICS__PREFIX"
    assert (settings.topics.shards, environment.origin(("topics", "shards"))) == (9, "--shards")


def test_the_running_pipelines_file_is_read_by_who_has_none(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.toml"
    file.write_text("[sources.shop]\n")

    assert list(read(variables={}, running_file=file).settings.sources) == ["shop"]
    toml("[sources.own]\n")
    assert list(read(variables={}, running_file=file).settings.sources) == ["own"]


def test_a_named_file_is_read_instead_of_the_one_at_hand(tmp_path: Path) -> None:
    toml("[topics]\nshards = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("[topics]\nshards = 2\n")

    assert read(config=other, variables={}).settings.topics.shards == 2
    assert read(variables={"TODOKE_CONFIG": str(other)}).settings.topics.shards == 2
    assert "no configuration file nowhere.toml" in refusal(config=Path("nowhere.toml"))


def test_variables_reach_sources_whatever_their_spelling() -> None:
    toml('[sources.web-shop]\ntime_zone = "UTC"\n')
    variables = {
        "TODOKE_SOURCES__WEB_SHOP__BATCHING__MAX_EVENTS": "7",
        "TODOKE_SOURCES__OTHER__API_KEYS": "one, two",
        "TODOKE_SOURCES__OTHER__BASIC": '["user:pass,word"]',
    }
    sources = read(variables=variables).settings.sources

    assert sources["web-shop"].batching.max_events == 7
    assert sources["web-shop"].time_zone == "UTC"
    assert [key.get_secret_value() for key in sources["other"].api_keys] == ["one", "two"]
    assert [pair.get_secret_value() for pair in sources["other"].basic] == ["user:pass,word"]


def test_an_empty_table_makes_a_source() -> None:
    toml("[sources.shop]\n")

    assert list(read(variables={}).settings.sources) == ["shop"]


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    toml('[sources.shop]\napi_keys_file = "secret"\n')
    environment = read(variables={"TODOKE_KAFKA__SASL_PASSWORD_FILE": "secret"})

    assert environment.settings.kafka.sasl_password == "hunter2"
    assert environment.settings.sources["shop"].api_keys[0].get_secret_value() == "hunter2"
    assert environment.origin(("kafka", "sasl_password")) == "TODOKE_KAFKA__SASL_PASSWORD_FILE: secret"
    assert "kafka.sasl_password_file" in refusal(variables={"TODOKE_KAFKA__SASL_PASSWORD_FILE": "missing"})


def test_secrets_are_never_shown() -> None:
    toml('[kafka]\nsasl_password = "hunter2"\n[sources.shop]\nbasic = ["user:hunter2"]\nbearer_tokens = ["hunter2"]\n')
    environment = read(variables={})

    assert "hunter2" not in json.dumps(list(environment.rows()))
    assert "hunter2" not in repr(environment)
    assert "hunter2" not in refusal(variables={"TODOKE_SOURCES__SHOP__BASIC": "hunter2"})


def test_all_problems_are_told_at_once_with_key_value_origin_and_what_is_allowed() -> None:
    toml('[kafka]\nbotstrap_servers = "x"\n[log]\nlevel = "loud"\n[nothing]\nkey = 1\n')
    message = refusal(variables={"TODOKE_TOPICS__SHARDS": "many", "TODOKE_INGEST__PORT": "70000"})

    assert "kafka.botstrap_servers (todoke.toml) is no setting; did you mean kafka.bootstrap_servers?" in message
    assert "log.level = 'loud' (todoke.toml): Input should be 'debug', 'info', 'warning' or 'error'" in message
    assert "nothing (todoke.toml) is no setting; there is: admin, " in message
    assert "topics.shards = 'many' (TODOKE_TOPICS__SHARDS): Input should be a valid integer" in message
    assert "ingest.port = '70000' (TODOKE_INGEST__PORT)" in message


def test_a_key_in_the_wrong_section_names_the_keys_of_that_section() -> None:
    toml("[topics]\nfrobnicate = 1\n")

    assert "there is: horizon_days, prefix, replication_factor, shards" in refusal()


def test_a_mistyped_section_names_the_one_that_is_meant() -> None:
    toml('[source.shop]\nprovider = "generic"\n[clikhouse]\n')

    message = refusal()
    assert "source.shop.provider" not in message
    assert "source (todoke.toml) is no setting; did you mean sources?" in message
    assert "clikhouse (todoke.toml) is no setting; did you mean clickhouse?" in message


def test_a_text_in_the_place_of_a_list_is_told_in_the_words_of_the_file() -> None:
    toml('[sources.shop]\napi_keys = "x"\n')

    message = refusal()
    assert 'sources.shop.api_keys = \'********\' (todoke.toml): must be a list, like ["one", "two"]' in message
    assert "tuple" not in message


def test_the_data_folder_is_found_by_whoever_looks_for_the_pipeline(tmp_path: Path) -> None:
    assert data_folder(variables={}) == Path("data")
    toml('[local]\ndata = "/srv/todoke"\n')
    other = tmp_path / "other.toml"
    other.write_text('[local]\ndata = "elsewhere"\n')

    assert data_folder(variables={}) == Path("/srv/todoke")
    assert data_folder(config=other, variables={}) == Path("elsewhere")
    assert data_folder(variables={"TODOKE_CONFIG": str(other)}) == Path("elsewhere")
    assert data_folder(variables={"TODOKE_DATA": "there"}) == Path("there")
    assert data_folder(Path("here"), other, {"TODOKE_DATA": "there"}) == Path("here")
    toml("[local\n")
    assert data_folder(variables={}) == Path("data")


def test_what_is_no_toml_is_told_with_its_place() -> None:
    toml("[kafka\n")

    assert "todoke.toml is not TOML:" in refusal()


def test_settings_that_contradict_each_other_are_refused() -> None:
    assert "SASL_SSL needs sasl_username and sasl_password" in refusal(
        variables={"TODOKE_KAFKA__SECURITY_PROTOCOL": "SASL_SSL"}
    )


def test_a_child_reads_what_its_parent_wrote() -> None:
    variables = for_child({"kafka.bootstrap_servers": "here:1", "topics.shards": 5}, {"PATH": "/bin"})
    environment: Environment = read(variables=variables)

    assert variables["PATH"] == "/bin"
    assert environment.settings.kafka.bootstrap_servers == "here:1"
    assert environment.settings.topics.shards == 5


def test_what_no_single_setting_can_tell_names_the_origins_as_well() -> None:
    toml("[topics]\nhorizon_days = 3\n[sources.shop.batching]\ninterval = 30\n")
    horizon = refusal(variables={"TODOKE_WORKER__HORIZON_DAYS": "4"})
    assert (
        "worker.horizon_days = 4 (TODOKE_WORKER__HORIZON_DAYS) is more than topics.horizon_days = 3 (todoke.t"
        in horizon
    )

    environment = read(variables={})
    with pytest.raises(ConfigurationError) as raised, environment.locating():
        check(environment.settings.ingest, environment.settings.sources)
    assert str(raised.value).startswith(
        "sources.shop.batching.interval = 30 (todoke.toml) must be less than ingest.answer_within = 20 (default), or "
    )
    with pytest.raises(TodokeError) as other, environment.locating():
        raise TodokeError("no.key = 1 and mail.events = 2")
    assert str(other.value) == "no.key = 1 and mail.events = 2"
