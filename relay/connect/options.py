"""What connecting is told by the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Flow(StrEnum):
    """How a person, or nobody, agrees."""

    BROWSER = "browser"  # authorization code with PKCE, back to this machine
    DEVICE = "device"  # a code to be typed in elsewhere
    CLIENT_CREDENTIALS = "client_credentials"  # an administrator has agreed for the organisation


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """The owner's own client, as it is registered with a provider."""

    client_id: str
    client_secret: Callable[[], str] | None = field(default=None, repr=False)
    flow: Flow
    authorize_url: str
    token_url: str
    device_url: str
    scopes: tuple[str, ...]
    extra: tuple[tuple[str, str], ...] = ()  # parameters of the request for authorization


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A channel that signs in by tokens, and where they are."""

    registration: Registration
    state_dir: Path
    channel: str
    key_file: Path | None  # a secret to encrypt them with; None: one of our own, beside them
