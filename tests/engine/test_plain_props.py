"""What passes without pydantic would pass with it: every annotation here against every value."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError

from alchemy.engine.validation import _plainly_right

HINTS: list[Any] = [
    *(str, int, float, bool, Any, None, type(None), list, dict),
    *(Union[str, None], str | None, Union[int, str], float | bool, Annotated[str, []]),  # noqa: UP007
    *(Literal["a", "b"], Literal[1, True], Literal[0], Literal["a"] | None),
    *(list[int], list[str | None], list[Any], list[list[int]], tuple[int, ...]),
    *(dict[str, int], dict[str, list[int]], dict[int, str], dict[str, Any]),
]
VALUES: list[Any] = [
    *("", "a", "b", 0, 1, True, False, None, 1.0, float("nan"), b"x", (1,), object()),
    *([], [1], ["a"], [None, "a"], [True], [[1]], [["x"]]),
    *({}, {"a": 1}, {"a": True}, {1: "a"}, {"a": [1]}, {"a": None}),
]


def pydantic_says(hint: Any, value: object) -> bool:
    try:
        TypeAdapter(hint, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("hint", HINTS, ids=str)
def test_nothing_wrong_is_plainly_right(hint: Any) -> None:
    for value in VALUES:
        assert not _plainly_right(value, hint) or pydantic_says(hint, value), value


def test_what_programs_mostly_pass_needs_no_help() -> None:
    plain: list[tuple[Any, Any]] = [
        *((str, "a"), (int, 3), (bool, True), (float, 0.5), (str | None, None), (Literal["a", "b"], "b")),
        *((list[str], ["a"]), (dict[str, str], {"a": "b"}), (Any, object()), (dict[str, Any], {"a": [1]})),
    ]
    assert all(_plainly_right(value, hint) for hint, value in plain)
