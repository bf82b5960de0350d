"""Runs programs of this folder one after another in one process, and prints what each printed below its name.

`flambeau run tests/programs/_run.py vae dcgan` runs them under flambeau, `python` in the place of `flambeau run` under
PyTorch.
"""

import contextlib
import io
import os
import runpy
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))


def main(names):
    for name in names:
        said, start = io.StringIO(), time.perf_counter()
        try:
            with contextlib.redirect_stdout(said):
                runpy.run_path(os.path.join(HERE, f"{name}.py"), run_name="__main__")
        except BaseException:
            print(traceback.format_exc(), file=said)
        print(f"=== {name}\n{said.getvalue()}", end="", flush=True)
        print(f"{name} took {time.perf_counter() - start:.2f} s", file=sys.stderr, flush=True)


main(sys.argv[1:])
