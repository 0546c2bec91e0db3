-- Times are milliseconds since 1970, UTC. Content once, one row per recipient.

CREATE TABLE message (
    id           INTEGER PRIMARY KEY,  -- sorts by time, see relay.mail.message.message_id
    received_at  INTEGER NOT NULL,
    reverse_path TEXT,                 -- NULL is <>
    body_8bit    INTEGER NOT NULL,
    smtputf8     INTEGER NOT NULL,
    listener     TEXT NOT NULL,
    application  TEXT,
    client       TEXT NOT NULL,
    helo         TEXT NOT NULL,
    tls          INTEGER NOT NULL,
    size_bytes   INTEGER NOT NULL,
    spooled      TEXT,                 -- path of the content, when it is not in table content
    subject      TEXT NOT NULL,
    kind         TEXT NOT NULL,
    certainty    REAL NOT NULL,
    unsure       INTEGER NOT NULL,
    reasons      TEXT NOT NULL,        -- JSON [[where, what], ...]
    has_content  INTEGER NOT NULL DEFAULT 1,
    finished_at  INTEGER               -- when the last recipient reached a final state
);

CREATE INDEX message_finished ON message (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX message_disposable ON message (finished_at)
    WHERE finished_at IS NOT NULL AND has_content = 1;

CREATE TABLE content (
    message_id INTEGER PRIMARY KEY,
    data       BLOB NOT NULL
);

CREATE TABLE recipient (
    id           INTEGER PRIMARY KEY,
    message_id   INTEGER NOT NULL,
    forward_path TEXT NOT NULL,
    state        TEXT NOT NULL,        -- relay.policy.accounting.State
    channel      TEXT NOT NULL,        -- by which it goes next, or went
    plan         TEXT NOT NULL,        -- channels in order, separated by blanks
    rule         TEXT NOT NULL,        -- which rule made the plan
    rank         INTEGER NOT NULL,     -- order of kinds in a channel, 0 first
    due_at       INTEGER,              -- set in, and only in, queued, deferred and in_doubt
    lease_until  INTEGER,              -- set in, and only in, sending
    attempts     INTEGER NOT NULL DEFAULT 0,
    doubts       INTEGER NOT NULL DEFAULT 0,
    noticed      INTEGER NOT NULL DEFAULT 0,  -- a delayed notice was sent
    why          TEXT NOT NULL DEFAULT '',    -- the last reply, or why it waits
    finished_at  INTEGER               -- set in, and only in, sent, failed and dropped
);

CREATE INDEX recipient_due ON recipient (channel, rank, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX recipient_held ON recipient (message_id) WHERE state = 'held';
CREATE INDEX recipient_message ON recipient (message_id);
CREATE INDEX recipient_leased ON recipient (lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE attempt (
    id           INTEGER PRIMARY KEY,
    recipient_id INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    channel      TEXT NOT NULL,
    upstream     TEXT NOT NULL,
    result       TEXT NOT NULL,
    reply        TEXT NOT NULL,
    entry        TEXT,                 -- of the reply dictionary
    milliseconds INTEGER NOT NULL
);

CREATE INDEX attempt_recipient ON attempt (recipient_id);

-- What was charged to the limits, kept however the limits are changed.
CREATE TABLE charge (
    channel    TEXT NOT NULL,
    at         INTEGER NOT NULL,
    messages   INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    PRIMARY KEY (channel, at)
) WITHOUT ROWID;

CREATE TABLE health (
    channel TEXT PRIMARY KEY,
    state   TEXT NOT NULL              -- JSON of relay.policy.health
) WITHOUT ROWID;

-- accepted; purged_sent, purged_failed, purged_dropped: recipients; possible_duplicates.
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE note (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
