"""From a document to models: what pydantic says of it, in the words of the settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from relay.settings.document import Document, Section
from relay.settings.mistakes import Loc, Mistake, did_you_mean, show
from relay.settings.model import File, Part

_EXPECTED = {
    "model_type": "`key: value` pairs",
    "dict_type": "`key: value` pairs",
    "tuple_type": "a list",
}
_SECRET_KEYS = frozenset({"password", "file", "env", "credential"})
_ITEM_DEPTH = {"listeners": 2, "channels": 2, "routing": 3}
"""How deep the things are that can be checked without their neighbours."""


def read_shape(document: Document) -> tuple[File, list[Mistake]]:
    """Return the models of all that has the right shape, and what is wrong with the rest.

    A listener, channel, rule or section with a mistake in it is left out whole, so that what
    remains can be checked further without blaming it for what was lost.
    """
    try:
        return File.model_validate(document.root), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    mistakes = [document.mistake(_loc(error), _message(error)) for error in errors]
    sound = _without(document.root, (), {_item(_loc(error)) for error in errors})
    return File.model_validate(sound), mistakes


def _loc(error: ErrorDetails) -> Loc:
    """Return the place of an error; pydantic marks what is wrong with a key itself by `[key]`."""
    return tuple(step for step in error["loc"] if step != "[key]")


def _message(error: ErrorDetails) -> str:
    loc = _loc(error)
    if error["type"] == "extra_forbidden":
        return f"unknown key: {did_you_mean(str(loc[-1]), _known_at(loc[:-1]))}"
    context = error.get("ctx", {})
    if error["type"] in ("enum", "literal_error"):
        expected = context["expected"].replace("'", "")
    else:
        expected = context.get("what") or _EXPECTED.get(error["type"], error["msg"])
    return f"expected {expected}, got {_got(loc, error)}"


def _got(loc: Loc, error: ErrorDetails) -> str:
    value = error["input"]
    names = [step for step in loc if isinstance(step, str)]
    if isinstance(value, str) and _SECRET_KEYS.intersection(names[-2:]):
        return "a plain text" if names[-1] == "password" else "another text"
    if error["type"] == "model_type" and isinstance(value, str):
        return "a text"  # an URL with a password in it, perhaps
    return show(value)


def _known_at(loc: Loc) -> Iterable[str]:
    """Return the keys that may stand in the mapping at `loc`."""
    model: type[Part] = File
    is_item = False  # the step is the number or name of an item, not a key
    for step in loc:
        if is_item:
            is_item = False
            continue
        annotation = model.model_fields[str(step)].annotation
        model = _model_in(annotation) or model
        is_item = get_origin(annotation) in (dict, tuple)
    return model.model_fields


def _model_in(annotation: Any) -> type[Part] | None:
    """Return the one model that an annotation mentions, whatever it is wrapped in."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    found = (_model_in(part) for part in get_args(annotation))
    return next((model for model in found if model), None)


def _item(loc: Loc) -> Loc:
    return loc[: _ITEM_DEPTH.get(str(loc[0]), 1)]


def _without(value: Any, loc: Loc, broken: set[Loc]) -> Any:
    """Return a copy of `value` without what is at one of the places in `broken`."""
    if isinstance(value, Section):
        copy = Section(value.place)
        for key, below in value.items():
            if (*loc, key) not in broken:
                copy[key] = _without(below, (*loc, key), broken)
        return copy
    if isinstance(value, list):
        return [
            _without(below, (*loc, index), broken)
            for index, below in enumerate(value)
            if (*loc, index) not in broken
        ]
    return value
