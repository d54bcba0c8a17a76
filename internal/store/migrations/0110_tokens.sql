-- Tokens that were made for people and agents, by their ids; revoked is 0 or when.
CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  expires BIGINT NOT NULL,
  revoked BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX tokens_revoked ON tokens (revoked, expires);
