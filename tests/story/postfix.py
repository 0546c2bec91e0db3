"""A private Postfix: its own settings, queue, port and log in a folder; nothing leaves the machine.

    with Postfix("native") as native:
        ...  # relay sends to native.port
        native.wait_for(1)
        assert native.mailbox("ann@example.net")[0].content == letter

It takes mail for MAILBOXES alone, and files each in a Maildir.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
from daemon import free_port, wait_until
from programs import program, run

MAILBOXES = (
    "ann@example.net",
    "bob@example.net",
    "cem@example.net",
    "rechnung@shop.example",
    "news@shop.example",
)
_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = {name}.postfix.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
local_recipient_maps =
local_header_rewrite_clients =
virtual_mailbox_domains = example.net, shop.example
virtual_mailbox_maps = texthash:{folder}/mailboxes
virtual_mailbox_base = {folder}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
default_transport = error:5.7.1 nothing leaves this machine
relay_transport = error:5.7.1 nothing leaves this machine
smtpd_relay_restrictions = permit_mynetworks, reject
"""
_TLS = """\
smtpd_tls_security_level = encrypt
smtpd_tls_received_header = yes
smtpd_tls_chain_files = {key}, {certificate}
"""
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n - n 60   1 pickup
cleanup   unix  n - n -    0 cleanup
qmgr      unix  n - n 300  1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -    - trivial-rewrite
bounce    unix  - - n -    0 bounce
defer     unix  - - n -    0 bounce
trace     unix  - - n -    0 bounce
verify    unix  - - n -    1 verify
proxymap  unix  - - n -    - proxymap
error     unix  - - n -    - error
retry     unix  - - n -    - error
virtual   unix  - n n -    - virtual
anvil     unix  - - n -    1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""
_PRIVATE = (
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
    "saved", "trace",
)  # fmt: skip
_QUEUE = (  # what `postfix check` makes, in two seconds
    *((name, "postfix", 0o700) for name in _PRIVATE),
    ("maildrop", "postdrop", 0o730),
    ("public", "postdrop", 0o710),
    ("pid", "root", 0o755),
)
_FIELD = rb"%s:[^\n]*\n(?:\t[^\n]*\n)*"
_TRACE = re.compile(  # what stands before the content: Postfix's fields, then relay's if it took it
    rb"Return-Path: <([^>]*)>\n"
    + b"".join(_FIELD % name for name in (b"X-Original-To", b"Delivered-To", b"Received"))
    + rb"(?:Received: from [^\n]*\n\tby relay\.test \(relay\) with \w+ id \w+;\n\t[^\n]*\n)?"
)


@dataclass(frozen=True, slots=True)
class Mail:
    """A message in a mailbox."""

    reverse_path: str
    trace: bytes  # fields that were put in front on the way
    content: bytes  # what the application sent, with line feeds


class Postfix:
    """One instance; `with` starts it and removes all of it."""

    def __init__(self, name: str, *, certificate: Path | None = None, key: Path | None = None):
        """Ask for STARTTLS if there is a certificate."""
        self.name = name
        self.port = free_port()
        self._tls = _TLS.format(certificate=certificate, key=key) if certificate else ""
        self._master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            pytest.skip("Postfix's master has to be started by root")
        program("postfix")
        # its daemons, which are other users, come from the root of the file system to here
        self.folder = Path(tempfile.mkdtemp(prefix="relay-postfix-", dir="/tmp"))
        self._settings = self.folder / "etc"
        try:
            self._write_settings()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        wait_until(self._is_removed)  # its children may still be about to end

    def _is_removed(self) -> bool:
        shutil.rmtree(self.folder, ignore_errors=True)
        return not self.folder.exists()

    def start(self) -> None:
        """Start it, and return when it takes mail."""
        daemons = run("postconf", "-d", "-h", "daemon_directory").decode().strip()
        self._master = subprocess.Popen(
            [f"{daemons}/master", "-c", str(self._settings), "-d"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(self._greets, tell=self.log)

    def stop(self) -> None:
        """End it and its children; what it has in its queue stays there."""
        if self._master is not None:
            os.killpg(self._master.pid, signal.SIGTERM)
            self._master.wait(10)
            self._master = None

    @property
    def is_running(self) -> bool:
        """Return whether it takes mail."""
        return self._master is not None

    @property
    def sendmail(self) -> list[str]:
        """Return the command that hands mail to this instance."""
        return [program("sendmail"), "-C", str(self._settings), "-i"]

    def mailbox(self, address: str) -> list[Mail]:
        """Return what is in a mailbox, in no order."""
        return [_mail(file.read_bytes()) for file in (self._maildir(address) / "new").glob("*")]

    def clear(self) -> None:
        """Empty all mailboxes."""
        for file in (self.folder / "mail").glob("*/new/*"):
            file.unlink()

    def count(self) -> int:
        """Return how many messages are in all mailboxes."""
        return len(list((self.folder / "mail").glob("*/new/*")))

    def wait_for(self, messages: int) -> None:
        """Wait until there are so many in the mailboxes; then check that there are no more."""
        wait_until(lambda: self.count() >= messages, tell=self.log)
        assert self.count() == messages

    def log(self) -> str:
        """Return its log."""
        file = self.folder / "mail.log"
        return file.read_text("utf-8", "replace") if file.exists() else ""

    def _write_settings(self) -> None:
        self.folder.chmod(0o755)
        owner = pwd.getpwnam("nobody")  # of the mailboxes
        for name in ("etc", "queue", "data", "mail"):
            (self.folder / name).mkdir(0o755)
        shutil.chown(self.folder / "data", "postfix")
        for name, group, mode in _QUEUE:
            place = self.folder / "queue" / name
            place.mkdir()
            shutil.chown(place, "postfix" if name != "pid" else "root", group)
            place.chmod(mode)
        os.chown(self.folder / "mail", owner.pw_uid, owner.pw_gid)
        main = _MAIN.format(folder=self.folder, name=self.name, uid=owner.pw_uid, gid=owner.pw_gid)
        (self._settings / "main.cf").write_text(main + self._tls)
        (self._settings / "master.cf").write_text(_MASTER.format(port=self.port))
        boxes = "".join(f"{address} {self._place(address)}\n" for address in MAILBOXES)
        (self.folder / "mailboxes").write_text(boxes)
        for file in (self._settings / "main.cf", self.folder / "mailboxes"):
            os.utime(file, (0, 0))  # what is younger than a second or two is not read yet

    def _maildir(self, address: str) -> Path:
        return self.folder / "mail" / self._place(address)

    @staticmethod
    def _place(address: str) -> str:
        name, _, domain = address.partition("@")
        return f"{domain}-{name}/"

    def _greets(self) -> bool:
        assert self._master is not None
        assert self._master.poll() is None, self.log()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
                return sock.recv(512).startswith(b"220 ")
        except OSError:
            return False


def _mail(file: bytes) -> Mail:
    match = _TRACE.match(file)
    assert match is not None, file[:1000]
    return Mail(match[1].decode(), match[0], file[match.end() :])
