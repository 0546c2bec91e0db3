"""Tokens on disk, encrypted, and the one that is good now."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from relay.channels.smtp_errors import RejectedError
from relay.connect.kept import KeptError, write_private
from relay.connect.oauth import GrantError, Token, refresh
from relay.connect.options import Grant
from relay.mail.reply import Phase, Reply

FOLDER = "tokens"
_EARLY = timedelta(minutes=5)  # refreshed before it ends, as clocks differ
_LARGEST = 256 * 1024


@dataclass(frozen=True, slots=True)
class TokenFile:
    """The token of one channel."""

    grant: Grant

    @property
    def path(self) -> Path:
        """Return where it is."""
        return self._folder / f"{self.grant.channel}.token"

    @property
    def _folder(self) -> Path:
        return self.grant.state_dir / FOLDER

    def read(self) -> Token | None:
        """Return it, None without one. Raises KeptError."""
        try:
            data = json.loads(self._cipher().decrypt(self.path.read_bytes()[:_LARGEST]))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KeptError(f"{self.path} cannot be read: {error.strerror}") from error
        except (InvalidToken, ValueError) as error:
            raise KeptError(f"{self.path} is not for this key: connect again") from error
        return Token(
            access_token=data["access_token"],
            refresh_token=data["refresh_token"],
            expires_at=_time(data["expires_at"]),
            obtained_at=datetime.fromisoformat(data["obtained_at"]),
        )

    def write(self, token: Token) -> None:
        """Keep it, durably: the old one or the new one is there, never half. Raises KeptError."""
        data = json.dumps(asdict(token), default=lambda at: at.astimezone(UTC).isoformat())
        write_private(self.path, self._cipher().encrypt(data.encode()), self.grant.state_dir)

    def forget(self) -> bool:
        """Remove it; return whether there was one."""
        was_there = self.path.exists()
        self.path.unlink(missing_ok=True)
        return was_there

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other process renew it meanwhile: a refresh token may be good only once."""
        path = self.path.with_suffix(".lock")
        if not path.exists():
            write_private(path, b"", self.grant.state_dir, is_first=True)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _cipher(self) -> Fernet:
        path = self.grant.key_file
        if path is None:
            path = self._folder / "key"
            if not path.exists():
                key = Fernet.generate_key()
                write_private(path, key, self.grant.state_dir, is_first=True)
        try:
            secret = path.read_bytes()
        except OSError as error:
            raise KeptError(f"{path} cannot be read: {error.strerror}") from error
        return Fernet(base64.urlsafe_b64encode(hashlib.sha256(secret.strip()).digest()))


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Gives the access token that is good now, and renews it in time."""

    file: TokenFile
    clock: Callable[[], datetime] = field(
        default=lambda: datetime.now(UTC), compare=False, repr=False
    )
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock, compare=False, repr=False)

    async def __call__(self, refused: str | None = None) -> str:
        """Return it; `refused` is one that a server has just refused, whatever our clock says.

        Raises RejectedError at OAUTH.
        """
        async with self._renewing:
            try:
                token = await asyncio.to_thread(self._good, refused)
            except GrantError as error:
                raise RejectedError(Phase.OAUTH, error.reply) from error
            except (KeptError, OSError) as error:
                raise RejectedError(Phase.OAUTH, Reply(451, "4.3.0", str(error))) from error
        return token.access_token

    def _good(self, refused: str | None) -> Token:
        token = self.file.read()
        if token is not None and self._is_good(token, refused):
            return token
        with self.file.locked():
            token = self.file.read()  # another process may have been faster
            if token is not None and self._is_good(token, refused):
                return token
            token = refresh(self.file.grant.registration, token, self.clock())
            self.file.write(token)  # before it is used: the old one may be void already
        return token

    def _is_good(self, token: Token, refused: str | None) -> bool:
        if token.access_token == refused:
            return False
        if token.expires_at is None:
            return True
        now = self.clock()
        early = min(_EARLY, (token.expires_at - token.obtained_at) / 2)
        # One from the future was made under another clock: how long it lasts is not known.
        return token.obtained_at - _EARLY <= now < token.expires_at - early


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
