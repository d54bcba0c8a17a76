-- Checkpoints of the audit trail. A checkpoint's leaves are the seq and the hash
-- of each event that it seals, in base64: 8 bytes big-endian, then 32.
CREATE TABLE seals (
  tenant TEXT NOT NULL,
  number BIGINT NOT NULL,
  last BIGINT NOT NULL,
  doc TEXT NOT NULL,
  leaves TEXT NOT NULL,
  PRIMARY KEY (tenant, number)
);
CREATE INDEX events_tenant ON events (tenant, seq);
