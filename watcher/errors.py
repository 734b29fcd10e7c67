"""What can fail, split by who is at fault.

    WatcherError
    +-- ConfigurationError        the administrator's file or environment      exit 78
    +-- FileUnreadable            this file: permission, a bad sector
    +-- ShareTrouble              this share
    |   +-- ShareGone             vanished, unmounted, stale
    |   +-- RecordUnwritable      full, read-only, over quota, not permitted
    |       +-- RecordsGone           whatever they stand on: beside the images, the share
    |       +-- MirrorFolderBarred    one folder of a mirror, not the others
    +-- ServiceError
        +-- ServiceTrouble        the service or the way to it: try again
        |   +-- CertificateRefused    nobody knows who answers; nothing was sent
        +-- LoginNeeded           no token, or one that is refused             exit 77
        +-- AccessDenied          the organization or its permissions

Each carries the operation and, where there is one, the remedy in its text, which may be shown to
people. None ever holds a token. Foreign exceptions become these where they arise: those of the file
system in `tree`, `placing` and `record`, those of httpx in `connection`, those of pydantic in
`settings`, and so on.
"""


class WatcherError(Exception):
    """The root of all that this program raises itself."""


class ConfigurationError(WatcherError):
    """The configuration cannot be used; the text names file, key and remedy."""


class FileUnreadable(WatcherError):
    """This one file cannot be read; others can."""


class ShareTrouble(WatcherError):
    """A share cannot be worked on as a whole."""


class ShareGone(ShareTrouble):
    """The share's root cannot be entered, or its file system answers with an error."""


class RecordUnwritable(ShareTrouble):
    """A sidecar or note cannot be written in this folder."""


class RecordsGone(RecordUnwritable):
    """The file system of the record answers nothing but this error. Beside the images it is that
    of the share."""


class MirrorFolderBarred(RecordUnwritable):
    """One folder of a mirror cannot be entered or made: the records of its images are not known."""


class ServiceError(WatcherError):
    """The service did not do what was asked, and the file is not to blame."""


class ServiceTrouble(ServiceError):
    """Transient: no answer, 408, 425, 429, 5xx, or an answer that is not documented.

    `retry_after` is what the service asked for, in seconds, or None.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CertificateRefused(ServiceTrouble):
    """The other side's certificate is not believed, so nothing at all was sent to it."""


class LoginNeeded(ServiceError):
    """There is no token that the service accepts."""


class AccessDenied(ServiceError):
    """The token is good, but not for this organization or this operation."""
