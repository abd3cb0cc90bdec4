"""Decoding the images of a source in threads, in order and with few of them in memory."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from impasto.data.decode import Decoded, quiet_pillow
from impasto.data.source import Member, SkippedError, Source

Decode = Callable[[bytes], Decoded]
"""The bytes of a file to an image; raises SkippedError with the reason why not."""
Progress = Callable[[int, int], None]
"""Called with the number of files done and the number of all."""


@dataclass(frozen=True)
class Reading:
    """What came of one file: an image, or the reason why not."""

    name: str
    content_hash: str = ""
    """SHA-256 of the file: the same at any training size and with any version of the decoder."""
    image: Decoded | None = None
    reason: str = ""


def read_members(
    source: Source, members: Sequence[Member], decode: Decode, progress: Progress | None = None
) -> Iterator[Reading]:
    """Read and decode ``members`` of an open source, in their order; a bad one yields its reason."""
    num_threads = min(8, os.cpu_count() or 1)
    waiting: deque[Future[Reading]] = deque()
    num_done = 0
    with quiet_pillow(), ThreadPoolExecutor(num_threads, thread_name_prefix="decode") as pool:
        for member in members:
            # Files are read here and only decoded in the threads: archives are not safe to share, and
            # a compressed tar must be read from start to end.
            try:
                data = source.read(member)
            except SkippedError as error:
                waiting.append(_ready(Reading(member.name, reason=str(error))))
            else:
                waiting.append(pool.submit(_decoded, member.name, data, decode))
                del data
            while len(waiting) > 2 * num_threads or (waiting and waiting[0].done()):
                num_done += 1
                yield waiting.popleft().result()
                if progress:
                    progress(num_done, len(members))
        while waiting:
            num_done += 1
            yield waiting.popleft().result()
            if progress:
                progress(num_done, len(members))


def _decoded(name: str, data: bytes, decode: Decode) -> Reading:
    try:
        image = decode(data)
    except SkippedError as error:
        return Reading(name, reason=str(error))
    return Reading(name, hashlib.sha256(data).hexdigest(), image)


def _ready(reading: Reading) -> Future[Reading]:
    future: Future[Reading] = Future()
    future.set_result(reading)
    return future
