# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Debian packages of other suites and architectures; sourced, with the caller's topic, such
# as kernels, in $topic. The system's package lists stay unchanged: apt uses its own lists,
# sources, dpkg status and cache in a work folder.

# say TEXT…: for people, with the topic of the script.
say() { echo "$topic: $*" >&2; }

# open_cache KEY: sets $cache, the folder EBPF_TCP_TOPIC or one in the user's cache folder,
# and waits while another process fills KEY in it.
open_cache() {
	local chosen=EBPF_TCP_${topic^^}
	cache=${!chosen:-${XDG_CACHE_HOME:-$HOME/.cache}/ebpf-tcp-$topic}
	mkdir -p "$cache"
	exec 9>"$cache/$1.lock"
	flock 9
}

# mirrors: prints one "MAIN SECURITY" a line, best first: those that the system uses,
# Debian's own, and the archive of suites without updates.
mirrors() {
	{
		apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
			awk '$1 ~ /debian/ { if ($2 ~ /-security$/) s = s ? s : $1; else m = m ? m : $1 }
				END { if (m) print m, s ? s : "http://deb.debian.org/debian-security/" }'
		echo "http://deb.debian.org/debian/ http://deb.debian.org/debian-security/"
		echo "http://archive.debian.org/debian/ http://archive.debian.org/debian-security/"
	} | awk '!seen[$1]++'
}

# read_lists WORK ARCH "MAIN SECURITY" SUITE…: prepares apt_get and apt_search for these
# suites of this mirror. A missing suite shows later.
read_lists() {
	local work=$1 arch=$2 main=${3% *} security=${3#* } suite uri
	shift 3
	apt_conf=$work/apt.conf
	rm -rf "$work"
	mkdir -p "$work"/{lists/partial,archives/partial}
	: >"$work/status"
	for suite in "$@"; do
		uri=$main
		[[ $suite != *-security ]] || uri=$security
		echo "deb [arch=$arch signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main"
	done >"$work/sources.list"
	# An archived suite's lists have expired, but are still signed.
	cat >"$apt_conf" <<-CONF
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear Acquire::IndexTargets::deb::DEP-11;
		APT::Architecture "$arch";
		APT::Architectures { "$arch"; };
		APT::Install-Recommends "false";
		APT::Sandbox::User "";
		Acquire::Check-Valid-Until "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Acquire::http::Timeout "30";
		Dir::Etc::sourcelist "$work/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::State::lists "$work/lists";
		Dir::State::status "$work/status";
		Dir::Cache "$work";
		Dir::Cache::archives "$work/archives";
	CONF
	apt_get update || true
}
apt_get() { apt-get -qq -c "$apt_conf" "$@" >&2; }
# apt_search REGEXP: names of packages, newest first.
apt_search() { apt-cache -c "$apt_conf" search --names-only "$1" | cut -d ' ' -f 1 | sort -rV; }

# unpack_deb DEB FOLDER TAR-OPTION…
unpack_deb() {
	local deb=$1 folder=$2
	shift 2
	mkdir -p "$folder"
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$folder" "$@"
}
