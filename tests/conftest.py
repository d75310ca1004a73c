"""Settings that all tests share."""

from hypothesis import settings

# No deadline: the first example of a shape compiles, the others do not. The same examples each
# time: what a change breaks is told from what chance has found.
settings.register_profile("selfreg", settings.default, deadline=None, derandomize=True)
settings.load_profile("selfreg")
