"""Which names on a share are candidates. Told by names alone, before any `stat`."""

import re
import warnings
from collections.abc import Sequence

from pathspec import GitIgnoreSpec

from watcher.tree import split

IMAGE = re.compile(r".*\.(?:jpe?g|jpe|jfif|png|tiff?|webp)\Z", re.IGNORECASE | re.DOTALL)
"""Names with an image extension. Everything else on a share is none of our business."""

_BUILT_IN = {
    "hidden": re.compile(r"\..*\Z", re.DOTALL),  # `._*`, `.DS_Store`, `.Trashes` are hidden too
    "Windows": re.compile(r"(?:Thumbs\.db|desktop\.ini)\Z", re.IGNORECASE),
    "server": re.compile(r"(?:@eaDir|#recycle|#snapshot|lost\+found)\Z"),
    "temporary": re.compile(
        r"(?:~\$.*|.*\.(?:tmp|part|partial|filepart|crdownload))\Z", re.IGNORECASE | re.DOTALL
    ),
    "our own": re.compile(r".*(?:\.sha256|\.rejected\.txt)\Z", re.DOTALL),
}
_ANY_BUILT_IN = re.compile(
    "|".join(f"(?:{rule.pattern})" for rule in _BUILT_IN.values()), re.IGNORECASE | re.DOTALL
)


class Ignores:
    """The built-in rules and one share's own patterns. Immutable; any thread may ask."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """`patterns` are gitignore lines; raises `ValueError` with one that cannot be read."""
        self._spec = _read(patterns)
        # A pattern that ends in a slash is for folders alone; most shares have no other kind, and
        # then no file need be matched at all.
        self._for_files = any(not line.rstrip().endswith("/") for line in patterns)

    def folder(self, path: str) -> str | None:
        """The rule by which the folder at relative `path`, itself, is ignored, or None."""
        return self._rule(path, path + "/")

    def file(self, path: str) -> str | None:
        """The rule by which the file at relative `path`, itself, is ignored, or None."""
        name = path[path.rfind("/") + 1 :]
        if IMAGE.match(name) is None:
            return "its name has no image extension"
        if not self._for_files:
            return _built_in(name)
        return self._rule(path, path)

    def anywhere(self, path: str) -> str | None:
        """The rule by which the file at relative `path` or a folder above it is ignored."""
        above, _ = split(path)
        return self.folders(above) or self.file(path)

    def folders(self, path: str) -> str | None:
        """The rule by which the folder at relative `path` ("" is the root) or one above it is
        ignored."""
        parts = path.split("/") if path else []
        for depth in range(1, len(parts) + 1):
            rule = self.folder("/".join(parts[:depth]))
            if rule is not None:
                return rule
        return None

    def _rule(self, path: str, matched: str) -> str | None:
        built_in = _built_in(path[path.rfind("/") + 1 :])
        if built_in is not None:
            return built_in
        result = self._spec.check_file(matched)
        if not result.include or result.index is None:
            return None
        pattern = self._spec.patterns[result.index]
        return f"the pattern {getattr(pattern, 'pattern', None) or result.index!r} of this share"


def _read(patterns: Sequence[str]) -> GitIgnoreSpec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # `re`'s, for "[[a]": of no use to anybody
        for line in patterns:
            try:
                GitIgnoreSpec.from_lines([line])
            except (ValueError, re.error) as error:  # pathspec lets `re`'s through, as for "[z-a]"
                why = f" ({ascii(error.msg)[1:-1]})" if isinstance(error, re.error) else ""
                raise ValueError(f"a pattern that cannot be read: {line!a}{why}") from error
        return GitIgnoreSpec.from_lines(patterns)


def _built_in(name: str) -> str | None:
    if _ANY_BUILT_IN.match(name) is None:
        return None
    return next(
        (f"built in: {kind} names" for kind, rule in _BUILT_IN.items() if rule.match(name)), None
    )
