// Talks to an agent behind the hub with the official JavaScript SDK: card, send,
// stream, cancel, get, list, and the error for a task that is not there. Called
// with the folder that holds node_modules, the agent's address, that of an agent
// that never answers, and a token. Prints a line for each interface.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';

const [dir, url, slow, token] = process.argv.slice(2);
const require = createRequire(path.join(dir, 'package.json'));
const { Message, TaskState, Role } = require('@a2a-js/sdk');
const { ClientFactory, JsonRpcTransportFactory, RestTransportFactory, DefaultAgentCardResolver } = require('@a2a-js/sdk/client');

const withToken = (input, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set('Authorization', `Bearer ${token}`);
  return fetch(input, { ...init, headers });
};
const compat = { legacyCompat: { enabled: true } };
const factory = new ClientFactory({
  transports: [
    new JsonRpcTransportFactory({ fetchImpl: withToken, ...compat }),
    new RestTransportFactory({ fetchImpl: withToken, ...compat }),
  ],
});
// Cards are public: no token.
const resolver = new DefaultAgentCardResolver();

let count = 0;
const message = (text) => ({
  tenant: '', configuration: undefined, metadata: undefined,
  message: Message.fromJSON({ messageId: `js-${process.pid}-${++count}`, role: 'ROLE_USER', parts: [{ text }] }),
});
const textOf = (artifact) => artifact.parts.find((p) => p.content?.$case === 'text').content.value;

// The SDK's client for HTTP+JSON 0.3 has no types for errors, only their text.
const isError = (name, reason) => (err) => err.name === name || err.message.includes(`"reason":"${reason}"`);

async function talk(binding, version) {
  const only = async (at) => {
    const card = await resolver.resolve(`${at}/.well-known/agent-card.json`, '');
    card.supportedInterfaces = card.supportedInterfaces.filter((i) => i.protocolBinding === binding && i.protocolVersion === version);
    assert.equal(card.supportedInterfaces.length, 1, `${binding} ${version} on the card`);
    return factory.createFromAgentCard(card);
  };
  const client = await only(url);
  assert.equal(client.protocolVersion, version);

  const result = await client.sendMessage(message('hello'));
  const task = result.task ?? result.payload?.value ?? result;
  assert.equal(task.status.state, TaskState.TASK_STATE_COMPLETED);
  assert.equal(textOf(task.artifacts[0]), 'heard hello');

  const got = await client.getTask({ id: task.id, tenant: '', historyLength: undefined });
  assert.equal(got.id, task.id);
  assert.deepEqual(got.history.map((m) => m.role), [Role.ROLE_USER, Role.ROLE_AGENT]);

  const seen = [];
  for await (const event of client.sendMessageStream(message('again'))) {
    seen.push(event.payload?.$case ?? event.kind ?? Object.keys(event)[0]);
  }
  assert.equal(seen[0], 'task');
  assert.deepEqual(seen.slice(-2), ['artifactUpdate', 'statusUpdate']);

  const waiting = await only(slow);
  let id;
  for await (const event of waiting.sendMessageStream(message('wait'))) {
    const value = event.payload?.value ?? event;
    if (!id) {
      id = value.id;
      const cancelled = await waiting.cancelTask({ id, tenant: '', metadata: undefined });
      assert.equal(cancelled.status.state, TaskState.TASK_STATE_CANCELED);
    }
  }
  await assert.rejects(() => waiting.cancelTask({ id, tenant: '', metadata: undefined }), isError('TaskNotCancelableError', 'TASK_NOT_CANCELABLE'));
  await assert.rejects(() => client.getTask({ id: 'no-such-task', tenant: '' }), isError('TaskNotFoundError', 'TASK_NOT_FOUND'));

  if (version === '1.0') { // 0.3 has no list
    const list = await client.listTasks({ tenant: '', contextId: task.contextId, status: 0, pageSize: 10, pageToken: '', statusTimestampAfter: undefined, includeArtifacts: true });
    assert.deepEqual(list.tasks.map((t) => t.id), [task.id]);
    const none = await client.listTasks({ tenant: '', contextId: 'no-such-context', status: 0, pageSize: 10, pageToken: '' });
    assert.deepEqual(none.tasks, []);
  }
  console.log(`ok ${binding} ${version}: ${seen.join(' ')}`);
}

for (const version of ['1.0', '0.3']) {
  for (const binding of ['JSONRPC', 'HTTP+JSON']) {
    await talk(binding, version);
  }
}
