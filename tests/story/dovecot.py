"""A Postfix that asks a private Dovecot who may sign in, as hosters run it.

with SubmissionServer("direct", {"me@shop.example": "old"}) as upstream:
    upstream.change_password("me@shop.example", "new")
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from daemon import wait_until
from postfix import Postfix
from programs import program

_SASL = """\
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_client_restrictions = permit_sasl_authenticated, reject
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
"""
_OWNED = """\
smtpd_sender_login_maps = texthash:{folder}/owners
smtpd_sender_restrictions = reject_sender_login_mismatch
"""
_DOVECOT = """\
base_dir = {folder}/dovecot/run
state_dir = {folder}/dovecot/state
log_path = {folder}/dovecot/log
protocols =
ssl = no
auth_mechanisms = plain login
disable_plaintext_auth = no
auth_verbose = yes
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/dovecot/passwd
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {folder}/queue/private/auth {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
"""
_REFUSED = re.compile(r"warning: .* SASL \w+ authentication failed")


class SubmissionServer(Postfix):
    """One instance of both; `with` starts them and removes all of it."""

    def __init__(
        self, name: str, accounts: dict[str, str], owners: dict[str, str] | None = None
    ) -> None:
        """Let nobody send but who signs in to one of `accounts`, by their passwords.

        With `owners` of sender addresses, nobody sends as another's: which Postfix says at RCPT.
        """
        super().__init__(name)
        self._tls = _SASL
        self._owners = owners
        self._accounts = dict(accounts)
        self._dovecot: subprocess.Popen[bytes] | None = None

    def _write_settings(self) -> None:
        if self._owners is not None:
            self._tls = _SASL + _OWNED.format(folder=self.folder)
            owned = "".join(f"{address} {login}\n" for address, login in self._owners.items())
            (self.folder / "owners").write_text(owned)
        super()._write_settings()

    def start(self) -> None:
        """Start Dovecot, then Postfix."""
        place = self.folder / "dovecot"
        place.mkdir(exist_ok=True)
        self._write_accounts()
        settings = place / "dovecot.conf"
        settings.write_text(_DOVECOT.format(folder=self.folder))
        self._dovecot = subprocess.Popen(
            [program("dovecot"), "-F", "-c", str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until((self.folder / "queue" / "private" / "auth").exists, tell=self._said)
        super().start()

    def stop(self) -> None:
        """End both."""
        super().stop()
        if self._dovecot is not None:
            os.killpg(self._dovecot.pid, signal.SIGTERM)
            self._dovecot.wait(10)
            self._dovecot = None

    def change_password(self, account: str, password: str) -> None:
        """Let `account` sign in by another password from now on, of another length.

        Dovecot sees a change by size and time, and the time in seconds.
        """
        assert len(password) != len(self._accounts[account])
        self._accounts[account] = password
        self._write_accounts()

    @property
    def refused_sign_ins(self) -> int:
        """Return how many sign-ins failed so far."""
        return len(_REFUSED.findall(self.log()))

    def _write_accounts(self) -> None:
        file = self.folder / "dovecot" / "passwd"
        lines = [f"{account}:{password}\n" for account, password in self._accounts.items()]
        written = file.with_suffix(".new")
        written.write_text("".join(lines))
        shutil.chown(written, "dovecot")
        written.chmod(0o600)
        written.rename(file)  # never half

    def _said(self) -> str:
        log = Path(self.folder / "dovecot" / "log")
        return log.read_text("utf-8", "replace") if log.exists() else "Dovecot said nothing"
