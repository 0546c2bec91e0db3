"""What can be read in attachments of every sort, each made here by hand."""

import io
import zipfile

import pytest

from relay.inspect.documents import File, Reader
from relay.policy.evidence import Reading


def read(raw: bytes, name: str = "file", media_type: str = "application/octet-stream"):
    reader = Reader()
    reader.read(File(f"attachment {name}", name, media_type, raw))
    return reader.documents


def archive(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/").replace("_", "."), content)
    return buffer.getvalue()


def tnef(name: str, content: bytes) -> bytes:
    def attribute(number: int, value: bytes) -> bytes:
        head = b"\x02" + number.to_bytes(4, "little") + len(value).to_bytes(4, "little")
        return head + value + b"\0\0"

    return (
        b"\x78\x9f\x3e\x22\x01\x00"
        + attribute(0x00069002, b"\0" * 14)
        + attribute(0x00018010, name.encode() + b"\0")
        + attribute(0x0006800F, content)
    )


def der(tag: int, value: bytes) -> bytes:
    size = len(value)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + value


def signed(content: bytes) -> bytes:
    data = bytes.fromhex("06092a864886f70d010701")
    inner = der(0x30, data + der(0xA0, der(0x04, content)))
    body = der(0x30, b"\x02\x01\x01" + der(0x31, b"") + inner)
    return der(0x30, bytes.fromhex("06092a864886f70d010702") + der(0xA0, body))


UBL = b"<Invoice><ID>7</ID></Invoice>"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        pytest.param(
            archive(word__document_xml="<w:p><w:t>Rechnung</w:t></w:p><w:p>4711</w:p>"),
            "Rechnung\n4711",
            id="DOCX",
        ),
        pytest.param(
            archive(mimetype="x", content_xml="<text:p>Angebot &amp; mehr</text:p>"),
            "Angebot & mehr",
            id="ODT",
        ),
        pytest.param(
            archive(
                xl__workbook_xml="",
                xl__sharedStrings_xml="<si><t>Menge</t></si><si><t>Preis</t></si>",
                xl__worksheets__sheet1_xml=(
                    '<row><c t="s"><v>0</v></c><c t="s"><v>1</v></c></row>'
                    "<row><c><v>2</v></c></row>"
                ),
            ),
            "Menge Preis\n2",
            id="XLSX",
        ),
        pytest.param(rb"{\rtf1 Rechnung\par 4711 \'e4\u8364?}", "Rechnung", id="RTF"),
        pytest.param(b"<html><body><h1>Invoice</h1>4711</body></html>", "Invoice\n4711", id="HTML"),
        pytest.param(b"Just words\n", "Just words", id="text"),
        pytest.param(b"\xd0\xcf\x11\xe0" + b"\0" * 20 + b"Rechnung Nr. 4711\0", "4711", id="DOC"),
    ],
)
def test_text_is_found(raw, text):
    [document] = read(raw)
    assert document.reading is Reading.READ
    assert text in document.pages[0]


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        pytest.param(tnef("re.xml", UBL), "winmail.dat", id="winmail.dat"),
        pytest.param(signed(UBL), "re.xml.p7m", id="opaque signature"),
        pytest.param(signed(b"Content-Type: text/xml\r\n\r\n" + UBL), "smime.p7m", id="S/MIME"),
        pytest.param(
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
            b"Content-Type: application/xml; name=a.xml\r\n\r\n" + UBL + b"\r\n--b--\r\n",
            "mail.eml",
            id="attached message",
        ),
        pytest.param(UBL.decode().encode("utf-16"), "a.xml", id="UTF-16"),
    ],
)
def test_what_is_wrapped_is_unwrapped(raw, name):
    [document] = read(raw, name)
    assert document.einvoice is not None
    assert document.einvoice.number == "7"


@pytest.mark.parametrize(
    ("raw", "name", "reading"),
    [
        (b"\x30\x03\x02\x01\x01", "smime.p7m", Reading.ENCRYPTED),
        (b"PK\x03\x04 nonsense", "a.zip", Reading.UNREADABLE),
        (b"\0\1\2\3", "a.pdf", Reading.UNREADABLE),
    ],
)
def test_what_cannot_be_read_is_told(raw, name, reading):
    [document] = read(raw, name)
    assert document.reading is reading


@pytest.mark.parametrize("raw", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\0\1\2\3"])
def test_pictures_and_other_data_are_no_documents(raw):
    assert read(raw, "photo.bin") == []


def test_archives_in_archives_end_somewhere():
    raw = archive(a_txt="words")
    for _ in range(6):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("a.zip", raw)
        raw = buffer.getvalue()
    reader = Reader()
    reader.read(File("attachment a.zip", "a.zip", "application/zip", raw))
    assert reader.problems == ["archives nested deeper than 3"]
