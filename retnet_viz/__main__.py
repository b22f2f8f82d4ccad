"""`python -m retnet_viz`, for torchrun and wherever the command `retnet-viz` is not at hand."""

import os
import sys

from retnet_viz.cli import main

code = main()
if "TORCHELASTIC_RUN_ID" in os.environ:
    # DistributedDataParallel keeps gloo's threads beyond the end of their group, and one that frees
    # a tensor while the interpreter is taken down aborts a run that was done: end without that.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
