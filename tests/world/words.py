"""What providers say, in their own words: the examples that the reply dictionary is tested with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from relay.providers.replies import LOADER

_EXAMPLES = Path(__file__).parents[1] / "providers" / "replies_examples.yaml"
_SAID_AT = {"mail": "mail", "rcpt": "rcpt", "data": "data", "after-data": "dot"}

PROVIDERS = (
    "gmail", "google-workspace", "google-workspace-relay", "microsoft365", "yahoo", "icloud",
    "zoho", "fastmail", "yandex", "mail.ru", "ionos", "web.de", "ovh", "godaddy", "inmotion",
    "cpanel-generic", "qq", "spectrum", "orange.fr", "ses", "sendgrid", "emailit",
)  # fmt: skip
"""Those that the simulation plays."""


@dataclass(frozen=True, slots=True)
class Said:
    """A reply, and at which step it is given."""

    step: str
    reply: str


@dataclass(frozen=True, slots=True)
class Words:
    """How one provider refuses."""

    quota: tuple[tuple[timedelta | None, Said], ...]  # by window, if it names one
    sign_in: tuple[Said, ...]
    disabled: tuple[Said, ...]  # the account, at MAIL or later

    def of_quota(self, window: timedelta) -> tuple[Said, ...]:
        """Return what may be said of a limit of this length: of just it, else of any."""
        exact = tuple(said for length, said in self.quota if length == window)
        return exact or tuple(said for length, said in self.quota if length is None)


@cache
def words_of(provider: str) -> Words:
    """Return a provider's words; where it has none of its own, those of everybody."""
    own, common = _words(provider), _words(None)
    return Words(
        quota=own.quota if own.of_quota(timedelta()) else own.quota + common.quota,
        sign_in=own.sign_in or common.sign_in,
        disabled=own.disabled or common.disabled,
    )


def _words(provider: str | None) -> Words:
    rows = [row for row in _rows() if row.provider == provider]
    return Words(
        quota=tuple((row.window, row.said) for row in rows if row.retry == "wait_window"),
        sign_in=tuple(
            row.said for row in rows if row.said.step == "auth" and row.retry == "fix_first"
        ),
        disabled=tuple(
            row.said for row in rows if row.said.step != "auth" and row.retry == "fix_first"
        ),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    provider: str | None
    retry: str
    window: timedelta | None
    said: Said


@cache
def _rows() -> tuple[_Row, ...]:
    text = files("relay.providers").joinpath("replies.yaml").read_bytes()
    entries = {entry["id"]: entry for entry in yaml.load(text, Loader=LOADER)["entries"]}
    examples = yaml.load(_EXAMPLES.read_bytes(), Loader=LOADER)["examples"]
    return tuple(row for example in examples for row in _read(example, entries[example["entry"]]))


def _read(example: dict[str, Any], entry: dict[str, Any]) -> Iterator[_Row]:
    """Yield what an example amounts to, for each provider that may say it."""
    step = {**_SAID_AT, "auth": "auth"}.get(example["stage"])
    if step is None or entry["pause"] != "account" or "code" not in example:
        return
    said = Said(step, f"{example['code']} {example['text']}")
    if not "400" <= said.reply[:3] <= "599" or said.reply.startswith("421"):
        return  # 421 is said of connections here
    if entry["retry"] == "wait_window" and step == "auth":
        return  # an account that is connected never hears it
    seconds = entry.get("quota", {}).get("window_s")
    window = None if seconds is None else timedelta(seconds=seconds)
    for provider in entry.get("providers", (None,)):
        yield _Row(provider, entry["retry"], window, said)
