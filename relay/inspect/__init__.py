"""Reads what a message is made of, within bounds.

In: an envelope, its origin and its content. Out: Evidence; a lexicon from its data files.
Never: raises on a message, opens the network, parses documents in the daemon's own process.
"""
