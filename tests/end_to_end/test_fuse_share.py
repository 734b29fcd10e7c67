import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting
from pathlib import Path

import pytest

from tests.end_to_end.fuse_share import FuseShare, needs_fuse

pytestmark = needs_fuse


@pytest.fixture
def share(tmp_path: Path) -> Iterator[FuseShare]:
    for name in ("share", "behind"):
        (tmp_path / name).mkdir()
    with FuseShare(tmp_path / "share", tmp_path / "behind") as share:
        yield share


def test_the_share_is_what_is_behind_it(share: FuseShare) -> None:
    through, behind = share.mountpoint, share.behind
    content = os.urandom(1_000_003)

    (behind / "a.jpg").write_bytes(content)
    assert (through / "a.jpg").read_bytes() == content

    (through / "done").mkdir()
    (through / "a.jpg").rename(through / "done" / "b.jpg")
    os.utime(through / "done" / "b.jpg", ns=(1, 1_600_000_000_123_456_789))
    assert os.listdir(through) == os.listdir(behind) == ["done"]
    assert (behind / "done" / "b.jpg").stat().st_mtime_ns == 1_600_000_000_123_456_789

    (through / "c.jpg").write_bytes(b"an earlier picture")
    (through / "c.jpg").write_bytes(content)
    assert (behind / "c.jpg").read_bytes() == content
    with (through / "c.jpg").open("rb") as held:
        (through / "done" / "b.jpg").replace(through / "c.jpg")
        (through / "done").rmdir()
        assert os.fstat(held.fileno()).st_nlink == 0
        assert held.read() == content
    (through / "c.jpg").unlink()
    assert os.listdir(behind) == []
    assert os.statvfs(through).f_blocks == os.statvfs(behind).f_blocks


def test_an_access_waits_while_the_share_hangs(share: FuseShare) -> None:
    with ThreadPoolExecutor(1) as pool:
        share.hang()
        try:
            waiting = pool.submit(os.statvfs, share.mountpoint)
            with pytest.raises(StillWaiting):
                waiting.result(timeout=0.5)
            share.go_on()
            assert waiting.result(timeout=10).f_blocks > 0
        except BaseException:
            share.die()  # or the pool would wait for ever
            raise


def test_an_access_fails_once_the_share_is_dead(share: FuseShare) -> None:
    share.die()
    with pytest.raises(OSError, match="not connected") as failure:
        os.listdir(share.mountpoint)
    assert failure.value.errno == errno.ENOTCONN
