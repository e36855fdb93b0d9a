-- compatible: 1
-- Times are Unix seconds, amounts are units.

CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    pseudonym TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    enabled INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    -- Credits without what was charged.
    balance INTEGER NOT NULL,
    -- Set aside: for what may start, and for what has started and is neither settled nor released.
    held INTEGER NOT NULL CHECK (held >= 0),
    max_units INTEGER NOT NULL,
    concurrent INTEGER NOT NULL,
    own_overdraft INTEGER,
    -- How far the balance may fall below 0, and how far it may fall while more than that is still held.
    overdraft INTEGER NOT NULL,
    bound INTEGER NOT NULL,
    rate DOUBLE PRECISION,
    burst INTEGER,
    CHECK (bound >= overdraft),
    CHECK (balance + bound >= held)
);

CREATE TABLE quota (
    account INTEGER NOT NULL REFERENCES account (id),
    kind TEXT NOT NULL,
    amount INTEGER NOT NULL,
    period TEXT,
    used INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (account, kind)
);

CREATE INDEX quota_period ON quota (period, since);

CREATE TABLE token (
    id TEXT PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used INTEGER,
    scope TEXT NOT NULL
);
CREATE UNIQUE INDEX token_name ON token (account, name) WHERE revoked_at IS NULL;

CREATE TABLE lease_key (
    number INTEGER PRIMARY KEY,
    lease_key BLOB NOT NULL,
    drawn_at INTEGER NOT NULL
);

CREATE TABLE lease (
    id TEXT PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id),
    token TEXT NOT NULL REFERENCES token (id),
    node BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked INTEGER NOT NULL
);
CREATE INDEX lease_expiry ON lease (expires_at);

CREATE TABLE node (
    node BLOB PRIMARY KEY,
    acknowledged INTEGER NOT NULL,
    heard_at INTEGER NOT NULL
);

-- What an account may start at a node.
CREATE TABLE allowance (
    account INTEGER NOT NULL REFERENCES account (id),
    node BLOB NOT NULL,
    exchanges INTEGER NOT NULL CHECK (exchanges >= 0),
    units INTEGER NOT NULL CHECK (units >= 0),
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (account, node)
);

-- What proves the signatures of receipts.
CREATE TABLE signer (
    id INTEGER PRIMARY KEY,
    delegation BLOB NOT NULL,
    delegation_signature BLOB NOT NULL,
    UNIQUE (delegation, delegation_signature)
);

-- state: 1 reserved, 2 posted, 3 voided, 4 lapsed. A lapsed one with a receipt waits for room.
CREATE TABLE exchange (
    number INTEGER PRIMARY KEY,
    envelope_hash BLOB NOT NULL UNIQUE,
    exchange_id BLOB NOT NULL,
    identity BLOB NOT NULL,
    key_id BLOB NOT NULL,
    account INTEGER NOT NULL REFERENCES account (id),
    token TEXT NOT NULL REFERENCES token (id),
    -- Which line of which node started it.
    node BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    -- When it started, to the minute.
    at INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    max_units INTEGER NOT NULL,
    state INTEGER NOT NULL,
    -- Part of account.held while it is reserved.
    hold INTEGER NOT NULL,
    lapsed_at INTEGER,
    outcome TEXT,
    bytes INTEGER NOT NULL,
    units INTEGER NOT NULL,
    receipt BLOB,
    signature BLOB,
    signer INTEGER REFERENCES signer (id),
    replica_id BLOB,
    CHECK (units <= max_units)
);
CREATE INDEX exchange_line ON exchange (account, at, number);
CREATE INDEX exchange_day ON exchange (at);
CREATE INDEX exchange_end ON exchange (node, sequence);
CREATE INDEX exchange_open ON exchange (account, expires_at) WHERE state = 1;
CREATE INDEX exchange_closable ON exchange (key_id, issued_at) WHERE state IN (1, 4) AND receipt IS NULL;
CREATE INDEX exchange_waiting ON exchange (account) WHERE state = 4 AND receipt IS NOT NULL;

-- Receipts that are kept and not charged.
CREATE TABLE evidence (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    identity BLOB NOT NULL,
    envelope_hash BLOB NOT NULL,
    units INTEGER NOT NULL,
    started INTEGER NOT NULL,
    replica_id BLOB NOT NULL,
    receipt BLOB NOT NULL,
    signature BLOB NOT NULL,
    signer INTEGER NOT NULL REFERENCES signer (id),
    UNIQUE (envelope_hash, receipt)
);

CREATE INDEX evidence_orphan ON evidence (number) WHERE kind = 'orphan';

-- Double entry: each row takes from one book and gives to another.
CREATE TABLE transfer (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    payer TEXT NOT NULL,
    payee TEXT NOT NULL,
    units INTEGER NOT NULL CHECK (units > 0),
    exchanges INTEGER NOT NULL
);

CREATE TABLE credit (
    account INTEGER NOT NULL REFERENCES account (id),
    reference TEXT NOT NULL,
    units INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (account, reference)
);

CREATE TABLE voucher (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL UNIQUE,
    units INTEGER NOT NULL,
    reference TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    redeemed_at INTEGER,
    revoked_at INTEGER,
    account INTEGER REFERENCES account (id)
);

-- What each replica said in its latest watermark, and what has come of its receipts.
CREATE TABLE replica (
    identity BLOB NOT NULL,
    replica_id BLOB NOT NULL,
    started_at INTEGER NOT NULL,
    closed_before INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    stated_receipts INTEGER NOT NULL,
    stated_units INTEGER NOT NULL,
    receipts INTEGER NOT NULL,
    units INTEGER NOT NULL,
    PRIMARY KEY (identity, replica_id)
);

CREATE TABLE price_table (
    table_hash BLOB PRIMARY KEY,
    price_table BLOB NOT NULL,
    signature BLOB NOT NULL,
    delegation BLOB NOT NULL,
    delegation_signature BLOB NOT NULL,
    added_at INTEGER NOT NULL
);

CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    before_change TEXT NOT NULL,
    after_change TEXT NOT NULL
);
