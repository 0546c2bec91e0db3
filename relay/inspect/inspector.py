"""The room's one way in: a message goes in, an Inspection comes out, whatever the message is."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from relay.inspect.assembly import (
    Assembly,
    assemble,
    concluded,
    opened,
    unread,
    without_documents,
)
from relay.inspect.frames import request_frame
from relay.inspect.inspection import Guide, Inspection, Submission
from relay.inspect.pool import LateError, Pool, WorkerError
from relay.mail.message import Content, Envelope, Origin, Spooled
from relay.policy.classify import ClassifyRules
from relay.providers.sms import Gateways


class Inspector:
    """Looks at messages: in worker processes at large ones and what has attachments.

    What is small and has none is looked at here: to ask a worker takes as long.
    """

    def __init__(
        self,
        gateways: Gateways,
        guide: Guide | None = None,
        *,
        rules: ClassifyRules | None = None,
        workers: int = 2,
    ) -> None:
        """Know text messages by `gateways`; start at most `workers` processes, when needed."""
        guide = guide or Guide()
        self._gateways = gateways
        self._rules = rules or guide.rules()
        self._pool = Pool(guide, workers)
        self._runner: asyncio.Runner | None = None

    async def inspect(
        self, envelope: Envelope, origin: Origin, content: Content, names: Collection[str] = ()
    ) -> Inspection:
        """Return what the message is; `names` are the fields wanted. Raises only CancelledError."""
        submission = self._submission(envelope, origin)
        if not isinstance(content, Spooled):
            assembly = _assembled(submission, content)
            if not assembly.attachments:
                return concluded(assembly.evidence, submission, self._rules, names)
        try:
            return await self._pool.look(request_frame(submission, content, names))
        except WorkerError as error:
            # what took a worker seconds must not take the event loop as long
            assembly = _assembled(submission, content, reads_text=not isinstance(error, LateError))
            evidence = without_documents(assembly, str(error))
            return concluded(evidence, submission, self._rules, names)

    def _submission(self, envelope: Envelope, origin: Origin) -> Submission:
        return Submission(
            recipients=len(envelope.forward_paths),
            gateway=self._gateways.of_all(envelope.forward_paths),
            null_reverse_path=not envelope.reverse_path,
            application=origin.application,
            listener=origin.listener,
        )

    async def follow(self, guide: Guide) -> None:
        """Follow what the owner says now."""
        # in a thread: words take as long as some hundred messages
        self._rules = await asyncio.to_thread(guide.rules)
        self._pool.follow(guide)

    def inspect_now(self, envelope: Envelope, origin: Origin, content: Content) -> Inspection:
        """Return the same outside of any event loop; end with `close_now`."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self.inspect(envelope, origin, content))

    async def close(self) -> None:
        """End the workers."""
        await self._pool.close()

    def close_now(self) -> None:
        """End the workers that `inspect_now` started."""
        if self._runner is not None:
            self._runner.run(self.close())
            self._runner.close()
            self._runner = None


def _assembled(submission: Submission, content: Content, *, reads_text: bool = True) -> Assembly:
    """Return what the message shows by itself, whatever it is."""
    try:
        with opened(content) as (buffer, end):
            return assemble(buffer, end, submission, reads_text=reads_text)
    except Exception as error:
        return unread(submission, error)
