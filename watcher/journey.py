"""One file's way from the share to its record. Read this from top to bottom; no threads in here.

    candidate -> settled -> opened -> inspected -> hashed -> known? -> uploaded -> recorded

Each step either goes on or ends the journey with an outcome. What fails raises, and whoever called
decides what that means (`disposition`). Nothing is kept open or locked when a journey ends, and
the original is only ever read.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from watcher.candidate import Candidate, Hashed
from watcher.claims import Claims
from watcher.errors import ServiceTrouble
from watcher.form import FileBody
from watcher.inspection import Image, Incomplete, Refusal, Source, inspect
from watcher.notes import note_text
from watcher.openfile import Digest, OpenFile
from watcher.outcomes import (
    AlreadyKnown,
    Changed,
    Gone,
    Held,
    NotSettled,
    Outcome,
    Rejected,
    Standing,
    Uploaded,
)
from watcher.pace import NoPace, Pace
from watcher.pieces import FileChanged
from watcher.placing import NameTooLong
from watcher.record import (
    LONGEST_NAME,
    SIDECAR,
    claim_beside,
    remove_note,
    remove_sidecar,
    state_beside,
    write_note,
    write_sidecar,
)
from watcher.renames import forget, former_claim
from watcher.service import Accepted, Refused, Service
from watcher.settling import Moment, Settling, observe
from watcher.sidecar import ForeignRecord
from watcher.tree import NotThere, look, opened, reading, split, stamp_of


class Journey:
    """Takes one candidate at a time; owned by one worker.

    `uploads` is entered to send a file, if it says so: it bounds how many are at once; `pace` is
    the cap; `admits` says if the service may be asked.
    """

    def __init__(
        self,
        *,
        service: Service,
        settling: Settling,
        claims: Claims,
        uploads: AbstractContextManager[bool],
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
        outcome = self._go(candidate)
        ended = not isinstance(outcome, NotSettled | Held | Changed)
        if ended and candidate.moved_from is not None:
            forget(candidate.share, candidate.moved_from)
            candidate.moved_from = None
        return outcome

    def _go(self, candidate: Candidate) -> Outcome:
        try:
            with self._opened(candidate) as file:
                if not isinstance(file, OpenFile):
                    return file
                judged = self._carried(candidate, file) or self._judged(candidate, file)
                match judged:
                    case Hashed():
                        return self._brought_to_service(candidate, file, judged)
                    case Rejected():
                        return self._rejected(candidate, file, judged)
                    case _:
                        return judged
        except NotThere:
            return self._gone(candidate)
        except (FileChanged, FileExistsError, ForeignRecord):
            return Changed()  # under way; the next look finds out how

    def _gone(self, candidate: Candidate) -> Outcome:
        # Nothing is concluded from absence; but if it was seen to go, its record goes, too.
        if candidate.vanished:
            forget(candidate.share, candidate.path)
        return Gone()

    # Settled, opened

    @contextmanager
    def _opened(self, candidate: Candidate) -> Iterator[OpenFile | Outcome]:
        """The file, open and at rest; or why there is nothing to open yet."""
        folder, name = split(candidate.path)
        share, now = candidate.share, self._now()
        with share.tree.folder(folder) as images:
            status = self._looked_at(candidate, name, images)
            with share.records(folder, images) as records:
                # Read: one that has just come may have brought another's sidecar along.
                state = state_beside(status, name, records, read=True)
                if state in {"uploaded", "rejected"}:
                    yield Standing(rejected=state == "rejected")
                    return
                seen = candidate.seen = observe(candidate.seen, stamp_of(status), now)
                wait = self._settling.wait(seen, now)
                if wait:
                    yield NotSettled("quiet_time", wait)
                    return
                recorded = None
                if state != "none":
                    recorded = claim_beside(name, records)
            fd, status = opened(name, images)
        try:
            file = OpenFile.of(fd, status, name, seen=seen, recorded=recorded)
            yield self._at_rest(file, now) or file
        finally:
            os.close(fd)

    def _looked_at(self, candidate: Candidate, name: str, images: int) -> os.stat_result:
        """What is there. That it was seen to go is past if it is, unless it goes just now."""
        gone, candidate.vanished = candidate.vanished, False
        try:
            status = look(name, images)
        except BaseException:
            if gone:
                candidate.vanished = True
            raise
        candidate.size = status.st_size
        return status

    def _at_rest(self, file: OpenFile, now: Moment) -> Outcome | None:
        """Why the open file is not at rest, if it is not."""
        if file.seen.stamp != file.stamp:
            return Changed()
        reason, wait = self._settling.wait_open(
            file.seen, now, writers=file.writers, hole=file.hole
        )
        return NotSettled(reason, wait) if wait else None

    def _carried(self, candidate: Candidate, file: OpenFile) -> Outcome | None:
        """A file that was renamed, and nothing else, keeps its sidecar without being read.

        Every write before the rename would have been announced before it, and every one since
        after it; that nobody writes now, the lease says.
        """
        intact, candidate.intact = candidate.intact, 0  # one attempt
        if not intact or candidate.moved_from is None or file.writers != "none":
            return None
        if len(os.fsencode(file.name)) > LONGEST_NAME:
            return None
        moved_ns = min(intact, file.stamp.ctime_ns)
        sha256 = former_claim(candidate.share, candidate.moved_from, file.stamp.mtime_ns, moved_ns)
        if sha256 is None:
            return None
        done = AlreadyKnown(None, sha256, file.stamp.size, how="renamed")
        return self._recorded(candidate, file, sha256) or done

    # Inspected, hashed

    def _judged(self, candidate: Candidate, file: OpenFile) -> Hashed | Outcome:
        """What the content is and its hash, or why it goes no further. Sends and writes nothing."""
        if len(os.fsencode(file.name)) > LONGEST_NAME:
            return Rejected("name_too_long", f"{len(os.fsencode(file.name))} bytes")
        if isinstance(file.recorded, ForeignRecord):
            return Rejected("foreign_sidecar", f"another file named after it, ending in {SIDECAR}")
        if (known := candidate.hashed) is not None and known.stamp == file.stamp:
            return known  # an earlier attempt got this far and the file is still the same
        candidate.hashed = None
        with candidate.share.readers(file.stamp.size) as place, reading:
            if not place:
                return Held()  # the share hangs: another worker has this one's place
            digest = Digest(file.fd, file.stamp.size, candidate.on_read)
            source = Source(file.fd, file.stamp.size, digest.take)
            equal = self._claims.images.get(digest.finish()) if source.is_small else None
            verdict = equal or inspect(source)
            match verdict:
                case Refusal(code, found):
                    return Rejected(code, found)
                case Incomplete(found):
                    return self._still_arriving(file, found)
                case Image():
                    sha256 = digest.finish()
                    if source.is_small:
                        self._claims.images.put(sha256, verdict)
        if not file.unchanged:
            return Changed()
        candidate.hashed = Hashed(file.stamp, verdict, sha256)
        return candidate.hashed

    def _still_arriving(self, file: OpenFile, found: str) -> Outcome:
        trust_times = file.writers == "none"
        wait = self._settling.wait_for_end(file.seen, self._now(), trust_times=trust_times)
        return NotSettled("incomplete", wait) if wait else Rejected("incomplete", found)

    # Known?, uploaded

    def _brought_to_service(self, candidate: Candidate, file: OpenFile, hashed: Hashed) -> Outcome:
        """The service has the content at the end, or the file is rejected, or it raises."""
        image, sha256, size = hashed.image, hashed.sha256, file.stamp.size
        organization = candidate.share.organization
        whose = self._service.whose(organization)
        with self._claims.claim(sha256, whose) as claim:
            if claim == "taken":
                patience = self._claims.patience(sha256, whose)
                return NotSettled("equal_content_under_way", patience)
            if claim == "done":
                done = AlreadyKnown(image, sha256, size, how="equal_content")
                return self._recorded(candidate, file, sha256) or done
            if not self._admits(candidate):
                return Held()
            if self._service.knows(sha256, organization=organization):
                return self._recorded(candidate, file, sha256) or AlreadyKnown(image, sha256, size)
            body = FileBody(file, sha256, form=image.format, pace=self._pace)
            body.on_sent = candidate.on_sent
            with candidate.share.uploads as first, self._uploads as second:
                if not (first and second):
                    return Held()  # as with reading
                answer = self._service.upload(body, organization=organization)
            if not file.unchanged:
                return Changed()  # whatever was sent, it is not this file any more
            match answer:
                case Refused(message):
                    return self._rejected(candidate, file, Rejected("refused_by_service", message))
                case Accepted(arrived) if arrived != sha256:
                    raise ServiceTrouble("it answered with the hash of other content")
            self._claims.done(sha256, whose)
        return self._recorded(candidate, file, sha256) or Uploaded(image, sha256, size)

    # Recorded

    def _recorded(self, candidate: Candidate, file: OpenFile, sha256: str) -> Outcome | None:
        """Writes the sidecar; `Changed` if the file is not what was sent any more, `Rejected` if
        none can have that name."""
        with self._record_folder(candidate, file) as records:
            if records is None:
                return Changed()
            try:
                write_sidecar(file.name, sha256, stamp=file.stamp, mode=file.mode, folder=records)
            except NameTooLong as error:
                return Rejected("name_too_long", str(error), noted=False)
            # A writer who came since the last look and set the time back would make this sidecar
            # look current. From here on the change time tells.
            if not file.unchanged:
                remove_sidecar(file.name, records)
                return Changed()
        return None

    def _rejected(self, candidate: Candidate, file: OpenFile, why: Rejected) -> Outcome:
        """Writes the note where one can stand."""
        with self._record_folder(candidate, file) as records:
            if records is None:
                return Changed()
            text, now = note_text(why.reason, why.found), self._now().local
            try:
                write_note(
                    file.name, text, when=now, stamp=file.stamp, mode=file.mode, folder=records
                )
            except (ForeignRecord, NameTooLong):  # there can be none: the log has it
                return why._replace(noted=False)
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
