"""An error as the reader gets it: what is wrong, and what to do."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from relay.queue.store import StoreError
from relay.web.house import HouseError


class Problem(Exception):  # noqa: N818 -- also sent without being raised
    """A request that is not served, with its HTTP status. Make a new one for each `raise`."""

    def __init__(self, status: int, error: str, fix: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.fix = fix

    @property
    def body(self) -> bytes:
        """Return it as JSON, in ASCII."""
        return json.dumps({"error": self.error, "fix": self.fix}).encode() + b"\n"


def mistake() -> Problem:
    """Return what is said when relay itself is wrong."""
    return Problem(
        500, "relay made a mistake.", "The log has the details; please report it to the project."
    )


async def send_problem(problem: Problem, send: Send) -> None:
    """Answer with `problem` and hang up, as the rest of the request may not have been read."""
    body = problem.body
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer(request: Request, error: Exception) -> Response:
    """Return the reply to a request that raised `error`."""
    problem = _problem_of(request, error)
    headers: Mapping[str, str] | None = None
    if isinstance(error, HTTPException):
        headers = error.headers  # Allow, with 405
    return Response(problem.body, problem.status, headers, media_type="application/json")


HANDLERS: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    Problem: answer,
    HouseError: answer,
    StoreError: answer,
    HTTPException: answer,
    Exception: answer,  # told of by the Guard, as it is raised again
}


def _problem_of(request: Request, error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case HouseError(error=why, fix=fix):
            return Problem(409, why, fix)
        case StoreError():
            return Problem(
                503,
                f"The queue does not answer: {error}",
                "Look at the disk of state_dir (full, read-only?); relay goes on by itself.",
            )
        case HTTPException(status_code=status, detail=detail):
            what = f"{request.method} {request.scope['path'][:200]}: {detail}."
            return Problem(status, what, "Is the one who asks of the same version as relay?")
        case _:
            return mistake()
