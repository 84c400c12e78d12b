"""A discrete-event simulation of clients, targets and faults around the real engine.

One event heap, one virtual clock and one seed. Clients are open-loop: each makes calls by a
Poisson process and has a router of its own, whose ``Call`` decides every step; the simulation only
obeys it, as the drivers do. Servers have parallel slots and a bounded FIFO queue. A server does
not notice that a client has gone away: what was abandoned is worked off like everything else.
"""
