"""Measures the classifier on a labelled corpus, whose README says what the labels mean.

Run: python -m tests.bench.bench_classify [--corpus DIR] [--write CLASSIFICATION.md] [--errors]

A corpus is a folder with `labels.csv` and the messages that it names. Without --corpus it is
$RELAY_CORPUS, else ../shared/corpus beside the repository.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from relay.inspect.assembly import assemble
from relay.inspect.documents import open_documents
from relay.inspect.inspection import Guide, Submission
from relay.policy.classify import classify
from relay.policy.evidence import Evidence
from relay.policy.kinds import ESSENTIAL, Kind, Verdict
from relay.providers.sms import Gateways, load_gateways

DOCUMENTS = {"invoice", "quote"}
SYSTEM = {"statement", "receipt", "notification"}
PAPERS = DOCUMENTS | {"statement", "receipt"}
ADDRESS = re.compile(r"[^\s<>,;\"]+@[^\s<>,;\"]+")


@dataclass
class Row:
    """One message: what it is, and what was made of it."""

    file: str
    kind: str
    also: set[str]
    channel: str  # native, direct or any
    lang: str
    source: str
    tags: list[str]
    undecidable: bool
    evidence: Evidence
    verdict: Verdict
    ms: float  # CPU
    size: int

    @property
    def got(self) -> str:
        return "bounce" if self.verdict.kind is Kind.REPORT else str(self.verdict.kind)

    @property
    def right(self) -> bool:
        return self.got == self.kind or self.got in self.also

    @property
    def sent(self) -> str:
        essential = self.verdict.unsure or self.verdict.kind in ESSENTIAL
        return "native" if essential or self.got == "bounce" else "direct"

    @property
    def misrouted(self) -> bool:
        return self.channel != "any" and self.sent != self.channel


Test = Callable[[Row], bool]


def submission_of(raw: bytes, gateways: Gateways) -> Submission:
    """Return how an application would have handed it in: to the addresses of the header."""
    head = raw.split(b"\r\n\r\n", 1)[0].decode("utf-8", "replace")
    lines = (line.partition(":") for line in re.sub(r"\r\n[ \t]+", " ", head).splitlines())
    fields = {name.lower(): value for name, _, value in lines}
    forward_paths = tuple(ADDRESS.findall(fields.get("to", ""))) or ("nobody@localhost",)
    return Submission(
        recipients=len(forward_paths),
        gateway=gateways.of_all(forward_paths),
        null_reverse_path="<>" in fields.get("return-path", ""),
        listener="bench",
    )


def measure(corpus: Path) -> list[Row]:
    gateways = load_gateways()
    rules = Guide().rules()
    rules.lexicon.find("請求書")  # what is made ready on first use does not count
    with (corpus / "labels.csv").open(newline="", encoding="utf-8") as file:
        labels = list(csv.DictReader(file))
    rows = []
    for number, label in enumerate(labels, 1):
        if sys.stderr.isatty():
            print(f"\r{number}/{len(labels)}", end="", file=sys.stderr)
        raw = (corpus / label["file"]).read_bytes()
        if b"\r\n" not in raw[:2000]:
            raw = raw.replace(b"\n", b"\r\n")
        submission = submission_of(raw, gateways)
        started = time.process_time()
        evidence = open_documents(assemble(raw, len(raw), submission), raw)
        verdict = classify(evidence, rules)
        spent = (time.process_time() - started) * 1000
        rows.append(row_of(label, raw, evidence, verdict, spent))
    return rows


def row_of(
    label: dict[str, str], raw: bytes, evidence: Evidence, verdict: Verdict, spent: float
) -> Row:
    return Row(
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
        size=len(raw),
    )


def share(rows: list[Row], test: Test) -> str:
    if not rows:
        return "-"
    count = sum(map(test, rows))
    return f"{count / len(rows):.4f} ({count}/{len(rows)})"


def quantiles(values: Iterable[float]) -> str:
    ordered = sorted(values)
    if not ordered:
        return "-"
    return f"{ordered[len(ordered) // 2]:.2f} / {ordered[int(len(ordered) * 0.95)]:.2f}"


def figures(rows: list[Row]) -> list[tuple[str, str, str]]:
    """Return name, value and bar of each figure."""
    known = [row for row in rows if not row.undecidable]
    documents = [row for row in known if row.kind in DOCUMENTS]
    system = [row for row in known if row.kind in SYSTEM and row.channel == "native"]
    marketing = [row for row in known if row.kind == "marketing"]
    direct = [row for row in known if row.kind == "direct"]
    sure = [row for row in known if row.verdict.certainty >= 0.95]
    text = [row.ms for row in rows if not row.evidence.documents]
    large = [row.ms for row in rows if 200_000 < row.size < 400_000]
    return [
        ("invoice or quote sent by native", share(documents, native), ">= 0.995"),
        ("invoice or quote recognised as one of the two", share(documents, document), ">= 0.985"),
        ("system mail sent by native", share(system, native), ">= 0.97"),
        ("marketing taken for invoice or quote", share(marketing, document), "<= 0.003"),
        ("marketing sent by native", share(marketing, native), "<= 0.03"),
        ("direct mail sent by native", share(direct, native), "<= 0.03"),
        ("exact kind, equally right ones allowed", share(known, right), ">= 0.96"),
        ("right of those with certainty >= 0.95", share(sure, right), ">= 0.99"),
        ("undecidable: unsure, or told by its words", share(lost(rows), unsure), "1"),
        ("CPU ms without attachments, p50 / p95", quantiles(text), "0.5"),
        ("CPU ms of 200-400 KB with attachments, p50 / p95", quantiles(large), "8"),
    ]


def lost(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.undecidable]


def native(row: Row) -> bool:
    return row.sent == "native"


def document(row: Row) -> bool:
    return row.got in DOCUMENTS


def right(row: Row) -> bool:
    return row.right


def unsure(row: Row) -> bool:
    return row.verdict.unsure or row.got in PAPERS


GROUPS: list[tuple[str, Callable[[Row], list[str]]]] = [
    ("kind", lambda row: [row.kind]),
    ("language", lambda row: [row.lang]),
    ("source", lambda row: [row.source]),
    ("tag", lambda row: row.tags),
]


def report(rows: list[Row]) -> str:
    """Return all tables as Markdown."""
    known = [row for row in rows if not row.undecidable]
    lines = ["| figure | measured | bar |", "|---|---|---|"]
    lines += [f"| {name} | {value} | {bar} |" for name, value, bar in figures(rows)]
    for title, keys in GROUPS:
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in known:
            for key in keys(row):
                groups[key].append(row)
        lines += ["", f"| {title} | messages | exact kind | right channel |", "|---|---|---|---|"]
        for name, group in sorted(groups.items(), key=lambda item: -len(item[1])):
            exact = sum(map(right, group)) / len(group)
            routed = 1 - sum(row.misrouted for row in group) / len(group)
            lines.append(f"| {name} | {len(group)} | {exact:.3f} | {routed:.3f} |")
    channels = Counter((row.channel, row.sent) for row in known)
    lines += ["", "| channel by label | sent by native | sent by direct |", "|---|---|---|"]
    lines += [
        f"| {name} | {channels[name, 'native']} | {channels[name, 'direct']} |"
        for name in ("native", "direct", "any")
    ]
    confusion = Counter((row.kind, row.got) for row in known if not row.right)
    lines += ["", "| is | taken for | messages |", "|---|---|---|"]
    lines += [f"| {kind} | {got} | {count} |" for (kind, got), count in confusion.most_common()]
    return "\n".join(lines)


def errors(rows: list[Row], *, reasons: bool) -> str:
    """Return a line for each message that was taken for something else or went the wrong way."""
    lines = []
    for row in rows:
        if row.undecidable or (row.right and not row.misrouted):
            continue
        way = f", by {row.sent}" if row.misrouted else ""
        why = ". " + "; ".join(map(str, row.verdict.reasons[:3]))[:160] if reasons else ""
        lines.append(
            f"- {row.file} ({row.source}, {row.lang}): {row.kind} taken for {row.got}"
            f" {row.verdict.certainty:.2f}{way}{why}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    default = os.environ.get("RELAY_CORPUS") or Path(__file__).parents[2].parent / "shared/corpus"
    parser.add_argument("--corpus", type=Path, default=Path(default))
    parser.add_argument("--write", type=Path, help="replace the measured part of this file")
    parser.add_argument("--errors", action="store_true")
    options = parser.parse_args()
    if not (options.corpus / "labels.csv").exists():
        sys.exit(f"no corpus at {options.corpus}: give --corpus or set RELAY_CORPUS")
    rows = measure(options.corpus)
    text = report(rows)
    print(text)
    if options.errors:
        print(f"\n{errors(rows, reasons=True)}")
    if options.write:
        mark = "<!-- measured -->"
        head = options.write.read_text("utf-8").partition(mark)[0] if options.write.exists() else ""
        errata = f"\n\n## Errors\n\n{errors(rows, reasons=False)}\n"
        options.write.write_text(f"{head}{mark}\n\n{text}{errata}", "utf-8")


if __name__ == "__main__":
    main()
