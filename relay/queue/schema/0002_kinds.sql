-- What documents of a message say of themselves, and what a person said that a message is.

ALTER TABLE message ADD COLUMN facts TEXT NOT NULL DEFAULT '[]';  -- JSON [{EInvoice}, ...]

CREATE TABLE correction (
    message_id INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    kind       TEXT NOT NULL,          -- as relay had found it; message.kind is the person's
    unsure     INTEGER NOT NULL        -- the same
);
