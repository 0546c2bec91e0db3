"""The way out: claims what is due, has it sent, settles what came of it.

In: leases from the queue, outcomes from channels. Out: settlements, reports, the state of channels.
Never: decides by itself; whose fault it was and what follows is `policy`.
"""
