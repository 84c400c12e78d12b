"""Failover for calls to model servers: one target answers while any can."""
