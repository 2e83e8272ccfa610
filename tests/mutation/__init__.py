"""
Mutation testing of the arithmetic of money: break one thing at a time, and see that a test notices.

`script/mutation` runs it; `docs/testing.md` says what it asks and how the last run went.
"""
