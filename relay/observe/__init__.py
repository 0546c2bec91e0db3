"""What is told: one event, one log line, one count.

In: events from a closed list. Out: log lines with ids, metrics without addresses.
Never: content, secrets, or an event that log and metrics do not know.
"""
