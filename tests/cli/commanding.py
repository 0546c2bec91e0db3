"""A terminal without a person: runs commands and keeps what they say."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from relay.cli.app import app


@dataclass(frozen=True)
class Said:
    """What a command wrote, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Terminal:
    """Runs commands under settings of its own."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, stdin: str | bytes | None = None) -> Said:
        result = CliRunner().invoke(app, words, input=stdin, env=self.environ, prog_name="relay")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    def write_settings(self, text: str) -> Path:
        path = self.folder / "relay.yaml"
        path.write_text(text)
        self.environ["RELAY_CONFIG"] = str(path)
        return path
