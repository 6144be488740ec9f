"""Bodies: how long they are, and in which chunks and encodings they come."""

from __future__ import annotations

import gzip
import zlib
from typing import Final

from rig.manners.behaviour import BODY, Behaviour, chunked, cut, head, raw, whole

_CHUNK: Final = f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n"
_PACKED: Final = gzip.compress(BODY)
_LENGTH: Final = f"Content-Length: {len(BODY)}"

BEHAVIOURS: Final = (
    Behaviour(name="no length and the end", script=(cut(head("200 OK") + BODY),)),
    Behaviour(
        name="no length, close announced", script=(cut(head("200 OK", "Connection: close") + BODY),)
    ),
    Behaviour(
        name="a length, close announced",
        script=(cut(head("200 OK", _LENGTH, "Connection: close") + BODY),),
    ),
    Behaviour(name="more than its length", script=(raw(whole().pieces[0] + b"and more"),)),
    Behaviour(
        name="more than its length, and another request",
        script=(
            raw(
                head("302 Found", "Location: /b", "Content-Length: 2") + b"no" + b"and more",
            ),
            whole(),
        ),
    ),
    Behaviour(name="two equal lengths", script=(raw(head("200 OK", _LENGTH, _LENGTH) + BODY),)),
    Behaviour(
        name="two equal lengths in one line",
        script=(raw(head("200 OK", f"{_LENGTH}, {len(BODY)}") + BODY),),
    ),
    Behaviour(
        name="two different lengths",
        script=(cut(head("200 OK", _LENGTH, "Content-Length: 5") + BODY),),
        given=None,
        older="goes by the last one",
    ),
    Behaviour(
        name="a negative length",
        script=(cut(head("200 OK", "Content-Length: -5") + BODY),),
        given=None,
    ),
    Behaviour(
        name="a length with a sign",
        script=(cut(head("200 OK", f"Content-Length: +{len(BODY)}") + BODY),),
        given=None,
        older="takes it",
    ),
    Behaviour(
        name="a blank length", script=(cut(head("200 OK", "Content-Length: ") + BODY),), given=None
    ),
    Behaviour(
        name="a length of letters",
        script=(cut(head("200 OK", "Content-Length: nine") + BODY),),
        given=None,
    ),
    Behaviour(
        name="a length with letters after it",
        script=(cut(head("200 OK", _LENGTH + " bytes") + BODY),),
        given=None,
        older="reads the digits",
    ),
    Behaviour(
        name="a length with zeros before it",
        script=(cut(head("200 OK", f"Content-Length: 000{len(BODY)}") + BODY),),
    ),
    Behaviour(
        name="a length of thirty digits",
        script=(cut(head("200 OK", "Content-Length: " + "9" * 30) + BODY),),
    ),
    Behaviour(
        name="a length of an exabyte",
        script=(cut(head("200 OK", f"Content-Length: {1 << 60}") + BODY),),
        given=None,
    ),
    Behaviour(name="a chunk", script=(chunked(_CHUNK + b"0\r\n\r\n"),)),
    Behaviour(
        name="chunks of one byte",
        script=(chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"),),
    ),
    Behaviour(
        name="chunks with extensions",
        script=(chunked(b'5;name="value";x\r\nhello\r\n0;last\r\n\r\n'),),
        given=b"hello",
    ),
    Behaviour(
        name="chunks with trailers",
        script=(chunked(_CHUNK + b"0\r\nX-Checksum: abc\r\nDate: now\r\n\r\n", "Trailer: Date"),),
    ),
    Behaviour(
        name="sizes of chunks in capitals",
        script=(chunked(b"0A\r\n0123456789\r\n00B\r\n0123456789a\r\n0\r\n\r\n"),),
        given=b"01234567890123456789a",
    ),
    Behaviour(
        name="a size with blanks after it",
        script=(chunked(b"5  \r\nhello\r\n0\r\n\r\n"),),
        given=b"hello",
    ),
    Behaviour(
        name="chunks whose lines end with a line feed only",
        script=(cut(head("200 OK", "Transfer-Encoding: chunked") + b"5\nhello\n0\n\n"),),
        given=b"hello",
    ),
    Behaviour(name="a size that is none", script=(chunked(b"zz\r\nhello\r\n"),), given=None),
    Behaviour(name="a size below nothing", script=(chunked(b"-5\r\nhello\r\n"),), given=None),
    Behaviour(
        name="a size of twenty digits", script=(chunked(b"f" * 20 + b"\r\nhello\r\n"),), given=None
    ),
    Behaviour(
        name="a chunk longer than its size",
        script=(cut(chunked(b"4\r\nhello\r\n0\r\n\r\n").pieces[0]),),
        given=None,
    ),
    Behaviour(
        name="chunks without their end",
        script=(cut(chunked(_CHUNK).pieces[0]), chunked(_CHUNK + b"0\r\n\r\n")),
    ),
    Behaviour(
        name="chunks and a length",
        script=(chunked(_CHUNK + b"0\r\n\r\n", "Content-Length: 5"),),
    ),
    Behaviour(
        name="chunks and a length of more",
        script=(chunked(_CHUNK + b"0\r\n\r\n", "Content-Length: 99999"),),
    ),
    Behaviour(
        name="a length and chunks",
        script=(
            raw(
                head("200 OK", "Content-Length: 5", "Transfer-Encoding: chunked")
                + _CHUNK
                + b"0\r\n\r\n"
            ),
        ),
    ),
    Behaviour(
        name="chunks in HTTP/1.0",
        script=(
            cut(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNK + b"0\r\n\r\n"),
        ),
    ),
    Behaviour(
        name="Transfer-Encoding: identity",
        script=(cut(head("200 OK", "Transfer-Encoding: identity", _LENGTH) + BODY),),
    ),
    Behaviour(
        name="Transfer-Encoding: gzip, chunked",
        script=(
            cut(
                head("200 OK", "Transfer-Encoding: gzip, chunked")
                + b"%x\r\n%b\r\n0\r\n\r\n" % (len(_PACKED), _PACKED)
            ),
        ),
        given=None,
        older="undoes both",
    ),
    Behaviour(
        name="an unknown Transfer-Encoding",
        script=(cut(head("200 OK", "Transfer-Encoding: rot13") + BODY),),
        given=None,
    ),
    *(
        Behaviour(
            name=f"Content-Encoding: {label}",
            script=(whole(f"Content-Encoding: {label}", body=packed),),
            given=packed,
        )
        for label, packed in (
            ("gzip", _PACKED),
            ("x-gzip", _PACKED),
            ("deflate", zlib.compress(BODY)),
            ("br", b"\x0b\x02\x80hello\x03"),
            ("zstd", b"labelled only"),
            ("compress", b"labelled only too"),
            ("aws-chunked", BODY),
            ("identity", BODY),
            ("none", BODY),
        )
    ),
    Behaviour(
        name="Content-Encoding: gzip in chunks, cut",
        script=(
            cut(chunked(_CHUNK[:20], "Content-Encoding: gzip").pieces[0]),
            chunked(_CHUNK + b"0\r\n\r\n", "Content-Encoding: gzip"),
        ),
    ),
)
