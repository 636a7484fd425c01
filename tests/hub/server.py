"""HTTP: routes, the log of calls, and the faults that a test plants."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.store import Store, User


@dataclass(frozen=True)
class Request:
    """One call. `groups` are the parts of the path that the route's pattern names."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    groups: dict[str, str] = field(default_factory=dict)
    user: User | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Response:
    """One answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What happens instead of the next `times` calls that match.

    `response` None cuts the connection when half of the request's body has been read.
    """

    method: str
    path: str
    response: Response | None
    times: int = 1

    def takes(self, method: str, path: str) -> bool:
        if self.times == 0 or method != self.method or not re.search(self.path, path):
            return False
        self.times -= 1
        return True


@dataclass(frozen=True)
class Call:
    """One line of the log; `received` counts the bytes of the request's body."""

    method: str
    path: str
    status: int
    received: int


Handler = Callable[["Hub", Request], Response]
ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []


def route(method: str, pattern: str) -> Callable[[Handler], Handler]:
    """Registers a handler for a method and a pattern of the unquoted path."""

    def register(handler: Handler) -> Handler:
        ROUTES.append((method, re.compile(pattern), handler))
        return handler

    return register


def answer(content: object, status: int = 200, **headers: str) -> Response:
    """JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, json.dumps(content).encode(), {"Content-Type": "application/json", **named})


def refuse(status: int, message: str, code: str = "") -> Response:
    """An error as the Hub words it: the message in the body and in a header, sometimes a code."""
    headers = {"X-Error-Message": message, "X-Error-Code": code}
    return answer({"error": message}, status, **{name: value for name, value in headers.items() if value})


class Hub:
    """A running server.

    Attributes:
        url: Of the API, under 127.0.0.1.
        storage: Of the storage, under localhost: for a client that is another origin, where no token may go.
        store: Its memory.
        log: Every call so far.
        faults: Planted by tests.
        leaks: Calls that carried a Hub token to the storage.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.log: list[Call] = []
        self.faults: list[Fault] = []
        self.leaks: list[str] = []
        self.lock = threading.RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_HttpHandler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.storage = f"http://localhost:{self.server.server_port}"

    def received(self, pattern: str = "") -> int:
        """Bytes of the bodies of all calls whose path matches."""
        return sum(call.received for call in self.log if re.search(pattern, call.path))

    def calls(self, method: str, pattern: str) -> int:
        """How many calls match."""
        return sum(call.method == method and bool(re.search(pattern, call.path)) for call in self.log)

    def dispatch(self, request: Request) -> Response:
        """Runs the first route that matches."""
        for method, pattern, handler in ROUTES:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                groups = {name: value or "" for name, value in match.groupdict().items()}
                with self.lock:
                    return self._authorised(handler, request, groups)
        return refuse(404, f"no route for {request.method} {request.path}")

    def _authorised(self, handler: Handler, request: Request, groups: dict[str, str]) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.headers["host"].startswith("localhost"):
            self.leaks += [request.path] if token in self.store.tokens else []
        elif token and token not in self.store.tokens:
            return refuse(401, "Invalid credentials in Authorization header")
        user = self.store.tokens.get(token)
        changes = {"groups": groups, "user": user}
        return handler(self, Request(**{**vars(request), **changes}))


class _HttpHandler(BaseHTTPRequestHandler):
    hub: ClassVar[Hub]  # set in a subclass, one for each server
    protocol_version = "HTTP/1.1"

    def handle_call(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        fault = next((fault for fault in self.hub.faults if fault.takes(self.command, path)), None)
        if fault is not None and fault.response is None:
            self._cut(path)
            return
        body = self._body()
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, path, query, headers, body)
        response = self.hub.dispatch(request) if fault is None else fault.response
        assert response is not None
        self.hub.log.append(Call(self.command, path, response.status, len(body)))
        self._reply(response)

    do_GET = do_HEAD = do_POST = do_PUT = handle_call

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _cut(self, path: str) -> None:
        received = self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
        self.hub.log.append(Call(self.command, path, 0, len(received)))
        self.close_connection = True

    def _reply(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in {"Content-Length": str(len(response.body)), **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running_hub(tokens: dict[str, User]) -> Iterator[Hub]:
    """A Hub that answers until the block ends."""
    from tests.hub import api, transfers, xet  # noqa: F401  # each registers its routes

    hub = Hub(Store(tokens))
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()
