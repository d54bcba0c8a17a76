-- Times are microseconds since 1970 in UTC. Documents are JSON text. SERIAL is
-- replaced by what the database calls it.

CREATE TABLE events (
  seq SERIAL,
  tenant TEXT NOT NULL,
  at BIGINT NOT NULL,
  kind TEXT NOT NULL,
  actor TEXT NOT NULL,
  run TEXT NOT NULL,
  step TEXT NOT NULL,
  conversation TEXT NOT NULL,
  subject TEXT NOT NULL,
  text TEXT NOT NULL,
  data TEXT NOT NULL
);
CREATE INDEX events_run ON events (run, seq);
CREATE INDEX events_conversation ON events (conversation, seq);

-- What an operation answered to an idempotency key.
CREATE TABLE answers (
  tenant TEXT NOT NULL,
  operation TEXT NOT NULL,
  key TEXT NOT NULL,
  request TEXT NOT NULL,
  result TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (tenant, operation, key)
);

-- Who may work on what. A claim raises the epoch; every write checks it.
CREATE TABLE work (
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  state TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  attempt BIGINT NOT NULL,
  owner TEXT NOT NULL,
  heartbeat BIGINT NOT NULL,
  due BIGINT NOT NULL,
  PRIMARY KEY (kind, id)
);
CREATE INDEX work_state ON work (state, heartbeat);

CREATE TABLE runs (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  status TEXT NOT NULL,
  created BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX runs_created ON runs (tenant, created);

CREATE TABLE steps (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  run TEXT NOT NULL,
  key TEXT NOT NULL,
  state TEXT NOT NULL,
  position BIGINT NOT NULL,
  doc TEXT NOT NULL,
  UNIQUE (run, key)
);

CREATE TABLE approvals (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  run TEXT NOT NULL,
  asked BIGINT NOT NULL,
  decided BIGINT NOT NULL,
  doc TEXT NOT NULL
);

CREATE TABLE plans (
  id TEXT NOT NULL,
  version BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  run TEXT NOT NULL,
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (id, version)
);
CREATE INDEX plans_run ON plans (run, version);

CREATE TABLE comments (
  plan TEXT NOT NULL,
  version BIGINT NOT NULL,
  position BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (plan, version, position)
);

CREATE TABLE agents (
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  state TEXT NOT NULL,
  public_key TEXT NOT NULL,
  seen BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (tenant, name)
);

CREATE TABLE tasks (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  asker TEXT NOT NULL,
  key TEXT NOT NULL,
  address TEXT NOT NULL,
  conversation TEXT NOT NULL,
  run TEXT NOT NULL,
  agent TEXT NOT NULL,
  state TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  instance TEXT NOT NULL,
  renewed BIGINT NOT NULL,
  parked BIGINT NOT NULL,
  due BIGINT NOT NULL,
  created BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE UNIQUE INDEX tasks_key ON tasks (tenant, asker, key) WHERE key <> '';
CREATE INDEX tasks_agent ON tasks (agent, state);
CREATE INDEX tasks_state ON tasks (state, parked, created);
CREATE INDEX tasks_updated ON tasks (tenant, updated, id);

CREATE TABLE messages (
  position SERIAL,
  id TEXT NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  conversation TEXT NOT NULL,
  run TEXT NOT NULL,
  task TEXT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX messages_conversation ON messages (conversation, position);
CREATE INDEX messages_run ON messages (run, position);

-- What an agent answered to a message, so that a second delivery has no second effect.
CREATE TABLE receipts (
  agent TEXT NOT NULL,
  message TEXT NOT NULL,
  reply TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (agent, message)
);

CREATE TABLE motions (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  run TEXT NOT NULL,
  state TEXT NOT NULL,
  created BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX motions_run ON motions (run, created);

CREATE TABLE ballots (
  motion TEXT NOT NULL,
  round BIGINT NOT NULL,
  voter TEXT NOT NULL,
  at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (motion, round, voter)
);

CREATE TABLE decisions (
  motion TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  run TEXT NOT NULL,
  decided BIGINT NOT NULL,
  doc TEXT NOT NULL
);

CREATE TABLE worktrees (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  run TEXT NOT NULL,
  repo TEXT NOT NULL,
  state TEXT NOT NULL,
  created BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX worktrees_run ON worktrees (run, state);

-- What git was about to do, written down before it does it.
CREATE TABLE intents (
  id TEXT PRIMARY KEY,
  repo TEXT NOT NULL,
  ref TEXT NOT NULL,
  old TEXT NOT NULL,
  new TEXT NOT NULL,
  state TEXT NOT NULL,
  at BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX intents_ref ON intents (repo, ref, state);

CREATE TABLE model_calls (
  position SERIAL,
  tenant TEXT NOT NULL,
  run TEXT NOT NULL,
  agent TEXT NOT NULL,
  model TEXT NOT NULL,
  status BIGINT NOT NULL,
  input_tokens BIGINT,
  output_tokens BIGINT,
  cost_usd DOUBLE PRECISION,
  at BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX model_calls_run ON model_calls (run);

-- Where each service answers.
CREATE TABLE services (
  name TEXT NOT NULL,
  address TEXT NOT NULL,
  owner TEXT NOT NULL,
  version TEXT NOT NULL,
  seen BIGINT NOT NULL,
  PRIMARY KEY (name, address)
);
