# shellcheck shell=bash
# Sourced by the other scripts. Gives them `$root`, the checkout, and `prepare`, which makes `.venv` there once and
# leaves it alone while nothing that it was made from has changed.
#
# What goes wrong is said in one sentence on stderr that tells what to do; the script then ends with status 2.

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
making=$root/.venv.making
log=$venv/install.log

# Settings that would send Python or pip somewhere else. Which index pip uses stays the caller's business.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONNOUSERSITE PYTHONINSPECT __PYVENV_LAUNCHER__
unset PIP_REQUIRE_VIRTUALENV PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_NO_DEPS PIP_DRY_RUN PIP_PYTHON PIP_REQUIRE_HASHES
unset PIP_CONSTRAINT PIP_BUILD_CONSTRAINT PIP_REPORT PIP_EDITABLE PIP_REQUIREMENT

# The data of a Medic that is started by these scripts stands beside them, wherever they are called from.
if [ -z "${MEDIC_DATA_DIR:-}" ]; then
  export MEDIC_DATA_DIR=$root/medic-data
fi

stop() {
  printf '%s\n' "$1" >&2
  exit 2
}

# The interpreter to make the environment with; newer ones first. A name on the PATH that cannot run is passed over.
find_python() {
  local candidate without_venv=''
  for candidate in ${MEDIC_PYTHON:+"$MEDIC_PYTHON"} python3.13 python3.12 python3.11 python3 python; do
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue
    if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
      python=$candidate
      return
    fi
    without_venv=$candidate
  done
  if [ -n "$without_venv" ]; then
    stop "$without_venv has no venv module: install it (Debian and Ubuntu: apt install python3-venv) and run this again."
  fi
  stop "Medic needs Python 3.11 or newer: install it (it may be called python3.11, python3.12, python3.13 or python3) and run this again."
}

# What an environment is made from, word for word: the stamp of one that is ready.
made_from() {
  printf '%s\n' "$root"
  cat -- "$root/pyproject.toml" "$root/requirements/runtime.in" "$root/requirements/$1.txt"
}

is_ready() {
  [ -x "$venv/bin/python" ] && [ -x "$venv/bin/medic" ] && [ -f "$venv/stamp-$1" ] && made_from "$1" | cmp -s - "$venv/stamp-$1"
}

# pip is told to refuse any Python that is not a virtual environment's: nothing but .venv may be written to.
pip_install() {
  if PIP_REQUIRE_VIRTUALENV=1 "$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --no-deps "$@" >>"$log" 2>&1; then
    return
  fi
  local why="see .venv/install.log for pip's own words"
  if grep -qi 'no space left' "$log"; then
    stop "Medic could not be installed because the disk is full: free a gigabyte and run this again ($why)."
  elif grep -qi 'do not match the hashes' "$log"; then
    stop "A package that was downloaded is not the one that Medic was locked with: ask whoever runs your package index ($why)."
  elif grep -qiE 'connection|timed out|name resolution|no matching distribution|network|proxy|ssl' "$log"; then
    stop "Medic's dependencies could not be downloaded: connect this machine to the network, or point pip at a mirror of yours, and run this again ($why)."
  fi
  stop "Medic's dependencies could not be installed: mend what pip names and run this again ($why)."
}

# Only one script at a time makes the environment; a second one waits. One that was killed leaves its process id behind.
take_turn() {
  local told='' owner
  while ! mkdir -- "$making" 2>/dev/null; do
    [ -d "$making" ] || stop "The folder $root cannot be written to: copy Medic to one of your own and run this there."
    owner=$(cat -- "$making/pid" 2>/dev/null || true)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
      rm -rf -- "$making"
      continue
    fi
    [ -n "$told" ] || printf 'Another script is preparing .venv; waiting for it.\n' >&2
    told=yes
    sleep 0.5
  done
  printf '%s\n' "$$" >"$making/pid"
  trap 'rm -rf -- "$making"' EXIT
}

give_turn() {
  rm -rf -- "$making"
  trap - EXIT
}

# prepare runtime|dev: an environment with what is locked for that, and Medic itself.
prepare() {
  if is_ready runtime && { [ "$1" = runtime ] || is_ready "$1"; }; then
    return
  fi
  take_turn
  local for_what
  for for_what in runtime "$1"; do
    is_ready "$for_what" && continue
    if [ ! -x "$venv/bin/python" ] || [ ! -f "$venv/pyvenv.cfg" ] || [ "$(head -n 1 "$venv/stamp-runtime" 2>/dev/null)" != "$root" ]; then
      # New, or moved here with its old paths inside.
      find_python
      printf 'Preparing .venv (once; a minute or so)\n' >&2
      rm -rf -- "$venv" 2>/dev/null || stop "The folder $venv cannot be written to: make it yours, or remove it, and run this again."
      mkdir -- "$venv"
      "$python" -m venv "$venv" >>"$log" 2>&1 || stop "$python could not make a virtual environment: mend what .venv/install.log says and run this again."
    elif [ "$for_what" = dev ]; then
      printf 'Adding to .venv what the tests need\n' >&2
    else
      printf 'Bringing .venv up to date\n' >&2
    fi
    rm -f -- "$venv/stamp-$for_what"
    pip_install --require-hashes -r "$root/requirements/$for_what.txt"
    pip_install --no-build-isolation --editable "$root"
    made_from "$for_what" >"$venv/stamp-$for_what"
  done
  give_turn
}

# How long Debian's package of Prometheus may take to come, and after how many minutes another try is made.
FETCH_SECONDS=180
FETCH_AGAIN_MINUTES=1440

# The real Prometheus for the tests, where apt can bring it: Debian's package, unpacked into .venv without root, once.
# Where that fails nothing else does: those tests are left out, and say so.
fetch_prometheus() {
  local place=$venv/prometheus said=$venv/prometheus.log scratch
  if [ -x "$place/usr/bin/prometheus" ] || { command -v prometheus && command -v promtool; } >/dev/null 2>&1; then
    return
  fi
  command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || return 0
  if [ -n "$(find "$said" -mmin "-$FETCH_AGAIN_MINUTES" 2>/dev/null)" ]; then
    return
  fi
  printf 'Fetching Prometheus for the tests (once; half a minute or so)\n' >&2
  scratch=$(mktemp -d "$venv/prometheus.XXXXXX")
  if (cd -- "$scratch" && timeout "$FETCH_SECONDS" bash -c "$download_prometheus") >"$said" 2>&1 </dev/null; then
    # Another run may have been quicker.
    mv -T -n -- "$scratch/unpacked" "$place" 2>/dev/null || true
  else
    printf 'It could not be had; its tests are left out (see .venv/prometheus.log).\n' >&2
  fi
  rm -rf -- "$scratch"
}

# In a folder of its own. The machine's own lists of packages serve where they are there and not too old, else lists are
# fetched beside it: those of the machine are root's.
download_prometheus='
  set -e
  apt-get download prometheus || {
    mkdir -p state/lists/partial cache/archives/partial
    apt-get -o Dir::State="$PWD/state" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$PWD/cache" update
    apt-get -o Dir::State="$PWD/state" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$PWD/cache" download prometheus
  }
  dpkg-deb -x prometheus_*.deb unpacked
'
