"""Settings that all tests share."""

from hypothesis import settings

# No deadline: the first example of a shape compiles, the others do not.
settings.register_profile("selfreg", settings.default, deadline=None)
settings.load_profile("selfreg")
