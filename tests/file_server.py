"""A small file server on this machine, with the faults that a download can meet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class FileServer:
    """What it serves and how; tests change the fields while it runs.

    Attributes:
        url: Its address, without a slash at the end.
        files: Content by name.
        etag: Of every file; None for none.
        ranges: Whether it answers requests for a part with that part.
        status: What it answers instead of 200.
        content_type: What it says it serves.
        cut_after: Bytes after which it closes the connection, one entry used up by each answer; None for not at all.
        announced: What it says the length is; None for the truth.
        requests: The headers of every request, lower case.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"one"'
    ranges: bool = True
    status: int = 200
    content_type: str = "application/octet-stream"
    cut_after: list[int | None] = field(default_factory=list)
    announced: int | None = None
    requests: list[dict[str, str]] = field(default_factory=list)


class _Quiet(ThreadingHTTPServer):
    """Says nothing when a client hangs up, as one does that refuses what comes."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def file_server() -> Iterator[FileServer]:
    """A running server, on a free port of 127.0.0.1."""
    state = FileServer()
    server = _Quiet(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(state: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # the name that http.server asks for
            state.requests.append({name.lower(): value for name, value in self.headers.items()})
            content = state.files.get(self.path.lstrip("/"))
            if content is None or state.status != 200:
                self._answer(404 if content is None else state.status, b"no", {})
            else:
                self._serve(content)

        def _serve(self, content: bytes) -> None:
            first = self._first(len(content))
            headers = {"Content-Type": state.content_type} | ({"ETag": state.etag} if state.etag else {})
            if first is None:
                self._answer(200, content, headers)
            elif first >= len(content):
                self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            else:
                headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
                self._answer(206, content[first:], headers)

        def _first(self, length: int) -> int | None:
            """Where the answer begins; None for a whole file."""
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            same = self.headers.get("If-Range") == state.etag
            return int(asked[1]) if asked and same and state.ranges else None

        def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            announced = len(content) if state.announced is None else state.announced
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            cut = state.cut_after.pop(0) if state.cut_after else None
            self.wfile.write(content[:cut])
            self.close_connection = cut is not None or announced != len(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
