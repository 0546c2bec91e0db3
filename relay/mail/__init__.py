"""What mail is: addresses, messages, headers, replies, attempts, reports.

In: bytes and plain values. Out: frozen values, and bytes for the wire.
Never: I/O, a clock, a random number, another room.
"""
