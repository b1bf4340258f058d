# What all verbs share: where they run, what they ask git, what of the environment they obey.
cat >"$tree/ci/show" <<'END'
source "$(dirname "$0")/common.sh"
echo "root $root, digest $(sources_digest), files $(project_files0 model | tr '\0' ' ')"
END
run bash ci/show
expect 0 "root $tree, " "files model/a.h "
digest=$said

# Another tree on CDPATH.
mkdir -p "$scratch/other/ci"
CDPATH=$scratch/other run bash ci/show
expect 0 "root $tree, "

# Any change of a source changes the digest; any name is a name.
changed() {
  run bash ci/show
  expect 0
  [ "${said%, files*}" != "${digest%, files*}" ] || wrong "the digest did not change: $1"
}
same() {
  run bash ci/show
  [ "$said" = "$digest" ] || wrong "the digest changed: $1"
}
of_sources() {
  echo 'int x;' >"$tree/model/a.h"
  changed "a source"
  : >"$tree/model/a.h"
  same "the source is as it was"
  mkdir "$tree/model/new"
  echo 'int x;' >"$tree/model/new/"$'\xc3\xb6 "\t\n\\.h'
  changed "a new source with an odd name"
  rm -r "$tree/model/new"
  same "it is gone"
}
of_sources
# In a repository of its own, and in one around it that ignores all of it.
git init -q "$tree"
of_sources
rm -rf "$tree/.git"
git init -q "$scratch"
echo '*' >"$scratch/.gitignore"
of_sources
rm -rf "$scratch/.git" "$scratch/.gitignore"
git init -q "$scratch/other"
GIT_DIR=$scratch/other/.git run bash ci/show
expect 0 "files model/a.h "

# A build tree that was moved here.
echo "CMAKE_HOME_DIRECTORY:INTERNAL=/elsewhere" >"$tree/build/CMakeCache.txt"
tool cmake 'echo configured'
run ci/test
expect 3 "'build' was built for the project in '/elsewhere', not here" "try: rm -r 'build'"
echo "CMAKE_HOME_DIRECTORY:INTERNAL=$tree" >"$tree/build/CMakeCache.txt"
tool ctest true
run ci/test
expect 0 "building (release)"

# No place for a build: the name is taken.
rm -r "$tree/build"
touch "$tree/build"
run ci/test
expect 3 "build/logs' cannot be written" "try: copy the project"
