CREATE TABLE conversations (
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,
  run TEXT NOT NULL,
  started BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  messages BIGINT NOT NULL,
  PRIMARY KEY (tenant, id)
);
CREATE INDEX conversations_updated ON conversations (tenant, updated, id);
CREATE INDEX conversations_run ON conversations (tenant, run, updated);
-- Of what was said before this table was there, the record tells when.
INSERT INTO conversations (tenant, id, run, started, updated, messages)
  SELECT m.tenant, m.conversation, max(m.run), coalesce(min(e.at), 0), coalesce(max(e.at), 0), count(DISTINCT m.id)
  FROM messages m LEFT JOIN events e ON e.conversation = m.conversation AND e.tenant = m.tenant AND e.kind = 'message.sent'
  GROUP BY m.tenant, m.conversation;
CREATE INDEX tasks_talk ON tasks (tenant, conversation, created);

CREATE TABLE escalations (
  position SERIAL,
  id TEXT NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  conversation TEXT NOT NULL,
  asker TEXT NOT NULL,
  key TEXT NOT NULL,
  answered BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE UNIQUE INDEX escalations_key ON escalations (tenant, asker, key) WHERE key <> '';
CREATE INDEX escalations_open ON escalations (tenant, position) WHERE answered = 0;
CREATE INDEX escalations_conversation ON escalations (tenant, conversation, position);

-- Conversations that were removed, whose text is still to be taken out of the record.
CREATE TABLE expired (
  tenant TEXT NOT NULL,
  conversation TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (tenant, conversation)
);
-- Events out of which the text was taken, signed: what was sealed, and what it is now.
CREATE TABLE redactions (
  tenant TEXT NOT NULL,
  seq BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (tenant, seq)
);
