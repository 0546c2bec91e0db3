"""Structured business documents in XML: UBL, CII (ZUGFeRD, Factur-X), FatturaPA and their kin.

Parsed by expat; a document type or an entity ends the reading: nothing is expanded or fetched.
"""

from __future__ import annotations

from contextlib import suppress
from xml.parsers import expat

from relay.policy.evidence import EInvoice

MAX_ELEMENTS = 20_000
MAX_VALUE = 60

ROOTS = {
    "Invoice": ("UBL", "invoice"),
    "CreditNote": ("UBL", "credit note"),
    "DebitNote": ("UBL", "invoice"),
    "SelfBilledInvoice": ("UBL", "invoice"),
    "Reminder": ("UBL", "reminder"),
    "Statement": ("UBL", "statement"),
    "Quotation": ("UBL", "quote"),
    "RequestForQuotation": ("UBL", "order"),
    "Order": ("UBL", "order"),
    "OrderResponse": ("UBL", "order"),
    "DespatchAdvice": ("UBL", "order"),
    "CrossIndustryInvoice": ("CII", "invoice"),
    "CrossIndustryDocument": ("CII", "invoice"),
    "SCRDMCCBDACIOMessageStructure": ("Order-X", "order"),
    "FatturaElettronica": ("FatturaPA", "invoice"),
    "FatturaElettronicaSemplificata": ("FatturaPA", "invoice"),
    "Facturae": ("Facturae", "invoice"),
    "Comprobante": ("CFDI", "invoice"),
    "Finvoice": ("Finvoice", "invoice"),
    "InvoiceData": ("NAV", "invoice"),
    "Faktura": ("FA", "invoice"),
    "E_Invoice": ("E-Invoice", "invoice"),
    "nfeProc": ("NF-e", "invoice"),
    "NFe": ("NF-e", "invoice"),
    "InvoicesDoc": ("myDATA", "invoice"),
    "OIOXML": ("OIOXML", "invoice"),
    "FakturaVAT": ("FA", "invoice"),
    "DTE": ("DTE", "invoice"),
    "EnvioDTE": ("DTE", "invoice"),
    "factura": ("SRI", "invoice"),
    "notaCredito": ("SRI", "credit note"),
}
_FACTS = {
    "ID": "number",
    "Numero": "number",
    "InvoiceNumber": "number",
    "Number": "number",
    "PayableAmount": "total",
    "DuePayableAmount": "total",
    "GrandTotalAmount": "total",
    "ImportoTotaleDocumento": "total",
    "InvoiceTotal": "total",
    "InvoiceTotalVatIncludedAmount": "total",
    "DocumentCurrencyCode": "currency",
    "InvoiceCurrencyCode": "currency",
    "Divisa": "currency",
    "DueDate": "due",
    "PaymentDueDate": "due",
    "DataScadenzaPagamento": "due",
    "InstallmentDueDate": "due",
    "InvoiceDueDate": "due",
}
_SKIP_NUMBERS_IN = {"ExchangedDocumentContext", "HeaderExchangedDocumentContext"}
_CREDIT_TYPES = {"381", "383", "TD04"}
_LATER_WINS = {"DuePayableAmount", "PayableAmount"}


class _Stop(Exception):  # noqa: N818 -- not an error: enough was read
    pass


def read_einvoice(raw: bytes) -> EInvoice | None:
    """Return what a business document in XML says, None when `raw` is none."""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator="|")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    with suppress(_Stop, expat.ExpatError, ValueError):
        parser.Parse(raw.strip(b" \t\r\n\0"), True)
    return reader.result()


class _Reader:
    """Collects the root element and the first value of each fact."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._elements = 0
        self._root: tuple[str, str] | None = None
        self._facts: dict[str, str] = {}
        self._text: list[str] = []
        self._type = ""

    def refuse(self, *_: object) -> None:
        raise _Stop

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        local = name.rpartition("|")[2]
        if self._root is None and len(self._path) < 3:
            self._find_root(local, attributes)
        if self._elements > MAX_ELEMENTS or (self._root is None and len(self._path) >= 3):
            raise _Stop
        if "currencyID" in attributes and "currency" not in self._facts:
            self._facts["currency"] = attributes["currencyID"][:3]
        self._path.append(local)
        self._text.clear()

    def _find_root(self, local: str, attributes: dict[str, str]) -> None:
        self._root = ROOTS.get(local)
        if local == "Comprobante":
            kinds = {"E": "credit note", "P": "receipt"}
            self._root = ("CFDI", kinds.get(attributes.get("TipoDeComprobante", ""), "invoice"))
            for fact, names in (
                ("number", ("Folio", "folio")),
                ("total", ("Total", "total")),
                ("currency", ("Moneda",)),
            ):
                value = next((attributes[key] for key in names if key in attributes), "")
                if value:
                    self._facts[fact] = value[:MAX_VALUE]

    def data(self, text: str) -> None:
        if len(self._text) < 20:
            self._text.append(text)

    def end(self, _name: str) -> None:
        local = self._path.pop()
        value = "".join(self._text).strip()[:MAX_VALUE]
        self._text.clear()
        if not value or self._root is None:
            return
        if local in ("TypeCode", "InvoiceTypeCode", "TipoDocumento") and not self._type:
            self._type = value
        if local == "DateTimeString" and "DueDateDateTime" in self._path:
            local = "DueDate"
        fact = _FACTS.get(local)
        if fact == "number" and _SKIP_NUMBERS_IN.intersection(self._path):
            return
        if fact and (fact not in self._facts or local in _LATER_WINS):
            self._facts[fact] = value

    def result(self) -> EInvoice | None:
        if self._root is None:
            return None
        syntax, document = self._root
        if document == "invoice" and self._type in _CREDIT_TYPES:
            document = "credit note"
        return EInvoice(
            syntax=syntax,
            document=document,
            number=self._facts.get("number", ""),
            total=self._facts.get("total", ""),
            currency=self._facts.get("currency", ""),
            due=self._facts.get("due", ""),
        )
