"""The command line.

In: words of a person or a script. Out: what relay says, as tables or JSON, and an exit code.
Never: opens the queue; what needs the running relay asks it by its control socket.
"""
