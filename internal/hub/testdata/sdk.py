"""Talks to a counter (examples/agents) behind the hub with the official Python
SDK: send, stream, subscribe, cancel, and an answer to what the agent asks back.
Also verifies the signature of the hub's card. Called with the agent's address and
a token. Prints a line for each interface."""

import asyncio
import json
import sys
import urllib.request
from urllib.parse import urlsplit

import httpx
from jwt.api_jwk import PyJWK

from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.helpers.proto_helpers import get_artifact_text, get_message_text, new_text_message
from a2a.types import CancelTaskRequest, Role, SendMessageRequest, SubscribeToTaskRequest, TaskState
from a2a.utils.signing import InvalidSignaturesError, create_signature_verifier

url, token = sys.argv[1:3]


def key_of(kid, jku):
    assert urlsplit(jku).netloc == urlsplit(url).netloc, jku
    with urllib.request.urlopen(jku) as response:
        return PyJWK(next(k for k in json.load(response)["keys"] if k["kid"] == kid))


def request(text, task=None):
    message = new_text_message(text, role=Role.ROLE_USER)
    if task:
        message.task_id, message.context_id = task.id, task.context_id
    return SendMessageRequest(message=message)


async def drain(stream, seen):
    """Collects what a stream tells, and returns the last state."""
    async for event in stream:
        seen.append(event)
    return state_of(seen)


def state_of(events):
    state = None
    for event in events:
        if event.HasField("task"):
            state = event.task.status.state
        if event.HasField("status_update"):
            state = event.status_update.status.state
    return state


def task_of(events):
    return next(e.task for e in events if e.HasField("task"))


def answer_of(events):
    text = None
    for event in events:
        if event.HasField("task") and event.task.artifacts:
            text = get_artifact_text(event.task.artifacts[-1])
        if event.HasField("artifact_update"):
            text = get_artifact_text(event.artifact_update.artifact)
    return text


async def talk(http, card, binding, version):
    chosen = type(card)()
    chosen.CopyFrom(card)
    keep = [i for i in chosen.supported_interfaces if i.protocol_binding == binding and i.protocol_version == version]
    assert len(keep) == 1, (binding, version)
    del chosen.supported_interfaces[:]
    chosen.supported_interfaces.extend(keep)
    factory = lambda streaming: ClientFactory(ClientConfig(streaming=streaming, httpx_client=http, supported_protocol_bindings=[binding])).create(chosen)
    client, plain = factory(True), factory(False)

    seen = []
    assert await drain(plain.send_message(request("one two three")), seen) == TaskState.TASK_STATE_COMPLETED
    assert answer_of(seen) == "3 words", seen

    seen = []
    assert await drain(client.send_message(request("one two")), seen) == TaskState.TASK_STATE_COMPLETED
    assert answer_of(seen) == "2 words" and len(seen) > 1, seen

    # One who subscribes sees what the one who asked sees: the end by a cancellation.
    async def subscribe(task):
        heard = []
        async for event in client.subscribe(SubscribeToTaskRequest(id=task.id)):
            heard.append(event)
            if len(heard) == 1:
                await client.cancel_task(CancelTaskRequest(id=task.id))
        return state_of(heard)

    seen, subscription = [], None
    async for event in client.send_message(request("wait for me")):
        seen.append(event)
        subscription = subscription or asyncio.create_task(subscribe(task_of(seen)))
    assert state_of(seen) == TaskState.TASK_STATE_CANCELED, seen
    assert await subscription == TaskState.TASK_STATE_CANCELED

    seen = []
    assert await drain(plain.send_message(request("count")), seen) == TaskState.TASK_STATE_INPUT_REQUIRED, seen
    asks = task_of(seen)
    assert get_message_text(asks.status.message) == "Count what?", asks
    seen = []
    assert await drain(plain.send_message(request("a b c d", asks)), seen) == TaskState.TASK_STATE_COMPLETED, seen
    assert task_of(seen).id == asks.id and answer_of(seen) == "4 words", seen
    print(f"ok {binding} {version}", flush=True)


async def main():
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
        card = await A2ACardResolver(http, url).get_agent_card()
        verify = create_signature_verifier(key_of, ["EdDSA"])
        verify(card)
        forged = type(card)()
        forged.CopyFrom(card)
        forged.name = "Somebody else"
        try:
            verify(forged)
        except InvalidSignaturesError:
            print("ok the card is signed", flush=True)
        for version in ("1.0", "0.3"):
            for binding in ("JSONRPC", "HTTP+JSON"):
                await talk(http, card, binding, version)


asyncio.run(main())
