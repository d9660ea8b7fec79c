#!/usr/bin/env bash
# Ends netcat listeners that this suite started and whose owner is dead; never anybody else's.
set -euo pipefail

checkout=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
cd -- "$checkout"
if [ ! -x .venv/bin/python ]; then
    echo "kill_nc.sh: $checkout is not set up yet: run $checkout/install.sh nas" >&2
    exit 1
fi
exec .venv/bin/python -m plotfarm.jobs.end_listeners "$@"
