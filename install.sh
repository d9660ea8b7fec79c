#!/usr/bin/env bash
# Sets up this checkout on Debian 12, Ubuntu 24.04 or later, and runs what was asked for.
# Everything Python lies in .venv. A second run finds all of it done and changes nothing.
set -euo pipefail

usage() {
    cat <<'END'
Usage: ./install.sh COMMAND

  demo      show the main job on real plots, on a throw-away farm in a temporary directory
  test      run all checks and tests (test ARGUMENTS: only pytest, with these arguments)
  plotter   set up the host that makes plots, and say what remains to be done by hand
  nas       set up a host that stores plots, likewise
  farmer    set up the host that farms, to hear of new coins, likewise

Each command first installs what it needs: Debian packages through apt-get (as root or with sudo;
otherwise it says what is missing) and the locked Python packages into .venv.
END
}

# "this|that": either will do, and the first is installed if both are missing.
readonly common_packages=(python3 python3-venv util-linux)
readonly plotter_packages=("${common_packages[@]}" openssh-client "netcat-openbsd|netcat-traditional")
readonly nas_packages=("${common_packages[@]}" openssh-server "netcat-openbsd|netcat-traditional"
    smartmontools)
readonly farmer_packages=("${common_packages[@]}")
readonly demo_packages=("${common_packages[@]}" openssh-server openssh-client netcat-openbsd)
readonly test_packages=("${demo_packages[@]}" netcat-traditional pv strace shellcheck cron iproute2
    xfsprogs e2fsprogs btrfs-progs mergerfs bindfs fuse3 gcc libc6-dev procps rsync openssl)

say() { printf '%s\n' "$*"; }

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

# ---- Debian packages ------------------------------------------------------------------------------

missing_packages() {
    local installed wanted name
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p')
    for wanted in "$@"; do
        for name in ${wanted//|/ }; do
            if grep -qxF -- "$name" <<<"$installed"; then continue 2; fi
        done
        say "${wanted%%|*}"
    done
}

# Sets as_root to the words that make a command run as root, or fails.
as_root=()
become_root() {
    if ((EUID == 0)); then
        return 0
    fi
    as_root=(sudo)
    command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [[ -t 0 ]] && sudo -v; }; }
}

apt_install() {
    local -a apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
        apt-get -q -y -o DPkg::Lock::Timeout=300)
    # The package lists may be missing or old: update them only then.
    "${apt[@]}" install --no-install-recommends "$@" && return 0
    "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "$@"
}

install_packages() {
    local missing log
    command -v dpkg-query >/dev/null || fail "this is neither Debian nor Ubuntu, and it knows no other system"
    missing=$(missing_packages "$@" | tr '\n' ' ')
    missing=${missing% }
    if [[ -z $missing ]]; then
        return 0
    fi
    say "Debian packages that are missing: $missing"
    become_root || fail "cannot become root to install them. Have this run, then start again:
  sudo apt-get update && sudo apt-get install -y $missing"
    if [[ " $missing " == *" openssh-server "* ]]; then
        say "Note: openssh-server comes with a service, which Debian starts at once and at every boot."
    fi
    say "Installing them with apt-get ..."
    log=$(mktemp)
    # shellcheck disable=SC2086 # package names, one word each
    if ! apt_install $missing >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "apt-get failed, see above. To try by hand: sudo apt-get install -y $missing"
    fi
    rm -f "$log"
}

# ---- Python packages ------------------------------------------------------------------------------

find_python() {
    local candidate
    for candidate in /usr/bin/python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            say "$candidate"
            return 0
        fi
    done
    fail "Python 3.11 or later is needed: Debian 12, Ubuntu 24.04 and later have it"
}

# The stamps are copies of the lists that .venv was made from. They are taken away before anything in
# .venv changes and come back when all is done, so a .venv without them is unfinished.
stamp_of() { say ".venv/.${1%.txt}-stamp"; }

venv_fits() { # LIST...
    local list
    for list in "$@"; do
        cmp -s "$list" "$(stamp_of "$list")" || return 1
    done
    .venv/bin/python -c 'import pip' 2>/dev/null # a new Python under an old .venv sees no packages
}

make_venv() { # LIST...: the last holds all that the others hold
    local python list
    if venv_fits "$@"; then
        return 0
    fi
    say "Installing the Python packages into $checkout/.venv ..."
    python=$(find_python)
    if ! [[ -e $(stamp_of requirements.txt) ]] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        rm -rf .venv
        "$python" -m venv .venv || fail "cannot make .venv with $python, see above"
    fi
    rm -f .venv/.*-stamp
    for list in "$@"; do
        cp "$list" "$(stamp_of "$list").new"
    done
    # Only wheels: building from source would run code that no hash covers.
    PIP_USER=0 .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes --only-binary :all: --requirement "${!#}" || fail "pip failed, see above"
    for list in "$@"; do
        mv "$(stamp_of "$list").new" "$(stamp_of "$list")"
    done
}

# A real Chia for the tests, in an environment of its own. Where it cannot be had, those tests are skipped and say why.
# Some of its packages come as source only.
make_chia() {
    if cmp -s requirements-chia.txt .venv-chia/.stamp; then
        return 0
    fi
    say "Installing a Chia for the tests into $checkout/.venv-chia ..."
    rm -rf .venv-chia
    if "$(find_python)" -m venv .venv-chia &&
        PIP_USER=0 .venv-chia/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
            --require-hashes --prefer-binary --requirement requirements-chia.txt; then
        cp requirements-chia.txt .venv-chia/.stamp
    else
        say "It cannot be installed, see above: the tests with a real Chia are skipped."
        rm -rf .venv-chia
    fi
}

# Two at once: the second waits. The lock lies on the checkout itself, and the work does not hold it.
set_up() { # PACKAGE... -- LIST...
    local -a packages=()
    while [[ $1 != -- ]]; do
        packages+=("$1")
        shift
    done
    shift
    exec 9<"$checkout"
    if ! flock -n 9; then
        say "Another install.sh is at work in $checkout: waiting for it ..."
        flock -w 3600 9 || fail "it is still at work after an hour: see who holds $checkout (fuser -v $checkout)"
    fi
    install_packages "${packages[@]}"
    make_venv "$@"
    exec 9<&-
}

# ---- The commands ---------------------------------------------------------------------------------

run_demo() {
    set_up "${demo_packages[@]}" -- requirements.txt requirements-development.txt
    exec .venv/bin/python -m testbed.demo "$@"
}

check() {
    printf '\n==> %s\n' "$*"
    "$@" || fail "this check failed: $*"
}

run_test() {
    local -a scripts
    set_up "${test_packages[@]}" -- requirements.txt requirements-development.txt
    if (($# == 0)); then
        make_chia
        mapfile -t scripts < <(find . -path './.venv*' -prune -o -name '*.sh' -print | sort)
        check .venv/bin/ruff check .
        check .venv/bin/ruff format --check .
        check .venv/bin/mypy
        check .venv/bin/lint-imports
        check shellcheck "${scripts[@]}" .ci/run
        run_all_tests
    else
        printf '\n==> pytest %s\n' "$*"
        exec .venv/bin/python -m pytest "$@"
    fi
}

# Most tests wait: for limits to pass, for hosts to give up. Three at once keep two cores busy. A limit
# of seconds may then pass for want of a processor: the few that fail are tried again, each alone.
run_all_tests() {
    local status=0
    printf '\n==> pytest, three tests at once\n'
    .venv/bin/python -m pytest --numprocesses 3 --dist worksteal || status=$?
    if ((status == 1)); then
        printf '\n==> pytest, what failed, alone\n'
        exec .venv/bin/python -m pytest --last-failed --last-failed-no-failures none --verbose
    fi
    exit "$status"
}

set_up_plotter() {
    set_up "${plotter_packages[@]}" -- requirements.txt
    cat <<END
The plotter is set up. What remains, as the user that will run it:

1. Fill in $checkout/plot_manager_config:
     [plotter] plot_directories    where finished plots appear
     [nas] hosts                   who takes them
     [nas] receive_command         the path of receive_plot.sh over there
2. Make a key for the plots and name it in [nas] ssh_options (-i ~/.ssh/plot_manager):
     ssh-keygen -t ed25519 -N '' -f ~/.ssh/plot_manager
   Run ./install.sh nas on each NAS; it says what to do with the public half. Then accept the NAS's
   host key once:
     ssh -i ~/.ssh/plot_manager NAS
3. See what would be sent where:
     $checkout/plot_manager.py --dry-run
4. Add this line with crontab -e:
     */5 * * * * $checkout/plot_manager.py
END
}

set_up_nas() {
    set_up "${nas_packages[@]}" -- requirements.txt
    cat <<END
The NAS is set up. What remains, as the user that will take plots in (it needs to write to the drives, and
to run smartctl, nothing else):

1. Fill in $checkout/plot_manager_config:
     [drives] devices, mounts      which mounted file systems are plot drives
     [transfer] ports              ports that the plotter can reach here
     [notifications], [email] ...  which messages you want, and how they go
2. See which drive would be taken, and why the others not:
     $checkout/drive_manager.py --explain
3. Let the plotter in, and only to hand over plots: one line in ~/.ssh/authorized_keys, with the plotter's
   address and its public key (there in ~/.ssh/plot_manager.pub):
     restrict,from="PLOTTER",command="$checkout/receive_plot.sh" ssh-ed25519 AAAA...
4. Unless that user is root, let it read the health of the drives: one line in /etc/sudoers.d/plot_manager
     USER ALL=(root) NOPASSWD: /usr/sbin/smartctl
   and look at what the drives say:
     $checkout/drive_manager.py --check_temps
5. Send yourself a test by each way that you have set up:
     $checkout/drive_manager.py --test_notifications
6. Add these lines with crontab -e:
     *  *  * * * $checkout/drive_manager.py
     01 00 * * * $checkout/drive_manager.py --update_daily >/dev/null
     02 00 * * * $checkout/drive_manager.py --daily_report >/dev/null
   and if plots are made on this NAS too, with [local_plots] filled in:
     */5 * * * * $checkout/move_local_plots.py
END
}

set_up_farmer() {
    set_up "${farmer_packages[@]}" -- requirements.txt
    cat <<END
The farmer is set up. What remains, as a user that can read Chia's log (best the one that Chia runs as):

1. Let Chia log what is needed, then restart it:
     chia configure --set-log-level INFO
2. Fill in $checkout/plot_manager_config:
     [notifications] alerting, and services or email, sms, pb with their sections
     [chia] home                   if it is not ~/.chia/mainnet
3. Send yourself a test by each way that you have set up:
     $checkout/coin_monitor.py --test_notifications
4. Add this line with crontab -e; the first run takes the coins that are in the log for the past:
     * * * * * $checkout/coin_monitor.py
END
}

main() {
    checkout=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
    readonly checkout
    cd -- "$checkout"
    # cron and plain users may lack the directories of sshd, mkfs and ip; a foreign Python must not leak in.
    export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
    unset PYTHONHOME PYTHONPATH

    case "${1-}" in
        demo) run_demo "${@:2}" ;;
        test) run_test "${@:2}" ;;
        plotter) set_up_plotter ;;
        nas) set_up_nas ;;
        farmer) set_up_farmer ;;
        -h | --help) usage ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
}

main "$@"
