-- Which tasks count for which budget, beside the task with which it began and by
-- which it is called.
CREATE TABLE budget_tasks (
  budget TEXT NOT NULL,
  task TEXT NOT NULL,
  PRIMARY KEY (budget, task)
);
-- For which task of the hub a model was called.
ALTER TABLE model_calls ADD COLUMN task TEXT NOT NULL DEFAULT '';
CREATE INDEX model_calls_task ON model_calls (task) WHERE task <> '';
