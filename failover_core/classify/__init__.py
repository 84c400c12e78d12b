"""What an exception says about the target, the request, or neither."""

from failover_core.classify.decision import Classification, classify

__all__ = ["Classification", "classify"]
