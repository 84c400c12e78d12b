"""What an exception says about the target, the request, or neither."""

from failover_core.classify.decision import Classification, classify, is_neutral

__all__ = ["Classification", "classify", "is_neutral"]
