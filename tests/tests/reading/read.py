"""read.py uring|map FILE: reads a file as programs do that do not call read(2). Prints what comes of it."""
import ctypes
import mmap
import os
import struct
import sys

SETUP, ENTER, OP_READ, ASYNC = 425, 426, 22, 16
CURRENT_POSITION = (1 << 64) - 1


def uring(path):
    """For each way to ask: how many bytes read(2) gets, and how many io_uring."""
    libc = ctypes.CDLL(None, use_errno=True)
    params = ctypes.create_string_buffer(120)
    ring = libc.syscall(SETUP, 4, params)
    if ring < 0:
        sys.exit("no io_uring: " + os.strerror(ctypes.get_errno()))
    fields = struct.unpack("<30I", params.raw)
    entries, cq_entries, (sq_tail, sq_mask, sq_array), (cq_head, cq_mask, cqes) = (
        fields[0], fields[1], (fields[11], fields[12], fields[16]), (fields[20], fields[22], fields[25]))
    sq = mmap.mmap(ring, sq_array + entries * 4, offset=0)
    cq = mmap.mmap(ring, cqes + cq_entries * 16, offset=0x8000000)
    submissions = mmap.mmap(ring, entries * 64, offset=0x10000000)

    def number(memory, at):
        return struct.unpack_from("<I", memory, at)[0]

    def read(file, buffer, offset, flags):
        submissions[:64] = struct.pack("<BBHiQQIIQHHiQQ", OP_READ, flags, 0, file, offset,
                                       ctypes.addressof(buffer), len(buffer), 0, 0, 0, 0, 0, 0, 0)
        tail = number(sq, sq_tail)
        struct.pack_into("<I", sq, sq_array + 4 * (tail & number(sq, sq_mask)), 0)
        struct.pack_into("<I", sq, sq_tail, tail + 1)
        libc.syscall(ENTER, ring, 1, 1, 1, None, 0)
        head = number(cq, cq_head)
        done = struct.unpack_from("<Qi", cq, cqes + 16 * (head & number(cq, cq_mask)))
        struct.pack_into("<I", cq, cq_head, head + 1)
        return done[1]

    for flags in (0, ASYNC):
        for offset in (0, CURRENT_POSITION):
            file = os.open(path, os.O_RDONLY)
            plain = len(os.pread(file, 1 << 17, 0))
            buffer = ctypes.create_string_buffer(1 << 17)
            got = 0
            # At the current position a program reads until it gets nothing.
            for _ in range(1 if offset == 0 else 4):
                length = read(file, buffer, offset, flags)
                got += length
                if length <= 0:
                    break
            print(plain, got)


def map_file(path):
    """Maps it as far as its size says, and looks at the first bytes."""
    file = os.open(path, os.O_RDONLY)
    try:
        print(bytes(mmap.mmap(file, os.fstat(file).st_size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)[:8]))
    except OSError as error:
        print(error.errno)


{"uring": uring, "map": map_file}[sys.argv[1]](sys.argv[2])
