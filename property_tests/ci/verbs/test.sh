# The suite's status is ctest's, and no variable chooses what is run.
tool cmake true
tool ctest "echo \"ctest \$*; \$(env | grep ^GTEST_)\"; exit \$(cat $scratch/status)"
echo 0 >"$scratch/status"
GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=1 GTEST_FILTER=none GTEST_REPEAT=0 run ci/test -R Mesh
expect 0 "--no-tests=error -R Mesh; "
silent GTEST_
echo 8 >"$scratch/status"
run ci/test
expect 1
run ci/test --help
expect 0 "The whole test suite"
tool cmake 'exit 1'
run ci/test
expect 1 "configuring (release) failed (status 1)"
