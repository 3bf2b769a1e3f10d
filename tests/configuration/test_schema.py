"""Settings are checked with one clear line each."""

import pytest

from ternary_spike.configuration.schema import checked
from ternary_spike.system.errors import UserError

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "epochs": {"type": ["integer", "null"], "minimum": 1, "default": None},
        "device": {"enum": ["cpu", "cuda"], "default": "cpu"},
        "data": {
            "type": "object",
            "default": {},
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"root": {"type": ["string", "null"], "default": None}},
            },
        },
    },
}


def test_defaults_are_filled_in_at_every_depth_and_the_original_stays():
    given = {"name": "a", "data": {"cifar10": {}}}
    found = checked(given, SCHEMA, "settings")
    assert found == {"name": "a", "epochs": None, "device": "cpu", "data": {"cifar10": {"root": None}}}
    assert given == {"name": "a", "data": {"cifar10": {}}}


def test_a_default_is_not_shared_between_calls():
    checked({"name": "a"}, SCHEMA, "settings")["data"]["cifar10"] = {}
    assert checked({"name": "a"}, SCHEMA, "settings")["data"] == {}


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"name": "a", "epoch": 3}, "settings: unknown key 'epoch'; did you mean 'epochs'?"),
        ({"name": "a", "zzz": 3}, "settings: unknown key 'zzz'; known are name, epochs, device, data"),
        ({"name": "a", "data": {"x": {"rot": 1}}}, "settings: unknown key 'data.x.rot'; did you mean 'root'?"),
        ({}, "settings: name is missing"),
        ({"name": "a", "epochs": 0}, "settings: epochs is 0, but must be at least 1"),
        ({"name": "a", "epochs": "x"}, "settings: epochs is 'x', but must be a whole number or nothing"),
        ({"name": "a", "device": "gpu"}, "settings: device is 'gpu', but must be one of cpu, cuda"),
    ],
)
def test_a_mistake_gets_one_line(wrong, message):
    with pytest.raises(UserError) as error:
        checked(wrong, SCHEMA, "settings")
    assert str(error.value) == message
