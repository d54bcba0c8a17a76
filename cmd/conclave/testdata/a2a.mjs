// Meets one agent by the official SDK, over each binding that its card offers,
// and prints what it saw as JSON. Arguments: the agent's address, a token.
import { randomUUID } from 'node:crypto';
import { ClientFactory, DefaultAgentCardResolver, JsonRpcTransportFactory, RestTransportFactory } from '@a2a-js/sdk/client';
import { Role, TaskState } from '@a2a-js/sdk';

const [address, token] = process.argv.slice(2);
const fetchImpl = (url, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set('Authorization', `Bearer ${token}`);
  return fetch(url, { ...init, headers });
};
const request = (text, now = false) => ({
  tenant: '', metadata: undefined,
  configuration: { acceptedOutputModes: [], taskPushNotificationConfig: undefined, returnImmediately: now },
  message: { messageId: randomUUID(), contextId: '', taskId: '', role: Role.ROLE_USER, metadata: undefined, extensions: [], referenceTaskIds: [],
    parts: [{ content: { $case: 'text', value: text }, metadata: undefined, filename: '', mediaType: 'text/plain' }] },
});
const texts = (...lists) => lists.flat().flatMap((x) => x?.parts ?? []).map((p) => p.content?.value).join(' ');

const cardResolver = new DefaultAgentCardResolver({ fetchImpl });
const saw = {};
for (const transport of [new JsonRpcTransportFactory({ fetchImpl }), new RestTransportFactory({ fetchImpl })]) {
  const factory = new ClientFactory({ transports: [transport], cardResolver });
  const client = await factory.createFromUrl(address + '/');
  const card = await client.getAgentCard();

  const sent = await client.sendMessage(request('What do you plan?'));

  const events = [];
  let streamed = '';
  for await (const event of client.sendMessageStream(request('And what else?'))) {
    const { $case, value } = event.payload;
    events.push($case);
    streamed += texts(value.artifacts ?? [], value.artifact ? [value.artifact] : [], value.status?.message ? [value.status.message] : []);
  }

  const begun = await client.sendMessage(request('Wait for me.', true));
  const canceled = await client.cancelTask({ tenant: '', id: begun.id, metadata: undefined });
  const later = await client.getTask({ tenant: '', id: begun.id });

  saw[transport.protocolName] = {
    name: card.name, skills: card.skills.map((s) => s.id), version: client.protocolVersion,
    state: TaskState[sent.status?.state], answer: texts(sent.artifacts ?? [], sent.status?.message ? [sent.status.message] : [], sent.history ?? []),
    events, streamed, canceled: TaskState[canceled.status.state], later: TaskState[later.status.state],
  };
}
console.log(JSON.stringify(saw));
