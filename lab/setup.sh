# Sourced by lab/run, lab/test, lab/bench and lab/shell: makes `.venv` and names its interpreter in $venv_python.
#
# Before sourcing, set lab_folder to the folder of this file, lab_extras to the name of an extra of pyproject.toml
# ("dev", "bench"), or to nothing, and lab_program to the module, and its first arguments, that the script runs, if that
# can say its options without being installed.
# Asked for help, it makes nothing: it prints the head of the script, and the program's options, and ends.
# A virtual environment without a stamp is half-made and is never used: the stamp is removed before every
# change and written after the last step, all under one lock.  Users keep the lock shared while they run.
# Meanwhile what was there before stands aside, whole: whatever becomes of the change, this process or the next one puts
# it back.  The new one is made in its place, because a virtual environment cannot be moved.

lab_root=$(CDPATH='' cd -- "$lab_folder/.." && pwd -P) || exit 125
lab_venv=$lab_root/.venv
lab_before=$lab_root/.venv.before
lab_copy=$lab_root/.venv.copy
lab_stamp=$lab_venv/.harness-stamp
venv_python=$lab_venv/bin/python

lab_marker=.made-by-vfio-harness
lab_mark='made by vfio-harness, a Python environment: remove it whenever you like'

lab_say() { printf 'lab: %s\n' "$*" >&2; }

lab_give_up() {
    lab_say "$@"
    exit 125 # what `git bisect run` takes for "nothing can be said"
}

for lab_word; do
    case $lab_word in
    -h | --help)
        sed -n '2,/^set -eu$/s/^# //p' -- "$0" || lab_give_up "standard output takes nothing"
        # shellcheck disable=SC2086 # a module and its arguments
        [ -z "${lab_program:-}" ] || (cd -- "$lab_root" &&
            "${PYTHON:-python3}" -B -m $lab_program --help) || lab_give_up "no options are listed here"
        exit 0
        ;;
    esac
done

# The packages of lab/needs.py; a test compares them.
lab_apt_line() {
    if [ "$(id -u)" -eq 0 ]; then sudo=; else sudo='sudo '; fi
    printf '%sapt-get install %s' "$sudo" \
        'gcc git make libc6-dev linux-libc-dev python3 python3-dev python3-venv util-linux debian-archive-keyring'
}

# The law of harness/removal.py: what is found is removed only if it is a folder, no link to one, of this user's, has the
# mode that we gave it, and carries the marker that we wrote before anything else.
lab_check_ours() {
    [ "$(stat -c '%u %a %F' -- "$1")" = "$(id -u) 755 directory" ] &&
        [ "$(stat -c '%u %a %F' -- "$1/$lab_marker" 2>/dev/null)" = "$(id -u) 444 regular file" ] &&
        [ "$(cat -- "$1/$lab_marker")" = "$lab_mark" ] ||
        lab_give_up "$1 is in the way: nothing in it says that this script made it (an earlier version may have)." \
            "If you do not need it, type: rm -r $1"
}

lab_is_there() { [ -e "$1" ] || [ -L "$1" ]; }

lab_remove_ours() {
    lab_is_there "$1" || return 0
    lab_check_ours "$1"
    # All but the marker first: what is left of a removal that was killed is still ours.
    find "$1" -xdev -depth -mindepth 1 ! -path "$1/$lab_marker" -delete &&
        rm -f -- "$1/$lab_marker" && rmdir -- "$1" || lab_give_up "cannot remove $1"
}

# Prints what an environment is made by and from, a line each: the version and file of the interpreter; a digest of what
# decides which packages are in it; a digest of what decides how our own is built, which needs no network.  Comments
# decide nothing.  The folder does, because a virtual environment cannot be moved.
lab_describe() {
    "$1" -I -S -c '
import glob, hashlib, json, os, sys
print(sys.version.split()[0], "of", os.path.realpath(sys.executable), flush=True)
import tomllib
def digest(what):
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:32]
root = sys.argv[1]
with open(os.path.join(root, "pyproject.toml"), "rb") as file:
    declared = tomllib.load(file)
project, tool = declared.get("project", {}), declared.get("tool", {})
needs = [project.pop(name, None) for name in ("dependencies", "optional-dependencies", "requires-python")]
print(digest([root, declared.get("build-system"), needs]))
files = {}
for pattern in ("setup.py", "setup.cfg", "cdefs/*"):
    for name in filter(os.path.isfile, glob.glob(os.path.join(glob.escape(root), pattern))):
        with open(name, "rb") as file:
            files[name] = hashlib.sha256(file.read()).hexdigest()
print(digest([project, tool.get("setuptools"), tool.get("distutils"), files]))
' "$lab_root"
}

lab_read_description() {
    lab_description=$(lab_describe "$1") || return 1
    { read -r lab_identity && read -r lab_dependencies && read -r lab_sources; } <<END
$lab_description
END
}

# Tells an upgraded or removed interpreter from the one of the stamp.
lab_identify_python() { lab_describe "$1" 2>/dev/null | head -n 1; }

# Is the environment complete, and for what?  Sets lab_state to ready, sources-changed, extras-missing or rebuild.
lab_look() {
    lab_state=rebuild
    [ -r "$lab_stamp" ] || return 0
    {
        read -r stamped_dependencies && read -r stamped_sources && read -r stamped_python && read -r stamped_extras
    } <"$lab_stamp" || return 0
    lab_read_description "$venv_python" 2>/dev/null || return 0
    [ "$stamped_dependencies" = "$lab_dependencies" ] || return 0
    [ "$stamped_python" = "$lab_identity" ] || return 0
    if [ -n "${PYTHON:-}" ] && [ "$stamped_python" != "$(lab_identify_python "$PYTHON")" ]; then return 0; fi
    case "$stamped_extras " in # "none" or "none dev bench": nothing asked for is always there
    *"${lab_extras:+ }$lab_extras "*) lab_state=ready ;;
    *) lab_state=extras-missing ;;
    esac
    if [ "$lab_state" = ready ] && [ "$stamped_sources" != "$lab_sources" ]; then lab_state=sources-changed; fi
}

# One line that installs everything a fresh machine lacks, instead of one error after the other.
lab_check_host() {
    case $lab_root in
    *:*) lab_give_up "Python makes no virtual environment in a path with a colon ($lab_root): move the repository" ;;
    esac
    for lab_tool in flock setpriv; do
        command -v "$lab_tool" >/dev/null || lab_give_up "no $lab_tool here.  Type: $(lab_apt_line)"
    done
    lab_python=${PYTHON:-python3}
    command -v "$lab_python" >/dev/null || lab_give_up "no $lab_python here.  Type: $(lab_apt_line)"
    "$lab_python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' || lab_give_up \
        "$lab_python is $("$lab_python" -V 2>&1), 3.11 or newer is needed.  Set PYTHON=/path/to/a/newer/python3"
    "$lab_python" -I -c 'import ensurepip, venv' 2>/dev/null ||
        lab_give_up "$lab_python has no venv module.  Type: $(lab_apt_line)"
    command -v "${CC:-gcc}" >/dev/null || lab_give_up "no C compiler (${CC:-gcc}) here.  Type: $(lab_apt_line)"
    lab_include=$("$lab_python" -I -c 'import sysconfig; print(sysconfig.get_path("include"))')
    for lab_header in Python.h stdio.h linux/vfio.h; do
        printf '#include <%s>\n' "$lab_header" | "${CC:-gcc}" -I"$lab_include" -fsyntax-only -x c - 2>/dev/null ||
            lab_give_up "the C compiler does not find <$lab_header>.  Type: $(lab_apt_line)"
    done
    lab_check_static=$(printf 'int main(void) { return 0; }\n' |
        "${CC:-gcc}" -static -x c -o /dev/null - 2>&1) ||
        lab_give_up "no static C library, needed for the guest's init (${lab_check_static##*: }).  Type: $(lab_apt_line)"
}

lab_pip() {
    # A user's own `pip config set install.user true` is refused inside a virtual environment.
    PIP_USER=0 "$venv_python" -m pip --disable-pip-version-check install --progress-bar off "$@" >>"$lab_log" 2>&1 || {
        tail -n 15 -- "$lab_log" >&2
        lab_give_up "pip could not install into $lab_venv (all it said: $lab_log)." "$(lab_pip_hint)"
    }
}

lab_pip_hint() {
    if grep -Eqi 'certificate is not yet valid|certificate has expired' "$lab_log"; then
        printf 'The clock of this machine says %s: is that so?  If not, set it' "$(date '+%Y-%m-%d %H:%M %Z')"
    elif grep -q 'CERTIFICATE_VERIFY_FAILED' "$lab_log"; then
        printf 'If your network checks what passes, name its certificates: PIP_CERT=/path/to/ca.pem'
    elif grep -q 'No space left on device' "$lab_log"; then
        printf 'Free some space there, or set TMPDIR=/another/folder'
    else
        printf "Check the network, the disk, and pip's settings (PIP_INDEX_URL, https_proxy)"
    fi
}

lab_make_ours() {
    mkdir -m 755 -- "$1" && (umask 222 && printf '%s\n' "$lab_mark" >"$1/$lab_marker") ||
        lab_give_up "cannot make $1"
}

lab_rename() { mv -- "$1" "$2" || lab_give_up "cannot rename $1 to $2"; }

# What shall be made anew is renamed, what shall be changed is copied; what is half-made is of no use to anybody.
lab_set_aside() {
    lab_is_there "$lab_venv" || return 0
    lab_check_ours "$lab_venv"
    if [ ! -r "$lab_stamp" ]; then
        lab_remove_ours "$lab_venv"
    elif [ "$lab_state" = rebuild ]; then
        lab_rename "$lab_venv" "$lab_before"
    else
        lab_make_ours "$lab_copy"
        cp -a -f --reflink=auto -- "$lab_venv/." "$lab_copy" ||
            lab_give_up "cannot copy $lab_venv to $lab_copy: is the disk full?"
        lab_rename "$lab_copy" "$lab_before"
        rm -f -- "$lab_stamp"
    fi
}

# Puts back what stands aside, unless the change has ended, or had not begun.
lab_restore() {
    lab_remove_ours "$lab_copy"
    lab_is_there "$lab_before" || return 0
    lab_check_ours "$lab_before"
    if [ -r "$lab_stamp" ]; then
        lab_remove_ours "$lab_before"
    else
        lab_remove_ours "$lab_venv"
        lab_rename "$lab_before" "$lab_venv"
    fi
}

lab_make() {
    lab_log=$lab_root/.venv.log
    true >"$lab_log" || lab_give_up "cannot write $lab_log: the repository's folder must be writable"
    lab_read_description "$lab_python" 2>>"$lab_log" ||
        lab_give_up "cannot read $lab_root/pyproject.toml: $(tail -n 1 -- "$lab_log")"
    [ "$lab_state" != rebuild ] || [ ! -e "$lab_root/vfio_harness.egg-info" ] ||
        lab_give_up "$lab_root/vfio_harness.egg-info is left of a build by hand: workers of pytest would take the" \
            "plugins that it names for today's.  Type: rm -r $lab_root/vfio_harness.egg-info"
    case $lab_state in
    rebuild) lab_say "making the Python environment $lab_venv (up to 250 MB, 60 MB to download, 1 minute) ..." ;;
    extras-missing) lab_say "adding to $lab_venv what the extra '$lab_extras' asks for (30 MB to download, 30 s) ..." ;;
    sources-changed) lab_say 'compiling the bindings again (10 s) ...' ;;
    esac
    # A signal ends pip first, which runs in the foreground, and then us.
    trap lab_restore EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    lab_set_aside
    case $lab_state in
    rebuild)
        lab_make_ours "$lab_venv"
        "$lab_python" -m venv "$lab_venv" >>"$lab_log" 2>&1 ||
            lab_give_up "python -m venv failed: $(tail -n 1 -- "$lab_log").  Type: $(lab_apt_line)"
        # The parts that build ours stay in the environment, so that a later change of the C needs no network.
        "$venv_python" -I -c 'import sys, tomllib
print(*tomllib.load(open(sys.argv[1], "rb"))["build-system"]["requires"], sep="\n")' "$lab_root/pyproject.toml" \
            >"$lab_venv/build-requires.txt" || lab_give_up "cannot read [build-system] of $lab_root/pyproject.toml"
        lab_pip -r "$lab_venv/build-requires.txt"
        lab_pip --no-build-isolation --editable "$lab_root${lab_extras:+[$lab_extras]}"
        lab_extras="none $lab_extras"
        ;;
    extras-missing)
        lab_pip --no-build-isolation --editable "$lab_root[$lab_extras]"
        lab_extras="$stamped_extras $lab_extras" # one extra beside the other
        ;;
    sources-changed)
        lab_pip --no-build-isolation --no-deps --editable "$lab_root"
        lab_extras=$stamped_extras
        ;;
    esac
    printf '%s\n' "$lab_dependencies" "$lab_sources" "$(lab_identify_python "$venv_python")" "$lab_extras" \
        >"$lab_stamp.new" || lab_give_up "cannot write $lab_stamp.new: is the disk full?"
    sync -- "$lab_stamp.new" 2>/dev/null || sync
    mv -f -- "$lab_stamp.new" "$lab_stamp"
    lab_remove_ours "$lab_before"
    trap - EXIT HUP INT TERM
}

command -v flock >/dev/null || lab_give_up "no flock here.  Type: $(lab_apt_line)"
lab_lock=$lab_root/.venv.lock
[ -e "$lab_lock" ] || touch -- "$lab_lock" ||
    lab_give_up "cannot make $lab_lock: the repository's folder must be writable"
# Descriptor 9 stays open across the final exec: a runner holds the lock shared until it ends.  pip inherits it
# too: when we are killed, the lock is free only after pip has stopped writing.
exec 9<"$lab_lock"
flock --shared --nonblock 9 || {
    lab_say "waiting for another process that is making $lab_venv ..."
    flock --shared 9
}
lab_look
if [ "$lab_state" != ready ]; then
    flock --exclusive --nonblock 9 || {
        lab_say "waiting for other lab commands to end, to change $lab_venv ..."
        flock --exclusive 9
    }
    lab_restore # what a process that was killed had set aside
    lab_look    # another one may have made it meanwhile
    [ "$lab_state" = ready ] || {
        lab_check_host
        lab_make
    }
    flock --shared 9
fi
