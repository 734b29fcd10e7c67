"""One file's way from the share to its record. Read this from top to bottom; no threads in here.

    candidate -> settled -> opened -> inspected -> hashed -> known? -> uploaded -> recorded

Each step either goes on or ends the journey with an outcome. What fails raises, and whoever called
decides what that means (`disposition`). Nothing is kept open or locked when a journey ends, and
the original is only ever read.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace

from watcher.backlog import Candidate, Hashed
from watcher.claims import Claims
from watcher.errors import RecordUnwritable, ServiceTrouble
from watcher.inspection import Image, Incomplete, Refusal, inspect
from watcher.notes import note_text
from watcher.openfile import OpenFile
from watcher.outcomes import (
    AlreadyKnown,
    Changed,
    Gone,
    Held,
    NotSettled,
    Outcome,
    Rehearsed,
    Rejected,
    Standing,
    Uploaded,
)
from watcher.pace import NoPace, Pace
from watcher.record import (
    LONGEST_NAME,
    NOTE,
    SIDECAR,
    State,
    recorded_hash,
    remove_note,
    remove_sidecar,
    state_of,
    write_note,
    write_sidecar,
)
from watcher.service import Accepted, FileBody, FileShrank, Refused, Service
from watcher.settling import HOLED, TWICE, Moment, Settling, observe
from watcher.sidecar import NAME_MAX, ForeignRecord
from watcher.tree import NotThere, is_free, look, open_regular, reading, split, stamp_of

EQUAL_CONTENT_SECONDS = 0.1
"""How soon a file is looked at again whose content another file is just sending."""


class Journey:
    """Takes one candidate at a time; owned by one worker.

    `uploads` is entered while a file is sent: it bounds how many are at once; `pace` is the
    bandwidth cap. `admits` tells whether the service may be asked now.
    """

    def __init__(
        self,
        *,
        service: Service,
        settling: Settling,
        claims: Claims,
        uploads: AbstractContextManager[object],
        pace: Pace | NoPace,
        admits: Callable[[Candidate], bool],
        now: Callable[[], Moment],
    ) -> None:
        self._service = service
        self._settling = settling
        self._claims = claims
        self._uploads = uploads
        self._pace = pace
        self._admits = admits
        self._now = now

    def take(self, candidate: Candidate) -> Outcome:
        """The whole way. Raises `errors.WatcherError` for what is not the file's fault."""
        return self._go(candidate, bring=self._brought_to_service, reject=self._rejected)

    def rehearse(self, candidate: Candidate) -> Outcome:
        """The way up to where something would be sent or written."""
        return self._go(
            candidate,
            bring=lambda _, file, hashed: Rehearsed(hashed.image, file.stamp.size),
            reject=lambda _, file, why: Rehearsed(why, file.stamp.size),
        )

    def _go(
        self,
        candidate: Candidate,
        *,
        bring: Callable[[Candidate, OpenFile, Hashed], Outcome],
        reject: Callable[[Candidate, OpenFile, Rejected], Outcome],
    ) -> Outcome:
        try:
            with self._opened(candidate) as file:
                if not isinstance(file, OpenFile):
                    return file
                judged = self._judged(candidate, file)
                match judged:
                    case Hashed():
                        return bring(candidate, file, judged)
                    case Rejected():
                        return reject(candidate, file, judged)
                    case _:
                        return judged
        except NotThere:
            return self._gone(candidate)
        except (FileShrank, FileExistsError, ForeignRecord):
            return Changed()  # under way; the next look finds out how

    def _gone(self, candidate: Candidate) -> Gone:
        """Nothing is concluded from a file's absence; but if it was seen to be deleted or moved
        away, and is still not there, its record goes after it."""
        if candidate.vanished:
            folder, name = split(candidate.path)
            with suppress(NotThere), candidate.share.tree.folder(folder) as images:
                if is_free(name, images):
                    with candidate.share.records(folder, images) as records:
                        if records is not None:
                            remove_sidecar(name, records)
                            remove_note(name, records)
        return Gone()

    # Settled, opened

    @contextmanager
    def _opened(self, candidate: Candidate) -> Iterator[OpenFile | Outcome]:
        """The file, open and at rest; or why there is nothing to open yet."""
        folder, name = split(candidate.path)
        share, now = candidate.share, self._now()
        with share.tree.folder(folder) as images:
            status = look(name, images)
            candidate.vanished = False
            with share.records(folder, images) as records:
                state = _state(status, name, records)
                if state in {"uploaded", "rejected"}:
                    yield Standing(rejected=state == "rejected")
                    return
                candidate.seen = observe(candidate.seen, stamp_of(status), now)
                wait = self._settling.wait(candidate.seen, now)
                if wait:
                    yield NotSettled("quiet_time", wait)
                    return
                recorded = _recorded(name, records) if state == "stale" else None
            fd = open_regular(name, images)
        try:
            file = OpenFile.of(fd, name, recorded)
            yield self._at_rest(candidate, file, now) or file
        finally:
            os.close(fd)

    def _at_rest(self, candidate: Candidate, file: OpenFile, now: Moment) -> Outcome | None:
        """Why the open file is not at rest, if it is not."""
        seen = candidate.seen
        if seen is None or seen.stamp != file.stamp:
            return Changed()
        if file.writers == "some":
            return NotSettled("being_written", self._settling.settle_seconds)
        times = TWICE if file.writers == "unknown" else 1
        if file.has_hole:
            times = HOLED
        wait = self._settling.wait(seen, now, times=times, trust_times=file.writers == "none")
        return NotSettled("quiet_time", wait) if wait else None

    # Inspected, hashed

    def _judged(self, candidate: Candidate, file: OpenFile) -> Hashed | Rejected | Outcome:
        """What the content is and its hash, or why it goes no further. Sends and writes nothing."""
        if len(os.fsencode(file.name)) > LONGEST_NAME:
            return Rejected("name_too_long", f"{len(os.fsencode(file.name))} bytes")
        if isinstance(file.recorded, ForeignRecord):
            return Rejected("foreign_sidecar", f"another file named after it, ending in {SIDECAR}")
        known = candidate.hashed
        if known is not None and known.stamp == file.stamp:
            return known  # an earlier attempt got this far and the file is still the same
        with reading():
            verdict = inspect(file.fd, file.stamp.size)
            match verdict:
                case Refusal(code, found):
                    return Rejected(code, found)
                case Incomplete(_, found):
                    return self._still_arriving(candidate, file, found)
                case Image():
                    sha256 = file.sha256()
        if not file.unchanged:
            return Changed()
        candidate.hashed = Hashed(file.stamp, verdict, sha256)
        return candidate.hashed

    def _still_arriving(
        self, candidate: Candidate, file: OpenFile, found: str
    ) -> NotSettled | Rejected | Changed:
        if candidate.seen is None:
            return Changed()
        wait = self._settling.wait_for_end(
            candidate.seen, self._now(), trust_times=file.writers == "none"
        )
        return NotSettled("incomplete", wait) if wait else Rejected("incomplete", found)

    # Known?, uploaded

    def _brought_to_service(self, candidate: Candidate, file: OpenFile, hashed: Hashed) -> Outcome:
        """The service has the content at the end, or the file is rejected, or it raises."""
        image, sha256, size = hashed.image, hashed.sha256, file.stamp.size
        if file.recorded == sha256:
            done = AlreadyKnown(image, sha256, size, how="sidecar_restamped")
            return self._recorded(candidate, file, sha256) or done
        organization = candidate.share.organization
        with self._claims.claim(sha256, organization) as claim:
            if claim == "taken":
                return NotSettled("equal_content_under_way", EQUAL_CONTENT_SECONDS)
            if claim == "done":
                done = AlreadyKnown(image, sha256, size, how="equal_content")
                return self._recorded(candidate, file, sha256) or done
            if not self._admits(candidate):
                return Held()
            if self._service.knows(sha256, organization=organization):
                done = AlreadyKnown(image, sha256, size)
                return self._recorded(candidate, file, sha256) or done
            body = FileBody(file.fd, size, name=file.name, form=image.format, pace=self._pace)
            with self._uploads:
                answer = self._service.upload(body, organization=organization)
            if not file.unchanged:
                return Changed()  # whatever was sent, it is not this file any more
            match answer:
                case Refused(message):
                    return self._rejected(candidate, file, Rejected("refused_by_service", message))
                case Accepted(arrived) if arrived != sha256:
                    raise ServiceTrouble("it answered with the hash of other content")
            self._claims.done(sha256, organization)
        return self._recorded(candidate, file, sha256) or Uploaded(image, sha256, size)

    # Recorded

    def _recorded(self, candidate: Candidate, file: OpenFile, sha256: str) -> Changed | None:
        """Writes the sidecar; `Changed` if the file is not what was sent any more."""
        with self._record_folder(candidate, file) as records:
            if records is None:
                return Changed()
            write_sidecar(file.name, sha256, stamp=file.stamp, mode=file.mode, folder=records)
            # A writer who came since the last look and set the time back would make this sidecar
            # look current. From here on the change time tells.
            if not file.unchanged:
                remove_sidecar(file.name, records)
                return Changed()
        return None

    def _rejected(self, candidate: Candidate, file: OpenFile, why: Rejected) -> Rejected | Changed:
        """Writes the note where one can stand."""
        with self._record_folder(candidate, file) as records:
            if records is None:
                return Changed()
            if len(os.fsencode(file.name + NOTE)) > NAME_MAX:
                return replace(why, noted=False)
            text, now = note_text(why.reason, why.found), self._now().local
            try:
                write_note(
                    file.name, text, when=now, stamp=file.stamp, mode=file.mode, folder=records
                )
            except ForeignRecord:  # somebody's own file of that name: the log has it
                return replace(why, noted=False)
            if file.unchanged:
                return why
            remove_note(file.name, records)  # as with a sidecar
            return Changed()

    @contextmanager
    def _record_folder(self, candidate: Candidate, file: OpenFile) -> Iterator[int | None]:
        """The folder for the record, walked to anew; None if the path does not lead to this very
        file any more: its folder may have been moved away or swapped since it was opened."""
        folder, name = split(candidate.path)
        with candidate.share.tree.folder(folder) as images:
            if stamp_of(look(name, images)) != file.stamp:
                yield None
                return
            with candidate.share.records(folder, images, create=True) as records:
                yield records


def _state(status: os.stat_result, name: str, records: int | None) -> State:
    try:
        return "none" if records is None else state_of(status, name, records)
    except OSError as error:  # the image has just been seen, so this is about its record
        why = f"the record of {name!a} cannot be read: {error.strerror}"
        raise RecordUnwritable(why) from error


def _recorded(name: str, records: int | None) -> str | ForeignRecord | None:
    try:
        return None if records is None else recorded_hash(name, records)
    except ForeignRecord as foreign:
        return foreign
