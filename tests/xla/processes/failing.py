"""One of the processes fails, in a way that is named; the others wait for it."""

import os
import signal
import sys
import time

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record


@record
def main(how, who):
    dist.init_process_group("gloo")
    rank, t = dist.get_rank(), torch.ones(3)
    dist.all_reduce(t)
    if rank == who:
        time.sleep(0.5)
        print(f"fails at {time.time()}", flush=True)
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "raises":
            raise ValueError("its own mistake")
        if how == "exits":
            sys.exit(3)
        if how == "frozen":
            os.kill(os.getpid(), signal.SIGSTOP)
    dist.all_reduce(t)
    dist.all_reduce(t)


main(sys.argv[1], int(sys.argv[2]))
