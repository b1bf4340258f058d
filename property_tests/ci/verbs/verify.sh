# The proof's exit status is that of its parts, and nothing that was not run is a success.
tool cmake true
for name in verify golden report; do program meshparity-$name "echo ran $name; exit \$(cat $scratch/$name)"; done

# parts STATUS_OF_VERIFY STATUS_OF_GOLDEN STATUS_OF_REPORT
parts() {
  echo "$1" >"$scratch/verify"
  echo "$2" >"$scratch/golden"
  echo "$3" >"$scratch/report"
  run ci/verify
}

parts 0 0 0
expect 0 "ran verify" "ran golden" "ran report" PROVEN
silent NOT UNVERIFIED
for which in "1 0 0" "0 1 0" "0 0 1" "1 4 4" "4 1 4"; do
  # shellcheck disable=SC2086 # three words
  parts $which
  expect 1 "NOT PROVEN (exit status 1)" "ran report"
done
for which in "4 0 0" "0 0 4" "4 4 4"; do
  # shellcheck disable=SC2086
  parts $which
  expect 4 "UNVERIFIED: nothing differs"
  silent PROVEN
done
parts 1 3 4
expect 3 "NOT PROVEN (exit status 3)"
parts 139 0 0
expect 139 "NOT PROVEN (exit status 139)"
rm "$tree/build/bin/meshparity-golden"
parts 0 0 0
expect 127 "NOT PROVEN (exit status 127)"

# What an earlier run wrote does not stand in.
touch "$tree"/build/reports/{parity,oracle,golden}.json "$tree/build/reports/report.html"
parts 0 0 0
[ -z "$(ls "$tree/build/reports")" ] || wrong "leaves old results"
run ci/verify --fast
expect 2 "unexpected argument '--fast'" "try: ci/verify --help"
run ci/verify --help
expect 0 "4 nothing differs"
