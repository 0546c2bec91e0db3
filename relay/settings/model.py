"""The shape of a settings file: every key with its type and its default.

What one key says about another is in `checks`; what the keys mean is written in config/relay.yaml.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)

from relay.channels.options import Security
from relay.connect.options import Flow
from relay.listener.options import Auth, Tls
from relay.policy.kinds import Kind
from relay.policy.limits import Window
from relay.providers.published import HEADROOM
from relay.settings import leaf
from relay.settings.address import parse_endpoint
from relay.settings.document import ANY, Section
from relay.settings.mistakes import Loc
from relay.settings.place import STATE_DIR

ANY_LANGUAGE = "any"
RESERVE = Fraction(10, 100)
_MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)


def _needed() -> Any:
    """Return a field without default, whose absence is reported in its type's own words."""
    return Field(default=None, validate_default=True)


class Part(BaseModel):
    """A mapping of the file; it knows its place there, and which keys were lost by mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _place: Loc = PrivateAttr(default=())
    _lost: frozenset[str] = PrivateAttr(default=frozenset())

    @model_validator(mode="wrap")
    @classmethod
    def _keep_place(cls, data: Any, handler: ModelWrapValidatorHandler[Part]) -> Part:
        part = handler(data)
        if isinstance(data, Section):
            part._place = data.place
            part._lost = frozenset(data.lost)
        return part

    def at(self, *steps: str | int) -> Loc:
        """Return the place of a key below this one."""
        return (*self._place, *steps)

    def item(self, key: str, index: int) -> Loc:
        """Return the place of one item of a list, or of the list if some of it was lost."""
        return self.at(key, index) if self.knows(key) else self.at(key)

    def knows(self, *keys: str) -> bool:
        """Return whether these are as the owner wrote them, absent perhaps, but not misread."""
        return ANY not in self._lost and self._lost.isdisjoint(keys)


class CertificateChecks(StrEnum):
    """Whether the certificate of an upstream has to be good and for its name."""

    ON = "on"
    OFF = "off"  # only for this machine
    OFF_ANYWHERE = "off_others_may_read_mail_and_password"


class WhenInDoubt(StrEnum):
    """What becomes of mail that may have been taken: no answer came to the end of it."""

    AGAIN = "again"  # once more by the same channel, after `in_doubt_wait`
    HOLD = "hold"  # until a person releases or drops it


class SecretPlace(Part):
    """Where a secret is kept; exactly one of them."""

    file: leaf.FilePath | None = None
    env: leaf.EnvName | None = None
    credential: leaf.CredentialName | None = None


def _place_not_secret(value: Any) -> Any:
    if value is not None and not isinstance(value, dict):
        raise leaf.expected(
            "where the secret is kept, as {file: /path}, {env: NAME} or {credential: name}"
        )
    return value


Password = Annotated[SecretPlace, BeforeValidator(_place_not_secret)]


class Application(Part):
    """A program that signs in to a listener."""

    login: leaf.Text = _needed()
    password: Password = _needed()
    kind: Kind | None = None
    trust_kind_field: leaf.Flag = False


class Listener(Part):
    """One address that takes mail from applications."""

    address: leaf.Address = _needed()
    tls: Tls = Tls.NONE
    certificate: leaf.FilePath | None = None
    key: leaf.FilePath | None = None
    auth: Auth = Auth.OFF
    applications: tuple[Application, ...] = ()
    trust_kind_field: leaf.Flag = False
    networks: tuple[leaf.NetworkBlock, ...] = ()
    max_message_size: leaf.MaxSize = 50 * 1024 * 1024
    max_recipients: leaf.Recipients = 1000
    max_connections: leaf.Connections = 200
    max_hops: leaf.Hops = 50
    idle_timeout: leaf.Wait = 5 * _MINUTE
    transaction_timeout: leaf.Wait = 60 * _MINUTE


class Http(Part):
    """The page, the API, metrics and health."""

    address: leaf.Address = ("127.0.0.1:8025", parse_endpoint("127.0.0.1:8025"))
    allowed_hosts: tuple[leaf.Host, ...] = ()
    behind_proxy: leaf.Flag = False


class OAuth2(Part):
    """The owner's own client, registered with the provider."""

    provider: Literal["google", "microsoft", "other"] = _needed()
    client_id: leaf.Text = _needed()
    client_secret: Password | None = None
    tenant: leaf.HostName = "common"
    flow: Flow = Flow.BROWSER
    authorize_url: leaf.Url | None = None
    token_url: leaf.Url | None = None
    device_url: leaf.Url | None = None
    scopes: Annotated[tuple[leaf.Text, ...], leaf.OneOrMore] = ()


class Smtp(Part):
    """An SMTP server to submit to; without host, the one that `relay connect` kept."""

    host: leaf.Host | None = None
    port: leaf.Port | None = None
    security: Security = Security.STARTTLS
    certificate_checks: CertificateChecks | None = None
    ca_file: leaf.FilePath | None = None
    username: leaf.Text | None = None
    password: Password | None = None
    oauth2: OAuth2 | None = None
    allow_unencrypted_password: leaf.Flag = False
    senders: Annotated[tuple[leaf.Sender, ...], leaf.OneOrMore] = ()
    rewrite_from: leaf.Mailbox | None = None
    hello: leaf.HostName | None = None
    messages_per_connection: leaf.Count = 1000
    new_connections: leaf.Rate | None = None
    connect_timeout: leaf.Wait = 30 * _SECOND
    command_timeout: leaf.Wait = 5 * _MINUTE
    final_dot_timeout: leaf.Wait = 10 * _MINUTE
    stall_timeout: leaf.Wait = 3 * _MINUTE
    idle_timeout: leaf.Wait = 30 * _SECOND


class Sendmail(Part):
    """A program with the sendmail interface."""

    command: Annotated[tuple[leaf.Text, ...], leaf.OneOrMore] = _needed()
    timeout: leaf.Wait = 5 * _MINUTE


class Folder(Part):
    """A folder that gets .eml files."""

    path: leaf.FilePath = _needed()


class Limit(Part):
    """At most so much of exactly one unit in a window."""

    messages: leaf.Count | None = None
    recipients: leaf.Count | None = None
    distinct_recipients: leaf.Count | None = None
    bytes: leaf.MaxSize | None = None
    per: leaf.Per | None = None
    window: Window = Window.ROLLING
    timezone: leaf.TimeZone | None = None
    refill: leaf.Rate | None = None
    reserve: leaf.Share = RESERVE


class Channel(Part):
    """A named way out: one of smtp, sendmail and folder; none of them is smtp without host."""

    smtp: Smtp | None = None
    sendmail: Sendmail | None = None
    folder: Folder | None = None
    connections: leaf.Connections = 5
    limits: tuple[Limit, ...] = ()
    max_recipients: leaf.Count = 100
    provider: leaf.Text | None = None
    tier: leaf.Text | None = None
    headroom: leaf.Headroom = HEADROOM
    max_message_size: leaf.MaxSize | None = None


class When(Part):
    """What has to be true of mail for a rule."""

    kind: Annotated[tuple[Kind, ...], leaf.OneOrMore] = ()
    sender: Annotated[tuple[leaf.Text, ...], leaf.OneOrMore] = ()
    recipient: Annotated[tuple[leaf.Text, ...], leaf.OneOrMore] = ()
    header: dict[leaf.FieldName, Annotated[tuple[leaf.Text, ...], leaf.OneOrMore]] = {}
    application: Annotated[tuple[leaf.Text, ...], leaf.OneOrMore] = ()
    listener: Annotated[tuple[leaf.Text, ...], leaf.OneOrMore] = ()
    larger_than: leaf.Size | None = None
    smaller_than: leaf.Size | None = None


class Rule(Part):
    """What to do with mail that fits `when`."""

    name: leaf.Text | None = None
    when: When = _needed()
    via: Annotated[tuple[leaf.Text, ...] | None, leaf.OneOrMore] = None
    hold: leaf.Hold = None
    redirect: leaf.Mailbox | None = None
    refuse: leaf.RefusalText | None = None


class KindRule(Part):
    """What mail that fits `when` is."""

    name: leaf.Text | None = None
    when: When = _needed()
    kind: Kind = _needed()


class Classification(Part):
    """What the owner says of what mail is."""

    rules: tuple[KindRule, ...] = ()
    phrases: dict[
        leaf.Language, dict[leaf.Heading, Annotated[tuple[leaf.OwnPhrase, ...], leaf.Commas]]
    ] = {}


class Routing(Part):
    """Which mail goes by which channel."""

    only_use_for_direct_emails: leaf.Flag = True
    rules: tuple[Rule, ...] = ()


def _by_kind(value: Any) -> Any:
    if not isinstance(value, dict):
        raise leaf.expected("again or hold by kind, as {marketing: hold}")
    return value


class Retry(Part):
    """When to try again, and when to give up."""

    waits: tuple[leaf.Wait, ...] = tuple(_MINUTE * minutes for minutes in (1, 5, 15, 30, 60))
    give_up_after: leaf.Wait = timedelta(days=5)
    in_doubt_wait: leaf.Wait = 30 * _MINUTE
    in_doubt: Annotated[dict[Kind, WhenInDoubt], BeforeValidator(_by_kind)] = {}
    delay_notice_after: leaf.Wait | None = timedelta(hours=4)


class Reports(Part):
    """Who reports about delivery come from."""

    address: leaf.Mailbox | None = None
    name: leaf.Text = "Mail Delivery System"


class History(Part):
    """How long finished mail is kept."""

    keep: leaf.Duration = timedelta(days=30)
    keep_content: leaf.Duration = timedelta()


class Log(Part):
    """What is written to the log, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Shutdown(Part):
    """How the relay stops."""

    drain: leaf.Duration = 30 * _SECOND


class File(Part):
    """All of it."""

    state_dir: leaf.FilePath = STATE_DIR
    hostname: leaf.HostName | None = None
    rehearsal: leaf.Flag = False
    listeners: tuple[Listener, ...] = (
        Listener(address="127.0.0.1:2525"),  # type: ignore[arg-type]  # parsed as in a file
    )
    http: Http | None = Http()
    channels: dict[leaf.ChannelName, Channel] = {}  # at least one, as `checks` says
    classification: Classification = Classification()
    routing: Routing = Routing()
    retry: Retry = Retry()
    reports: Reports = Reports()
    history: History = History()
    log: Log = Log()
    shutdown: Shutdown = Shutdown()
