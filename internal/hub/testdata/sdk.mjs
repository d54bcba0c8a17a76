// Talks to a counter (examples/agents) behind the hub with the official JavaScript
// SDK: send, stream, subscribe, cancel, and an answer to what the agent asks back.
// Also verifies the signature of the hub's card. Called with the folder that holds
// node_modules, the agent's address, and a token. Prints a line for each interface.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';

const [dir, url, token] = process.argv.slice(2);
const require = createRequire(path.join(dir, 'package.json'));
const { Message, TaskState, verifyAgentCardSignature } = require('@a2a-js/sdk');
const { ClientFactory, JsonRpcTransportFactory, RestTransportFactory, DefaultAgentCardResolver } = require('@a2a-js/sdk/client');

const withToken = (input, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set('Authorization', `Bearer ${token}`);
  return fetch(input, { ...init, headers });
};
const compat = { legacyCompat: { enabled: true } };
const factory = new ClientFactory({
  transports: [new JsonRpcTransportFactory({ fetchImpl: withToken, ...compat }), new RestTransportFactory({ fetchImpl: withToken, ...compat })],
});
const resolver = new DefaultAgentCardResolver();

let count = 0;
const message = (text, more = {}) => ({
  tenant: '', configuration: undefined, metadata: undefined,
  message: Message.fromJSON({ messageId: `js-${process.pid}-${++count}`, role: 'ROLE_USER', parts: [{ text }], ...more }),
});
const valueOf = (event) => event.payload?.value ?? event.task ?? event;
const textOf = (parts) => parts.find((p) => p.content?.$case === 'text').content.value;
const stateOf = (value) => value.status?.state;

const card = await resolver.resolve(`${url}/.well-known/agent-card.json`, '');
let asked;
await verifyAgentCardSignature(async (kid, jku) => {
  asked = jku;
  const { keys } = await (await fetch(jku)).json();
  return keys.find((k) => k.kid === kid);
})(card);
assert.equal(new URL(asked).origin, new URL(url).origin);
await assert.rejects(verifyAgentCardSignature(async (kid) => (await (await fetch(asked)).json()).keys.find((k) => k.kid === kid))({ ...card, name: 'Somebody else' }));
console.log('ok the card is signed');

async function talk(binding, version) {
  const only = await resolver.resolve(`${url}/.well-known/agent-card.json`, '');
  only.supportedInterfaces = only.supportedInterfaces.filter((i) => i.protocolBinding === binding && i.protocolVersion === version);
  const client = await factory.createFromAgentCard(only);
  assert.equal(client.protocolVersion, version);

  const sent = valueOf(await client.sendMessage(message('one two three')));
  assert.equal(stateOf(sent), TaskState.TASK_STATE_COMPLETED);
  assert.equal(textOf(sent.artifacts[0].parts), '3 words');

  let last;
  let streamed = '';
  for await (const event of client.sendMessageStream(message('one two'))) {
    const value = valueOf(event);
    if (value.artifact) streamed = textOf(value.artifact.parts);
    last = stateOf(value) ?? last;
  }
  assert.equal(last, TaskState.TASK_STATE_COMPLETED);
  assert.equal(streamed, '2 words');

  // One who subscribes sees what the one who asked sees: the end by a cancellation.
  let subscription;
  const subscribe = async (id) => {
    const heard = [];
    for await (const event of client.resubscribeTask({ id, tenant: '' })) {
      heard.push(stateOf(valueOf(event)));
      if (heard.length === 1) await client.cancelTask({ id, tenant: '', metadata: undefined });
    }
    return heard.at(-1);
  };
  for await (const event of client.sendMessageStream(message('wait for me'))) {
    const value = valueOf(event);
    subscription ??= subscribe(value.id);
    last = stateOf(value) ?? last;
  }
  assert.equal(last, TaskState.TASK_STATE_CANCELED);
  assert.equal(await subscription, TaskState.TASK_STATE_CANCELED);

  const asks = valueOf(await client.sendMessage(message('count')));
  assert.equal(stateOf(asks), TaskState.TASK_STATE_INPUT_REQUIRED);
  assert.equal(textOf(asks.status.message.parts), 'Count what?');
  const answered = valueOf(await client.sendMessage(message('a b c d', { taskId: asks.id, contextId: asks.contextId })));
  assert.equal(answered.id, asks.id);
  assert.equal(stateOf(answered), TaskState.TASK_STATE_COMPLETED);
  assert.equal(textOf(answered.artifacts.at(-1).parts), '4 words');
  console.log(`ok ${binding} ${version}`);
}

for (const version of ['1.0', '0.3']) {
  for (const binding of ['JSONRPC', 'HTTP+JSON']) {
    await talk(binding, version);
  }
}
