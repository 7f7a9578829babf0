"""`python -m nnunet_spine` is `nnunet-spine`."""

import sys

from nnunet_spine.cli.main import main

sys.exit(main())
