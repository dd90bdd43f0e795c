#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/run.sh [NAME…]
# Runs the privileged tests of internal/ on the named kernels, as many at a time as there
# are processors, then prints a table. A name is an emulated kernel of kernels.sh, "here"
# for the running kernel (needs root or sudo), or "emulated" for all of kernels.sh. The
# default is all of them and here. A test that fails on an emulated kernel runs a second
# time; if it passes then, the table says so.
#
# TESTS                 only the tests that match, as in go test -run
# EBPF_TCP_KERNELS      where kernels are kept (see fetch.sh)
# TEST_KERNELS_OUTPUT   keeps what the kernels said, in that folder
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/kernels/kernels.sh
. scripts/packages.sh
PATH=$PATH:/usr/sbin:/sbin

names=()
for name in "${@:-emulated}"; do
	case $name in
	emulated) names+=("${kernel_names[@]}") ;;
	*) names+=("$name") ;;
	esac
done
[ $# -gt 0 ] || names+=(here)
# Whole programs are tested on the running kernel only.
mapfile -t packages < <(privileged_packages internal)
arguments=(
	-test.v
	# They take about ten minutes where each guest has a processor, and 25 on a busy host.
	-test.timeout=35m
)
# These need tshark's captures, the documents or nmap, which the guests lack. The slowest of
# them have little to do with the kernel.
skipped='TestTCAgreesWithTshark|TestScans|TestSupportTable|TestText.*|TestExcludedHooksAreRefused'
skipped+='|TestTCChurn.*|TestTCBurst.*|TestTCHalfOpenEnds|TestTCSelectsInterfaces|TestTCLocalRoutesAreOurs'
skipped+='|TestDecorationsCostNoProgram'
# What an architecture can change: layouts and registers that the programs read, how they
# load, how each kind of hook attaches. The rest does the same on all of them.
of_architecture='TestKernel|TestKnownHooks|TestEveryMemberIsSorted|TestPrivilegeLeast|TestPrivilegeSyscallTracepoint'
of_architecture+='|TestSockAcceptWays|TestSockAcceptQueueOverflowWays|TestSockAddressFamilies|TestSockCloseReasons'
of_architecture+='|TestSockHandshakeDuration|TestSockCountsRetransmits|TestSockCountsResets|TestSockFastOpen.*'
of_architecture+='|TestSockMultipathSubflow|TestOwnerThatChanges|TestLookWays|TestSourcesOfSegments|TestInspectRequest'
of_architecture+='|TestInspectWant|TestDecides.*|TestTCParsesWellFormed|TestTCCountsMalformed|TestTCCountsRealTraffic'
of_architecture+='|TestTCHalfOpen|TestOrderOn.*|TestNeighbour'
# What user space does with interfaces, namespaces and limits, and what takes long. The oldest and
# the newest kernel have it.
not_between='TestTCSelectsOneEndOfNetkitPairs|TestTCFollows.*|TestTCLeavesOthersAlone|TestTCLocalRouteIsReplaced'
not_between+='|TestTCInNamespaces'
not_between+='|TestTCNamespaces.*|TestShares.*|TestScope.*|TestLookWaysFindPorts|TestLookWaysOfManyConnections'
not_between+='|TestTogether.*|TestReplayed.*|TestTCHalfOpenAgreesWithTheKernel|TestTCRefusedOnce|TestOpensWithoutItsOwner'
not_between+='|TestLiveFactsOfSources|TestSockFilters|TestHandshakesWithoutRoom|TestSockCountsNoDropsInTimeWait'
not_between+='|TestLookWaysDiscountTheClientsFIN|TestInspectDisplaced.*|TestPrivilegeOtherProcesses|TestExcludedTCXIsClsact'
# From 5.11 to 6.2 the kernel tells an estimate of a map's memory, without its own part of an entry.
not_between+='|TestMapsTakeWhatIsDocumented'
guest_limit=2400 # seconds

say() { echo "kernels: $*" >&2; }
work=$(mktemp -d)
chmod 755 "$work" # tests become other users
# Each job is a group of processes, so that none outlives this script.
set -m
jobs_of=()
trap 'disown -a; for pid in "${!jobs_of[@]}"; do kill -- "-$pid" 2>/dev/null || true; done; rm -rf "$work"' EXIT
output=${TEST_KERNELS_OUTPUT:-$work/output}
mkdir -p "$output" "$work/src"

arch_of() { if [ "$1" = here ]; then go env GOARCH; else kernel_arch "$1"; fi; }

# wanted NAME: which tests run there, as in go test -run. Those that TESTS names run, however
# long they take.
wanted() {
	if [ -n "${TESTS:-}" ]; then
		echo "$TESTS"
	elif [ "$(arch_of "$1")" = "$(go env GOARCH)" ]; then
		echo .
	else
		echo "^($of_architecture)\$"
	fi
}

# unwanted NAME: which of these do not.
unwanted() {
	case ${TESTS:+named}$1 in
	6.1 | 6.12) echo "^($skipped|$not_between)\$" ;;
	*) echo "^($skipped)\$" ;;
	esac
}

# binary_of PACKAGE: probe-tc for internal/probe/tc, which is also the name in expected.txt.
binary_of() {
	local name=${1#internal/}
	echo "${name//\//-}"
}

# build ARCH: $work/ARCH, as init wants it in /tests.
build() {
	local arch=$1 package test
	say "building for $arch"
	mkdir "$work/$arch"
	ln -s ../src "$work/$arch/src"
	ln -s "$PWD/scripts/kernels/expected.txt" "$work/$arch/"
	# For init, which repeats failures that are not expected.
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -ldflags '-s -w' -o "$work/$arch/report" ./scripts/kernels/report
	# The rest only has to compile.
	[ -n "${TESTS:-}" ] || CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build ./...
	for package in "${packages[@]}"; do
		test=$work/$arch/$(binary_of "$package")
		CGO_ENABLED=0 GOOS=linux GOARCH=$arch go test -tags privileged -ldflags '-s -w' -c -o "$test" "./$package"
		echo "$package" >"$test.package"
	done
}

# tests_of NAME: $work/NAME.tests, the folder of its architecture with its own arguments.
tests_of() {
	local folder=$work/$1.tests test
	mkdir "$folder"
	ln -s "$work/$(arch_of "$1")"/* "$folder/"
	for test in "$folder"/*.package; do
		printf '%s\n' "${arguments[@]}" "-test.run=$(wanted "$1")" "-test.skip=$(unwanted "$1")" >"${test%.package}.args"
	done
	echo "$folder"
}

# fetch_all: downloads ahead, one after the other. A failure is retried and reported later.
fetch_all() {
	local name
	for name in "${queue[@]}"; do
		[ "$name" != here ] || continue
		scripts/kernels/tools.sh "$(kernel_arch "$name")" >/dev/null || true
		scripts/kernels/fetch.sh "$name" >/dev/null || true
	done
}

# The same binaries without an emulator, with the same output. None is repeated: a real
# processor does not stall, so a failure is a fault of the test or of the code.
run_here() {
	local root=() test tests arguments code
	[ "$(id -u)" = 0 ] || root=(sudo --preserve-env=PATH)
	tests=$(tests_of here)
	echo "=== kernel $(uname -r) $(uname -m)"
	for test in "$tests"/*.args; do
		test=${test%.args}
		echo "=== binary ${test##*/} $(cat "$test.package")"
		mapfile -t arguments <"$test.args"
		code=0
		(cd "$work/src/$(cat "$test.package")" && exec "${root[@]}" "$test" "${arguments[@]}") 2>&1 </dev/null || code=$?
		echo "=== exit ${test##*/} $code"
	done
	echo "=== end"
}

# fault NAME TEXT: adds a fault to the table.
fault() { echo "=== fault $2" >>"$output/$1"; }

run_emulated() {
	local name=$1 arch kernel tools tests code=0 said=$work/$name.fetch
	arch=$(kernel_arch "$name")
	if ! { tools=$(scripts/kernels/tools.sh "$arch") && kernel=$(scripts/kernels/fetch.sh "$name"); } 2>"$said"; then
		cat "$said" >&2
		fault "$name" "$(tail -n 1 "$said" | sed 's/^kernels: //')"
		return
	fi
	tests=$(tests_of "$name")
	scripts/kernels/initramfs.sh "$name" "$kernel" "$tools" "$tests" "$work/$name.cpio"
	scripts/kernels/boot.sh "$arch" "$kernel" "$work/$name.cpio" "$output/$name" "$guest_limit" || code=$?
	case $code in
	0) ;;
	124) fault "$name" "not done after $guest_limit s" ;;
	*) fault "$name" "the emulator ended with exit code $code" ;;
	esac
	rm -f "$work/$name.cpio"
}

run() {
	local name=$1 started=$SECONDS
	rm -f "$output/$name" "$output/$name.console"
	say "$name: starting"
	if [ "$name" = here ]; then run_here >"$output/$name"; else run_emulated "$name"; fi
	touch "$work/$name.ended"
	say "$name: $(grep -c '^--- PASS' "$output/$name") passes," \
		"$(grep -c '^--- [FS]' "$output/$name") failures and skips in $((SECONDS - started)) s"
}

# Reports progress every half minute.
progress() {
	local name
	while sleep 30; do
		for name in "${names[@]}"; do
			[ -e "$work/$name.ended" ] || [ ! -e "$output/$name" ] ||
				say "$name: $(grep -c '^--- ' "$output/$name") tests done," \
					"now $(grep -o '^=== RUN.*' "$output/$name" | tail -n 1 | cut -c 11-)"
		done
	done
}

# Start with the slowest.
queue=()
case " ${names[*]} " in
*" here "*) [ "$(id -u)" = 0 ] || sudo -v ;; # in the background it could not ask
esac
for name in "${names[@]}"; do [ "$(arch_of "$name")" = "$(go env GOARCH)" ] || queue+=("$name"); done
for name in "${names[@]}"; do [ "$(arch_of "$name")" != "$(go env GOARCH)" ] || queue+=("$name"); done

for package in "${packages[@]}"; do
	mkdir -p "$work/src/$package"
	for data in testdata docs "$package/testdata"; do
		[ ! -d "$data" ] || cp -rT "$data" "$work/src/$data"
	done
done
fetch_all &
jobs_of[$!]=downloads
for arch in $(for name in "${names[@]}"; do arch_of "$name"; done | sort -u); do build "$arch"; done
go build -o "$work/report" ./scripts/kernels/report
progress &
jobs_of[$!]=progress

running=()
next() {
	local ended
	wait -n -p ended "${!running[@]}" || true
	unset "running[$ended]" "jobs_of[$ended]"
}
for name in "${queue[@]}"; do
	[ ${#running[@]} -lt "$(nproc)" ] || next
	run "$name" &
	running[$!]=$name jobs_of[$!]=$name
done
while [ ${#running[@]} -gt 0 ]; do next; done

results=()
for name in "${names[@]}"; do results+=("$name=$output/$name"); done
every=-every
for name in "${kernel_names[@]}"; do
	case " ${names[*]} " in *" $name "*) ;; *) every= ;; esac
done
[ -z "${TESTS:-}" ] || every=
"$work/report" ${TESTS:+-some} $every scripts/kernels/expected.txt "${results[@]}"
