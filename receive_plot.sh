#!/usr/bin/env bash
# The receiving end on the NAS: takes one plot in. ssh from the plotter starts it; as the forced command of a
# restricted key it honours the few verbs of this suite and refuses everything else.
set -euo pipefail

script=$(readlink -f -- "${BASH_SOURCE[0]}")
checkout=${script%/*}
cd -- "$checkout"
if [ ! -x .venv/bin/python ]; then
    echo "receive_plot.sh: $checkout is not set up yet: run $checkout/install.sh nas" >&2
    exit 1
fi
exec .venv/bin/python -m plotfarm.jobs.receive_plot "$@"
