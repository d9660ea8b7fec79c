#!/usr/bin/env bash
# The sending end of one netcat pipe: what comes on standard input goes to PORT at ADDRESS, and its end
# closes the connection. plot_manager.py starts this; the token and the plot's bytes are its input.
set -euo pipefail
LC_ALL=C

refuse() {
    echo "send_plot.sh: refused: $1" >&2
    echo "usage: send_plot.sh ADDRESS PORT NETCAT    (NETCAT: auto, or a program's name or path)" >&2
    exit 2
}

[ $# -eq 3 ] || refuse "three arguments are needed"
address=$1
port=$2
netcat=$3

# Nothing that a program could take for an option: -lcCOMMAND would have netcat-traditional run the command.
[[ $address =~ ^[0-9A-Fa-f:][0-9A-Fa-f:.]*(%[0-9A-Za-z_.-]+)?$ ]] || refuse "ADDRESS is no IP address"
[[ $port =~ ^[1-9][0-9]{3,4}$ && $port -ge 1024 && $port -le 65535 ]] || refuse "PORT is none from 1024 to 65535"
[[ $netcat =~ ^[^-[:space:]][^[:space:]]*$ ]] || refuse "NETCAT is no program's name or path"

if [ "$netcat" = auto ]; then
    netcat=$(command -v nc.openbsd || command -v nc || command -v nc.traditional || echo nc)
fi
# The two netcats end a connection by different options; neither may leave a tail of seconds behind every plot.
case $("$netcat" -h 2>&1 || true) in
    *OpenBSD*) exec "$netcat" -n -N -- "$address" "$port" ;;
    *v1.1*) exec "$netcat" -n -q 0 -- "$address" "$port" ;;
    *)
        echo "send_plot.sh: $netcat is neither netcat-openbsd nor netcat-traditional: install one of them" >&2
        exit 1
        ;;
esac
