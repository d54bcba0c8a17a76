-- What can be taken of what waits at an address, without reading what can't: of
-- the messages of one conversation, only the first.
CREATE INDEX tasks_parked ON tasks (tenant, address, parked, created, id) WHERE state = 'submitted';
DROP INDEX tasks_waiting;
