"""Where mail waits: durable before the 250, in exactly one state at every moment.

In: messages, plans, settlements. Out: leases, rows for people, counts.
Never: decides; every rule arrives as a value or a pure function.
"""
