"""Decoding the images of a source in threads, in order and with bounded memory."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from impasto.data.decode import Decoded, quiet_pillow
from impasto.data.source import Member, SkippedError, Source

Decode = Callable[[bytes], Decoded]
"""From the bytes of a file to an image; raises SkippedError with a reason."""
Progress = Callable[[int, int], None]
"""Called with (files done, files in total)."""


@dataclass(frozen=True)
class Reading:
    """The result for one file: an image, or the reason why it is skipped."""

    name: str
    content_hash: str = ""
    """SHA-256 of the file, independent of the training size and the decoder."""
    image: Decoded | None = None
    reason: str = ""


def read_members(
    source: Source, members: Sequence[Member], decode: Decode, progress: Progress | None = None
) -> Iterator[Reading]:
    """Yield ``members`` of an open source, read and decoded, in their order."""
    num_threads = min(8, os.cpu_count() or 1)
    pending: deque[Future[Reading]] = deque()
    num_done = 0
    with quiet_pillow(), ThreadPoolExecutor(num_threads, thread_name_prefix="decode") as pool:
        for member in members:
            # Threads only decode: archives are not thread-safe, and a compressed tar must be read sequentially.
            try:
                data = source.read(member)
            except SkippedError as error:
                pending.append(_ready(Reading(member.name, reason=str(error))))
            else:
                pending.append(pool.submit(_decode, member.name, data, decode))
                del data
            while len(pending) > 2 * num_threads or (pending and pending[0].done()):
                num_done += 1
                yield pending.popleft().result()
                if progress:
                    progress(num_done, len(members))
        while pending:
            num_done += 1
            yield pending.popleft().result()
            if progress:
                progress(num_done, len(members))


def _decode(name: str, data: bytes, decode: Decode) -> Reading:
    try:
        image = decode(data)
    except SkippedError as error:
        return Reading(name, reason=str(error))
    return Reading(name, hashlib.sha256(data).hexdigest(), image)


def _ready(reading: Reading) -> Future[Reading]:
    future: Future[Reading] = Future()
    future.set_result(reading)
    return future
