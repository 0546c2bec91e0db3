"""From a document to models: what pydantic says of it, in the words of the settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from relay.settings.document import ANY, Document, Section
from relay.settings.mistakes import Loc, Mistake, did_you_mean, show
from relay.settings.model import File, Part

_EXPECTED = {
    "model_type": "`key: value` pairs",
    "dict_type": "`key: value` pairs",
    "tuple_type": "a list",
}
_SECRET_KEYS = frozenset({"password", "file", "env", "credential"})


def read_shape(document: Document) -> tuple[File, list[Mistake]]:
    """Return the models of all that has the right shape, and what is wrong with the rest.

    What is wrong is left out, and its mapping remembers that (`Part.knows`), so that what remains
    can be checked further without blame for what was lost.
    """
    mistakes: list[Mistake] = []
    root = document.root
    while True:
        try:
            return File.model_validate(root), mistakes
        except ValidationError as error:
            errors = error.errors(include_url=False)
        if root is document.root:  # later ones are only about what was left out
            mistakes = [document.mistake(_loc(error), _message(error)) for error in errors]
        root = _without(root, errors)


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
    if value is not None and _SECRET_KEYS.intersection(names[-2:]):
        return (
            "a plain text"
            if isinstance(value, str) and names[-1] == "password"
            else "another value"
        )
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


def _without(root: Section, errors: Iterable[ErrorDetails]) -> Section:
    """Return a copy without what the errors are about; a mapping that lacks a key goes whole."""
    copy: Section = _copy(root)
    gone: dict[int, tuple[Any, set[Any]]] = {}
    for error in errors:
        trail = _trail(copy, _loc(error))
        holder, step = trail[-1]
        gone.setdefault(id(holder), (holder, set()))[1].add(step)
        section, key = next(pair for pair in reversed(trail) if isinstance(pair[0], Section))
        section.lost.add(ANY if error["type"] == "extra_forbidden" else key)
    for holder, steps in gone.values():
        for step in sorted(steps, reverse=True):  # from the end, so that numbers stay true
            del holder[step]
    return copy


def _trail(root: Section, loc: Loc) -> list[tuple[Any, Any]]:
    """Return the holders on the way to `loc`, each with the step taken, as far as there is one."""
    trail = []
    value: Any = root
    for step in loc:
        inside = (isinstance(value, Section) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        )
        if not inside:
            break
        trail.append((value, step))
        value = value[step]
    return trail


def _copy(value: Any) -> Any:
    if isinstance(value, Section):
        section = Section(value.place)
        section.lost |= value.lost
        section.update((key, _copy(below)) for key, below in value.items())
        return section
    return [_copy(below) for below in value] if isinstance(value, list) else value
