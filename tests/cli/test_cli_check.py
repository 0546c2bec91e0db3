"""`relay check` on good and bad settings."""

from __future__ import annotations

from commanding import Terminal

GOOD = """\
state_dir: /var/lib/relay
channels:
  direct:
    smtp: {host: smtp.example.com, username: me@example.com, password: {env: NO_SUCH_PASSWORD}}
    limits: [{recipients: 500, per: 24h}]
  native:
    sendmail: {command: [/bin/true, -i]}
routing:
  rules:
    - {name: tests stay, when: {recipient: "*@test.example"}, hold: true}
classification:
  rules:
    - {name: all of the books, when: {sender: "books@*"}, kind: invoice}
"""
KINDS = """\
listeners:
  - address: 127.0.0.1:25
    trust_kind_field: true
    auth: required
    applications:
      - {login: erp, password: {env: PATH}, kind: invoice}
channels: {native: {folder: {path: /x}}}
"""
BAD = """\
state_dir: relative
channels:
  direct: {smtp: {host: smtp.example.com, prot: 25}}
"""


def test_without_a_file_it_would_rehearse(relay: Terminal) -> None:
    said = relay("check")
    assert said.code == 0
    assert said.out.startswith("No settings file: relay would rehearse.\n")
    assert f"direct   {relay.folder}/state/relay/rehearsal/direct" in said.out


def test_good_settings_are_told(relay: Terminal) -> None:
    path = relay.write_settings(GOOD)
    said = relay("check")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == f"{path} has no mistakes."
    assert lines[1].startswith(f"warning: {path}:4: channels.direct.smtp.password: ")
    first = "direct   smtp.example.com:587 (starttls, as me@example.com)  "
    assert f"{first}          5  500 recipients per 24h" in lines
    for line in (
        f"{'native   /bin/true -i':<{len(first)}}          5  none",
        "What mail is, the first of these says that fits: all of the books",
        "First come the rules, the first that fits decides: tests stay",
        "invoice, quote, statement, receipt, notification  native, then direct",
        "direct, marketing, sms                            direct",
        "report                                            native",
    ):
        assert line in lines


def test_who_may_say_what_mail_is_is_told(relay: Terminal) -> None:
    relay.write_settings(KINDS)
    out = relay("check").out
    assert "\nMail of erp is invoice, if nothing says otherwise.\n" in out
    assert "\nWhat X-Relay-Kind says counts from 127.0.0.1:25.\n" in out


def test_every_mistake_is_told_at_once(relay: Terminal) -> None:
    path = relay.write_settings(BAD)
    said = relay("check")
    assert (said.code, said.out) == (78, "")
    lines = said.err.splitlines()
    assert lines[0].startswith(f"{path}:1: state_dir: ")
    assert lines[1].startswith(f"{path}:3: channels.direct.smtp.prot: ")
    assert lines[-1] == "2 mistakes; relay would not start, or not reload."


def test_scripts_read_json(relay: Terminal) -> None:
    relay.write_settings(BAD)
    said = relay("check", "--json")
    assert said.code == 78
    assert not said.json["ok"]
    assert [each["line"] for each in said.json["mistakes"]] == [1, 3]
    relay.write_settings(GOOD)
    good = relay("check", "--json").json
    assert good["ok"]
    assert good["kinds"]["invoice"] == ["native", "direct"]
    assert good["kind_rules"] == ["all of the books"]
    assert good["rules"] == ["tests stay"]
    assert good["channels"][0]["limits"] == ["500 recipients per 24h"]


def test_the_file_can_be_named_before_and_behind_the_command(relay: Terminal) -> None:
    path = relay.write_settings(BAD)
    relay.environ["RELAY_CONFIG"] = ""
    assert relay("check").code == 0
    assert relay("--config", str(path), "check").code == 78
    assert relay("check", "-c", str(path)).code == 78
    assert relay("-c", "/no/such/file", "check", "-c", str(path)).err.startswith(f"{path}:1: ")


def test_run_tells_the_same_mistakes_and_does_not_start(relay: Terminal) -> None:
    path = relay.write_settings(BAD)
    said = relay("run")
    assert (said.code, said.out) == (78, "")
    assert said.err.splitlines()[0].startswith(f"{path}:1: state_dir: ")


def test_limits_of_the_provider_are_told_with_their_source(relay: Terminal) -> None:
    smtp = "{host: smtp.gmail.com, username: me@example.com, password: {env: PW}}"
    relay.write_settings(f"channels: {{direct: {{smtp: {smtp}}}, native: {{smtp: {smtp}}}}}\n")
    said = relay("check")
    assert "450 messages per 24h, 2700 recipients per 24h" in said.out
    words = "direct keeps 90% of the limits that Google Workspace publishes (certainty: medium)."
    assert words in said.out
    assert "It takes the lowest tier. `tier` can be: paid; trial." in said.out
    assert "Of one message it takes 25 MiB." in said.out
    assert "native: not independent of direct: both use the account me@example.com" in said.out
    first = relay("check", "--json").json["channels"][0]
    assert (first["limits_from"], first["provider"]) == ("provider", "google-workspace")
    assert first["tiers"] == ["paid", "trial"]
