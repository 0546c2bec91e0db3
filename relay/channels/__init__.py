"""The ways out: an SMTP upstream, the host's sendmail, a folder.

In: a lease (a message and the recipients to try). Out: an Attempt with one Outcome per recipient.
Never: raises for mail that fails, decides what a failure means, knows the queue.
"""
