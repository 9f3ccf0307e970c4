UPDATE accounts SET state = 'frozen' WHERE id % 11 = 0;
CREATE VIEW frozen_accounts AS SELECT id, email FROM accounts WHERE state = 'frozen';
COMMENT ON VIEW frozen_accounts IS 'it''s for the auditors';
INSERT INTO applied VALUES ('freeze');
