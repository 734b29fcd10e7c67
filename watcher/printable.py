r"""What comes from a share, a service or a file, as one line that forges no other.

A file called "x\nrejected" adds no line to the log, a mail or a screen, and does nothing to a
terminal.
"""


def printable(text: str) -> str:
    """The text as it is; in ASCII with escapes if any of it cannot be printed."""
    return text if text.isprintable() else ascii(text)[1:-1]
