"""The way in: SMTP submission from applications on this machine or network.

In: bytes from sockets. Out: messages handed to `Reception.accept`, replies.
Never: answers 250 before the commit, parses with `email`, trusts what a client says of itself.
"""
