"""Asking targets for their health, apart from calls."""
