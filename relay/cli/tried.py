"""What came of a connection that was tried: for people, as JSON, and as an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.cli.daemon import Json
from relay.cli.exits import Exit
from relay.cli.terminal import Styled, say, show_table

if TYPE_CHECKING:
    from relay.channels.smtp_probe import Questions, Stage
    from relay.connect.search import Tried


def show_tried(tried: Tried) -> None:
    """Say each step with its time, and why one failed."""
    login = f" as {tried.options.username}" if tried.options.username else ""
    say(Styled(f"{tried.endpoint}{login}", "bold"))
    rows = [
        (
            f"  {stage.name}",
            f"{stage.seconds * 1000:.0f} ms",
            Styled(f"FAILED {stage.detail}".rstrip(), "bold red")
            if stage.refused
            else stage.detail,
        )
        for stage in tried.report.stages
    ]
    show_table(("  STEP", "TIME", "FOUND"), rows, right="TIME")
    for stage in tried.report.stages:
        if stage.refused is not None:
            about = f" to {stage.detail}, who waits to send" if stage.is_aside else ""
            say(f"  said   {stage.refused.reply}{about}")
    if tried.judgement is not None:
        say(f"  why    {tried.judgement.cause}")
        if tried.judgement.fix:
            say(f"  to do  {tried.judgement.fix}")
    say()


def show_not_tested(tried: Sequence[Tried], questions: Questions) -> None:
    """Say what the test does not tell."""
    from relay.connect.search import not_tested

    say("Not tested: " + "; ".join(not_tested(questions, tried)) + ".")


def as_object(
    channel: str, tried: Sequence[Tried], questions: Questions, kept: tuple[str, str] | None
) -> Json:
    """Return it as what `--json` writes."""
    from relay.connect.search import not_tested

    return {
        "ok": tried[-1].works if kept else tried[0].works,
        "channel": channel,
        "exit": 0 if kept else int(exit_of(tried[0])),
        "tried": [_tried(each) for each in tried],
        "kept": {"path": kept[0], "said": kept[1]} if kept else None,
        "not_tested": list(not_tested(questions, tried)),
    }


def exit_of(tried: Tried) -> Exit:
    """Return the exit code of what failed first; 0 when nothing did."""
    from relay.mail.reply import Phase
    from relay.policy.judgement import Category

    failure = tried.report.failure
    if failure is None or failure.refused is None or tried.judgement is None:
        return Exit.DONE
    if tried.judgement.category is Category.OVER_QUOTA:
        return Exit.QUOTA
    if tried.judgement.category is Category.TLS:
        return Exit.NO_TLS
    match failure.refused.phase:
        case Phase.DNS:
            return Exit.NO_NAME
        case Phase.CONNECT | Phase.EHLO:
            return Exit.NO_CONNECTION
        case Phase.TLS | Phase.STARTTLS:
            return Exit.NO_TLS
        case Phase.AUTH | Phase.OAUTH:
            return Exit.SIGN_IN
        case _ if failure.name == "MAIL":
            return Exit.SENDER
        case _ if failure.name == "RCPT":
            return Exit.RECIPIENT
        case _:
            return Exit.MESSAGE


def _tried(tried: Tried) -> Json:
    options, judgement = tried.options, tried.judgement
    return {
        "host": options.host,
        "port": options.port,
        "security": options.security.value,
        "username": options.username,
        "works": tried.works,
        "stages": [_stage(stage) for stage in tried.report.stages],
        "extensions": list(tried.report.extensions),
        "max_content_bytes": tried.report.max_content_bytes,
        "failure": None
        if judgement is None
        else {
            "entry": judgement.entry,
            "category": judgement.category.value,
            "cause": judgement.cause,
            "fix": judgement.fix,
        },
    }


def _stage(stage: Stage) -> Json:
    refused = stage.refused
    return {
        "name": stage.name,
        "seconds": round(stage.seconds, 6),
        "detail": stage.detail,
        "reply": str(refused.reply) if refused is not None else None,
        "is_aside": stage.is_aside,
    }
