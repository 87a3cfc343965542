"""Refusal, before a tile runs, of workers that would not compute the bits of this machine or do not see its files."""

from __future__ import annotations

import sys
from typing import Any

from tconv.errors import ClusterError, FileError, TconvError
from tconv.scale.workers.cluster import Cluster
from tconv.scale.workers.worker_tasks import Failure, MismatchError, check_worker

_SECONDS = 120
_VERSION = "getattr(__import__('tconv'), '__version__', '?')"


def check_versions(cluster: Cluster) -> None:
    """Raise ClusterError for a scheduler or a worker of another tconv, or without one."""
    client, own = cluster.client, sys.modules["tconv"].__version__
    # not a function of tconv: another version may not have it
    found = {"the scheduler": _asked(lambda: client.run_on_scheduler(eval, _VERSION))}
    answers = _asked(lambda: client.run(eval, _VERSION, on_error="return"))
    found.update(
        {f"worker {address}": answer for address, answer in answers.items()} if isinstance(answers, dict) else {}
    )
    for who, version in found.items():
        if version != own:
            has = "no tconv" if isinstance(version, Exception) else f"tconv {version}"
            raise ClusterError(
                f"{who} has {has}; this process has {own}, and one version computes a whole job. Install "
                f'"tconv[scale]=={own}" there'
            )


def _asked(question: Any) -> Any:
    try:
        return question()
    except Exception as error:
        return error


def check_workers(cluster: Cluster, stage: Any) -> None:
    """Let every worker open the stage. Raises ClusterError or FileError that names the first that cannot."""
    client = cluster.client
    futures = {
        address: client.submit(check_worker, stage, workers=[address], allow_other_workers=False, pure=False)
        for address in cluster.workers()
    }
    for address, future in futures.items():
        try:
            failure = future.result(timeout=_SECONDS)
        except Exception as error:
            if type(error).__module__.startswith("tconv"):
                raise
            raise ClusterError(
                f"worker {address} does not answer: {type(error).__name__} {error}. Look at its log, and start it again"
            ) from None
        if failure is not None:
            raise failed(failure, opening=True)


def failed(failure: Failure, *, opening: bool = False) -> BaseException:
    """Return the error of a task, with its cause and a note that names the worker; in the error itself at `opening`."""
    error = failure.error
    if isinstance(error, MismatchError):
        return ClusterError(
            f"worker {failure.worker} is refused: {error}. Start workers with this machine's tconv and kind of CPU, "
            "and with the same files under the same paths"
        )
    if opening and isinstance(error, FileError):
        error = FileError(f"worker {failure.worker}: {error}. All workers need the files under the same paths")
    error.__cause__ = failure.cause
    error.add_note(f"on worker {failure.worker}" if isinstance(error, TconvError) else failure.trace)
    return error
