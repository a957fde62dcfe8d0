"""Property tests have no deadline: a loaded machine is no mistake in the code."""

from hypothesis import settings

settings.register_profile("seglab", deadline=None)
settings.load_profile("seglab")
