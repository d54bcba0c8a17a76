-- How many tasks an agent has in hand is counted for each message, and what nobody
-- renews is looked for all the time: neither may read the tasks that have ended.
CREATE INDEX tasks_working ON tasks (tenant, agent) WHERE state = 'working';
-- A caller's own tasks, page by page.
CREATE INDEX tasks_asked ON tasks (tenant, asker, address, updated, id);
-- These were taken for the two above, and for tasks_due, tasks_waiting and
-- tasks_conversation, and each task's change had to keep them up.
DROP INDEX tasks_updated;
DROP INDEX tasks_state;
DROP INDEX tasks_talk;
