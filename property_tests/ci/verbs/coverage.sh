# Floors that fail, for lines, branches and golden each; and a test that fails does, too.
tool cmake true
tool ctest "exit \$(cat $scratch/status)"
tool genhtml 'while [ "$1" != --output-directory ]; do shift; done; mkdir -p "$2"'
tool lcov 'if [ "$1" = --version ]; then echo "lcov: LCOV version 1.16"; exit; fi' \
  'while [ $# -gt 0 ]; do [ "$1" != --output-file ] || cp '"$scratch"'/info "$2"; shift; done'
mkdir "$tree/build-coverage"
echo 0 >"$scratch/status"

# file NAME LINES HIT BRANCHES TAKEN
file() {
  printf 'SF:%s\nLF:%s\nLH:%s\nBRF:%s\nBRH:%s\nend_of_record\n' "$tree/$1" "$2" "$3" "$4" "$5" >>"$scratch/info"
}
# measured LINES BRANCHES LINES_OF_GOLDEN: in thousandths, over several files.
measured() {
  : >"$scratch/info"
  file model/a.cpp 500 500 500 500
  file golden/a.cpp 500 500 0 0
  file oracle/b.cpp 500 $(($1 - 500)) 500 $(($2 - 500))
  file golden/b.cpp 500 $(($3 - 500)) 300 0
  run ci/coverage
}

measured 985 900 950
expect 0 "lines  98.5 % of 1000   branches  90.0 % of 1000" "left out: nothing"
silent BELOW
grep -q '"lines":98.5,"branches":90.0,.*"golden_lines":95.0' "$tree/build/reports/coverage.json" ||
  wrong "coverage.json has other numbers"
measured 984 900 950
expect 1 "BELOW the floor of 98.5 % of lines" "error: coverage below its floor"
measured 985 899 950
expect 1 "BELOW the floor of 90 % of branches"
measured 985 900 949
expect 1 "BELOW the floor of 95 % of lines of golden"
: >"$scratch/info"
run ci/coverage
expect 1 "nothing was measured"
echo 8 >"$scratch/status"
measured 1000 1000 1000
expect 1 "or a test failed"
echo 0 >"$scratch/status"

echo 'f();  // LCOV_EXCL_LINE' >"$tree/model/a.h"
measured 1000 1000 1000
expect 1 "left out of the coverage without a reason" "model/a.h:1"
echo 'f();  // LCOV_EXCL_LINE: the switch above is complete' >"$tree/model/a.h"
measured 1000 1000 1000
expect 0 "left out, with the reason:" "the switch above is complete"

# A capture that fails is told, though later steps work; kernels that cannot run are not asked for.
tool lcov 'if [ "$1" = --version ]; then echo "lcov: LCOV version 1.16"; exit; fi' \
  "case \" \$* \" in *' --capture '*coverage.info.suite' '*) find build-coverage -name '*.gcda' >$scratch/counters; exit 9 ;; esac" \
  'while [ $# -gt 0 ]; do [ "$1" != --output-file ] || cp '"$scratch"'/info "$2"; shift; done'
tool grep 'case "$*" in *avx512f*) exit 1 ;; *) exec /usr/bin/grep "$@" ;; esac'
tool ctest "for set in avx2 avx512; do mkdir -p build-coverage/meshparity_kernels_\$set; touch build-coverage/meshparity_kernels_\$set/a.gcda; done"
measured 1000 1000 1000
expect 1 "error: lcov failed (status 9)"
[ "$(cat "$scratch/counters")" = build-coverage/meshparity_kernels_avx2/a.gcda ] || wrong "counts $(cat "$scratch/counters")"
[ -e "$tree/build-coverage/meshparity_kernels_avx512/a.gcda" ] || wrong "does not put counters back"
rm "$tools/grep" "$tools/ctest"
tool ctest "exit \$(cat $scratch/status)"

# What gcov's branches become. Line 1 decides, line 2 goes on with it; 4 and 5 write no decision.
printf '%s\n' 'if (a &&' '    b) {' '}' 'T x;' 'f(x);' >"$tree/model/a.cpp"
branch() { printf '{"fallthrough": %s, "throw": %s, "count": %s}' "$1" "$2" "$3"; }
pair="$(branch true false "1"), $(branch false false "0")"
call="$(branch true false "1"), $(branch false true "0")"
other="$(branch true false "0"), $(branch false false "2")"
line() { printf '{"line_number": %s, "count": 1, "branches": [%s]}' "$1" "$2"; }
printf '{"current_working_directory": "%s", "files": [{"file": "/usr/include/a.h", "lines": []},
  {"file": "model/a.cpp", "lines": [%s, %s, %s, %s, %s, %s]}]}' "$tree" "$(line 1 "$pair, $call")" \
  "$(line 2 "$pair")" "$(line 3 "$pair")" "$(line 4 "$pair")" "$(line 5 "$call")" "$(line 1 "$other")" |
  gzip >"$scratch/gcov.json.gz"
tool gcov "cp $scratch/gcov.json.gz a.cpp.gcov.json.gz"
run ci/gcov-decisions a.gcda
expect 0
found=$(gunzip --stdout "$tree/a.cpp.gcov.json.gz" | python3 -c 'import json, sys
for source in json.load(sys.stdin)["files"]:
    for line in source["lines"]:
        print(line["line_number"], *[branch["count"] for branch in line["branches"]])')
[ "$found" = "1 1 2
2 1 0
4
5
1" ] || wrong "makes of gcov's branches: $found"
tool gcov "exit 7"
run ci/gcov-decisions a.gcda
expect 7

# lcov 2 gets an option that lcov 1 does not know.
silent --ignore-errors
tool lcov 'if [ "$1" = --version ]; then echo "lcov: LCOV version 2.3-1"; exit; fi' \
  "case \" \$* \" in *' --ignore-errors inconsistent'*) ;; *) exit 1 ;; esac" \
  'while [ $# -gt 0 ]; do [ "$1" != --output-file ] || cp '"$scratch"'/info "$2"; shift; done'
measured 1000 1000 1000
expect 0

# Of a change.
(
  cd "$tree"
  git init -q -b main
  git add -A
  git -c user.name=a -c user.email=a@b commit -qm one
)
tool diff-cover "echo \"\$*\" >$scratch/asked" 'while [ "$1" != --markdown-report ]; do shift; done' \
  'echo "model/a.h: line 7 is missing" >"$2"'
run ci/coverage --changed main
expect 0 "model/a.h: line 7 is missing"
grep -q -- "build-coverage/coverage.info --compare-branch main " "$scratch/asked" || wrong "asks for $(cat "$scratch/asked")"
run ci/coverage --changed nowhere
expect 2 "git knows no commit 'nowhere'"
run ci/coverage --changed
expect 2 "git knows no commit 'origin/main'"
