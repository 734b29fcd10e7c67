"""TIFF and BigTIFF: the size of the first page, and whether all that the directories name is there.

Source: TIFF 6.0 (Adobe, 1992); BigTIFF (Aware Systems, 2007); TIFF Technical Note 1 (SubIFDs).
Where real files depart from them, libtiff and Pillow are followed: what they show is accepted.

A TIFF has no mark at its end. It is whole when nothing that it points to lies past its end, and
since writers put the directory, or the pixels, last, a file that is cut short always points there.
Where its length is kept for what is still to come, the last packed pixels are zeros instead; of
unpacked ones nobody can tell, for so is black.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from watcher.inspection.raw import RawSigns, marked_family
from watcher.inspection.source import TAIL, Damaged, EndMissing, Source, is_unwritten
from watcher.inspection.tiff_directory import Directory, Layout, read_directory, read_layout
from watcher.inspection.tiff_page import last_pixels, parts_of, size_of
from watcher.inspection.verdicts import Refusal

MAX_DIRECTORIES = 65_535
"""Pages and sub-pages that are looked at, as many as libtiff 4.5 counts. A file with more is
refused: nobody could say in bounded time whether it is whole."""

MAX_ENTRIES_IN_ALL = 2_000_000
"""Values in all directories together, and offsets of others below them: so that large directories
are not many."""

MAX_PARTS = 16_000_000
"""Strips and tiles in all pages together: some seconds. The largest acceptable picture has
40,000 strips of one row, or 1,562,500 tiles of 16 x 16 pixels in four planes."""

_SUB_DIRECTORIES = 330
_METADATA = (34665, 34853)
"""Where the Exif and GPS directories are (Exif 2.32, 4.6.3): tables of values, but no pages."""


def read_tiff(source: Source) -> tuple[int, int] | Refusal:
    """Width and height of the first page, or the name of the RAW family it belongs to.

    Holds one directory and some 16,000 strips in memory at most, and looks at no more than the
    three MAX_ numbers above. A RAW file is told although its end is missing, if the signs are
    there. Raises `EndMissing` if anything that any page needs lies past the file's end, and
    `Damaged` if the first page cannot be shown; of later ones, which decoders may never look at,
    only a missing end counts. A chain that leads back into itself ends there, as for Pillow.
    """
    layout = read_layout(source)
    family = marked_family(source, layout)
    if family is None:
        survey = _Survey(source, layout)
        survey.run()
        family = survey.signs.family()
        if family is None:
            return survey.size_of_first_page()
    return Refusal("raw", family)


class _Survey:
    """One walk over all directories of one file. Owned by the thread that inspects.

    What is wrong is kept until the walk is over, because a directory that comes later can tell that
    the file is a RAW file, and that is the better answer.
    """

    def __init__(self, source: Source, layout: Layout) -> None:
        self.signs = RawSigns()
        self._source = source
        self._layout = layout
        self._size = (0, 0)  # until the first page tells it, or something is wrong with it
        self._missing: EndMissing | None = None
        self._damage: Damaged | None = None
        self._entries = MAX_ENTRIES_IN_ALL
        self._parts = MAX_PARTS
        self._last_packed = (0, 0)  # end and start of what is packed and lies last

    def run(self) -> None:
        """Look at every directory that the first one leads to, each once."""
        if self._layout.first == 0:  # as libtiff leaves the header until it closes the file
            self._missing = EndMissing("its directory has not been written yet")
            return
        waiting = [self._layout.first]
        known = set(waiting)
        while waiting:
            offset = waiting.pop()
            fresh = self._look_at(offset) - known
            known |= fresh
            waiting += sorted(fresh, reverse=True)
            if len(known) > MAX_DIRECTORIES or self._entries < 0 or self._parts < 0:
                self._damage = Damaged("it has more pages or parts than can be looked at")
                return

    def size_of_first_page(self) -> tuple[int, int]:
        """What the walk found. Raises `Damaged` or `EndMissing` if it found something wrong."""
        if self._damage is not None:
            raise self._damage
        if self._missing is not None:
            raise self._missing
        self._check_last_packed()
        return self._size

    def _look_at(self, offset: int) -> set[int]:
        """Take in the directory at `offset`; where those are that it leads to."""
        with self._keeping_what_is_wrong(offset):
            directory = read_directory(self._source, self._layout, offset)
            if directory is None:
                self._check_written(offset)
                raise Damaged("what should be its directory is none")
            self._entries -= directory.length + directory.count(_SUB_DIRECTORIES)
            self._parts -= parts_of(directory)
            with self._keeping_what_is_wrong(offset):
                self.signs.take(directory)
                self._check(directory)
            return self._led_to(directory)
        return set()

    def _check_written(self, offset: int) -> None:
        """That what is no directory is not one that is to come yet. Of the first one that need not
        be told: nothing works without it."""
        if offset == self._layout.first:
            return
        size = self._source.size
        there = offset, min(size, offset + TAIL)
        if is_unwritten(self._source, *there) and is_unwritten(self._source, 0, size):
            raise EndMissing("one of its directories has not been written yet")

    @contextmanager
    def _keeping_what_is_wrong(self, offset: int) -> Iterator[None]:
        try:
            yield
        except EndMissing as missing:
            self._missing = self._missing or missing
        except Damaged as damage:
            if offset == self._layout.first:  # what is odd further on, decoders pass over
                self._damage = self._damage or damage

    def _check(self, directory: Directory) -> None:
        """Whether what the directory names is there.

        Raises `EndMissing` if something lies past the file's end, and `Damaged` if it is no page
        that can be shown.
        """
        self._within(directory.end_of_values())
        for tag in _METADATA:
            offset = directory.number(tag)
            metadata = read_directory(self._source, self._layout, offset) if offset else None
            if metadata is not None:
                self._entries -= metadata.length
                self._within(metadata.end_of_values())
        if directory.offset == self._layout.first:
            self._size = size_of(directory)  # a thumbnail further on need not tell its own
        if self._parts >= 0:
            end, start = last_pixels(directory)
            self._within(end)
            if start is not None:
                self._last_packed = max(self._last_packed, (end, start))

    def _check_last_packed(self) -> None:
        end, start = self._last_packed
        if is_unwritten(self._source, start, end):
            raise EndMissing(f"its pixels end in zeros before byte {end:,}")

    def _within(self, end: int) -> None:
        size = self._source.size
        if end > size:
            raise EndMissing(f"it ends at byte {size:,}, before byte {end:,}")

    def _led_to(self, directory: Directory) -> set[int]:
        """The offsets of the next directory in the chain and of those below this one."""
        below = directory.numbers(_SUB_DIRECTORIES, 0, MAX_DIRECTORIES + 1)
        return {offset for offset in (directory.following, *below) if offset > 0}
