"""Property values: numbers, secrets, unknowns."""

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from stacks.pulumi_state import values


def test_numbers_without_a_fraction_become_ints() -> None:
    struct = ParseDict({"port": 80, "cpus": 0.5, "deep": [{"mib": 1e9}], "none": None}, Struct())
    plain = values.from_struct(struct)
    assert plain == {"port": 80, "cpus": 0.5, "deep": [{"mib": 1_000_000_000}], "none": None}
    assert isinstance(plain["port"], int)


def test_reveal_opens_secrets_within_secrets() -> None:
    assert values.reveal({"a": [values.hide({"b": values.hide(1)})]}) == {"a": [{"b": 1}]}


def test_outputs_are_hidden_where_the_input_holds_a_secret() -> None:
    inputs = {"plain": 1, "whole": values.hide(2), "list": [values.hide(3)], "deep": {"x": 4}}
    outputs = {"plain": 1, "whole": 2, "list": [3], "deep": {"x": 4}, "new": 5}
    hidden = values.hide_like(outputs, inputs)
    assert {key for key, value in hidden.items() if values.is_secret(value)} == {"whole", "list"}
    assert values.reveal(hidden) == outputs


def test_changed_names_looks_into_secrets() -> None:
    old = {"a": values.hide(1), "b": 2, "c": 3}
    assert values.changed_names(old, {"a": 1, "b": values.hide(5), "d": 4}) == ["b", "c", "d"]


def test_unknown_is_found_anywhere() -> None:
    assert values.has_unknown({"a": [{"b": values.UNKNOWN}]})
    assert not values.has_unknown({"a": "known"})
