"""An agent on the official Python SDK: it counts words, asks back, can be
cancelled, and votes. Start it with:

    pip install -r requirements.txt && python agent.py [PORT [KEYFILE]]
"""

import asyncio
import base64
import hashlib
import json
import os
import pathlib
import socket
import sys

import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.json_format import ParseDict
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from a2a.helpers.proto_helpers import get_data_parts, new_data_part, new_task_from_user_message, new_text_part
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCard
from a2a.utils.signing import create_agent_card_signer


def load_key(path):
    """The key signs the card and the ballots. A new one is another voter, so keep it."""
    if path and pathlib.Path(path).exists():
        return serialization.load_pem_private_key(pathlib.Path(path).read_bytes(), None)
    key = Ed25519PrivateKey.generate()
    if path:
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
            f.write(pem)
    return key


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def canonical(value):
    """Canonical JSON (RFC 8785) of what has texts, whole numbers, lists and objects."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class Counter(AgentExecutor):
    def __init__(self, key):
        self.key = key
        self.public = key.public_key().public_bytes_raw()

    def ballot(self, motion, metadata):
        """A ballot is bound to the round and to the hash of what is voted on.
        Under which name and role the voter is registered, the message says."""
        b = {  # a number arrives as a float, because a data part is a google.protobuf.Value
            "motion": motion["id"], "round": int(motion["round"]), "voter": metadata["conclave/agent"], "role": metadata["conclave/role"],
            "subject": motion["subject"], "verdict": "approve", "reasons": ["its words can be counted"],
            "public_key": base64.b64encode(self.public).decode(),
        }
        b["signature"] = base64.b64encode(self.key.sign(canonical(b))).decode()
        return b

    async def execute(self, context, event_queue):
        task = context.current_task
        if not task:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        words = context.get_user_input().strip()
        motions = [d for d in get_data_parts(context.message.parts) if isinstance(d, dict) and "motion" in d]
        if motions:
            await updater.add_artifact([new_text_part("I approve."), new_data_part(self.ballot(motions[0]["motion"], context.message.metadata))], last_chunk=True)
        elif words.startswith("wait"):
            await asyncio.Event().wait()  # until it is cancelled
        elif words == "count" and not task:
            await updater.requires_input(updater.new_agent_message([new_text_part("Count what?")]))
            return
        else:
            await updater.add_artifact([new_text_part(f"{len(words.split())} words")], last_chunk=True)
        await updater.complete()

    async def cancel(self, context, event_queue):
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def make_card(origin, executor):
    kid = b64url(hashlib.sha256(canonical({"crv": "Ed25519", "kty": "OKP", "x": b64url(executor.public)})).digest())  # RFC 7638
    only = os.environ.get("A2A_PROTOCOL_VERSION")  # speak nothing else
    interfaces = [
        {"url": origin + path, "protocolBinding": binding, "protocolVersion": version}
        for version in ("1.0", "0.3")
        for binding, path in (("JSONRPC", "/a2a"), ("HTTP+JSON", "/rest"))
        if only in (None, version)
    ]
    card = ParseDict({
        "name": "Counter in Python", "description": "Counts words, and votes.", "version": "1.0.0",
        "supportedInterfaces": interfaces, "capabilities": {"streaming": True},
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain", "application/json"],
        "skills": [
            {"id": "count", "name": "Count words", "description": "Counts the words of a text.", "tags": ["text"]},
            {"id": "vote", "name": "Vote", "description": "Votes on motions, with a signed ballot.", "tags": ["conclave"]},
        ],
    }, AgentCard())
    create_agent_card_signer(executor.key, {"alg": "EdDSA", "kid": kid, "typ": "JOSE", "jku": origin + "/keys.json"})(card)
    return card, {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": b64url(executor.public), "kid": kid, "alg": "EdDSA", "use": "sig"}]}


def main():
    port = sys.argv[1] if len(sys.argv) > 1 else "0"
    key_file = sys.argv[2] if len(sys.argv) > 2 else None
    listener = socket.create_server(("127.0.0.1", int(port)))
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    executor = Counter(load_key(key_file))
    card, keys = make_card(origin, executor)
    handler = DefaultRequestHandler(agent_executor=executor, task_store=InMemoryTaskStore(), agent_card=card)
    app = Starlette(routes=[
        Route("/keys.json", lambda request: JSONResponse(keys)),
        *create_agent_card_routes(card),
        *create_jsonrpc_routes(handler, "/a2a", enable_v0_3_compat=True),
        *create_rest_routes(handler, enable_v0_3_compat=True, path_prefix="/rest"),
    ])
    print(f"listening at {origin}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
