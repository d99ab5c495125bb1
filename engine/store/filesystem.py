"""What kind of file system a folder lies on, and whether SQLite's locks hold there."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

from engine.host.mounts import Mount, mounts_in, read_mounts

# First field of `struct statfs`, as in linux/magic.h and the file systems' own headers.
_MAGIC = {
    0x01021997: "9p",
    0x5346414F: "afs",
    0x6B414653: "afs",
    0x19830326: "beegfs",
    0x00C36400: "ceph",
    0xFF534D42: "cifs",
    0x0000517B: "cifs",
    0xFE534D42: "cifs",
    0x73757245: "coda",
    0x01161970: "gfs2",
    0x47504653: "gpfs",
    0x0BD00BD0: "lustre",
    0x00006969: "nfs",
    0x7461636F: "ocfs2",
    0xAAD7AAEA: "panfs",
    0x786F4256: "vboxsf",
}
_FUSE = 0x65735546

_OTHER_NAMES = {"nfs4": "nfs", "smb3": "cifs", "smbfs": "cifs", "openafs": "afs"}

_NETWORK = {*_MAGIC.values(), "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "virtiofs"}

# afs and sshfs keep byte-range locks on the client, always; beegfs unless its client is told otherwise
# (tuneUseGlobalFileLocks), which no mount shows.
_LOCKS_STAY_HERE = {"afs", "beegfs", "fuse.sshfs"}

_WORDS_FOR_LOCAL_LOCKS = {
    "nfs": {"nolock", "local_lock=all", "local_lock=posix"},
    "cifs": {"nobrl"},
    "lustre": {"localflock", "noflock"},
}


@dataclass(frozen=True)
class FileSystem:
    """`kind` is "" where it is a local one. `locks_stay_here`: a lock on a file does not reach other machines
    that have the file open."""

    kind: str
    options: frozenset[str] = frozenset()

    @property
    def on_network(self) -> bool:
        return self.kind in _NETWORK

    @property
    def locks_stay_here(self) -> bool:
        told = self.options & _WORDS_FOR_LOCAL_LOCKS.get(self.kind, set())
        return self.kind in _LOCKS_STAY_HERE or bool(told)

    @property
    def name(self) -> str:
        """What to call it, with the mount option that matters."""
        told = sorted(self.options & _WORDS_FOR_LOCAL_LOCKS.get(self.kind, set()))
        return f"a network file system ({' '.join([self.kind.removeprefix('fuse.'), *told])})"


def file_system(folder: Path, mounts: bytes | None = None, magic: int | None = None) -> FileSystem:
    """The file system of a folder that exists: what the kernel says of the folder itself (statfs), with the
    options of its mount.

    `mounts`, the content of /proc/self/mountinfo, and `magic`, the number of statfs, are asked of the kernel
    where they are not given.
    """
    mounted, options = _mount(folder, read_mounts() if mounts is None else mounts)
    number = _statfs_type(folder) if magic is None else magic
    kind = _MAGIC.get(number, "")
    if number == _FUSE or (not kind and number == 0):
        kind = mounted  # a number for all that runs outside the kernel; and other systems have no statfs
    return FileSystem(kind if kind in _NETWORK else "", options)


def _statfs_type(folder: Path) -> int:
    """The number that tells the kind; 0 where the C library does not say."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        answer = ctypes.create_string_buffer(512)
        if library.statfs(os.fsencode(folder), answer) != 0:
            return 0
    except (AttributeError, OSError):
        return 0
    if os.uname().sysname != "Linux":
        return 0
    return ctypes.c_ulong.from_buffer(answer).value & 0xFFFFFFFF


def _mount(folder: Path, mounts: bytes) -> tuple[str, frozenset[str]]:
    """Kind and options of the mount that a folder lies on."""
    place = folder.absolute().resolve()
    nearest = Mount("", "", ())
    for mount in mounts_in(mounts):
        # Of two mounts on one point the later hides the earlier.
        if place.is_relative_to(mount.point) and len(mount.point) >= len(nearest.point):
            nearest = mount
    return _OTHER_NAMES.get(nearest.kind, nearest.kind), frozenset(nearest.options)
