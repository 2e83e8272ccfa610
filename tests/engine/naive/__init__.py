"""
Rating written a second time: slowly, from the published rules, without looking at the engine.

Nothing here imports `apps.engine`, and nothing here is fast or clever. It takes the documents as they are written, in
plain fractions, and does what a clerk with a price list would do. Where it and the engine differ, one of them is wrong.
"""
