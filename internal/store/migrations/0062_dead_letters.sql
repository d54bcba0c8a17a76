-- Messages that reached nobody in their time, by the task that failed for it.
CREATE TABLE dead_letters (
  task TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  address TEXT NOT NULL,
  at BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX dead_letters_at ON dead_letters (tenant, at, task);
