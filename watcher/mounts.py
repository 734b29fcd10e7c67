"""What an open file is on: which mount, and what kind of file system (statfs(2))."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

_NFS, _CIFS, _SMB2, _V9FS = 0x6969, 0xFF534D42, 0xFE534D42, 0x01021997

UNANNOUNCED = {
    _NFS, _CIFS, _SMB2, _V9FS,
    0x517B,  # smbfs
    0x65735546,  # FUSE: sshfs, rclone, glusterfs, virtiofs, ntfs-3g
    0x00C36400,  # Ceph
    0x5346414F, 0x6B414653,  # AFS
    0x0BD00BD0,  # Lustre
    0x01161970,  # GFS2
    0x7461636F,  # OCFS2
    0x20030528,  # OrangeFS
    0x73757245,  # Coda
    0x564C,  # NCP
    0x786F4256,  # VirtualBox
    0x7C7C6673,  # Parallels
}  # fmt: skip
"""File systems where what others do there reaches no inotify watch and no lease of ours."""

KEEPING_TIMES = {
    _NFS, _CIFS, _SMB2, _V9FS,
    0xEF53,  # ext2, ext3, ext4
    0x58465342,  # XFS
    0x9123683E,  # Btrfs
    0x2FC12FC1,  # ZFS
    0xF2F52010,  # F2FS
    0x01021994,  # tmpfs
    0x794C7630,  # overlay
}  # fmt: skip
"""File systems where a name that comes or goes changes its folder's time. FAT does not do so, and
of FUSE nobody knows: they have to show it."""


def is_announced(fd: int) -> bool:
    """Whether the kernel sees, and so tells, all that happens on the file system of an open file.

    Raises `OSError`; the question may be passed on to a server that hangs.
    """
    return file_system(fd) not in UNANNOUNCED


def keeps_times(fd: int) -> bool:
    """Whether a folder's modification time surely changes with the names in it. Raises likewise."""
    return file_system(fd) in KEEPING_TIMES


def file_system(fd: int) -> int:
    """The kind of file system, by its magic number; raises `OSError`."""
    answer = (ctypes.c_long * 64)()  # more than any struct statfs; its kind comes first
    if _libc.fstatfs(fd, answer):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer[0] & 0xFFFFFFFF


def is_mount_point(folder: int) -> bool:
    """Whether the open `folder` is the root of a mount; a bind mount counts, too."""
    above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return mount_id(above) != mount_id(folder)
    finally:
        os.close(above)


def mount_id(fd: int) -> int:
    """The ID of the mount that an open file is on (proc(5), fdinfo): it tells two mounts in turn on
    one path apart, which `st_dev` does not."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))
