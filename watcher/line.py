"""A connection that another process has: what is asked of it, and what it answers.

An exchange is one message for all that can be said at once, and one back. The first message begins
with `Asked`, the last ends with `END`, between them are the pieces of the body. One that is a part
of a file, (offset, length), ends a message, for its descriptor goes along; when it is sent there
comes `MORE`, and before that perhaps how far it has come, as an offset in the file. What ends the
exchange is an answer, (status, headers, body), or the exception to raise.

(All of it plain tuples and strings: to look classes up took a quarter of what an exchange costs.)
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, Self

from watcher.channel import Channel, ChannelLost
from watcher.errors import ServiceTrouble
from watcher.exchange import NOTHING, Answer, Body, Connection, Terms
from watcher.pieces import BodyFailedError, FilePart, pieces_of


class NewLine(NamedTuple):
    """A line's other end comes with this message. Those of one `shift` have the same trust."""

    shift: int
    terms: Terms


Asked = tuple[str, str, dict[str, str], dict[str, str], int]
"""Method, address, query, headers, the length of the body in bytes."""

END = "the body is whole"
STOP = "the body cannot be got"
MORE = "the part is sent"


class StoppedError(Exception):
    """The other side ended the exchange."""


class Line:
    """A `Connection`. Owned by one thread.

    `opened` gives the way to the other process, when it is needed. If that is lost, the outcome of
    what was under way is not known; all else goes over a connection that `otherwise` makes here.
    """

    def __init__(
        self, opened: Callable[[], Channel], *, otherwise: Callable[[], Connection]
    ) -> None:
        self._opened = opened
        self._otherwise = otherwise
        self._channel: Channel | None = None
        self._direct: Connection | None = None
        self._begun = False

    def exchange(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] = NOTHING,
        headers: Mapping[str, str],
        body: Body | bytes = b"",
    ) -> Answer:
        """As `Connection` has it."""
        if self._direct is None:
            length = len(body) if isinstance(body, bytes) else body.length
            asked = (method, url, dict(query), dict(headers), length)
            self._begun = False
            try:
                if self._channel is None:
                    self._channel = self._opened()
                return self._exchange(self._channel, asked, body)
            except ChannelLost as error:
                self._direct = self._otherwise()
                if self._begun:
                    raise ServiceTrouble(f"our process with the connections: {error}") from error
        return self._direct.exchange(method, url, query=query, headers=headers, body=body)

    def _exchange(self, channel: Channel, asked: Asked, body: Body | bytes) -> Answer:
        message: list[object] = [asked]
        try:
            for piece in pieces_of((body,) if isinstance(body, bytes) else body):
                if not isinstance(piece, FilePart):
                    message.append(piece)
                    continue
                channel.send([*message, (piece.offset, piece.length)], piece.fd)
                message, self._begun = [], True
                if (answer := _answer(channel, piece.sent_to)) is not None:
                    return answer  # it came before all was sent
                piece.sent_to(piece.offset + piece.length)
        except BodyFailedError as failed:
            if self._begun:
                channel.send([*message, STOP])
                with suppress(StoppedError, ServiceTrouble):
                    _answer(channel)
            raise failed.error from None
        channel.send([*message, END])
        self._begun = True
        answer = _answer(channel)
        if answer is None:
            raise ChannelLost("it wants more than there is")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._direct is not None:
            self._direct.__exit__()


def _answer(channel: Channel, sent_to: Callable[[int], object] = lambda _: None) -> Answer | None:
    """What came of it; None if the rest of the body is wanted. Raises what went wrong."""
    while True:
        said, _ = channel.receive()
        if isinstance(said, tuple):
            return Answer(*said)
        if said == MORE:
            return None
        if isinstance(said, Exception):
            raise said
        sent_to(said)
