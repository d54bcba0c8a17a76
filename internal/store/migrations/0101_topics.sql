-- Who gets what is published on a topic. first is the position after which it is theirs.
CREATE TABLE subscriptions (
  tenant TEXT NOT NULL,
  topic TEXT NOT NULL,
  subscriber TEXT NOT NULL,
  declared BIGINT NOT NULL,
  first BIGINT NOT NULL,
  since BIGINT NOT NULL,
  PRIMARY KEY (tenant, topic, subscriber)
);

-- What was said to many: on a topic, or as a broadcast.
CREATE TABLE publications (
  position SERIAL,
  id TEXT NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  topic TEXT NOT NULL,
  asker TEXT NOT NULL,
  key TEXT NOT NULL,
  conversation TEXT NOT NULL,
  sent BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE UNIQUE INDEX publications_key ON publications (tenant, asker, key) WHERE key <> '';
CREATE INDEX publications_topic ON publications (tenant, topic, position) WHERE topic <> '';
CREATE INDEX publications_conversation ON publications (tenant, conversation);

-- To whom, and by which task. error says why somebody gets none.
CREATE TABLE recipients (
  publication TEXT NOT NULL,
  address TEXT NOT NULL,
  reads BIGINT NOT NULL,
  task TEXT NOT NULL,
  error TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (publication, address)
);
CREATE INDEX recipients_open ON recipients (at) WHERE reads = 0 AND task = '' AND error = '';
