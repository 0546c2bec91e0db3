"""Every decision of the relay, as pure functions over values.

In: evidence, rules, usage, replies and the time, all as arguments.
Out: verdicts, plans, waits, settlements.
Never: I/O, a clock, a random number.
"""
