"""What flambeau promises of files, processes and threads when things go wrong, measured: `make reliability`."""
