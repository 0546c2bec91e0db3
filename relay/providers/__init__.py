"""What is known of others: providers, what their servers say, SMS gateways.

In: a refusal, a host, a domain. Out: whose fault it is, who it belongs to.
Never: the network, a clock, a decision about a message.
"""
