"""A local stand-in for the AutoRetouch service: strict, on loopback only, able to misbehave.

An independent judge of the daemon: it imports nothing from the rest of `watcher`.
"""

from watcher.sandbox import faults
from watcher.sandbox.faults import Fault
from watcher.sandbox.grants import AUDIENCE, CLIENT_ID, SCOPE, OAuthRules, TokenPair
from watcher.sandbox.policy import FaultRule
from watcher.sandbox.record import Seen, Stored
from watcher.sandbox.server import Sandbox

__all__ = [
    "AUDIENCE",
    "CLIENT_ID",
    "SCOPE",
    "Fault",
    "FaultRule",
    "OAuthRules",
    "Sandbox",
    "Seen",
    "Stored",
    "TokenPair",
    "faults",
]
