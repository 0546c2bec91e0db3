"""The command line's side of the control socket; needs nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

_SECONDS = 35.0  # a little more than relay gives itself for a reply

Json = dict[str, Any]


class NotRunning(Exception):  # noqa: N818 -- a fact, not a fault
    """No relay listens on this control socket."""

    def __init__(self, socket_path: Path) -> None:
        super().__init__(f"no relay is running: nobody answers on {socket_path}")
        self.socket_path = socket_path


class ControlError(Exception):
    """The relay did not do what it was asked for, or could not be asked: why, and what to do."""

    def __init__(self, error: str, fix: str) -> None:
        super().__init__(f"{error} {fix}".strip())
        self.error = error
        self.fix = fix


class ControlClient:
    """Asks the running relay. Each method raises NotRunning or ControlError."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path

    def status(self) -> Json:
        """Return `status`, `not_ready` and `snapshot`."""
        return self._ask("GET", "/status")

    def queue(
        self,
        *,
        state: str | None = None,
        channel: str | None = None,
        kind: str | None = None,
        recipient: str | None = None,
        limit: int | None = None,
    ) -> list[Json]:
        """Return recipients, the newest message first."""
        query = {
            "state": state,
            "channel": channel,
            "kind": kind,
            "recipient": recipient,
            "limit": limit,
        }
        asked = urlencode({key: value for key, value in query.items() if value is not None})
        rows: list[Json] = self._ask("GET", f"/queue?{asked}")["recipients"]
        return rows

    def message(self, queue_id: str) -> Json:
        """Return one message with its recipients and attempts."""
        return self._ask("GET", f"/queue/{quote(queue_id, safe='')}")

    def retry(self, ids: Sequence[str] = (), **which: str | None) -> int:
        """Make due now; return how many recipients. `which`: recipient, all_in, channel, kind."""
        return self._act("retry", ids, which)

    def hold(self, ids: Sequence[str] = (), **which: str | None) -> int:
        """Hold what waits; return how many recipients."""
        return self._act("hold", ids, which)

    def release(self, ids: Sequence[str] = (), **which: str | None) -> int:
        """Let go what is held; return how many recipients."""
        return self._act("release", ids, which)

    def drop(self, ids: Sequence[str] = (), **which: str | None) -> int:
        """Throw away what waits or is held; return how many recipients."""
        return self._act("drop", ids, which)

    def correct(self, ids: Sequence[str], kind: str) -> Json:
        """Set the kind of messages; return how many `messages` and waiting `recipients`."""
        return self._ask("POST", "/queue/correct", {"ids": list(ids), "kind": kind})

    def corrections(self) -> list[Json]:
        """Return the rules that are proposed for what was corrected."""
        proposals: list[Json] = self._ask("GET", "/corrections")["proposals"]
        return proposals

    def resume(self, channel: str) -> str:
        """Let a channel send again; return what the relay says."""
        return str(self._ask("POST", f"/channels/{quote(channel, safe='')}/resume")["message"])

    def stop(self, channel: str) -> str:
        """Stop a channel; return what the relay says."""
        return str(self._ask("POST", f"/channels/{quote(channel, safe='')}/stop")["message"])

    def reload(self) -> str:
        """Let the settings be read anew; return what the relay says."""
        return str(self._ask("POST", "/reload")["message"])

    def _act(self, verb: str, ids: Sequence[str], which: dict[str, str | None]) -> int:
        body: Json = {key: value for key, value in which.items() if value is not None}
        if ids:
            body["ids"] = list(ids)
        return int(self._ask("POST", f"/queue/{verb}", body)["recipients"])

    def _ask(self, method: str, target: str, body: Json | None = None) -> Json:
        connection = _UnixConnection(self._path)
        try:
            if body is None:
                connection.request(method, target)
            else:
                fields = {"Content-Type": "application/json"}
                connection.request(method, target, json.dumps(body), fields)
            response = connection.getresponse()
            answer: Json = json.loads(response.read())
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotRunning(self._path) from error
        except PermissionError as error:
            raise ControlError(
                f"{self._path} belongs to another user.", "Run this as the user relay runs as."
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ControlError(
                f"relay broke off: {error or type(error).__name__}.", "Its log may say why."
            ) from error
        finally:
            connection.close()
        if response.status != 200:
            raise ControlError(str(answer.get("error", "")), str(answer.get("fix", "")))
        return answer


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket file."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
