"""`python -m relay`, the same as `relay`."""

from __future__ import annotations

from relay.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
