# shellcheck shell=bash disable=SC2034  # used by whoever reads this file
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What contrib/quickstart and contrib/check share: packages, colours, commands shown as they run.

# Debian's names, and Ubuntu's. To build:
PACKAGES_BUILD=(gcc libc6-dev meson ninja-build pkg-config libfuse3-dev fuse3 liblz4-dev
                liblzo2-dev libzstd-dev libinih-dev libsmartcols-dev libjson-c-dev liburing-dev
                libsodium-dev libblkid-dev)
# To run what the README shows:
PACKAGES_RUN=(mount util-linux e2fsprogs python3)
# To test:
PACKAGES_CHECK=(git python3-pytest xfsprogs btrfs-progs prometheus bash-completion mandoc
                strace libaio-dev fio man-db groff-base psmisc)
# To test all: compilers and virtual machines,
PACKAGES_CHECK_ALL=(clang lld llvm clang-format cppcheck libclang-rt-dev
                    qemu-system-x86 busybox-static
                    gcc-aarch64-linux-gnu gcc-i686-linux-gnu qemu-user-static mmdebstrap
# packages,
                    debhelper lintian dpkg-dev binutils systemd
# and recipes.
                    nbdkit libnbd-bin qemu-utils nbd-client fuse2fs bubblewrap shellcheck xz-utils
                    prometheus-node-exporter python3-matplotlib postgresql sqlite3 rsync)

# mkfs, losetup and swapon live in sbin, which an ordinary user's PATH may lack.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

if [ -t 1 ] && [ -z "${NO_COLOR-}" ] && [ "${TERM-dumb}" != dumb ]; then
	BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[31m' YELLOW=$'\e[33m' PLAIN=$'\e[m'
else
	BOLD='' GREEN='' RED='' YELLOW='' PLAIN=''
fi

title() {
	printf '\n%s== %s%s\n' "$BOLD" "$*" "$PLAIN"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Print a command as it could be typed, broken before column 79.
show_only() {
	local word line='$'

	for word in "$@"; do
		[[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word=\'${word//\'/\'\\\'\'}\'
		if ((${#line} + ${#word} + 3 > 79)); then
			printf '%s%s \\%s\n' "$BOLD" "$line" "$PLAIN"
			line='      '
		fi
		line+=" $word"
	done
	printf '%s%s%s\n' "$BOLD" "$line" "$PLAIN"
}

show() {
	show_only "$@"
	"$@"
}

# The packages, of those named, that are not installed.
packages_missing() {
	local package

	for package in "$@"; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok' ||
			printf '%s\n' "$package"
	done
}

# Install what is missing; without root, say what to type. On other systems the build itself will
# name what it misses.
packages_ensure() {
	local missing

	if ! command -v dpkg-query >/dev/null; then
		echo "Not a Debian system: install what answers to: $*"
		return 0
	fi
	mapfile -t missing < <(packages_missing "$@")
	[ ${#missing[@]} -eq 0 ] && return 0
	if [ "$(id -u)" -ne 0 ]; then
		echo "These packages are missing; as root, type:" >&2
		echo "    apt-get install ${missing[*]}" >&2
		return 1
	fi
	title "Installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	apt-get install -q -y --no-install-recommends "${missing[@]}" && return 0
	apt-get update -q && apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# Configure, again if the options changed: set_up_tree DIRECTORY [OPTION ...]
set_up_tree() {
	local directory=$1
	shift

	if [ -f "$directory/build.ninja" ]; then
		meson configure "$directory" "$@"
	else
		meson setup "$directory" "$@"
	fi
}

# The same, and compile all: build_tree DIRECTORY [OPTION ...]
build_tree() {
	set_up_tree "$@" && ninja -C "$1"
}
