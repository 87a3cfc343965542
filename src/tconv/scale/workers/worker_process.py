"""Process of one local worker: `python -m tconv.scale.workers.worker_process ADDRESS THREADS FOLDER`.

It ends with the process that started it, in any way: its standard input is then closed. A script that starts workers
so needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading


def main(address: str, threads: int, folder: str) -> None:
    """Serve a scheduler until it closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import dask

    # results are checksums: memory is bounded by the tiles, and nothing is to be moved to the disk
    memory = {f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause", "terminate")}
    dask.config.set({**memory, "distributed.admin.log-length": 10, "distributed.worker.profile.enabled": False})
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    asyncio.run(_serve(address, threads, folder))


async def _serve(address: str, threads: int, folder: str) -> None:
    from distributed import Worker

    worker = Worker(
        address,
        nthreads=threads,
        local_directory=folder,
        memory_limit=0,
        dashboard=False,
        death_timeout=20,
        host="127.0.0.1",
        silence_logs=logging.CRITICAL + 1,
    )
    async with worker:
        await worker.finished()


def _end_with_parent() -> None:
    """Wait for the end of the standard input, and end this process."""
    while sys.stdin.buffer.read(1 << 10):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
