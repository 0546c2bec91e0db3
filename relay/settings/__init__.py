"""What the owner wrote, as frozen values.

In: a YAML file, the environment. Out: `Settings`, or every mistake at once with its line and key.
Never: rewrites the file, keeps or shows a secret, guesses what an unknown key may mean.
"""
