"""`python -m retnet_viz`, for torchrun and wherever the command `retnet-viz` is not at hand."""

import sys

from retnet_viz.cli import main

sys.exit(main())
