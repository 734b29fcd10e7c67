"""What this program exits with."""

OK = 0

AMISS = 1
"""Some files were rejected or failed, or something is amiss."""

USAGE = 2

LOGIN_NEEDED = 77
"""EX_NOPERM of sysexits(3)."""

CONFIGURATION = 78
"""EX_CONFIG; systemd does not start the daemon again."""
