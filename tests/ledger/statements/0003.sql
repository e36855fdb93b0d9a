-- Every statement of the programs that know migration 0003. They run on what later migrations make.
-- Each batch is one row of NULL.

SELECT version, compatible FROM schema_version;

INSERT INTO schema_version (version, compatible) VALUES (0, 0);

UPDATE schema_version SET version = :version, compatible = :compatible;

INSERT INTO account (
    pseudonym, name, enabled, created_at, expires_at, balance, held,
    max_units, concurrent, own_overdraft, overdraft, bound, rate, burst
)
VALUES (
    :pseudonym, :name, 1, :now, :expires_at, 0, 0,
    :max_units, :concurrent, :own_overdraft, :overdraft, :overdraft, :rate, :burst
)
ON CONFLICT (name) DO NOTHING
RETURNING id;

DELETE FROM quota WHERE account = :account AND kind = :kind;

SELECT account.*,
    COALESCE(running.exchanges, 0) AS outstanding,
    (SELECT CAST(COALESCE(SUM(units), 0) AS BIGINT) FROM credit WHERE credit.account = account.id) AS credited
FROM account
    LEFT JOIN (
        SELECT account, COUNT(*) AS exchanges FROM exchange WHERE state = 1 GROUP BY account
    ) AS running ON running.account = account.id
 WHERE name = :name;

SELECT kind, amount, period, used, since FROM quota WHERE account = :account ORDER BY kind;

INSERT INTO audit (at, actor, action, subject, before_change, after_change)
VALUES (:at, :actor, :action, :subject, :before, :after);

SELECT kind, COUNT(*) AS receipts FROM evidence GROUP BY kind;

SELECT COUNT(*) AS open FROM exchange WHERE state = 1 OR (state = 4 AND receipt IS NOT NULL);

SELECT book, CAST(SUM(units) AS BIGINT) AS total FROM (
    SELECT payee AS book, units FROM transfer UNION ALL SELECT payer AS book, -units AS units FROM transfer
) AS sides
GROUP BY book;

SELECT account AS owner, CAST(SUM(units) AS BIGINT) AS total FROM credit GROUP BY account;

SELECT account AS owner, CAST(SUM(units) AS BIGINT) AS total
        FROM exchange WHERE state = 2 GROUP BY account;

SELECT account AS owner, CAST(SUM(hold) AS BIGINT) AS total
        FROM exchange WHERE state = 1 GROUP BY account;

SELECT account AS owner, CAST(SUM(units) AS BIGINT) AS total
        FROM allowance GROUP BY account;

SELECT identity AS owner, CAST(SUM(units) AS BIGINT) AS total
        FROM exchange WHERE state = 2 GROUP BY identity;

SELECT id, name, balance, held, bound FROM account ORDER BY name;

SELECT CAST(COALESCE(SUM(units), 0) AS BIGINT) AS total FROM voucher
WHERE redeemed_at IS NULL AND revoked_at IS NULL;

SELECT COUNT(*) AS unproved FROM exchange WHERE state = 2 AND receipt IS NULL;

SELECT COUNT(*) AS stray FROM exchange
WHERE account NOT IN (SELECT id FROM account) OR token NOT IN (SELECT id FROM token)
    OR (signer IS NOT NULL AND signer NOT IN (SELECT id FROM signer));

SELECT account.*,
    COALESCE(running.exchanges, 0) AS outstanding,
    (SELECT CAST(COALESCE(SUM(units), 0) AS BIGINT) FROM credit WHERE credit.account = account.id) AS credited
FROM account
    LEFT JOIN (
        SELECT account, COUNT(*) AS exchanges FROM exchange WHERE state = 1 GROUP BY account
    ) AS running ON running.account = account.id

WHERE name > :after AND LOWER(name) LIKE :pattern ESCAPE '!'
ORDER BY name LIMIT :limit;

INSERT INTO credit (account, reference, units, at) VALUES (:account, :reference, :units, :now)
ON CONFLICT (account, reference) DO NOTHING
RETURNING units;

UPDATE account SET balance = balance + :units
WHERE id = :account AND balance + :units + bound >= held AND balance + :units <= :most
RETURNING balance;

WITH given (payer, payee, units, exchanges) AS (SELECT CAST(NULL AS TEXT), CAST(NULL AS TEXT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT))
INSERT INTO transfer (at, payer, payee, units, exchanges)
    SELECT :now, payer, payee, units, exchanges FROM given;

INSERT INTO token (id, account, name, digest, created_at, expires_at, scope)
VALUES (:id, :account, :name, :digest, :now, :expires_at, :scope)
ON CONFLICT DO NOTHING
RETURNING id;

SELECT token.*, account.name AS account_name FROM token JOIN account ON account.id = token.account WHERE token.id = :id;

UPDATE account SET
    max_units = :max_units, concurrent = :concurrent, own_overdraft = :own_overdraft, overdraft = :overdraft,
    bound = CASE WHEN held - balance > :overdraft THEN held - balance ELSE :overdraft END,
    rate = :rate, burst = :burst
WHERE id = :account;

INSERT INTO quota (account, kind, amount, period, used, since)
VALUES (:account, :kind, :amount, :period, 0, :since)
ON CONFLICT (account, kind) DO UPDATE SET
    amount = excluded.amount,
    used = CASE WHEN COALESCE(quota.period, '') = COALESCE(excluded.period, '') THEN quota.used ELSE 0 END,
    period = excluded.period,
    since = excluded.since;

SELECT token.*, account.name AS account_name FROM token JOIN account ON account.id = token.account
WHERE digest = :digest
    AND token.revoked_at IS NULL AND (token.expires_at IS NULL OR token.expires_at > :now)
    AND account.enabled = 1 AND (account.expires_at IS NULL OR account.expires_at > :now);

UPDATE account SET enabled = :enabled, expires_at = :expires_at WHERE id = :account;

UPDATE lease SET revoked = 1 WHERE account = :account AND expires_at > :now;

UPDATE token SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL RETURNING id;

UPDATE lease SET revoked = 1 WHERE token = :id AND expires_at > :now;

SELECT token.*, account.name AS account_name FROM token JOIN account ON account.id = token.account WHERE token.account = :account ORDER BY token.created_at, token.id;

SELECT number, at, actor, action, subject, before_change, after_change FROM audit
WHERE :before = 0 OR number < :before
ORDER BY number DESC LIMIT :limit;

UPDATE quota SET used = 0, since = CASE WHEN period = :day THEN :today ELSE :this_month END
WHERE (period = :day AND since < :today) OR (period = :month AND since < :this_month);

SELECT acknowledged FROM node WHERE node = :node;

SELECT * FROM account WHERE id = :account;

UPDATE token SET last_used = :day WHERE id = :token AND (last_used IS NULL OR last_used < :day);

INSERT INTO lease (id, account, token, node, expires_at, revoked)
VALUES (:id, :account, :token, :node, :expires_at, 0);

INSERT INTO allowance (account, node, exchanges, units, expires_at)
VALUES (:account, :node, 0, 0, :expires_at)
ON CONFLICT (account, node) DO UPDATE SET
    expires_at = CASE
        WHEN allowance.expires_at > excluded.expires_at THEN allowance.expires_at ELSE excluded.expires_at
    END;

WITH given (account) AS (SELECT CAST(NULL AS BIGINT))
SELECT account.*, own.exchanges AS own_exchanges, own.units AS own_units,
        quota.kind, quota.amount, quota.period, quota.used, quota.since,
        (
            SELECT COUNT(*) FROM allowance AS other
            WHERE other.account = account.id AND other.node <> :node AND other.expires_at > :now
        ) AS other_nodes,
        (
            SELECT CAST(COALESCE(SUM(exchanges), 0) AS BIGINT) FROM allowance AS other
            WHERE other.account = account.id AND other.node <> :node AND other.expires_at > :now
        ) AS other_exchanges
    FROM given
        JOIN account ON account.id = given.account
        JOIN allowance AS own ON own.account = account.id
        LEFT JOIN quota ON quota.account = account.id
    WHERE own.node = :node AND own.expires_at > :now
    ORDER BY account.id, quota.kind;

WITH given (account, exchanges, units) AS (SELECT CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT))
UPDATE allowance SET exchanges = given.exchanges, units = given.units FROM given
    WHERE allowance.account = given.account AND node = :node;

WITH given (account, units) AS (SELECT CAST(NULL AS BIGINT), CAST(NULL AS BIGINT))
UPDATE account SET held = held + given.units FROM given WHERE id = given.account;

SELECT node FROM allowance WHERE account = :account AND node <> :node AND expires_at > :now ORDER BY node;

SELECT voucher.*, account.name AS account_name FROM voucher LEFT JOIN account ON account.id = voucher.account
WHERE voucher.id = :id;

SELECT units, at FROM credit WHERE account = :account AND reference = :reference;

SELECT CAST(COALESCE(SUM(units), 0) AS BIGINT) AS units FROM exchange
WHERE account = :account AND at >= :first AND at < :end AND state = 2;

SELECT at, units, reference FROM credit
WHERE account = :account AND at >= :first AND at < :end
ORDER BY at, reference;

INSERT INTO voucher (id, digest, units, reference, created_at, expires_at)
VALUES (:id, :digest, :units, :reference, :now, :expires_at)
ON CONFLICT DO NOTHING
RETURNING number;

UPDATE voucher SET redeemed_at = :now, account = :account
WHERE digest = :digest
    AND redeemed_at IS NULL AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
RETURNING id, units;

UPDATE voucher SET revoked_at = :now WHERE id = :id AND redeemed_at IS NULL AND revoked_at IS NULL
RETURNING units;

SELECT voucher.*, account.name AS account_name FROM voucher LEFT JOIN account ON account.id = voucher.account
WHERE :after = '' OR number < (SELECT older.number FROM voucher AS older WHERE older.id = :after)
ORDER BY number DESC LIMIT :limit;

WITH given (node) AS (SELECT CAST(NULL AS BYTEA))
SELECT COALESCE((SELECT acknowledged FROM node WHERE node = :node), 0) AS known,
        (SELECT COUNT(*) FROM (SELECT number FROM evidence WHERE kind = 'orphan' LIMIT 1) AS one) AS orphans
    FROM given;

WITH given (envelope_hash, exchange_id, identity, key_id, lease, sequence, issued_at, expires_at, max_units) AS (SELECT CAST(NULL AS BYTEA), CAST(NULL AS BYTEA), CAST(NULL AS BYTEA), CAST(NULL AS BYTEA), CAST(NULL AS TEXT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT))
INSERT INTO exchange (
        envelope_hash, exchange_id, identity, key_id, account, token, node, sequence, at, issued_at,
        expires_at, max_units, state, hold, bytes, units
    )
    SELECT
        envelope_hash, exchange_id, identity, key_id, account, token, :node, sequence, :at, issued_at,
        given.expires_at, max_units, 1, max_units, 0, 0
    FROM given JOIN lease ON lease.id = given.lease
    WHERE lease.node = :node AND given.sequence > COALESCE((SELECT acknowledged FROM node WHERE node = :node), 0)
    ON CONFLICT (envelope_hash) DO NOTHING
    RETURNING number, sequence, account;

WITH given (account, exchanges, units) AS (SELECT CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT))
UPDATE allowance SET
        exchanges = allowance.exchanges - given.exchanges, units = allowance.units - given.units
    FROM given
    WHERE allowance.account = given.account AND node = :node
        AND allowance.exchanges >= given.exchanges AND allowance.units >= given.units
    RETURNING allowance.account;

WITH given (account, kind, used) AS (SELECT CAST(NULL AS BIGINT), CAST(NULL AS TEXT), CAST(NULL AS BIGINT))
UPDATE quota SET used = quota.used + given.used FROM given
    WHERE quota.account = given.account AND quota.kind = given.kind;

INSERT INTO node (node, acknowledged, heard_at) VALUES (:node, :sequence, :now)
ON CONFLICT (node) DO UPDATE SET acknowledged = excluded.acknowledged, heard_at = excluded.heard_at;

INSERT INTO signer (delegation, delegation_signature)
SELECT :delegation, :delegation_signature WHERE (
    SELECT id FROM signer WHERE delegation = :delegation AND delegation_signature = :delegation_signature
) IS NULL;

WITH given (envelope_hash, identity, state, units, receipt, signature, replica_id) AS (SELECT CAST(NULL AS BYTEA), CAST(NULL AS BYTEA), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BYTEA), CAST(NULL AS BYTEA), CAST(NULL AS BYTEA))
UPDATE exchange SET
        state = given.state, units = given.units, receipt = given.receipt, signature = given.signature,
        signer = (
    SELECT id FROM signer WHERE delegation = :delegation AND delegation_signature = :delegation_signature
), replica_id = given.replica_id
    FROM given
    WHERE exchange.envelope_hash = given.envelope_hash AND exchange.identity = given.identity
        AND exchange.receipt IS NULL AND exchange.state NOT IN (2, 3)
        AND given.units <= CASE WHEN given.state = 2 THEN max_units ELSE 0 END
        AND (lapsed_at IS NULL OR lapsed_at + :late >= :now)
    RETURNING exchange.envelope_hash, number, account,
        CASE WHEN lapsed_at IS NULL THEN hold ELSE 0 END AS held;

WITH given (account, units, held) AS (SELECT CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT))
UPDATE account SET balance = balance - given.units, held = account.held - given.held FROM given
    WHERE id = given.account AND balance - given.units + bound >= account.held - given.held
    RETURNING id, pseudonym;

INSERT INTO replica (
    identity, replica_id, started_at, closed_before, ended, stated_receipts, stated_units, receipts, units
)
VALUES (:identity, :replica_id, 0, 0, 0, 0, 0, :receipts, :units)
ON CONFLICT (identity, replica_id) DO UPDATE SET
    receipts = replica.receipts + excluded.receipts, units = replica.units + excluded.units;

SELECT id FROM lease WHERE revoked = 1 AND expires_at > :now ORDER BY id;

INSERT INTO allowance (account, node, exchanges, units, expires_at)
SELECT account, node, 0, 0, MAX(expires_at) FROM lease
WHERE node = :node AND expires_at > :now AND revoked = 0
GROUP BY account, node
ON CONFLICT (account, node) DO NOTHING;

SELECT account.id FROM allowance JOIN account ON account.id = allowance.account
WHERE node = :node AND (CAST(:pseudonym AS TEXT) IS NULL OR pseudonym = :pseudonym)
ORDER BY account.id;

SELECT MIN(heard_at) AS heard_at FROM allowance JOIN node ON node.node = allowance.node
WHERE account = :account AND allowance.node <> :node AND units > 0 AND heard_at <= :silent;

SELECT lease_key, drawn_at FROM lease_key ORDER BY number DESC LIMIT 2;

INSERT INTO lease_key (lease_key, drawn_at) VALUES (:key, :now);

DELETE FROM lease_key WHERE number NOT IN (SELECT number FROM lease_key ORDER BY number DESC LIMIT 2);

DELETE FROM allowance WHERE node = :node RETURNING account, units;

WITH given (account) AS (SELECT CAST(NULL AS BIGINT))
SELECT pseudonym FROM given JOIN account ON account.id = given.account;

SELECT DISTINCT node FROM allowance;

UPDATE exchange SET state = 4, lapsed_at = :now
WHERE state = 1 AND issued_at <= :issued_before AND expires_at <= :now
RETURNING account, hold AS held;

DELETE FROM allowance WHERE expires_at <= :before RETURNING account, units;

SELECT exchange.number, account, identity, exchange.units FROM exchange
JOIN account ON account.id = exchange.account
WHERE state = 4 AND receipt IS NOT NULL AND exchange.units <= balance + bound - held + (
    SELECT CAST(COALESCE(SUM(units), 0) AS BIGINT) FROM allowance WHERE account = exchange.account
) ORDER BY exchange.number LIMIT :limit;

UPDATE account SET bound = CASE WHEN held - balance > overdraft THEN held - balance ELSE overdraft END
WHERE bound > overdraft;

DELETE FROM lease WHERE expires_at <= :before;

DELETE FROM node WHERE heard_at <= :before;

WITH given (number) AS (SELECT CAST(NULL AS BIGINT))
UPDATE exchange SET hold = 0 FROM given WHERE exchange.number = given.number;

WITH given (line, node, sequence, outcome, bytes) AS (SELECT CAST(NULL AS BIGINT), CAST(NULL AS BYTEA), CAST(NULL AS BIGINT), CAST(NULL AS TEXT), CAST(NULL AS BIGINT))
UPDATE exchange SET outcome = given.outcome, bytes = given.bytes FROM given
    WHERE exchange.node = given.node AND exchange.sequence = given.sequence AND exchange.outcome IS NULL
        AND given.line > COALESCE((SELECT acknowledged FROM node WHERE node = :node), 0)
    RETURNING exchange.number, exchange.sequence, exchange.account;

SELECT identity, max_units, state, receipt FROM exchange WHERE envelope_hash = :envelope_hash;

INSERT INTO evidence (
    kind, at, identity, envelope_hash, units, started, replica_id, receipt, signature, signer
)
VALUES (
    :kind, :now, :identity, :envelope_hash, :units, :started, :replica_id, :receipt, :signature, (
    SELECT id FROM signer WHERE delegation = :delegation AND delegation_signature = :delegation_signature
)
)
ON CONFLICT (envelope_hash, receipt) DO NOTHING
RETURNING number;

DELETE FROM evidence WHERE envelope_hash = :envelope_hash AND kind = 'orphan'
RETURNING number, identity, units, started, replica_id, receipt, signature, signer;

SELECT delegation, delegation_signature FROM signer WHERE id = :signer;

SELECT at FROM exchange WHERE number = :after;

SELECT exchange.number, account.name AS account, envelope_hash, exchange.at, state, exchange_id,
    CASE WHEN state = 2 THEN units ELSE 0 END AS units, token.name AS token,
    receipt, signature, delegation, delegation_signature
FROM exchange
    JOIN account ON account.id = exchange.account
    JOIN token ON token.id = exchange.token
    LEFT JOIN signer ON signer.id = exchange.signer

WHERE exchange.account = :account AND exchange.at < :end
    AND (exchange.at, exchange.number) > (:first, :after)
ORDER BY exchange.at, exchange.number LIMIT :limit;

WITH given (number) AS (SELECT CAST(NULL AS BIGINT))
UPDATE exchange SET state = 4, lapsed_at = :now FROM given
    WHERE exchange.number = given.number AND state = 1
    RETURNING account, hold AS held;

SELECT :units - balance - bound + held AS units FROM account WHERE id = :account;

SELECT node, units FROM allowance WHERE account = :account AND units > 0 ORDER BY node;

UPDATE allowance SET units = units - :units WHERE account = :account AND node = :node;

WITH given (lease) AS (SELECT CAST(NULL AS TEXT))
SELECT id, account FROM given JOIN lease ON lease.id = given.lease WHERE node = :node;

UPDATE exchange SET state = 4, lapsed_at = COALESCE(lapsed_at, :now) WHERE number = :number;

UPDATE exchange SET state = 2 WHERE number = :number;

SELECT exchange.number, account.name AS account, envelope_hash, exchange.at, state, exchange_id,
    CASE WHEN state = 2 THEN units ELSE 0 END AS units, token.name AS token,
    receipt, signature, delegation, delegation_signature
FROM exchange
    JOIN account ON account.id = exchange.account
    JOIN token ON token.id = exchange.token
    LEFT JOIN signer ON signer.id = exchange.signer

WHERE exchange.number > :after AND exchange.at >= :first AND exchange.at < :end
ORDER BY exchange.number LIMIT :limit;

SELECT exchange.number, account.name AS account, envelope_hash, exchange.at, state, exchange_id,
    CASE WHEN state = 2 THEN units ELSE 0 END AS units, token.name AS token,
    receipt, signature, delegation, delegation_signature
FROM exchange
    JOIN account ON account.id = exchange.account
    JOIN token ON token.id = exchange.token
    LEFT JOIN signer ON signer.id = exchange.signer

WHERE exchange.account = :account AND exchange.at >= :first AND exchange.at < :end
ORDER BY exchange.at DESC, exchange.number DESC LIMIT :limit;

SELECT COUNT(*) AS accounts, CAST(COALESCE(SUM(enabled), 0) AS BIGINT) AS enabled,
    CAST(COALESCE(SUM(balance), 0) AS BIGINT) AS balance
FROM account;

SELECT COUNT(*) AS open, MIN(at) AS oldest FROM exchange WHERE state = 1;

SELECT at / 86400 AS day, COUNT(*) AS exchanges,
    CAST(COALESCE(SUM(CASE WHEN state = 2 THEN units ELSE 0 END), 0) AS BIGINT) AS units
FROM account JOIN exchange ON exchange.account = account.id
WHERE at >= :first GROUP BY at / 86400;

SELECT number, envelope_hash FROM exchange
WHERE key_id = :key_id AND identity = :identity AND (:ended = 1 OR issued_at < :closed_before)
    AND state = 1 AND receipt IS NULL;

SELECT number, envelope_hash FROM exchange
WHERE key_id = :key_id AND identity = :identity AND (:ended = 1 OR issued_at < :closed_before)
    AND state = 4 AND receipt IS NULL;

INSERT INTO replica (
    identity, replica_id, started_at, closed_before, ended, stated_receipts, stated_units, receipts, units
)
VALUES (:identity, :replica_id, :started_at, :closed_before, :ended, :receipts, :units, 0, 0)
ON CONFLICT (identity, replica_id) DO UPDATE SET
    started_at = excluded.started_at, closed_before = excluded.closed_before, ended = excluded.ended,
    stated_receipts = excluded.stated_receipts, stated_units = excluded.stated_units;

SELECT COUNT(*) AS lapsed FROM exchange WHERE state = 4 AND receipt IS NULL AND lapsed_at + :late >= :now;

SELECT COUNT(*) AS waiting FROM exchange WHERE state = 4 AND receipt IS NOT NULL;

SELECT * FROM replica ORDER BY identity, started_at, replica_id;

SELECT * FROM evidence WHERE :before = 0 OR number < :before ORDER BY number DESC LIMIT :limit;

SELECT price_table, signature, delegation, delegation_signature
FROM price_table WHERE table_hash = :table_hash;

INSERT INTO price_table (table_hash, price_table, signature, delegation, delegation_signature, added_at)
VALUES (:table_hash, :price_table, :signature, :delegation, :delegation_signature, :now)
ON CONFLICT (table_hash) DO NOTHING;

WITH given (number) AS (SELECT CAST(NULL AS BIGINT))
UPDATE exchange SET state = 3 FROM given WHERE exchange.number = given.number
    RETURNING account, CASE WHEN lapsed_at IS NULL THEN hold ELSE 0 END AS held;

SELECT DISTINCT allowance.node FROM allowance LEFT JOIN node ON node.node = allowance.node
WHERE COALESCE(node.heard_at, 0) <= :before;

INSERT INTO node (node, acknowledged, heard_at) VALUES (:node, 0, :now)
ON CONFLICT (node) DO UPDATE SET heard_at = excluded.heard_at;

SELECT version FROM schema_version;
