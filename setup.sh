#!/bin/sh
# Makes .venv with the newest working Python, and installs the requirements in it.
#
#   sh setup.sh          for train.py and the other commands
#   sh setup.sh dev      also for tests and lint
#   sh setup.sh find     only print the Python: of .venv, or the newest found
#
# PYTHON=/path/to/python overrides the search. Installed packages are kept.
set -eu
cd "$(dirname "$0")"
unset PYTHONPATH PYTHONHOME # hide the packages of other programs

fail() {
    echo "error: $*" >&2
    exit 2
}

# Prints "MINOR VERSION" of a Python that can run this project. A version manager's
# shim may exist and fail, a free-threaded build has no wheels, and Debian's Python
# cannot make an environment without python3-venv.
PROBE='
import sys, sysconfig
import ctypes, ssl, venv, zlib
if sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED"):
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        try:
            import ensurepip
        except ImportError:
            sys.exit(3)
        print(sys.version_info[1], sys.version.split()[0])
'

# Tries the Pythons of a folder, the newest name first, until one works. $python is the
# newest of all folders, and the first one if versions are equal.
try_folder() {
    for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
        [ -x "$1/$name" ] || continue
        status=0
        answer=$("$1/$name" -I -c "$PROBE" 2>/dev/null </dev/null) || status=$?
        if [ "$status" = 3 ]; then without_ensurepip=$1/$name; fi
        case $answer in 1[1-4]" "*) ;; *) continue ;; esac
        if [ "${answer%% *}" -gt "$minor" ]; then
            minor=${answer%% *} python=$1/$name
        fi
        break
    done
}

find_python() {
    python='' minor=0 without_ensurepip=''
    if [ -n "${PYTHON:-}" ]; then
        python=$(command -v "$PYTHON") || fail "PYTHON=$PYTHON: no such program"
        [ -n "$("$python" -I -c "$PROBE" 2>/dev/null </dev/null || :)" ] ||
            fail "PYTHON=$PYTHON: not a working CPython 3.11 to 3.14 with venv"
        return
    fi
    old_ifs=$IFS IFS=:
    set -f
    for folder in $PATH; do
        try_folder "${folder:-.}"
    done
    set +f
    IFS=$old_ifs
    home=${HOME:-/}
    for folder in "${PYENV_ROOT:-$home/.pyenv}"/versions/*/bin \
        "$home"/.local/share/uv/python/*/bin \
        "$home"/.asdf/installs/python/*/bin \
        "$home"/.local/share/mise/installs/python/*/bin \
        "$home"/miniforge3/bin "$home"/miniconda3/bin "$home"/anaconda3/bin \
        /opt/homebrew/bin /usr/local/bin \
        /Library/Frameworks/Python.framework/Versions/*/bin; do
        try_folder "$folder"
    done
    [ -n "$python" ] && return
    [ -z "$without_ensurepip" ] ||
        fail "$without_ensurepip: cannot make an environment; apt install python3-venv"
    fail "no Python 3.11 to 3.14 found; install one (apt install python3" \
        "python3-venv, or brew install python), or give PYTHON=/path/to/python"
}

make_environment() {
    if .venv/bin/python -c '' 2>/dev/null; then
        version=$(.venv/bin/python -I -c "$PROBE" || :)
        [ -n "$version" ] || fail ".venv: not Python 3.11 to 3.14; 'make clean' first"
        if [ -n "${PYTHON:-}" ]; then
            find_python
            [ "$("$python" -I -c "$PROBE")" = "$version" ] ||
                fail "PYTHON=$PYTHON: .venv has Python ${version#* }; 'make clean' first"
        fi
    else
        if [ -L .venv ] || { [ -e .venv ] && ! [ -e .venv/pyvenv.cfg ]; }; then
            fail ".venv: not an environment of this project; remove it"
        fi
        find_python
        echo "python   $("$python" -I -c "$PROBE" | cut -d' ' -f2) ($python)"
        "$python" -I -m venv --clear --without-pip .venv
    fi
    # A separate step: it also repairs an environment that was interrupted here.
    .venv/bin/python -I -m pip --version >/dev/null 2>&1 ||
        .venv/bin/python -I -m ensurepip >.venv/pip.log 2>&1 ||
        fail ".venv: cannot get pip, see .venv/pip.log; 'make clean' and try again"
}

# Prints the large downloads; .venv/pip.log has all lines of pip.
install_packages() {
    echo "install  $* into .venv (a minute or more) ..."
    {
        # shellcheck disable=SC2046 # one word for each file
        .venv/bin/python -I -m pip install --no-input --disable-pip-version-check \
            --no-compile --progress-bar off $(printf -- '-r %s ' "$@") 2>&1 ||
            echo "pip failed"
    } | while IFS= read -r line; do
        printf '%s\n' "$line" >&3
        case $line in
        *Downloading*"("[0-9][0-9]*" MB)"* | *Downloading*" GB)"*) # 10 MB and more
            name=${line##*Downloading } size=${line##*"("}
            name=${name##*/}
            echo "         ${name%%-*} (${size%)*})"
            ;;
        "Installing collected packages"*) echo "         unpacking ..." ;;
        "ERROR: "*) cause=${line#ERROR: } ;;
        "pip failed") fail "pip: ${cause:-failed}; see .venv/pip.log" ;;
        esac
    done 3>.venv/pip.log
    # On all cores, and without the packages' own tests; pip would use one core.
    .venv/bin/python -I -m compileall -q -j 0 -x '/tests/' .venv/lib >/dev/null || :
    mkdir -p .venv/installed
    cp "$@" .venv/installed/
}

case ${1:-run} in
find)
    if [ -z "${PYTHON:-}" ] && .venv/bin/python -c '' 2>/dev/null; then
        echo .venv/bin/python
    else
        find_python
        echo "$python"
    fi
    exit
    ;;
run) files=requirements.txt ;;
dev) files="requirements.txt requirements-dev.txt" ;;
*) fail "'$1': give run, dev or find" ;;
esac
if nvidia-smi -L >/dev/null 2>&1 || [ -e /proc/driver/nvidia/version ]; then
    files="$files requirements-cuda.txt"
fi
make_environment
for file in $files; do
    if ! cmp -s "$file" ".venv/installed/$file"; then
        # shellcheck disable=SC2086 # a list of words
        install_packages $files
        break
    fi
done
