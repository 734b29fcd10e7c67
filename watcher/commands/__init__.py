"""What an administrator asks: `check`, `status`, `explain`, `verify`, `retry`, `config`.

None of it is part of the daemon; each uses the daemon's own parts, so that the two cannot disagree.
"""
