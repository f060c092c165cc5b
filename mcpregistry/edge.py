"""What is answered before Django sees a request: all that daphne refuses by itself, in the API's shape, within limits.

daphne closes the connection on a long request line without a word, answers other nonsense with pages of its own, and
takes a body of any size.
"""

import json
from http import HTTPStatus
from typing import Any

from daphne import server
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketFactory
from django.conf import settings
from twisted.web import http

from mcpregistry.api import STATUS_CODES, error_body
from mcpregistry.headers import EVERY_ANSWER, PRIVATE

MAX_BODY_BYTES = 2 * settings.DATA_UPLOAD_MAX_MEMORY_SIZE  # beside the fields of a form there may be a file
PATIENCE = 10  # times MAX_BODY_BYTES that are read, and dropped, to answer whoever sends more
MAX_DIGITS_OF_A_LENGTH = 12
LINGER_S = 2  # until the answer is read; who is cut off while sending does not see it
MESSAGES = {
    400: "The request could not be understood.",
    413: "The request body is too large.",
    414: "The address is too long.",
    431: "The headers are too many or too long.",
    500: "Something went wrong on our side; it has been logged.",
    503: "The answer took too long; try again in a moment.",
}


def refusal(status: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body."""
    code = STATUS_CODES.get(status, "server_error" if status >= 500 else "bad_request")
    body = json.dumps(error_body(code, MESSAGES.get(status, HTTPStatus(status).phrase))).encode()
    told = EVERY_ANSWER | {"Cache-Control": PRIVATE}
    told |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return [(name.encode(), value.encode()) for name, value in told.items()], body


class Request(WebRequest):
    _parsePOSTFormSubmission = False  # Django does; twice is too often for a large form
    received_bytes = 0

    def handleContentChunk(self, data: bytes) -> None:
        self.received_bytes += len(data)
        if self.received_bytes <= MAX_BODY_BYTES:
            super().handleContentChunk(data)
        elif self.received_bytes > PATIENCE * MAX_BODY_BYTES:
            self.channel.refuse(413)

    def process(self) -> Any:
        if self.received_bytes > MAX_BODY_BYTES:
            return self.basic_error(413, b"", "")
        if not all(value.isascii() for value in self.requestHeaders.getRawHeaders(b"Sec-WebSocket-Protocol", [])):
            return self.basic_error(400, b"", "")  # the handshake would end with an error of ours
        return super().process()

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        headers, told = refusal(status)
        self.handle_reply({"type": "http.response.start", "status": status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": told})


class Channel(http.HTTPChannel):
    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(431 if self._receivedHeaderSize else 414)

    def headerReceived(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and len(value.strip()) > MAX_DIGITS_OF_A_LENGTH:
            self.refuse(413)
            return False
        return bool(super().headerReceived(line))

    def _respondToBadRequestAndDisconnect(self) -> None:
        is_large = self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders
        self.refuse(431 if is_large else 400)

    def refuse(self, status: int) -> None:
        """Answer, take in nothing more, and close once the answer is read."""
        headers, body = refusal(status)
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(), b"Connection: close"]
        lines += [b": ".join(header) for header in headers]
        self.dataReceived = self.lineReceived = self.rawDataReceived = _drop  # type: ignore[method-assign]
        transport: Any = self.transport
        transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        transport.loseWriteConnection()
        self.setTimeout(LINGER_S)


def _drop(data: bytes) -> None:
    pass


class Factory(HTTPFactory):
    protocol = Channel

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol


class Websockets(WebSocketFactory):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.setProtocolOptions(failByDrop=False)  # who sends nonsense is told so before the connection ends


def install() -> None:
    """daphne has no setting for it: whatever starts it takes the factories from there when it begins to listen."""
    server.HTTPFactory, server.WebSocketFactory = Factory, Websockets
