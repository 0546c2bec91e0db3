"""`relay corrections`: rules that would have said what a person had to say by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from relay.cli.config import Config
from relay.cli.daemon import Json, running_relay
from relay.cli.terminal import say, say_json
from relay.cli.words import count


def corrections(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
) -> None:
    """Propose rules for what was corrected with `relay queue correct`.

    Each with the past messages that it would change, to be pasted into the settings. What the
    settings say already is left out, as is what is older than the history.
    """
    with running_relay(config) as relay:
        proposals = relay.corrections()
    if as_json:
        say_json(proposals)
    elif not proposals:
        typer.echo("Nothing was corrected that the settings do not say already.", err=True)
    else:
        say("classification:")
        say("  rules:")
        for proposal in proposals:
            _show(proposal)


def _show(proposal: Json) -> None:
    made_from = count(proposal["corrected"], "correction")
    changes = count(proposal["changes"], "other message")
    say(f"    # from {made_from}; of the history it would change {changes}")
    for past in proposal["examples"]:
        was = f"{past['found']}, corrected" if past["is_corrected"] else past["kind"]
        say(f"    #   {past['queue_id']}  {was}: {past['subject']}")
    for line in proposal["rule"].splitlines():
        say(f"    {line}")
