import pytest
from django.core.exceptions import ImproperlyConfigured

from database.environment import Environment, read_env_file


def environment(**process: str) -> Environment:
    return Environment(process, {})


def test_the_process_wins_over_the_file():
    both = Environment({"NAME": "process"}, {"NAME": "file", "OTHER": "file"})

    assert (both.text("NAME"), both.source("NAME")) == ("process", "process environment")
    assert (both.text("OTHER"), both.source("OTHER")) == ("file", ".env")
    assert (both.text("NOWHERE"), both.source("NOWHERE")) == ("", None)


def test_an_empty_value_of_the_process_hides_the_file_and_means_the_default():
    assert Environment({"NAME": ""}, {"NAME": "file"}).text("NAME", "default") == "default"


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("Yes", True), ("off", False), ("", True)])
def test_a_switch_reads_the_usual_words(text, expected):
    assert environment(FLAG=text).switch("FLAG", True) is expected


def test_a_switch_refuses_other_words_instead_of_taking_them_for_off():
    with pytest.raises(ImproperlyConfigured, match="^FLAG must be on or off"):
        environment(FLAG="enabled").switch("FLAG", False)


@pytest.mark.parametrize("text", ["-1", "1.5", "ten", "٣", "1e3", "2147483648", "9" * 5000])
def test_a_whole_number_refuses_what_is_none(text):
    with pytest.raises(ImproperlyConfigured, match="^COUNT must be a whole number"):
        environment(COUNT=text).whole("COUNT", 1)


@pytest.mark.parametrize("text", ["-1", "0", "nan", "inf", "soon", "1e10", "1e300"])
def test_seconds_refuse_what_is_no_duration(text):
    with pytest.raises(ImproperlyConfigured, match="^WAIT must be a number of seconds"):
        environment(WAIT=text).seconds("WAIT", 1)


def test_words_are_separated_by_commas_and_trimmed():
    assert environment(HOSTS=" a.example , b.example,").words("HOSTS") == ["a.example", "b.example"]


def test_a_value_may_start_with_a_dollar_sign(tmp_path):
    (tmp_path / ".env").write_text("KEY=$ecret\nQUOTED='a b'\n# comment\n\n  export X=1\n")

    values = read_env_file(tmp_path / ".env")

    assert values == {"KEY": "$ecret", "QUOTED": "a b", "X": "1"}
    assert Environment({}, values).text("KEY") == "$ecret"


def test_a_missing_file_is_empty(tmp_path):
    assert read_env_file(tmp_path / ".env") == {}


def test_a_wrong_line_is_named_by_its_number_only(tmp_path, caplog):
    (tmp_path / ".env").write_text("A=1\npassword hunter2\n")

    with pytest.raises(ImproperlyConfigured, match=r"^Line 2 of \.env is not of the form NAME=value\.$"):
        read_env_file(tmp_path / ".env")
    assert "hunter2" not in caplog.text


def test_a_file_that_is_no_text_is_refused_without_its_bytes(tmp_path):
    (tmp_path / ".env").write_bytes(b"PASSWORD=hunter2\xff")

    with pytest.raises(ImproperlyConfigured) as refused:
        read_env_file(tmp_path / ".env")
    assert str(refused.value) == ".env cannot be read as a text file in UTF-8."
    assert refused.value.__cause__ is None


def test_its_repr_shows_no_value():
    assert "hunter2" not in repr(environment(PASSWORD="hunter2"))
