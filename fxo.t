/tmp/pk/bin/python: can't open file '/work/wt/programs/fxo.py': [Errno 2] No such file or directory
