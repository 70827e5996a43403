from __future__ import annotations

import pytest

from streamproc.errors import ConfigurationError
from streamproc.loading import analysis_settings, find_analysis
from streamproc.settings import Settings, load_settings


def write(tmp_path, text):
    path = tmp_path / "beamline.toml"
    path.write_text(text)
    return path


def test_topics_follow_the_beamline_unless_named():
    settings = load_settings(None, {"beamline": "xyz"})
    assert settings.topic("raw") == "xyz.bluesky.runengine.documents"
    assert settings.topic("results") == "xyz.bluesky.streamproc.documents"
    assert settings.topic("deadletters") == "xyz.bluesky.streamproc.deadletters"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[kafka]\nbootstrp = 'x'", "kafka.bootstrp"),
        ("beamlin = 'x'", "beamlin"),
        ("[service]\nworkers = 0", "service.workers"),
        ("[service]\npolicy = 'some'", "service.policy"),
        ("beamline = 'a b'", "beamline"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(tmp_path, text, named):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(write(tmp_path, text))
    assert named in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_fault_is_reported_at_once(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(write(tmp_path, "nope = 1\n[kafka]\nnope = 1\n[runs]\nmax_open = 0"))
    assert all(name in str(caught.value) for name in ("nope", "kafka.nope", "runs.max_open"))


def test_missing_and_broken_files_are_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match="no such settings file"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(ConfigurationError, match="TOML"):
        load_settings(write(tmp_path, "this is = = not toml"))


def test_environment_beats_the_file_and_the_command_line_beats_both(tmp_path, monkeypatch):
    path = write(tmp_path, "[kafka]\nbootstrap = 'file:1'\n[runs]\nmax_open = 3")
    monkeypatch.setenv("STREAMPROC_KAFKA__BOOTSTRAP", "environment:1")
    assert load_settings(path).kafka.bootstrap == "environment:1"
    settings = load_settings(path, {"kafka": {"bootstrap": "line:1"}})
    assert settings.kafka.bootstrap == "line:1"
    assert settings.runs.max_open == 3


def test_a_mistyped_environment_variable_is_refused(monkeypatch):
    monkeypatch.setenv("STREAMPROC_KAFK__BOOTSTRAP", "x:1")
    with pytest.raises(ConfigurationError, match="STREAMPROC_KAFK__BOOTSTRAP"):
        load_settings(None)


def test_passwords_are_hidden_wherever_settings_are_shown(monkeypatch):
    monkeypatch.setenv("STREAMPROC_KAFKA__PASSWORD", "hunter2")
    settings = load_settings(None)
    assert settings.kafka.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings) + settings.model_dump_json()


def test_relative_paths_are_meant_relative_to_the_file(tmp_path):
    settings = load_settings(write(tmp_path, "[frames]\nroots = ['data']"))
    assert settings.frames.roots == (tmp_path / "data",)


def test_every_setting_is_explained():
    def lacking(model, prefix=""):
        for name, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and hasattr(inner, "model_fields"):
                yield from lacking(inner, f"{prefix}{name}.")
            elif not field.description:
                yield prefix + name

    assert list(lacking(Settings)) == []


def test_a_mistyped_setting_of_an_analysis_says_where_the_settings_are_listed():
    with pytest.raises(ConfigurationError, match=r"\[analysis.excitation-fit\]: map.fit_evry: is no setting"):
        analysis_settings(find_analysis("excitation-fit"), {"model": "dho", "map": {"fit_evry": 3}})
