-- What became of agents' acts: confirmed or refuted by something else than an
-- opinion. Each act counts once.
CREATE TABLE outcomes (
  tenant TEXT NOT NULL,
  agent TEXT NOT NULL,
  category TEXT NOT NULL,
  subject TEXT NOT NULL,
  brain TEXT NOT NULL,
  confirmed BIGINT NOT NULL,
  run TEXT NOT NULL,
  at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (tenant, agent, category, subject)
);
CREATE INDEX outcomes_at ON outcomes (tenant, at);
CREATE INDEX motions_created ON motions (tenant, created);
CREATE INDEX tasks_created ON tasks (tenant, created);
CREATE INDEX model_calls_at ON model_calls (tenant, at);
