-- Runs that have ended and make no more model calls.
CREATE TABLE closed_accounts (
  tenant TEXT NOT NULL,
  run TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (tenant, run)
);
