"""Connecting a channel to an account: settings found, tried before they are kept, and kept.

In: an address, a password, the channel's options. Out: a report of each step, a kept connection.
Never: writes the owner's settings, switches certificate checks off, guesses a password twice.
"""
