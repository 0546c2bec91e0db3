"""The TLS side of a listener, from the files that the settings name."""

from __future__ import annotations

import ssl

from relay.listener.options import ListenerOptions, Tls


class ListenerError(Exception):
    """A listener cannot be opened; the text names it, the cause and the file."""


def server_context(options: ListenerOptions) -> ssl.SSLContext | None:
    """Return the context of a listener with TLS, None of one without; raises ListenerError."""
    if options.tls is Tls.NONE:
        return None
    if options.certificate is None:
        raise ListenerError(f"{options.address}: TLS needs a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    files = options.certificate + (f" with {options.key}" if options.key else "")
    try:
        # An empty password keeps OpenSSL from asking at the terminal for that of an encrypted key.
        context.load_cert_chain(options.certificate, options.key, password="")
    except ssl.SSLError as error:
        reason = error.reason or "not understood"
        raise ListenerError(f"{options.address}: {files}: {reason}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ListenerError(f"{options.address}: {files}: {reason}") from error
    return context
