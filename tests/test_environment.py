"""What a result was made with, and what must not travel with it."""

from __future__ import annotations

import json

from roadedge.environment import command_line, environment


def test_a_command_can_be_typed_again() -> None:
    assert command_line(["/usr/bin/roadedge", "infer", "roadedge-s", "a b.png"]) == "roadedge infer roadedge-s 'a b.png'"


def test_of_an_absolute_path_only_the_name_is_kept() -> None:
    words = ["roadedge", "train", "/home/jane/data/tianjin", "-o", "/mnt/x/run/", "--init=/home/jane/best.pt", "runs/a"]
    assert command_line(words) == "roadedge train tianjin -o run --init=best.pt runs/a"


def test_passwords_in_addresses_are_masked() -> None:
    assert "secret" not in command_line(["roadedge", "infer", "rtsp://jane:secret@camera/1"])


def test_the_environment_is_json() -> None:
    values = environment()
    assert json.loads(json.dumps(values)) == values
    assert {"roadedge", "python", "processor", "packages", "date", "command"} <= set(values)
