# Only a property that fails by itself, in the words of its header, catches a mutant. Here the "program" is a
# script, which "cmake" copies, and each patch changes what it does.
cat >"$tree/property_tests/x_test.cpp" <<'END'
#!/usr/bin/env bash
# TEST(Property, Holds)
good() { echo "[  PASSED  ] 1 test."; }
bad() { echo "smallest mesh: tp=2"; echo "grad/w differs"; echo "[  FAILED  ] Property.Holds (3 ms)"; exit 1; }
case ${1#--gtest_filter=} in Property.Holds) ;; *) exit 9 ;; esac
good
END
mkdir -p "$tree/property_tests/other"
cat >"$tree/property_tests/other/y_test" <<'END'
exit 0
END
tool cmake "root=$tree/build/mutants/tree" \
  'case "$*" in' \
  '  -S\ *) mkdir -p $root/build/property_tests; echo "x_test.cpp x_test" >$root/build/property_tests/test_programs ;;' \
  '  *--build*)' \
  '    ! grep -q "does not compile" $root/property_tests/x_test.cpp || exit 1' \
  '    mkdir -p $root/build/bin; install -m 755 $root/property_tests/x_test.cpp $root/build/bin/x_test ;;' \
  'esac'
tool ctest "root=$tree/build/mutants/tree" \
  'case "$*" in' \
  '  *" -N "*Script*) echo "Total Tests: 1"; exit ;;' \
  '  *" -N "*) echo "Total Tests: 0"; exit ;;' \
  'esac' \
  'bash $root/property_tests/other/y_test && { echo "100% tests passed"; exit; }' \
  'status=$?' \
  'echo "1/1 Test #1: Script.Holds .....***$([ $status -eq 1 ] && echo Failed || echo Exception: SegFault) 0.1 sec"' \
  'exit 8'
sed -i 's/^limit_s=120 /limit_s=1 /; s/timeout -k 5/timeout -k 1/' "$tree/ci/mutants"

# mutant ID FILE OLD NEW [HEADER LINE...]: a patch that replaces a line.
mutant() {
  local file=$tree/property_tests/$2 patch=$tree/property_tests/mutants/$1.patch property=Property.Holds
  [ "$2" = x_test.cpp ] || property=Script.Holds
  printf '%s\n' "Id: $1" "Title: t" "Seen: here" "Property: $property" "Report: grad/w" "${@:5}" >"$patch"
  sed "s|^$3\$|$4|" "$file" >"$scratch/changed"
  (cd "$tree" && diff -u --label "a/property_tests/$2" --label "b/property_tests/$2" "property_tests/$2" "$scratch/changed") \
    >>"$patch" || true
}
mutant A1 x_test.cpp good bad
mutant A2 x_test.cpp good "good; good"
mutant A3 x_test.cpp good 'kill -SEGV $$'
mutant A4 x_test.cpp good 'kill -SEGV $$' "Expect: crash"
mutant A5 x_test.cpp good 'sleep 9'
mutant A6 x_test.cpp good 'sleep 9' "Expect: hang"
mutant A7 x_test.cpp good "does not compile"
mutant A8 x_test.cpp good "echo '[  PASSED  ] 0 tests.'"
mutant A9 x_test.cpp good "exit 1"
mutant B1 x_test.cpp good "echo '[  FAILED  ] Property.Holds'; exit 1"
mutant B2 x_test.cpp good "exit 7"
mutant B3 x_test.cpp good bad
sed -i 's/^-good$/-was good/' "$tree/property_tests/mutants/B3.patch"
# Of a script of the suite.
mutant C1 other/y_test "exit 0" "echo grad/w; exit 1"
mutant C2 other/y_test "exit 0" "exit 1"
mutant C3 other/y_test "exit 0" 'echo grad/w; kill -SEGV $$'
mutant C4 other/y_test "exit 0" "exit 00"

run ci/mutants
expect 1 "4 of 16 planted bugs and flaws caught" "A1  Property.Holds   " "  tp=2   " \
  "  A1: caught on tp=2" \
  "  A2: SURVIVED" "A2  NOT CAUGHT: SURVIVED" \
  "  A3: crashes (status 139) instead of failing" \
  "  A4: caught" \
  "  A5: hangs instead of failing" \
  "  A6: caught" \
  "  A7: does not compile" \
  "  A8: the property was not run" \
  "  A9: ends with 1, but Property.Holds did not fail" \
  "  B1: fails, but the report does not say 'grad/w'" \
  "  B2: crashes (status 7) instead of failing" \
  "  B3: the patch does not apply" \
  "  C1: caught" \
  "  C2: fails, but the report does not say 'grad/w'" \
  "  C3: crashes (status 8) instead of failing" \
  "  C4: SURVIVED"
results=$tree/build/reports/mutants.json
for id in A1 A4 A6 C1; do
  grep -q "\"$id\",[^}]*\"killed\":true" "$results" || wrong "$id is not in $(cat "$results")"
done
[ "$(grep -o '"killed":false' "$results" | wc -l)" = 12 ] || wrong "$(cat "$results")"

# Those that are caught, alone: that writes no results of all.
rm "$results"
run ci/mutants A1 C1
expect 0 "2 of 2 planted bugs and flaws caught"
[ ! -e "$results" ] || wrong "writes results of some as those of all"

# A property that fails without any bug catches nothing.
sed -i 's/^good$/bad/' "$tree/property_tests/x_test.cpp"
mutant D1 x_test.cpp bad "bad; bad"
run ci/mutants D1
expect 1 "  D1: caught" "NOT CAUGHT: Property.Holds fails without the bug"

run ci/mutants Z9
expect 2 "no planted bug 'Z9'"
sed -i '/^Report/d' "$tree/property_tests/mutants/A1.patch"
run ci/mutants A1
expect 1 "has no line 'Report: ...'"
rm "$tree"/property_tests/mutants/*
run ci/mutants
expect 1 "no patches"
