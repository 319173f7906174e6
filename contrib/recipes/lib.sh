# shellcheck shell=bash disable=SC2034  # used by whoever reads this file
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the recipes share. A recipe is run and read by people: what it does is typed out in it and
# printed as it runs; here is only what would be in its way there.
#
#     usage                    the recipe's own header; wrong WORD: an option it does not know
#     needs PROGRAM:PACKAGE    the programs that are missing, with Debian's packages; exit status 77
#     begin                    finds zramfs and zramfsctl; makes the directory $place, with $z in it
#     mount_z [OPTION ...]     zramfs on $z, with the configuration on standard input
#     later COMMAND ...        done at the end, whatever happens, the last said first
#     start NAME COMMAND ...   in the background until the end; what it says is in $place/NAME.log
#     wait_for SECONDS WHAT COMMAND ...   until it succeeds
#     serves COMMAND ...       the same, of what was started last, which must not end before that;
#                              $patience seconds, or 20
#     must WHAT COMMAND ...    a check: says that it holds, or ends the recipe
#     stay                     with --stay: until Ctrl-C
#
# and of contrib/lib.sh: title, die, show, show_only.

# shellcheck source=contrib/lib.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../lib.sh"

SOURCE_TREE=$(readlink -f "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..")

# ---- what it is and what it wants

# The comment at the top of the recipe, below the line of the licence.
usage() {
	awk 'NR > 2 { if (!/^#/) exit; sub(/^# ?/, ""); if (n++ || $0 != "") print }' "$0"
}

wrong() {
	printf "%s: what is '%s'? See --help\n" "${0##*/}" "$1" >&2
	exit 2
}

# value OPTION [WORD]: of an option that wants one. Not in a list of &&, where nothing would end:
#     --size) size=$(value "$@"); shift ;;
value() {
	[ $# -gt 1 ] || { printf '%s: %s wants a value\n' "${0##*/}" "$1" >&2 && exit 2; }
	printf '%s\n' "$2"
}

# bytes OPTION SIZE: 8M as 8388608.
bytes() {
	numfmt --from=iec -- "$2" 2>/dev/null || die "$1 $2: a size is wanted, such as 64M"
}

# What is missing is no failure of the recipe: as for the test programs, 77.
lacks() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 77
}

needs() {
	local pair programs='' packages=''

	for pair in "$@"; do
		command -v "${pair%%:*}" >/dev/null && continue
		programs+="${programs:+, }${pair%%:*}"
		[[ " $packages " == *" ${pair#*:} "* ]] || packages+="${packages:+ }${pair#*:}"
	done
	[ -z "$programs" ] || lacks "there is no $programs here; on Debian: apt-get install $packages"
}

needs_root() {
	[ "$(id -u)" -eq 0 ] || lacks "$1 needs root"
}

# $1: of which program, as zramfs. Whoever has the sources means what was built of them.
find_ours() {
	local found

	for found in ${ZRAMFS_BIN:+"$(dirname "$ZRAMFS_BIN")/$1"} "$SOURCE_TREE/build/zramfs/$1"; do
		[ -x "$found" ] && printf '%s\n' "$found" && return
	done
	command -v "$1" || lacks "there is no $1 here: contrib/quickstart builds it"
}

begin() {
	zramfs=$(find_ours zramfs)
	zramfsctl=$(find_ours zramfsctl)
	[ -e /dev/fuse ] || lacks "there is no /dev/fuse here: modprobe fuse, or ask for the device"
	if ! [ -r /dev/fuse ] || ! [ -w /dev/fuse ]; then
		lacks "no access to /dev/fuse; as root: chmod 666 /dev/fuse"
	fi
	# As mountinfo has it: /tmp may be a link.
	place=$(readlink -f "$(mktemp -d "${TMPDIR:-/tmp}/zramfs-${0##*/}.XXXXXX")")
	z=$place/z
	later rm -rf --one-file-system "$place"
	mkdir "$z"
}

# ---- the end

undoing=()

later() {
	undoing+=("$(printf '%q ' "$@")")
}

# Each on its own: what fails must not keep the others.
undo_all() {
	local i status=$?

	set +e
	trap '' INT TERM HUP
	for ((i = ${#undoing[@]} - 1; i >= 0; --i)); do
		eval "${undoing[i]}" || [ $status -ne 0 ] || status=1
	done
	exit $status
}

trap undo_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Ends a process that was started here, and waits for its end.
finish() {
	local try

	for ((try = 0; try < 100; ++try)); do
		kill "$1" 2>/dev/null || return 0
		sleep 0.05
	done
	kill -KILL "$1"
}

# A path as it stands in mountinfo. It goes to awk by its environment, since -v reads escapes, too.
escaped() {
	local path=${1//\\/\\134}

	path=${path// /\\040} path=${path//$'\t'/\\011}
	printf '%s\n' "${path//$'\n'/\\012}"
}

is_mounted() {
	point=$(escaped "$1") awk '$5 == ENVIRON["point"] { found = 1 } END { exit !found }' \
		/proc/self/mountinfo
}

# What was closed a moment ago may still be busy: the kernel tells the daemon later. And whoever made
# a mount namespace meanwhile keeps what was mounted on a loop device until that one ends.
unmount() {
	local try command=(umount "$1")

	is_mounted "$1" || return 0
	[ "$(id -u)" -eq 0 ] || command=(fusermount3 -u "$1")
	for try in .1 .1 .2 .3 .5 1 2 3 5 8; do
		"${command[@]}" 2>/dev/null && return
		sleep $try
	done
	"${command[@]}"
}

# ---- what it does

# The daemon ends with its mount.
mount_z() {
	cat >"$place/zram.ini"
	printf '%s:\n' "$place/zram.ini"
	sed 's/^/    /' "$place/zram.ini"
	later unmount "$z"
	show "$zramfs" "$z" -c "$place/zram.ini" "$@"
}

# Sets $started, its pid. What it reads: $input, or nothing.
start() {
	started_as=$1
	shift
	show_only "$@" | sed '$s/$/ \&/'
	"$@" >"$place/$started_as.log" 2>&1 <"${input:-/dev/null}" &
	started=$!
	disown "$started" # or the shell tells of its end
	later finish "$started"
}

is_ended() {
	! kill -0 "$started" 2>/dev/null
}

is_ended_or() {
	is_ended || "$@"
}

serves() {
	wait_for "${patience:-20}" "$started_as is ready" is_ended_or "$@"
	! is_ended || die "$started_as ended: $(tail -n 1 "$place/$started_as.log")"
}

wait_for() {
	local seconds=$1 what=$2 until
	shift 2

	until=$((SECONDS + seconds))
	until "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $until ]; then
			tail -n 5 "$place"/*.log >&2 2>/dev/null || true
			die "not within $seconds s: $what"
		fi
		sleep 0.1
	done
}

must() {
	local what=$1
	shift

	"$@" || die "it does not hold: $what"
	printf '%sok%s: %s\n' "$GREEN" "$PLAIN" "$what"
}

stay() {
	[ "${stay-no}" = yes ] || return 0
	title "It stays until you press Ctrl-C"
	printf '    %s\n' "$@"
	while sleep 1; do :; done
}

# ---- figures

in_mib() {
	awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'
}

row() {
	printf '    %-34s %12s%s\n' "$1" "$2" "${3:+  $3}"
}

# column DISK N: of mm_stat, whose columns are the kernel's; 1: what is stored, 2: what that was
# compressed to, 3: the memory that it takes.
column() {
	awk -v n="$2" '{ print $n }' "$z/.control/$1/mm_stat"
}

# Bytes of a file that are not holes.
allocated() {
	echo $(($(stat -c '%b * %B' "$1")))
}

# A directory of this machine that is worth copying: 2 to 100 MiB of files.
something_real() {
	local directory kib

	for directory in /usr/include /usr/lib/python3 /usr/share/perl /usr/share/doc /usr/share; do
		[ -d "$directory" ] || continue
		kib=$(du -skx "$directory" 2>/dev/null | cut -f1) || true
		if [ "${kib:-0}" -gt 2048 ] && [ "$kib" -lt 102400 ]; then
			echo "$directory"
			return
		fi
	done
	die "no directory in /usr is worth copying: name one"
}

# Text that compresses as files do, and is the same each time: text BYTES
text() {
	awk -v n="$1" 'BEGIN {
		for (srand(1); n > 0; n -= length(line)) {
			line = ""
			while (length(line) < 70)
				line = line sprintf("%s %x", rand() < .5 ? " the disk" : " page", rand() * 1e6)
			line = substr(line "\n", 1, n)
			printf "%s", line
		}
	}'
}
