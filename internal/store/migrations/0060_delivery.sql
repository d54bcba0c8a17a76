-- turn is a task's place among the messages of its conversation to one agent; 0
-- where no order is kept. parked is 1 while nobody can take it, 2 while an
-- earlier one has not ended.
ALTER TABLE tasks ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
CREATE INDEX tasks_turn ON tasks (tenant, conversation, address, turn) WHERE state IN ('submitted', 'working');
CREATE INDEX tasks_waiting ON tasks (tenant, address, created, id) WHERE state = 'submitted';
CREATE INDEX tasks_sent ON tasks (tenant, asker, created) WHERE state = 'submitted';
CREATE INDEX tasks_due ON tasks (due, id) WHERE state = 'submitted' AND parked < 2;
CREATE INDEX tasks_conversation ON tasks (tenant, conversation, updated, id);
CREATE INDEX messages_task ON messages (task, position);
CREATE INDEX agents_role ON agents (tenant, role, name);
