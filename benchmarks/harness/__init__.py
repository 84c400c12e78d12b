"""Measure contestants in turns, keep the figures as records, write them down once."""
