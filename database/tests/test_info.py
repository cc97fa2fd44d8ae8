import json

import pytest
from django.core.management import call_command
from django.db import connection

from database.info import database_info


@pytest.mark.django_db
def test_it_says_which_database_is_in_force_and_from_where():
    info = database_info()

    assert info["database"] == connection.settings_dict["NAME"]
    assert info["url_from"] == "process environment"
    assert info["pool_mode"] == "pool"
    assert info["pool"]["max_size"] == 50


@pytest.mark.django_db
def test_the_command_prints_lines_and_json(capsys):
    call_command("database_info")
    lines = capsys.readouterr().out
    call_command("database_info", "--json")
    info = json.loads(capsys.readouterr().out)

    assert f"server version     {info['server_version']}" in lines
    assert "url from           process environment" in lines


def test_an_unreachable_database_is_one_sentence_without_the_password(manage):
    done = manage("database_info", DATABASE_URL="postgresql://someone:hunter2@127.0.0.1:1/x")

    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: The database cannot be reached: ")
    assert "hunter2" not in done.stderr + done.stdout
