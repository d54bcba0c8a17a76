// An agent on the official JavaScript SDK: it counts words, asks back, can be
// cancelled, and votes. Start it with: npm install && node agent.mjs [PORT [KEYFILE]]
import { createPublicKey, createPrivateKey, generateKeyPairSync, sign, createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

// Modules come from this folder, or from the one that NODE_MODULES_AT names.
const require = createRequire(path.join(process.env.NODE_MODULES_AT ?? import.meta.dirname, 'package.json'));
const express = require('express');
const { AgentCard, Task, TaskStatusUpdateEvent, TaskArtifactUpdateEvent, generateAgentCardSignature } = require('@a2a-js/sdk');
const { AgentEvent, DefaultRequestHandler, InMemoryTaskStore } = require('@a2a-js/sdk/server');
const { agentCardHandler, jsonRpcHandler, restHandler, UserBuilder } = require('@a2a-js/sdk/server/express');

const [port = '0', keyFile] = process.argv.slice(2);

// The key signs the card and the ballots. A new one is another voter, so keep it.
function loadKey() {
  if (keyFile && existsSync(keyFile)) return createPrivateKey(readFileSync(keyFile));
  const { privateKey } = generateKeyPairSync('ed25519');
  if (keyFile) writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  return privateKey;
}
const key = loadKey();
const { x } = createPublicKey(key).export({ format: 'jwk' });
// The key's name is its thumbprint (RFC 7638).
const kid = createHash('sha256').update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).digest('base64url');
const jwk = { kty: 'OKP', crv: 'Ed25519', x, kid, alg: 'EdDSA', use: 'sig' };

// Canonical JSON (RFC 8785) of what has texts, whole numbers, lists and objects.
function canonical(v) {
  if (Array.isArray(v)) return `[${v.map(canonical).join(',')}]`;
  if (v === null || typeof v !== 'object') return JSON.stringify(v);
  return `{${Object.keys(v).sort().map((k) => `${JSON.stringify(k)}:${canonical(v[k])}`).join(',')}}`;
}

// A ballot is bound to the round and to the hash of what is voted on.
// Under which name and role the voter is registered, the message says.
function ballot(motion, metadata) {
  const b = {
    motion: motion.id, round: motion.round, voter: metadata['conclave/agent'], role: metadata['conclave/role'], subject: motion.subject,
    verdict: 'approve', reasons: ['its words can be counted'], public_key: Buffer.from(x, 'base64url').toString('base64'),
  };
  b.signature = sign(null, Buffer.from(canonical(b)), key).toString('base64');
  return b;
}

const text = (t) => ({ text: t });
const contentOf = (part, kind) => (part.content?.$case === kind ? part.content.value : undefined);
const count = (words) => `${words.split(/\s+/).filter(Boolean).length} words`;

class Counter {
  running = new Map(); // task id → what ends its waiting

  async execute({ userMessage, taskId, contextId, task }, bus) {
    const status = (state, parts) =>
      bus.publish(AgentEvent.statusUpdate(TaskStatusUpdateEvent.fromJSON({
        taskId, contextId, status: { state, timestamp: new Date().toISOString(), ...(parts && { message: { messageId: `${taskId}-${state}`, role: 'ROLE_AGENT', taskId, contextId, parts } }) },
      })));
    const answer = (parts, append = false, lastChunk = true) =>
      bus.publish(AgentEvent.artifactUpdate(TaskArtifactUpdateEvent.fromJSON({ taskId, contextId, append, lastChunk, artifact: { artifactId: 'answer', parts } })));

    bus.publish(AgentEvent.task(task ?? Task.fromJSON({ id: taskId, contextId, status: { state: 'TASK_STATE_SUBMITTED' } })));
    const words = userMessage.parts.map((p) => contentOf(p, 'text') ?? '').join(' ').trim();
    const data = userMessage.parts.map((p) => contentOf(p, 'data')).find((d) => d?.motion);
    status('TASK_STATE_WORKING');
    if (data) {
      answer([text('I approve.'), { data: ballot(data.motion, userMessage.metadata) }]);
    } else if (words.startsWith('wait')) {
      if (!(await new Promise((end) => this.running.set(taskId, end)))) return status('TASK_STATE_CANCELED');
    } else if (words === 'count' && !task) {
      return status('TASK_STATE_INPUT_REQUIRED', [text('Count what?')]);
    } else {
      answer([text(count(words))]);
    }
    status('TASK_STATE_COMPLETED');
  }

  async cancelTask(taskId) {
    this.running.get(taskId)?.(false);
    this.running.delete(taskId);
  }
}

const app = express();
const server = app.listen(Number(port), '127.0.0.1', async () => {
  const origin = `http://127.0.0.1:${server.address().port}`;
  const at = (protocolBinding, protocolVersion, url) => ({ url: origin + url, protocolBinding, protocolVersion });
  const only = process.env.A2A_PROTOCOL_VERSION; // speak nothing else
  const card = await generateAgentCardSignature(key, { alg: 'EdDSA', kid, typ: 'JOSE', jku: `${origin}/keys.json` })(AgentCard.fromJSON({
    name: 'Counter in JavaScript', description: 'Counts words, and votes.', version: '1.0.0',
    supportedInterfaces: [at('JSONRPC', '1.0', '/a2a'), at('HTTP+JSON', '1.0', '/rest'), at('JSONRPC', '0.3', '/a2a'), at('HTTP+JSON', '0.3', '/rest')].filter((i) => !only || i.protocolVersion === only),
    capabilities: { streaming: true }, defaultInputModes: ['text/plain'], defaultOutputModes: ['text/plain', 'application/json'],
    skills: [
      { id: 'count', name: 'Count words', description: 'Counts the words of a text.', tags: ['text'] },
      { id: 'vote', name: 'Vote', description: 'Votes on motions, with a signed ballot.', tags: ['conclave'] },
    ],
  }));
  const requestHandler = new DefaultRequestHandler(card, new InMemoryTaskStore(), new Counter());
  const options = { requestHandler, userBuilder: UserBuilder.noAuthentication, legacyCompat: { enabled: true } };
  app.get('/keys.json', (_, res) => res.json({ keys: [jwk] }));
  app.use('/.well-known/agent-card.json', agentCardHandler({ agentCardProvider: requestHandler, legacyCompat: { enabled: only === '0.3' } }));
  app.use('/a2a', jsonRpcHandler(options));
  app.use('/rest', restHandler(options));
  console.log(`listening at ${origin}`);
});
