"""A pytest plugin with which the official A2A TCK reaches an agent that wants a
token and lives behind a hub. It changes what the TCK sends, never what it checks:

- A2A_TCK_VERSION: the header A2A-Version, also where the card is fetched. A2A 1.0
  (section 3.6.1) asks it of every request; the TCK leaves it out there.
- A2A_TCK_TOKEN: the token, on every request but those of tests for its absence.
- A2A_TCK_TENANT: the agent's name at the hub, as agents/NAME, on gRPC calls, and in
  the card's path, which the TCK of 0.3 looks for at the host alone. It also makes each
  message's id unique: the TCK uses one id for many messages, and the hub takes a
  message that comes twice as the same one.
"""

import collections
import itertools
import os

import grpc
import httpx

VERSION = os.environ.get("A2A_TCK_VERSION")
TOKEN = os.environ.get("A2A_TCK_TOKEN")
TENANT = os.environ.get("A2A_TCK_TENANT")

count = itertools.count(1)


def wants_token():
    """Whether the test that runs is not about a request without a token."""
    return TOKEN and "without_auth" not in os.environ.get("PYTEST_CURRENT_TEST", "")


def fresh(message_id):
    return f"{message_id}-{os.getpid()}-{next(count)}"


def renamed(body):
    """The body of a request, with a message id of its own."""
    if not TENANT or not isinstance(body, dict):
        return body
    outer = body.get("params", body)
    message = outer.get("message") if isinstance(outer, dict) else None
    if not isinstance(message, dict) or not isinstance(message.get("messageId"), str) or not message["messageId"]:
        return body
    outer = {**outer, "message": {**message, "messageId": fresh(message["messageId"])}}
    return {**body, "params": outer} if "params" in body else outer


def patch_httpx(kind):
    build = kind.build_request

    def build_request(self, method, url, **more):
        if more.get("json") is not None:
            more["json"] = renamed(more["json"])
        request = build(self, method, url, **more)
        if wants_token():
            request.headers.setdefault("Authorization", f"Bearer {TOKEN}")
        if VERSION and request.url.path.endswith("/agent-card.json"):
            request.headers.setdefault("A2A-Version", VERSION)
        return request

    kind.build_request = build_request


def patch_requests():
    try:
        import requests
    except ImportError:  # only the TCK of 0.3 has it
        return
    prepare = requests.Session.prepare_request

    def prepare_request(self, request):
        scheme, rest = request.url.split("://", 1)
        host, _, path = rest.partition("/")
        if TENANT and path == ".well-known/agent-card.json":
            request.url = f"{scheme}://{host}/a2a/{TENANT}/{path}"
        prepared = prepare(self, request)
        if wants_token():
            prepared.headers.setdefault("Authorization", f"Bearer {TOKEN}")
        return prepared

    requests.Session.prepare_request = prepare_request


Details = collections.namedtuple("Details", "method timeout metadata credentials wait_for_ready compression")


class Behind(Details, grpc.ClientCallDetails):
    pass


class Caller(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def call(self, continuation, details, request):
        metadata = list(details.metadata or [])
        if wants_token():
            metadata.append(("authorization", f"Bearer {TOKEN}"))
        if TENANT:
            metadata.append(("a2a-tenant", TENANT))
            if getattr(getattr(request, "message", None), "message_id", ""):
                copy = type(request)()
                copy.CopyFrom(request)
                copy.message.message_id = fresh(copy.message.message_id)
                request = copy
        return continuation(Behind(details.method, details.timeout, metadata, details.credentials, details.wait_for_ready, details.compression), request)

    intercept_unary_unary = call
    intercept_unary_stream = call


def patch_grpc():
    dial = grpc.insecure_channel
    grpc.insecure_channel = lambda *args, **more: grpc.intercept_channel(dial(*args, **more), Caller())


patch_httpx(httpx.Client)
patch_httpx(httpx.AsyncClient)
patch_requests()
patch_grpc()
