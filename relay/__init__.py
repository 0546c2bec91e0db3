"""relay: a local SMTP relay that knows what a message is, so that the invoice gets through."""

__version__ = "0.1.0"
