"""The owner's OAuth client, with what is known of the two providers that most will use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from relay.connect.options import Flow, Registration
from relay.settings.mistakes import Loc
from relay.settings.model import OAuth2
from relay.settings.secret import Secret

_GOOGLE = "https://accounts.google.com/o/oauth2/auth"
_GOOGLE_TOKEN = "https://oauth2.googleapis.com/token"  # noqa: S105 -- an address
_MICROSOFT = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0"
_OF_OTHER = ("authorize_url", "token_url", "device_url", "scopes")


def registration_of(oauth2: OAuth2, secret: Secret | None) -> Registration:
    """Return the registration that a file without mistakes names."""
    extra: tuple[tuple[str, str], ...] = ()
    match oauth2.provider:
        case "google":
            urls = {"authorize_url": _GOOGLE, "token_url": _GOOGLE_TOKEN, "device_url": ""}
            scopes: tuple[str, ...] = ("https://mail.google.com/",)
            extra = (("access_type", "offline"), ("prompt", "consent"))
        case "microsoft":
            base = _MICROSOFT.format(tenant=oauth2.tenant)
            urls = {
                "authorize_url": f"{base}/authorize",
                "token_url": f"{base}/token",
                "device_url": f"{base}/devicecode",
            }
            scopes = ("https://outlook.office.com/SMTP.Send", "offline_access")
            if oauth2.flow is Flow.CLIENT_CREDENTIALS:
                scopes = ("https://outlook.office365.com/.default",)
        case _:
            urls = {
                "authorize_url": oauth2.authorize_url or "",
                "token_url": oauth2.token_url or "",
                "device_url": oauth2.device_url or "",
            }
            scopes = oauth2.scopes
    return Registration(
        client_id=oauth2.client_id,
        client_secret=secret,
        flow=oauth2.flow,
        scopes=scopes,
        extra=extra,
        **urls,
    )


def check_registration(oauth2: OAuth2) -> Iterator[tuple[Loc, str]]:
    """Yield what does not fit together."""
    if not oauth2.knows("provider", "flow"):
        return
    flow, provider = oauth2.flow, oauth2.provider
    if provider == "google" and flow is not Flow.BROWSER:
        message = "expected browser, as Google gives the right to mail to no other"
        yield oauth2.at("flow"), f"{message}, got {flow.value}"
    if flow is Flow.CLIENT_CREDENTIALS and oauth2.client_secret is None:
        yield oauth2.at("flow"), "expected a client_secret beside client_credentials, got none"
    if provider == "microsoft" and flow is Flow.CLIENT_CREDENTIALS and oauth2.tenant == "common":
        yield oauth2.at("flow"), "expected the tenant beside client_credentials, got none"
    if provider != "other":
        for key in _OF_OTHER:
            if getattr(oauth2, key):
                yield oauth2.at(key), f"expected `provider: other` beside it, got {provider}"
        return
    needed: Mapping[Flow, tuple[str, ...]] = {
        Flow.BROWSER: ("authorize_url", "token_url"),
        Flow.DEVICE: ("device_url", "token_url"),
        Flow.CLIENT_CREDENTIALS: ("token_url",),
    }
    for key in needed[flow]:
        if getattr(oauth2, key) is None and oauth2.knows(key):
            yield oauth2.at("provider"), f"expected {key} beside other, got none"
