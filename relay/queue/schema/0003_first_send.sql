-- When a window began that begins with a send, as far as it is known: between two moments.

CREATE TABLE first_send (
    channel    TEXT NOT NULL,
    limit_name TEXT NOT NULL,
    earliest   INTEGER NOT NULL,
    latest     INTEGER NOT NULL,
    PRIMARY KEY (channel, limit_name)
) WITHOUT ROWID;
