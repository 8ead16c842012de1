"""How Hypothesis looks for counterexamples here."""

from hypothesis import settings

# How long an example takes is decided by what else the machine does; a test that hangs has its time-out.
settings.register_profile("todoke", deadline=None)
settings.load_profile("todoke")
