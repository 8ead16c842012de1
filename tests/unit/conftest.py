"""How Hypothesis looks for counterexamples here."""

from hypothesis import HealthCheck, settings

# How long an example takes, also to be drawn, is decided by what else the machine does; a test that hangs has its
# time-out.
settings.register_profile("todoke", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("todoke")
