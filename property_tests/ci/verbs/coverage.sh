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

measured 970 850 950
expect 0 "lines  97.0 % of 1000   branches  85.0 % of 1000" "left out: nothing"
silent BELOW
grep -q '"lines":97.0,"branches":85.0,.*"golden_lines":95.0' "$tree/build/reports/coverage.json" ||
  wrong "coverage.json has other numbers"
measured 969 850 950
expect 1 "BELOW the floor of 97 % of lines" "error: coverage below its floor"
measured 970 849 950
expect 1 "BELOW the floor of 85 % of branches"
measured 970 850 949
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
