# What the verbs share: sourced, never run. Everything runs from the project's root and asks nothing.
# Exit status of every verb: 0 ok, 1 a proof, test or build failed, 2 bad usage, 3 the environment failed,
# 4 nothing failed, but something was not verified.
set -euo pipefail
# What the caller's environment must not decide: where `cd` goes, which tests run, which repository is asked.
unset CDPATH "${!GTEST_@}" GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
verb=$(realpath "$0")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
reports=$root/build/reports
processors=$(nproc 2>/dev/null || echo 2)
exec </dev/null

# usage: prints the comment at the top of the calling verb.
usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$verb"; }

# help_if_asked "$@": answers --help anywhere among the arguments that are the verb's own.
help_if_asked() {
  case ${1:-} in -h | --help) usage; exit 0 ;; esac
}

# no_arguments "$@": for verbs that take none.
no_arguments() {
  help_if_asked "$@"
  [ $# -eq 0 ] || fail 2 "$(basename "$verb"): unexpected argument '$1'" "ci/$(basename "$verb") --help"
}

say() { printf '%s\n' "$*"; }

# fail STATUS MESSAGE [NEXT STEP]
fail() {
  printf 'error: %s\n' "$2" >&2
  [ $# -lt 3 ] || printf 'try: %s\n' "$3" >&2
  exit "$1"
}

# make_folder FOLDER...
make_folder() {
  mkdir -p "$@" 2>/dev/null && [ -w "$1" ] ||
    fail 3 "'$1' cannot be written" "copy the project to a folder of your own"
}

# own_build FOLDER [SOURCES]: CMake keeps paths, so a tree that was moved or copied cannot be built on.
own_build() {
  local of
  of=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$1/CMakeCache.txt" 2>/dev/null || true)
  [ -z "$of" ] || [ "$of" -ef "${2:-.}" ] ||
    fail 3 "'$1' was built for the project in '$of', not here" "rm -r '$1'"
}

# quietly WHAT LOG COMMAND...: one progress line with the time taken; the output is shown only if the
# command fails, and kept in LOG (below build/logs).
quietly() {
  local what=$1 log=$root/build/logs/$2.log begin=$SECONDS status=0
  shift 2
  make_folder "$root/build/logs"
  printf '%s ...\n' "$what"
  "$@" >"$log" 2>&1 || status=$?
  if [ $status -ne 0 ]; then
    cat "$log" >&2
    printf 'error: %s failed (status %d); the log is %s\n' "$what" $status "${log#"$root"/}" >&2
    return 1
  fi
  printf '%s: %d s\n' "$what" $((SECONDS - begin))
}

# install_packages PART...: see ci/install.
install_packages() { ci/install "$@"; }

# build PRESET [TARGET...]: configures and builds one of CMakePresets.json; `definitions` holds more -D.
definitions=()
build() {
  local preset=$1 target targets=()
  shift
  for target in "$@"; do targets+=(--target "$target"); done
  own_build "$(binary_dir "$preset")"
  quietly "configuring ($preset)" "configure-$preset" cmake --preset "$preset" "${definitions[@]}" || exit 1
  quietly "building ($preset)" "build-$preset" \
    cmake --build "$(binary_dir "$preset")" --parallel "$processors" "${targets[@]}" || exit 1
}

# binary_dir PRESET
binary_dir() { [ "$1" = release ] && echo build || echo "build-$1"; }

# python_with MODULE: the interpreter that has it: the distribution's, if another one comes first on PATH.
python_with() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c "import $1" 2>/dev/null; then echo "$python"; return; fi
  done
  return 1
}

# project_files0 [PATH...]: every file of the project, tracked or new, below the given paths; each name ends
# in a zero byte, so that any name is passed on as it is. A repository around the project knows nothing of it:
# it may ignore all of it.
project_files0() {
  if [ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$(pwd -P)" ]; then
    git ls-files -z --cached --others --exclude-standard -- "$@" | sort -zu
  else
    find "${@:-.}" \( -path './build*' -o -path ./.git \) -prune -o -type f -print0 | sed -z 's|^\./||' | sort -z
  fi | while IFS= read -r -d '' file; do [ ! -f "$file" ] || printf '%s\0' "$file"; done
}

# sources_digest: names the sources that results were measured on, so that a report can tell old results.
sources_digest() {
  project_files0 CMakeLists.txt model parallel oracle golden property_tests |
    xargs -0 sha256sum | sha256sum | cut -c1-16
}
