# Installs what is missing of the one list, and nothing else; says what to do where it cannot.
unset MESHPARITY_INSTALL
printf '%s\n' 'a build # why' '' '# b build' 'c coverage' 'd lint' >"$tree/ci/packages.txt"
tool dpkg-query "case \"\${@: -1}\" in a) echo \$(cat $scratch/state) ;; *) exit 1 ;; esac"
tool apt-get "echo \"\$*\" >>$scratch/asked; exit \$(cat $scratch/status)"
tool sudo '[ "$1" != -n ] || shift' '[ "$1" != env ] || { shift; export "$1"; shift; }' 'exec "$@"'
echo installed >"$scratch/state"
echo 0 >"$scratch/status"

run ci/install
expect 0
[ ! -e "$scratch/asked" ] || wrong "asks apt-get though nothing is missing"
run ci/install build coverage
expect 0 "installing c"
grep -q -- "install --yes --no-install-recommends c$" "$scratch/asked" || wrong "$(cat "$scratch/asked")"
echo not-installed >"$scratch/state"
run ci/install all
expect 0 "installing a c d"
echo 100 >"$scratch/status"
run ci/install
expect 3 "apt-get update failed (status 100)"
run ci/install everything
expect 2 "unknown part 'everything'" "try: ci/install --help"
MESHPARITY_INSTALL=no run ci/install everything
expect 2
MESHPARITY_INSTALL=no run ci/install
expect 0
