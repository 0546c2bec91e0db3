"""Measures the classifier on a labelled corpus; README of the corpus says what the labels mean.

Run: python -m tests.bench.bench_classify [--corpus DIR] [--write FILE] [--errors]
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from relay.inspect.inspector import Inspector
from relay.inspect.lexica import load_lexicon
from relay.mail.message import Envelope, Origin
from relay.policy.classify import ClassifyRules, classify
from relay.policy.evidence import Evidence
from relay.policy.kinds import ESSENTIAL, Kind, Verdict
from relay.providers.sms import load_gateways

DOCUMENTS = {"invoice", "quote"}
SYSTEM = {"statement", "receipt", "notification"}
NATIVE = {str(kind) for kind in ESSENTIAL}


@dataclass
class Row:
    file: str
    kind: str
    also: set[str]
    channel: str
    lang: str
    source: str
    tags: list[str]
    undecidable: bool
    evidence: Evidence
    verdict: Verdict
    ms: float
    raw: bytes

    @property
    def got(self) -> str:
        return "bounce" if self.verdict.kind is Kind.REPORT else str(self.verdict.kind)

    @property
    def right(self) -> bool:
        return self.got == self.kind or self.got in self.also

    @property
    def sent(self) -> str:
        return "native" if self.verdict.is_essential or self.got == "bounce" else "direct"


def envelope_of(raw: bytes) -> Envelope:
    """Return the envelope an application would have used: the addresses of the header."""
    import re

    head = raw.split(b"\r\n\r\n", 1)[0].split(b"\n\n", 1)[0].decode("utf-8", "replace")
    head = re.sub(r"\r?\n[ \t]+", " ", head)
    lines = (line.partition(":") for line in head.splitlines())
    fields = {name.lower(): value for name, _, value in lines}
    to = re.findall(r"[^\s<>,;\"]+@[^\s<>,;\"]+", fields.get("to", ""))
    sender = re.findall(r"[^\s<>,;\"]+@[^\s<>,;\"]+", fields.get("from", ""))
    null = "return-path" in fields and "<>" in fields["return-path"]
    return Envelope(
        reverse_path=None if null else (sender or ["app@localhost"])[0],
        forward_paths=tuple(to) or ("nobody@localhost",),
    )


def measure(corpus: Path) -> list[Row]:
    inspector = Inspector(load_gateways())
    rules = ClassifyRules(lexicon=load_lexicon())
    origin = Origin(listener="bench")
    rows = []
    with (corpus / "labels.csv").open(newline="", encoding="utf-8") as file:
        labels = list(csv.DictReader(file))
    for label in labels:
        raw = (corpus / label["file"]).read_bytes()
        if b"\r\n" not in raw[:2000]:
            raw = raw.replace(b"\n", b"\r\n")
        started = time.process_time()
        evidence = inspector.inspect_now(envelope_of(raw), origin, raw)
        verdict = classify(evidence, rules)
        spent = (time.process_time() - started) * 1000
        rows.append(
            Row(
                file=label["file"],
                kind=label["kind"],
                also=set(filter(None, label["also"].split("|"))),
                channel=label["channel"],
                lang=label["lang"],
                source=label["source"],
                tags=label["tags"].split(),
                undecidable=label["undecidable"] == "1",
                evidence=evidence,
                verdict=verdict,
                ms=spent,
                raw=raw,
            )
        )
    inspector.close_now()
    return rows


def share(rows: list[Row], test) -> str:
    if not rows:
        return "-"
    count = sum(1 for row in rows if test(row))
    return f"{count / len(rows):.4f} ({count}/{len(rows)})"


def table(rows: list[Row]) -> list[tuple[str, str, str]]:
    decidable = [row for row in rows if not row.undecidable]
    documents = [row for row in decidable if row.kind in DOCUMENTS]
    system = [row for row in decidable if row.kind in SYSTEM and row.channel == "native"]
    marketing = [row for row in decidable if row.kind == "marketing"]
    direct = [row for row in decidable if row.kind == "direct"]
    sure = [row for row in decidable if row.verdict.certainty >= 0.95]
    text = sorted(row.ms for row in rows if len(row.raw) < 4096 and not row.evidence.documents)
    return [
        (
            "invoice or quote sent by native",
            share(documents, lambda r: r.sent == "native"),
            ">= 0.995",
        ),
        ("invoice or quote recognised", share(documents, lambda r: r.got in DOCUMENTS), ">= 0.985"),
        ("system mail sent by native", share(system, lambda r: r.sent == "native"), ">= 0.97"),
        (
            "marketing taken for invoice or quote",
            share(marketing, lambda r: r.got in DOCUMENTS),
            "<= 0.003",
        ),
        ("marketing sent by native", share(marketing, lambda r: r.sent == "native"), "<= 0.03"),
        ("direct sent by native", share(direct, lambda r: r.sent == "native"), "<= 0.03"),
        ("exact kind", share(decidable, lambda r: r.right), ">= 0.96"),
        ("right when certainty >= 0.95", share(sure, lambda r: r.right), ">= 0.99"),
        (
            "undecidable treated as essential",
            share([r for r in rows if r.undecidable], lambda r: r.verdict.is_essential),
            "1",
        ),
        (
            "CPU of text messages under 4 KB, p50 / p95, ms",
            f"{text[len(text) // 2]:.3f} / {text[int(len(text) * 0.95)]:.3f}",
            "0.5",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    default = os.environ.get("RELAY_CORPUS") or Path(__file__).parents[2].parent / "shared/corpus"
    parser.add_argument("--corpus", type=Path, default=Path(default))
    parser.add_argument("--errors", action="store_true")
    options = parser.parse_args()
    rows = measure(options.corpus)
    for name, value, bar in table(rows):
        print(f"{name:50} {value:24} {bar}")
    decidable = [row for row in rows if not row.undecidable]
    for title, key in (
        ("kind", lambda r: [r.kind]),
        ("lang", lambda r: [r.lang]),
        ("source", lambda r: [r.source]),
        ("tag", lambda r: r.tags),
    ):
        groups = defaultdict(list)
        for row in decidable:
            for value in key(row):
                groups[value].append(row)
        print(
            f"\n{title}: "
            + "  ".join(
                f"{name} {sum(r.right for r in group) / len(group):.3f}/{len(group)}"
                for name, group in sorted(groups.items(), key=lambda kv: -len(kv[1]))
            )
        )
    print()
    confusion = Counter((row.kind, row.got) for row in decidable if not row.right)
    for (kind, got), count in confusion.most_common(20):
        print(f"{kind:>13} -> {got:13} {count}")
    if options.errors:
        for row in decidable:
            wrong_channel = row.channel != "any" and row.sent != row.channel
            if not row.right or wrong_channel:
                mark = "CHANNEL" if wrong_channel else ""
                reasons = "; ".join(map(str, row.verdict.reasons[:4]))
                print(
                    f"{row.file} {row.kind}->{row.got} {row.verdict.certainty:.2f} {row.lang}",
                    f"{row.source} {','.join(row.tags)} {mark} | {row.evidence.subject[:60]!r} |",
                    reasons[:220],
                )


if __name__ == "__main__":
    main()
