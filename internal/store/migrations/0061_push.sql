-- Where a client wants to be told of a task. seq is the last event that it has
-- been told of. due is when the next try is, 0 when there is nothing to tell;
-- epoch is raised by each hub that takes it on; failing is since when no try has
-- succeeded, or 0.
CREATE TABLE push_configs (
  tenant TEXT NOT NULL,
  task TEXT NOT NULL,
  id TEXT NOT NULL,
  seq BIGINT NOT NULL,
  due BIGINT NOT NULL,
  epoch BIGINT NOT NULL,
  attempt BIGINT NOT NULL,
  failing BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (tenant, task, id)
);
CREATE INDEX push_configs_due ON push_configs (due) WHERE due > 0;
