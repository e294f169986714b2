"""Batches: run one pipeline over many recordings (files, folders, globs, gzip, JSONL with one exchange per line).

    from streamkit import batch

    summary = batch.run("recordings", pipeline, out="results.jsonl")

The inputs are divided into shards, which worker processes or another `Executor` process. Only the process that calls `run`
writes results, dead letters and a journal. After a crash, the same call resumes the batch; the resulting files are identical
byte for byte.
"""

from streamkit.batch.executor import Done, Executor
from streamkit.batch.inputs import Input
from streamkit.batch.job import Progress, Summary, run
from streamkit.batch.pipeline import pickled, whole
from streamkit.batch.processes import Processes
from streamkit.batch.result import DeadLetter, Flag, OtherChoice, Result
from streamkit.batch.shard import Shard, ShardOutcome, run_pickled, run_shard

__all__ = [
    "DeadLetter",
    "Done",
    "Executor",
    "Flag",
    "Input",
    "OtherChoice",
    "Processes",
    "Progress",
    "Result",
    "Shard",
    "ShardOutcome",
    "Summary",
    "pickled",
    "run",
    "run_pickled",
    "run_shard",
    "whole",
]
