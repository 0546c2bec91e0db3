"""What the settings name and this machine lacks: warnings, as a mistake is in the file alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from relay.listener.options import Auth, Tls
from relay.settings.build import secret_of
from relay.settings.checks import Found
from relay.settings.model import Channel, File, Listener


def look_around(file: File, env: Mapping[str, str]) -> Iterator[Found]:
    """Yield what should be mended on the machine, or deserves a second thought."""
    for listener in file.listeners:
        yield from _listener(listener, env)
    if not file.rehearsal:
        for channel in file.channels.values():
            yield from _channel(channel, env)


def _listener(listener: Listener, env: Mapping[str, str]) -> Iterator[Found]:
    for key, path in (("certificate", listener.certificate), ("key", listener.key)):
        if path and not os.access(path, os.R_OK):
            yield listener.at(key), f"{path} cannot be read now"
    is_clear = listener.tls is Tls.NONE and not listener.address[1].ip.is_loopback
    if is_clear and listener.auth is not Auth.OFF:
        yield listener.at("auth"), "passwords cross the network unencrypted: set `tls`"
    for application in listener.applications:
        warning = secret_of(application.password, env).warning()
        if warning:
            yield application.at("password"), warning


def _channel(channel: Channel, env: Mapping[str, str]) -> Iterator[Found]:
    if channel.smtp and channel.smtp.password:
        warning = secret_of(channel.smtp.password, env).warning()
        if warning:
            yield channel.smtp.at("password"), warning
    if channel.smtp and channel.smtp.oauth2 and channel.smtp.oauth2.client_secret:
        warning = secret_of(channel.smtp.oauth2.client_secret, env).warning()
        if warning:
            yield channel.smtp.oauth2.at("client_secret"), warning
    if channel.smtp and channel.smtp.ca_file and not os.access(channel.smtp.ca_file, os.R_OK):
        yield channel.smtp.at("ca_file"), f"{channel.smtp.ca_file} cannot be read now"
    if channel.sendmail and not os.access(channel.sendmail.command[0], os.X_OK):
        program = channel.sendmail.command[0]
        yield channel.sendmail.at("command"), f"{program} is not a program that can be run now"
