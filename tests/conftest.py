"""What holds for all tests."""

from hypothesis import settings

# How long an example takes is never a part of what is tested.
settings.register_profile("no timing", deadline=None)
settings.load_profile("no timing")
