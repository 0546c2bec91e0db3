"""What people and scrapers see: metrics, health, status; and the control socket of the commands.

In: HTTP requests, from a network address or the control socket. Out: answers from a `House`.
Never: a decision, a secret, content of mail, or an answer to a Host that is not ours.
"""
