"""Heads of answers: status lines, header lines, and answers that come before the answer."""

from __future__ import annotations

from typing import Final

from rig.manners.behaviour import BODY, Behaviour, chunked, cut, head, raw, whole

_LENGTH: Final = f"Content-Length: {len(BODY)}"


def _status_line(line: bytes) -> bytes:
    return line + b"\r\n" + _LENGTH.encode() + b"\r\n\r\n" + BODY


BEHAVIOURS: Final = (
    Behaviour(name="a plain answer", script=(whole(),)),
    Behaviour(name="an empty body", script=(whole(body=b""),), given=b""),
    Behaviour(name="no reason phrase", script=(raw(_status_line(b"HTTP/1.1 200")),)),
    Behaviour(name="no reason phrase but a blank", script=(raw(_status_line(b"HTTP/1.1 200 ")),)),
    Behaviour(
        name="a reason phrase of 8,000 letters",
        script=(raw(_status_line(b"HTTP/1.1 200 " + b"o" * 8000)),),
    ),
    Behaviour(
        name="a reason phrase in Latin-1",
        script=(raw(_status_line("HTTP/1.1 200 Schön".encode("latin-1"))),),
    ),
    Behaviour(name="HTTP/1.0 with a length", script=(cut(_status_line(b"HTTP/1.0 200 OK")),)),
    Behaviour(name="HTTP/1.0 without a length", script=(cut(b"HTTP/1.0 200 OK\r\n\r\n" + BODY),)),
    Behaviour(
        name="HTTP/1.0 that keeps its connection",
        script=(
            raw(
                b"HTTP/1.0 302 Found\r\nConnection: keep-alive\r\nLocation: /b\r\n"
                b"Content-Length: 0\r\n\r\n"
            ),
            raw(_status_line(b"HTTP/1.0 200 OK\r\nConnection: keep-alive")),
        ),
    ),
    Behaviour(name="HTTP/0.9", script=(cut(BODY),), given=None),
    Behaviour(name="HTTP/1.2", script=(cut(_status_line(b"HTTP/1.2 200 OK")),), given=None),
    Behaviour(
        name="HTTP/3.1", script=(cut(_status_line(b"HTTP/3.1 200 OK")),), older="knows no 3.1"
    ),
    Behaviour(
        name="HTTP/2 over HTTP/1.1",
        script=(cut(_status_line(b"HTTP/2 200 OK")),),
        given=None,
        older="takes it for HTTP/1.1",
    ),
    Behaviour(name="another protocol", script=(cut(b"SSH-2.0-OpenSSH_9.2\r\n"),), given=None),
    Behaviour(
        name="a status of two digits", script=(cut(_status_line(b"HTTP/1.1 20 OK")),), given=None
    ),
    Behaviour(
        name="a status of four digits",
        script=(cut(_status_line(b"HTTP/1.1 2000 OK")),),
        older="refuses it",
    ),
    Behaviour(
        name="a status of letters", script=(cut(_status_line(b"HTTP/1.1 abc OK")),), given=None
    ),
    Behaviour(name="a status line alone", script=(cut(b"HTTP/1.1 200 OK\r\n"),), given=b""),
    Behaviour(name="half a status line", script=(cut(b"HTTP/1.1 2"),), given=None),
    Behaviour(
        name="an empty line before the answer",
        script=(cut(b"\r\n" + _status_line(b"HTTP/1.1 200 OK")),),
        given=None,
    ),
    Behaviour(
        name="a head in many pieces",
        script=(
            raw(
                *(b"HT", b"TP/1.1 200 O", b"K\r", b"\n" + _LENGTH.encode() + b"\r\n\r"),
                b"\n" + BODY,
            ),
        ),
    ),
    Behaviour(
        name="lines that end with a line feed only",
        script=(raw(b"HTTP/1.1 200 OK\n" + _LENGTH.encode() + b"\nX: y\n\n" + BODY),),
    ),
    Behaviour(name="a header line of 9,000 bytes", script=(whole("X: " + "y" * 9_000),)),
    Behaviour(name="a header line of 90,000 bytes", script=(whole("X: " + "y" * 90_000),)),
    Behaviour(
        name="a header line of 110,000 bytes",
        script=(whole("X: " + "y" * 110_000),),
        given=None,
    ),
    Behaviour(name="200 header lines", script=(whole(*(f"X-{n}: y" for n in range(200))),)),
    Behaviour(name="2,000 header lines", script=(whole(*(f"X-{n}: y" for n in range(2000))),)),
    Behaviour(
        name="a head of 280,000 bytes",
        script=(whole(*("X: " + "y" * 7_000 for _ in range(40))),),
    ),
    Behaviour(
        name="a head of 400,000 bytes",
        script=(whole(*("X: " + "y" * 40_000 for _ in range(10))),),
        given=None,
    ),
    *(
        Behaviour(name=f"a header line like a status line: {line}", script=(whole(line),))
        for line in ("HTTP/1.1: 200 OK", "HTTP/: y")
    ),
    Behaviour(
        name="a header line like a status line: HTTP/1.1 404",
        script=(whole("HTTP/1.1 404 Not Found"),),
        given=None,
    ),
    Behaviour(
        name="a folded header",
        script=(whole("Location-Note: one", " two", "\tthree", "X: y"),),
    ),
    Behaviour(
        name="a folded length",
        script=(raw(head("200 OK", "Content-Length:", f" {len(BODY)}") + BODY),),
        older="reads no folded length",
    ),
    Behaviour(
        name="a header line without a colon", script=(whole("nothing of the kind"),), given=None
    ),
    Behaviour(name="a header without a name", script=(whole(": nothing"),)),
    Behaviour(name="a header without a value", script=(whole("X:", "Y: "),)),
    Behaviour(name="a blank before the colon", script=(whole("X : y"),)),
    Behaviour(
        name="no blank after the colon",
        script=(raw(head("200 OK", f"content-LENGTH:{len(BODY)}") + BODY),),
    ),
    Behaviour(name="bytes that are not ASCII in a header", script=(whole(b"X: \xe4\xff\x80"),)),
    Behaviour(name="a null byte in a header", script=(whole(b"X: a\0b"),), given=None),
    Behaviour(
        name="a carriage return in a header",
        script=(whole(b"X: a\rb"),),
        given=None,
        older="takes it",
    ),
    Behaviour(name="escape sequences in a header", script=(whole(b"X: \x1b[31mred\x07"),)),
    Behaviour(
        name="100 Continue before the answer",
        script=(raw(head("100 Continue") + whole().pieces[0]),),
    ),
    Behaviour(
        name="103 Early Hints before the answer",
        script=(raw(head("103 Early Hints", "Link: </style.css>") + whole().pieces[0]),),
    ),
    Behaviour(
        name="102 Processing before the answer, which takes its time",
        script=(raw(head("102 Processing"), head("102 Processing"), whole().pieces[0]),),
    ),
    Behaviour(
        name="100 interim answers", script=(raw(head("103 Early Hints") * 100 + whole().pieces[0]),)
    ),
    Behaviour(
        name="an interim answer with a length",
        script=(raw(head("103 Early Hints", "Content-Length: 5") + whole().pieces[0]),),
    ),
    Behaviour(
        name="an interim answer and nothing more", script=(cut(head("100 Continue")),), given=None
    ),
    Behaviour(
        name="101 that nobody asked for",
        script=(cut(head("101 Switching Protocols", "Upgrade: websocket") + BODY),),
        unlike="it is no answer of HTTP/1.1, and what follows is no body",
    ),
    Behaviour(
        name="an upgrade that is offered", script=(whole("Upgrade: h2c", "Connection: Upgrade"),)
    ),
    Behaviour(
        name="Alt-Svc, Strict-Transport-Security and Refresh",
        script=(
            whole(
                'Alt-Svc: h3=":443"; ma=86400',
                "Strict-Transport-Security: max-age=31536000",
                "Refresh: 0; url=/b",
            ),
        ),
    ),
    Behaviour(name="a Content-Location is no Location", script=(whole("Content-Location: /b"),)),
    Behaviour(
        name="a name for the file", script=(whole('Content-Disposition: attachment; filename="b"'),)
    ),
    Behaviour(
        name="a header twice, in other letters",
        script=(chunked(b"3\r\nabc\r\n0\r\n\r\n", "x: 1", "X: 2", "x: 3"),),
        given=b"abc",
    ),
)
