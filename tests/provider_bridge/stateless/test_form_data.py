"""In a form, a part is what its headers say, and its content is never read."""

from __future__ import annotations

import pytest

from blindrelay.provider_bridge.stateless.description import api_description
from blindrelay.provider_bridge.stateless.form_data import MAX_PARTS, FormError, check_form, form_boundary
from blindrelay.provider_bridge.stateless.json_check import StoredObjectError

FILE = b'name="file"; filename="a.wav"'


def form(*parts: bytes, disposition: bytes = b"", headers: bytes = b"", value: bytes = b"v") -> bytes:
    """A form with one part of this disposition, or with these whole parts."""
    line = b"Content-Disposition: form-data; " + disposition + b"\r\n" + headers
    whole = parts or (line + b"\r\n" + value,)
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in whole) + b"--b--\r\n"


def judged(body: bytes, path: str = "/v1/audio/transcriptions", api: str = "openai") -> None:
    rule = api_description(api).rule("forms", path)
    assert rule is not None
    check_form(body, b"b", rule)


def test_content_is_not_read() -> None:
    for value in (
        *(b'the column name = 100% unique, name="file_id"', b'\x89PNG\r\n\x1a\nname="Black 100%"\r\n'),
        *(b'Content-Disposition: form-data; name="file_id"\r\n\r\nx', b"\r\n-b\r\n--\r\n", b""),
    ):
        judged(form(disposition=FILE, value=value))
        judged(form(disposition=b'name="prompt"', value=value))


def test_ordinary_part_passes() -> None:
    for disposition, headers in (
        (FILE, b"Content-Type: audio/wav\r\n"),
        (b"name=file; filename=a.wav; filename*=utf-8''a.wav", b"Content-Type: audio/wav\r\n"),
        (b'name="file"; filename="file_id = \xc3\xa4; x"', b""),
        (b'name="model"', b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 1\r\n"),
        (b'name="timestamp_granularities[]"', b"Content-Transfer-Encoding: binary\r\n"),
        *((b'name="include[0]"', b""), (b'name="chunking_strategy[type]"', b"")),
    ):
        judged(form(disposition=disposition, headers=headers))


def test_unknown_field_is_refused() -> None:
    for disposition, reason in (
        (b'name="file_id"', "file_id is not known"),
        (b'name="file[0][file_id]"', r"file\[0\].file_id is not known"),
        (b'name="File"; filename="x"', "File is not known"),
        (b'name="file"', "file is not known"),
        (b'name="chunking_strategy[file_id]"', "chunking_strategy.file_id"),
        (b'name="_charset_"', "_charset_ is not known"),
    ):
        with pytest.raises(StoredObjectError, match=reason):
            judged(form(disposition=disposition))


def test_stored_file_is_refused_unless_it_is_empty() -> None:
    with pytest.raises(StoredObjectError, match="file_id refers to a stored file"):
        judged(form(disposition=b'name="file_id"'), api="mistral")
    judged(form(disposition=b'name="file_id"', value=b""), api="mistral")


def test_disposition_with_two_readings_is_refused() -> None:
    for disposition in (
        *(b'name="model"; name="file_id"', b"name*=utf-8''file%5fid", b'name="file%5Fid"', b""),
        *(b'name="file+AF8-id"', b'name="=?utf-8?q?file=5Fid?="', b'name="model"; x="y"', b"name="),
        *(b'name="model" ; filename="x\\"; name="file_id"', b'name="file"; filename="x; name=file_id"'),
        b'name="fi\\le_id"',
    ):
        with pytest.raises(FormError, match="content-disposition"):
            judged(form(disposition=disposition))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (form(disposition=b'name="model";\r\n name="file_id"'), "folded"),
        (form(disposition=b'name="model"\nX: y'), "folded"),
        (form(b'Content-Disposition : form-data; name="model"\r\n\r\nv'), "folded"),
        (form(disposition=FILE, headers=b'Content-Disposition: form-data; name="x"\r\n'), "twice"),
        (form(disposition=FILE, headers=b"Content-Type: multipart/mixed; boundary=c\r\n"), "content-type"),
        (form(disposition=FILE, headers=b"Content-Type: text/plain; charset=utf-7\r\n"), "content-type"),
        (form(disposition=FILE, headers=b"Content-Transfer-Encoding: base64\r\n"), "transfer encoding"),
        (form(disposition=FILE, headers=b"X-Name: file_id\r\n"), "the header x-name"),
        (b"preamble\r\n" + form(disposition=FILE), "does not begin"),
        (form(disposition=FILE) + b"epilogue", "follows its last boundary"),
        (form(disposition=FILE)[:-8], "does not end"),
        (form(disposition=FILE, value=b"x\n--b\r\ny"), "line of its own"),
        (form(disposition=FILE, value=b"x\r\n--b \r\ny"), "line of its own"),
        (form(disposition=FILE, value=b"x\r\n--bx\r\ny"), "line of its own"),
        (form(b"\r\nv"), "no blank line"),
        (form(b"Content-Disposition: form-data"), "no blank line"),
        (form(*[b'Content-Disposition: form-data; name="model"\r\n\r\nv'] * (MAX_PARTS + 1)), "parts"),
        (b"", "does not begin"),
    ],
)
def test_form_with_two_readings_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(FormError, match=reason):
        judged(body)


def test_boundary() -> None:
    for content_type, boundary in (
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data; boundary="a b"', b"a b"),
        (b"multipart/form-data; charset=utf-8; boundary=abc", b"abc"),
        (b'multipart/form-data; boundary="a "', None),
    ):
        assert form_boundary(content_type) == boundary
