# Sourced by the scripts beside it, in the repository's root: brings .venv to the state that pyproject.toml asks for.
# PYTHON chooses the interpreter of a new .venv.

fail() {
  echo "error: $*" >&2
  exit 1
}

make_venv() {
  local python="${PYTHON:-python3}"
  command -v "$python" >/dev/null || fail "no '$python' found; install Python 3.11 or newer, or name one: PYTHON=/path/to/python $0"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "'$python' is $("$python" --version 2>&1), and 3.11 or newer is needed; name another: PYTHON=/path/to/python $0"
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "'$python' cannot make virtual environments; install its venv module (Debian and Ubuntu: apt install python3-venv)"
  "$python" -m venv .venv
}

install_when_changed() {
  local stamp=.venv/installed-for wanted
  wanted="$(cat pyproject.toml constraints.txt)"
  if [[ ! -f $stamp || "$(<"$stamp")" != "$wanted" ]]; then
    echo "installing hgenre into .venv (minutes, the first time)" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
    echo "$wanted" >"$stamp"
  fi
}

[[ -x .venv/bin/pip ]] || make_venv
install_when_changed
