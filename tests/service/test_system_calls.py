"""relay under the two settings of its unit that could break it: no page is both writable and
executable, and only the system calls of the filter. The real unit needs a booted systemd."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import smtplib
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

from reportlab.pdfgen.canvas import Canvas
from story.daemon import ROOT, free_port, wait_until
from story.programs import program

SERVICE = ROOT / "systemd" / "relay.service"

# MemoryDenyWriteExecute=, as far as a kernel before 6.3 knows of it
LOCKED_UP = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
os.execv(sys.executable, [sys.executable, "-m", "relay", "run", "--config", sys.argv[1]])
"""


class Filter:
    """What SystemCallFilter= lines of a unit let through, with the sets of this systemd."""

    def __init__(self) -> None:
        self._sets: dict[str, list[str]] = {}
        command = [program("systemd-analyze"), "--no-pager", "syscall-filter"]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for block in listing.split("\n\n"):
            names = [line.strip() for line in block.splitlines() if "#" not in line]
            self._sets[names[0] if names else ""] = names[1:]

    def allowed_by(self, unit: str) -> set[str]:
        """Return the system calls that may be made."""
        allowed: set[str] = set()
        for sign, words in re.findall(r"^SystemCallFilter=(~?)(.*)$", unit, re.MULTILINE):
            named = {call for word in words.split() for call in self._expanded(word)}
            allowed = allowed - named if sign else allowed | named
        return allowed

    def _expanded(self, word: str) -> set[str]:
        if not word.startswith("@"):
            return {word}
        return {call for inner in self._sets[word] for call in self._expanded(inner)}


def a_document_that_only_its_pdf_explains() -> bytes:
    sheet = io.BytesIO()
    canvas = Canvas(sheet)
    for number, line in enumerate(
        ("Invoice number 2026-118", "Net 100.00 EUR, VAT 19.00 EUR, total amount due 119.00 EUR")
    ):
        canvas.drawString(72, 700 - 20 * number, line)
    canvas.save()
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.com", "b@example.net", "Your document"
    mail.set_content("See the attachment.")
    mail.add_attachment(sheet.getvalue(), maintype="application", subtype="pdf", filename="a.pdf")
    return mail.as_bytes()


def test_it_reads_a_pdf_and_sends_with_no_more_than_its_unit_allows(tmp_path: Path):
    port, trace = free_port(), tmp_path / "trace"
    settings = {
        "state_dir": str(tmp_path / "state"),
        "rehearsal": True,
        "listeners": [{"address": f"127.0.0.1:{port}"}],
        "http": {"address": f"127.0.0.1:{free_port()}"},
        "channels": {"native": {"folder": {"path": str(tmp_path / "sent")}}},
    }
    (tmp_path / "relay.yaml").write_text(json.dumps(settings), "utf-8")
    tracer = [program("strace"), "-D", "-f", "-q", "-e", "signal=none", "-o", str(trace)]
    relay = subprocess.Popen(
        [*tracer, sys.executable, "-c", LOCKED_UP, str(tmp_path / "relay.yaml")],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert relay.stderr is not None
    try:
        while "listener_opened" not in (line := relay.stderr.readline()):
            assert line, "it ended"
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
            smtp.ehlo()
            smtp.mail("a@example.com")
            smtp.rcpt("b@example.net")
            code, said = smtp.data(a_document_that_only_its_pdf_explains())
        assert (code, b"(invoice " in said) == (250, True), said
        wait_until(lambda: list((tmp_path / "state" / "rehearsal" / "native").glob("*.eml")))
    finally:
        relay.send_signal(signal.SIGTERM)
        relay.communicate(timeout=20)  # until strace has gone, too
    assert relay.returncode == 0

    made = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text("utf-8"), re.MULTILINE))
    refused = made - Filter().allowed_by(SERVICE.read_text("utf-8"))
    if os.geteuid() == 0:
        refused.discard("fchown")  # SQLite, when it runs as root
    assert refused == set()
