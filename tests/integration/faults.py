# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of a lab's API server that goes wrong by plan.

Who asks through it shows a bearer token, which is passed on (a client certificate could not be).
HTTP/1.1 only; answers are streamed, so watches work.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import json
import random
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Literal

import yaml

from ansible_collections.gpufleet.sharing.tests.integration.labtools import Lab
from ansible_collections.gpufleet.sharing.tests.lab.gpulab.pki import Authority

WRITES = ("POST", "PUT", "PATCH", "DELETE")
ACCOUNT = "faults"
PIECE = 65536
HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")
REASONS = {
    409: "Conflict",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(frozen=True)
class Fault:
    """What goes wrong: a delay, and then a status instead of the server's, or a cut connection.

    cut: `before` the request reaches the server, `after` the server has done it, or in the middle
    of the `body` of the answer. late: the server does it, and the status is told all the same.
    """

    status: int = 0
    retry_after: int | None = None  # seconds
    cut: Literal["", "before", "after", "body"] = ""
    delay: float = 0  # seconds
    late: bool = False

    def __str__(self) -> str:
        words = [f"{self.delay} s late"] if self.delay else []
        words += [f"{self.status}{' though done' if self.late else ''}"] if self.status else []
        words += [f"cut {self.cut}"] if self.cut else []
        return ", ".join(words)

    @property
    def reaches(self) -> bool:
        """The server gets the request."""
        return self.cut != "before" and (not self.status or self.late)


@dataclass(frozen=True)
class Rule:
    """Which requests meet a fault: of those that match every nth after `skip`, `times` at most."""

    fault: Fault
    methods: Collection[str] = ()  # all
    path: str = ""  # a regular expression that is searched for, query included
    skip: int = 0
    every: int = 1
    times: int = 0  # no limit
    probability: float = 1

    def matches(self, method: str, path: str) -> bool:
        return (not self.methods or method in self.methods) and bool(re.search(self.path, path))


@dataclass
class Request:
    """A request that arrived, and what became of it."""

    method: str
    path: str
    body: str  # its hash
    fault: Fault | None
    status: int = 0  # of the server; 0: it was not asked, or did not answer
    at: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class FaultProxy:
    """The proxy while a with statement lasts. `lab` is the lab as seen through it.

    The first rule that fires decides. Rules may be exchanged at any time; counting starts anew.
    """

    def __init__(self, lab: Lab, folder: Path, *rules: Rule, seed: int = 0) -> None:
        """Use a folder, which need not exist, for keys and a kubeconfig."""
        folder.mkdir(parents=True, exist_ok=True)
        record = json.loads(_state(lab, "lab.json").read_text(encoding="utf-8"))
        self._upstream = int(record["ports"]["apiserver"])
        self._trust = ssl.create_default_context(cafile=_state(lab, "pki/ca.crt"))
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self.requests: list[Request] = []
        self.use(*rules)
        authority = Authority(folder / "pki")
        pair = authority.server("proxy", ["localhost"], ["127.0.0.1"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        self._server = _Server(self, context)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        self.user = f"system:serviceaccount:kube-system:{ACCOUNT}"
        self.token = _token(lab)
        kubeconfig = folder / "kubeconfig"
        _write_kubeconfig(kubeconfig, self.url, authority.cert, self.token)
        self.lab = dataclasses.replace(lab, environ={**lab.environ, "KUBECONFIG": str(kubeconfig)})

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.cut_all()

    def use(self, *rules: Rule) -> None:
        """Go by these rules from now on."""
        with self._lock:
            self._rules: Sequence[Rule] = rules
            self._matched: Counter[int] = Counter()  # by the place of the rule
            self._fired: Counter[int] = Counter()

    @property
    def faults(self) -> list[Request]:
        """The requests that met a fault."""
        return [request for request in self.requests if request.fault]

    @property
    def arrived_twice(self) -> list[str]:
        """Write requests, the same to the last byte, that came more than once."""
        return self._twice([r for r in self.requests if r.method in WRITES])

    @property
    def done_twice(self) -> list[str]:
        """Those of them that the server carried out more than once."""
        return self._twice([r for r in self.requests if r.method in WRITES and 0 < r.status < 300])

    @staticmethod
    def _twice(requests: Sequence[Request]) -> list[str]:
        counts = Counter((str(request), request.body) for request in requests)
        return [what for (what, _body), count in counts.items() if count > 1]

    def arrive(self, method: str, path: str, body: bytes) -> Request:
        """Take down a request and decide what it meets."""
        with self._lock:
            matching = (n for n, rule in enumerate(self._rules) if rule.matches(method, path))
            fault = next((self._rules[n].fault for n in matching if self._fires(n)), None)
            request = Request(method, path, hashlib.sha256(body).hexdigest(), fault)
            self.requests.append(request)
        return request

    def _fires(self, place: int) -> bool:
        """Whether a rule that matches fires."""
        rule = self._rules[place]
        self._matched[place] += 1
        number = self._matched[place] - rule.skip
        fires = (
            number > 0
            and number % rule.every == 0
            and (not rule.times or self._fired[place] < rule.times)
            and self._random.random() < rule.probability
        )
        self._fired[place] += fires
        return fires

    def forward(self, request: Request, headers: Message, body: bytes) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection("127.0.0.1", self._upstream, context=self._trust)
        connection.putrequest(request.method, request.path, True, True)
        for name, value in headers.items():
            if name.lower() not in HOP:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Connection", "close")
        connection.endheaders(body)
        response = connection.getresponse()
        request.status = response.status
        return response


class _Cut(Exception):
    """The connection to the client is to be cut."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: FaultProxy, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy
        self._context = context
        self._open: set[ssl.SSLSocket] = set()

    def get_request(self) -> tuple[ssl.SSLSocket, object]:
        """Accept a client; the handshake is left to its thread."""
        plain, address = super().get_request()
        client = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._open.add(client)
        return client, address

    def shutdown_request(self, request: ssl.SSLSocket) -> None:  # type: ignore[override]
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may go as they like."""

    def cut_all(self) -> None:
        for client in self._open.copy():
            _cut(client)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = self.server.proxy.arrive(self.command, self.path, body)
        try:
            self._answer(request, request.fault or Fault(), body)
        except (_Cut, OSError, http.client.HTTPException):  # a server that is down cuts as well
            self.close_connection = True
            _cut(self.connection)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _answer(self, request: Request, fault: Fault, body: bytes) -> None:
        time.sleep(fault.delay)
        if fault.reaches:
            with self.server.proxy.forward(request, self.headers, body) as response:
                if not fault.status and fault.cut != "after":
                    self._relay(response, fault.cut == "body")
                else:
                    response.read()
        if fault.cut:
            raise _Cut
        if fault.status:
            self._refuse(fault)

    def _refuse(self, fault: Fault) -> None:
        reason = REASONS.get(fault.status, "Unknown")
        if (fault.status, self.command) == (409, "POST"):
            reason = "AlreadyExists"
        document = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": f"injected: {fault}",
            "reason": reason,
            "code": fault.status,
        }
        body = json.dumps(document).encode()
        self.send_response(fault.status)
        if fault.retry_after is not None:
            self.send_header("Retry-After", str(fault.retry_after))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _relay(self, response: http.client.HTTPResponse, cut: bool) -> None:
        """Pass on an answer as it comes; a cut leaves out the second half, or all but a piece."""
        self.send_response_only(response.status)  # the server's own Date is passed on
        for name, value in response.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        length = response.length
        chunked = length is None
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else _length(length)))
        self.end_headers()
        if cut:
            piece = response.read1(PIECE) if chunked else response.read((length or 0) // 2)
            self._write(piece, chunked)
            raise _Cut
        while piece := response.read1(PIECE):
            self._write(piece, chunked)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _write(self, piece: bytes, chunked: bool) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)

    def log_message(self, *_arguments: object) -> None:
        """Requests are recorded, not printed."""


def _length(length: int | None) -> tuple[str, str]:
    return "Content-Length", str(length)


def _cut(client: socket.socket) -> None:
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:  # the client was faster
        return


def _state(lab: Lab, name: str) -> Path:
    return Path(lab.environ["GPULAB_STATE"]) / name


def _token(lab: Lab) -> str:
    """A token of an account that may do everything."""
    account = {"name": ACCOUNT, "namespace": "kube-system"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ACCOUNT},
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", **account}],
    }
    lab.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}, binding)
    return lab.kubectl("create", "token", ACCOUNT, "-n", "kube-system", "--duration=24h").strip()


def _write_kubeconfig(path: Path, url: str, ca: Path, token: str) -> None:
    cluster = {"server": url, "certificate-authority": str(ca)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": ACCOUNT,
        "clusters": [{"name": ACCOUNT, "cluster": cluster}],
        "users": [{"name": ACCOUNT, "user": {"token": token}}],
        "contexts": [{"name": ACCOUNT, "context": {"cluster": ACCOUNT, "user": ACCOUNT}}],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
