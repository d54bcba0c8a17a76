-- A call is written down before it is made: key names it, ended is 0 until it
-- has its end. assumed is what it counts for while its tokens are not known.
ALTER TABLE model_calls ADD COLUMN key TEXT;
ALTER TABLE model_calls ADD COLUMN ended BIGINT NOT NULL DEFAULT 1;
ALTER TABLE model_calls ADD COLUMN assumed BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX model_calls_key ON model_calls (key);
