"""What was measured, as docs/reliability.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reliability.damage import UNCHECKED

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"


def problems(name: str, result: Any) -> list[Any]:
    """Everything in a part's result that should not be."""
    if name == "small_disk":
        return [] if result in (None, "-") else [result]
    return [*result.get("bad", ()), *result.get("wrong", ()), *result.get("unreadable", ()), *result.get("strays", ())]


def _count(result: dict[str, Any], outcome: str, kinds: Any = None) -> int:
    return sum(c.get(outcome, 0) for kind, c in result["table"].items() if kinds is None or kind in kinds)


def _rows(result: dict[str, Any]) -> str:
    columns = ("refused", "unharmed", "wrong", "executed", "hung", "failed")
    lines = ["| damage | files | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for kind, counts in result["table"].items():
        cells = (
            "not defined" if name == "wrong" and kind in UNCHECKED else f"{counts.get(name, 0):,}" for name in columns
        )
        lines.append(f"| {kind} | {sum(counts.values()):,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _memory(n: int) -> str:
    return f"{n / 2**20:.1f} MB"


TEXT = """\
# Reliability

What flambeau promises of files, processes and threads when things go wrong, and what was measured. `make reliability`
writes this page and fails if anything on it does not hold; quick versions of all of it run in `make test`. Measured
on {where}.

## Damaged files

{files:,} files, made by damaging six and loaded with `flambeau.load` as any program would. The six: a training state
with views, many dtypes and kinds of values and an optimizer's state, written by flambeau in two pickle protocols and
in the older format; a file that PyTorch wrote; a `flambeau.checkpoint`; a safetensors file. The damage:

- *bytes*: bits flipped, blocks lost, doubled, zeroed or exchanged, files cut short;
- *zip structure*: records lost, exchanged, renamed, doubled, rewritten with right checksums, fields of the archive
  changed, entries laid over each other, bombs;
- *pickle*: instructions changed, lost or inserted, and the archive's checksums made right again;
- *forged pickle*: the same with flambeau's list of checksums taken away too, so that no reader could tell. There, and
  in the *older format*, which has no checksums, other values are no error; but nothing may run, hang or swell.

{table}

Refused is `CheckpointError`, naming the entry. Unharmed is bit for bit what was saved: the damage hit padding or a
date. Wrong, executed, hung and failed (any other exception) must be 0.

- silently wrong: **{wrong}** of {checked:,}
- executed: **{executed}** (an audit hook watches every load: processes, files, sockets, imports, code)
- hung: **{hung}**; the slowest took {slowest:.2f} s of the processor
- memory: at most **{grown}** for files of up to {largest}

## Files made to do harm

{harm:,} files. {pickles:,} of them are pickles that name the functions which hostile pickles have been seen or shown
to call, each called in every way that a pickle has, or harmless names used for harm; {traps} are traps that cost more
than they weigh: zip bombs, keys that take forever to hash, numbers that share one hash, copies of copies, absurd
sizes, nesting without end.

- refused: **{harm_refused:,}** of {harm:,}; executed: **{harm_executed}**; hung: **{harm_hung}**
- the slowest took {harm_slowest:.1f} s of the processor, the greediest {harm_grown}

## Killed while saving

- {kills} processes killed with `kill -9` while they saved over and over, {kill_saves:,} saves in all; {halves} of the
  kills left a half-written temporary file
- unreadable or torn files afterwards: **{unreadable}**; stray files after the next save: **{strays}**

## Full disks

- {limits} saves that the system cut off at as many sizes (`RLIMIT_FSIZE`): old file damaged, or strays:
  **{limit_wrong}**
- a file system of 1 MB that is full: {small_disk}
- {faults} failures injected into writing, syncing and renaming (ENOSPC, EIO, EDQUOT): old file damaged, strays, or
  nothing said: **{fault_wrong}**

## Many readers, many writers

- {readers} processes read a file {reads:,} times, half of them mapped, while it was saved {reader_saves} times: mixed
  or unreadable states: **{read_wrong}**
- {writers} processes saved to one path {writer_saves} times: mixed or unreadable states, or strays: **{write_wrong}**

## Threads

- {threads} threads, {passes:,} forward passes of a convolutional network, a transformer layer, an LSTM and a
  perceptron, each thread with a grad mode of its own (`enable_grad`, `no_grad`, `inference_mode`,
  `set_grad_enabled`); before that, the first calls ever of operations, by all threads at once. Results, gradients or
  modes that differ from those of one thread alone: **{thread_wrong}**

## Interrupted training

- {runs} runs of {steps} steps (dropout, batch norm, a cosine schedule, shuffled loading by two workers with random
  augmentation), each killed with `kill -9` at up to three random steps ({run_kills} kills in all) and resumed from
  its checkpoint in the midst of an epoch. Runs whose losses differ in any bit from those of the
  run that nobody killed: **{run_wrong}**

## What is not promised

- The format from before PyTorch 1.6, and safetensors files of other programs, have no checksums: there, structure is
  checked, numbers can't be. The same holds for archives that PyTorch wrote after `set_crc32_options(False)`.
- Tensors are protected by CRC-32, which finds every error of up to 32 bits in a row and misses one in 4 billion of
  the rest; pickles by SHA-256. Neither keeps out someone who can write the file: for that, sign it.
- `weights_only=False` runs what the file says, as in PyTorch.
- Durable means that the file system was told so (`fsync` of file and folder); a disk that lies about it is beyond us.
"""


def write(found: dict[str, Any], where: str) -> None:
    """Write the page from the results of all parts."""
    damaged, hostile, kills = found["damaged"], found["hostile"], found["kills"]
    readers, writers, threads, runs = found["readers"], found["writers"], found["threads"], found["interrupted"]
    checked = [kind for kind in damaged["table"] if kind not in UNCHECKED]
    disk = {None: "all saves were refused, with the old file intact", "-": "not measured: none could be mounted here"}
    values = {
        "where": where, "files": damaged["files"], "table": _rows(damaged),
        "wrong": _count(damaged, "wrong", checked), "checked": sum(sum(damaged["table"][k].values()) for k in checked),
        "executed": _count(damaged, "executed"), "hung": _count(damaged, "hung"), "slowest": damaged["slowest"],
        "grown": _memory(damaged["grown"]), "largest": _memory(damaged["largest"]),
        "harm": hostile["files"], "pickles": sum(hostile["table"]["hostile pickle"].values()),
        "traps": sum(hostile["table"]["trap"].values()), "harm_refused": _count(hostile, "refused"),
        "harm_executed": _count(hostile, "executed"), "harm_hung": _count(hostile, "hung"),
        "harm_slowest": hostile["slowest"], "harm_grown": _memory(hostile["grown"]),
        "kills": kills["kills"], "kill_saves": kills["saves"], "halves": kills["half_written"],
        "unreadable": len(kills["unreadable"]), "strays": len(kills["strays"]),
        "limits": found["limits"]["tries"], "limit_wrong": len(found["limits"]["wrong"]),
        "small_disk": disk.get(found["small_disk"], found["small_disk"]),
        "faults": found["faults"]["tries"], "fault_wrong": len(found["faults"]["wrong"]),
        "readers": readers["readers"], "reads": readers["reads"], "reader_saves": readers["saves"],
        "read_wrong": len(readers["wrong"]), "writers": writers["writers"], "writer_saves": writers["saves"],
        "write_wrong": len(writers["wrong"]), "threads": threads["threads"], "passes": threads["passes"],
        "thread_wrong": len(threads["wrong"]), "runs": runs["runs"], "run_kills": runs["kills"], "steps": runs["steps"],
        "run_wrong": len(runs["wrong"]),
    }  # fmt: skip
    PAGE.write_text(TEXT.format(**values), encoding="utf-8")
