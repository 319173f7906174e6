#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a device with the attributes of the kernel's zram answers, step by step.
#
# usage: parity.sh [--recompress] ATTRIBUTE_DIRECTORY BLOCK_DEVICE [COMMAND [BACKING_DEVICE]]
#
#   parity.sh /sys/block/zram0 /dev/zram0
#   parity.sh /mnt/z/.control/zram0 /dev/loop0 attach
#
# --recompress asks of recompression alone, which many kernels lack: what it must print lies beside
# this, parity-recompress.expected, as the documentation of Linux 6.12 to 7.0 has it. zstd and lz4hc
# are used besides.
#
# Configures, fills, reads and resets the device and prints what each read and write gave: the text,
# or the name of the error. Both lines above must print the same, to the byte; test_parity.py
# compares them. Nothing here asks which of the two it runs on.
#
# COMMAND is for a block device that is not there by itself: it is run with "up" when the device has
# got its size and with "down" before a reset.
#
# BACKING_DEVICE is another block device, for kernels that write pages back (6.16 and later): what is
# printed then is this alone. parity-writeback.expected has what their source says.
#
# The device must be empty, and lzo-rle its default algorithm. Its data is lost.
#
# Told in a way that both can have:
#   comp_algorithm    one may have more algorithms: lzo-rle, lzo and lz4 alone are printed
#   mem_limit, algorithm_params   one can be read besides: who may write them is printed
#   mem_used_total, mem_used_max  differ with the allocator, and with what the table of pages counts
#                     as: whether they are large enough, once something was written
#   compr_data_size   differs with the codec's version where pages were compressed: whether it is
#                     less than orig_data_size; to the byte where none were
#   pages_compacted   differs with the allocator, and is of all disks or of one: not printed
#   algorithm_params  once there is a size newer kernels refuse it and older ones do not: not asked
#   block_state, bd_stat, max_comp_streams and what belongs to write-back or recompression: not
#                     every kernel has them; but with a BACKING_DEVICE
#   writeback_batch_size, compressed_writeback   of the newest kernels, and their defaults are others:
#                     not asked
#   past mem_limit    a device says EIO, a file below a device ENOSPC: "refused". Where pages of
#                     zeros are written then, there is a table for them already

set -u
export LC_ALL=C

asked=all
if [ "${1:-}" = --recompress ]; then
    asked=recompress
    shift
fi
if [ $# -lt 2 ] || [ ! -d "$1" ] || [ ! -b "$2" ]; then
    echo "usage: parity.sh [--recompress] ATTRIBUTE_DIRECTORY BLOCK_DEVICE [COMMAND [BACKING_DEVICE]]" >&2
    exit 2
fi
attributes=$1 device=$2 hook=${3:-true} backing=${4:-}

if [ "$(cat "$attributes/disksize")" != 0 ]; then
    echo "parity.sh: $attributes has a size already: reset it first" >&2
    exit 2
fi

place=$(mktemp -d) || exit 2

clean_up() {
    exec 3<&- # what the test of "in use" may still hold
    if mountpoint -q "$place/mnt"; then
        umount "$place/mnt"
    fi
    $hook down
    echo 1 >"$attributes/reset"
    rm -rf "$place"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# Saying what happened

title() {
    printf '\n== %s\n' "$*"
}

# The last part of the first message of a shell or a program: the name of the error.
reason() {
    head -n 1 | sed 's/.*: //'
}

# did WHAT COMMAND...: run it and say how it ended.
did() {
    what=$1
    shift
    if errors=$("$@" 2>&1 >/dev/null); then
        echo "$what: ok"
    else
        echo "$what: $(echo "$errors" | reason)"
    fi
}

# Attributes

# write_text ATTRIBUTE FORMAT TEXT: in one write(2), whose error this printf tells.
write_text() {
    env printf "$2" "$3" >"$attributes/$1"
}

# put ATTRIBUTE TEXT: with a newline, as echo does.
put() {
    did "$1 <- '$2'" write_text "$1" '%s\n' "$2"
}

# The same without the newline.
put_bare() {
    did "$1 <- '$2' without newline" write_text "$1" '%s' "$2"
}

get() {
    if cat "$attributes/$1" >"$place/got" 2>"$place/errors"; then
        sed "s/^/$1: /" "$place/got"
    else
        echo "$1: $(reason <"$place/errors")"
    fi
}

# Of the names that both have, with the brackets.
get_algorithm() {
    # shellcheck disable=SC2013 # words are what is wanted
    for word in $(cat "$attributes/comp_algorithm"); do
        case $word in
        lzo-rle | lzo | lz4 | "[lzo-rle]" | "[lzo]" | "[lz4]") printf '%s ' "$word" ;;
        "["*) printf 'another: %s ' "$word" ;;
        esac
    done
    printf '\n'
}

# figures [compressed]: mm_stat, column by column, and io_stat.
figures() {
    compressed=${1:-}
    # shellcheck disable=SC2046 # words are what is wanted
    set -- $(cat "$attributes/mm_stat")
    echo "columns of mm_stat: $#"
    echo "orig_data_size $1"
    if [ -z "$compressed" ]; then
        echo "compr_data_size $2"
    elif [ "$2" -gt 0 ] && [ "$2" -lt "$1" ]; then
        echo "compr_data_size less than that"
    fi
    if [ "$3" -ge "$2" ] && [ "$5" -ge "$3" ]; then
        echo "mem_used_total no less than that, mem_used_max no less than mem_used_total"
    fi
    echo "mem_limit $4"
    echo "same_pages $6"
    echo "huge_pages $8"
    echo "huge_pages_since $9"
    get io_stat
}

# Pages

# word FILE OCTAL...: a page of these bytes repeated.
word() {
    file=$1
    shift
    printf '%b' "$(printf '\\0%s' "$@")" >"$file"
    while [ "$(wc -c <"$file")" -lt 4096 ]; do
        cat "$file" "$file" >"$file.2"
        mv "$file.2" "$file"
    done
}

make_pages() {
    head -c 65536 /dev/zero >"$place/zeros"
    {
        word "$place/word" 357 276 255 336 357 276 255 336 && cat "$place/word"
        word "$place/word" 357 315 253 211 147 105 043 001 && cat "$place/word"
        word "$place/word" 377 && cat "$place/word"
        word "$place/word" 000 000 000 000 000 000 000 200 && cat "$place/word"
    } >"$place/words" # 0xdeadbeefdeadbeef, 0x0123456789abcdef, all ones, the highest bit

    # Nearly so: the first word, the last word and one in the middle are others; two words in turn.
    {
        printf 'another ' && head -c 4088 /dev/zero
        head -c 4088 /dev/zero && printf ' another'
        head -c 2048 /dev/zero && printf 'another ' && head -c 2040 /dev/zero
        word "$place/word" 001 002 003 004 005 006 007 010 011 012 013 014 015 016 017 020
        cat "$place/word"
    } >"$place/nearly"

    head -c 262144 /dev/urandom >"$place/random"
    head -c 262144 /dev/urandom >"$place/random2"
    seq -f 'line %08.0f of a text' 20000 | head -c 262144 >"$place/text"
}

# write_pages FILE PAGE: from that page on, past all caches.
write_pages() {
    dd if="$place/$1" of="$device" bs=4096 seek="$2" oflag=direct conv=notrunc status=none
}

read_pages() {
    dd if="$device" bs=4096 skip="$1" count="$2" iflag=direct status=none
}

fill() {
    did "write $1 at page $2" write_pages "$1" "$2"
}

# check FILE PAGE: is it there?
check() {
    n_pages=$(($(wc -c <"$place/$1") / 4096))
    if read_pages "$2" "$n_pages" | cmp -s - "$place/$1"; then
        echo "read $1 at page $2: the same"
    else
        echo "read $1 at page $2: not the same"
    fi
}

# A new life of the device.
begin() {
    put disksize "$1"
    $hook up
    echo "size of the block device: $(blockdev --getsize64 "$device")"
}

end() {
    $hook down
    put reset 1
}

# The steps

modes() {
    title "modes"
    for name in disksize initstate reset comp_algorithm mem_used_max compact idle mm_stat io_stat \
        debug_stat; do
        echo "$name $(stat -c %a "$attributes/$name" 2>&1 | reason)"
    done
    for name in mem_limit algorithm_params; do
        # The owner writes, nobody else does.
        case $(stat -c %A "$attributes/$name" 2>&1) in
        -?w??-??-?) echo "$name is written by its owner" ;;
        *) echo "$name $(stat -c %A "$attributes/$name" 2>&1)" ;;
        esac
    done
    put initstate 1
    put mm_stat 0
    put io_stat 0
    put debug_stat 0
    get reset
    get compact
    get idle
    get mem_used_max
    put no_such_attribute 1
    get no_such_attribute
}

before_it_has_a_size() {
    title "before it has a size"
    for name in disksize initstate mm_stat io_stat debug_stat; do
        get "$name"
    done
    get_algorithm
    tail -c 2 "$attributes/comp_algorithm" | od -An -c
    for text in 0 1 all 1x garbage; do
        put compact "$text"
        put idle "$text"
    done
    for text in 0 1 garbage " 0" 0x0 00 -0; do
        put mem_used_max "$text"
    done
    for text in 1 garbage; do
        put reset "$text"
    done
}

algorithms() {
    title "comp_algorithm, algorithm_params"
    for text in lzo lz4 lzo-rle nonsense "" LZ4 "lz4 " " lz4" "lz4 lzo" \
        "$(head -c 300 /dev/zero | tr '\0' x)"; do
        put comp_algorithm "$text"
        get_algorithm
    done
    put_bare comp_algorithm lz4
    get_algorithm
    for text in "level" "level=" "level=x" "algo=nonsense level=1" "algo=lz4" "priority=9 level=1" \
        "level=1" "algo=lz4 level=1"; do
        put algorithm_params "$text"
    done
}

sizes() {
    title "disksize"
    for text in 0 garbage -1 "" K M; do
        put disksize "$text"
        get disksize
        get initstate
    done
    for text in 1 4096 5000 64K 1M 0x100000 0200000 2m 1G " 1M" "1M "; do
        put disksize "$text"
        get disksize
        get initstate
        put disksize "$text"
        put reset 1
        get disksize
    done
    put_bare disksize 1M
    get disksize
    put_bare reset 1
    get disksize
}

limits() {
    title "mem_limit"
    # No word that begins with a unit: to the kernel "garbage" is a G.
    for text in 1M 8m 4096 5000 1 0 nonsense "" -1 0x100000; do
        put mem_limit "$text"
        echo "mem_limit $(awk '{ print $4 }' "$attributes/mm_stat")"
    done
    put mem_limit 1M
    put reset 1
    echo "mem_limit after a reset $(awk '{ print $4 }' "$attributes/mm_stat")"
}

resets() {
    title "reset"
    begin 1M
    put comp_algorithm lz4
    for text in 0 garbage "" -1 " 1" "1 " 1x 0x1 65536 70000 99999999999999999999; do
        put reset "$text"
        get initstate
    done

    exec 3<"$device"
    put reset 1
    exec 3<&-
    exec 3<>"$device"
    put reset 1
    exec 3<&-
    put reset 0
    get initstate
    end
    for text in 65535 +1 01 2; do
        put disksize 1M
        put reset "$text"
        get initstate
    done
}

# Every kind of page, and what the figures say of it.
pages() {
    title "pages"
    put comp_algorithm lz4
    begin 16M
    put compact 1
    figures
    check zeros 0

    fill zeros 0
    figures
    check zeros 0
    fill words 16
    figures
    check words 16
    fill random 32
    figures
    check random 32
    fill nearly 128
    fill text 160
    figures compressed
    check nearly 128
    check text 160
    check zeros 1024

    title "pages: written again"
    fill random2 32
    figures compressed
    check random2 32
    fill zeros 32
    fill text 48
    figures compressed
    check zeros 32
    check text 48
    fill words 160
    fill random 164
    figures compressed
    check words 160
    check random 164
}

each_algorithm() {
    for algorithm in lzo lzo-rle lz4; do
        title "$algorithm"
        put comp_algorithm "$algorithm"
        begin 2M
        fill text 0
        fill nearly 64
        fill random 128
        figures compressed
        check text 0
        check nearly 64
        check random 128
        end
    done
}

discards() {
    title "discards"
    did "discard 64 pages from page 160" blkdiscard -o $((160 * 4096)) -l $((64 * 4096)) "$device"
    figures compressed
    check zeros 160
    did "the same again" blkdiscard -o $((160 * 4096)) -l $((64 * 4096)) "$device"
    figures compressed
    did "discard 512 bytes" blkdiscard -o 0 -l 512 "$device"
    did "discard past the end" blkdiscard -o $((32 * 1048576)) -l 4096 "$device"
    did "zero 8 pages from page 64" blkdiscard -z -o $((64 * 4096)) -l $((8 * 4096)) "$device"
    did "discard everything" blkdiscard "$device"
    figures
    check zeros 0
    check zeros 4080
}

# What is no whole number of pages, or past the end.
odd_requests() {
    title "odd requests"
    did "write 512 bytes" dd if="$place/text" of="$device" bs=512 count=1 oflag=direct conv=notrunc
    did "read 512 bytes" dd if="$device" of=/dev/null bs=512 count=1 iflag=direct
    did "write past the end" write_pages text 4096
    echo "read past the end: $(read_pages 4096 1 | wc -c) bytes"
    echo "read across the end: $(read_pages 4090 16 | wc -c) bytes"
    did "write across the end" write_pages text 4090
    figures compressed
}

after_it_has_a_size() {
    title "after it has a size"
    get initstate
    get disksize
    put disksize 32M
    put disksize 0
    put comp_algorithm lzo
    put comp_algorithm nonsense
    get_algorithm
    get debug_stat
    for text in 0 1 all garbage 1x -1 ""; do
        put compact "$text"
        put idle "$text"
        put mem_used_max "$text"
    done
    figures compressed
    get disksize
}

a_filesystem() {
    title "a filesystem"
    did "discard everything" blkdiscard "$device"
    did "mkfs" mkfs.ext4 -q -b 4096 "$device"
    mkdir "$place/mnt"
    did "mount" mount "$device" "$place/mnt"
    cp "$place/text" "$place/mnt/text"
    put reset 1
    get initstate
    did "umount" umount "$place/mnt"
    did "fsck" e2fsck -fn "$device"
    did "mount" mount "$device" "$place/mnt"
    did "compare" cmp "$place/text" "$place/mnt/text"
    did "umount" umount "$place/mnt"
}

# How many pages fit differs with the allocator; that some do not does not.
past_the_limit() {
    title "past mem_limit"
    begin 16M
    put mem_limit 64K
    if write_pages random 0 2>/dev/null; then
        echo "written"
    else
        echo "refused"
    fi
    get io_stat
    fill zeros 256
    check zeros 256
    put mem_limit 0
    fill random 0
    check random 0
    get io_stat
    end
}

reset_at_the_end() {
    title "reset"
    end
    for name in disksize initstate io_stat debug_stat; do
        get "$name"
    done
    figures
    get_algorithm
    echo "size of the block device: $(blockdev --getsize64 "$device")"
    begin 16M
    check zeros 32
    check zeros 160
    figures
    end
}

# Recompression. Words that the kernel passes over and we refuse are not asked for.

# Which flags a range of pages has, and how many pages each: i, r and n; h as far as all codecs agree.
flags() {
    awk -v from="$1" -v to="$2" '$1 >= from && $1 < to { print $NF }' "$attributes/block_state" |
        sort | uniq -c | while read -r count letters; do echo "$count pages $letters"; done
}

# Of the names that all have, with the brackets.
get_recomp_algorithm() {
    # shellcheck disable=SC2013 # words are what is wanted
    while read -r line; do
        for word in $line; do
            case $word in
            "#"* | lz4hc | zstd | "[lz4hc]" | "[zstd]") printf '%s ' "$word" ;;
            "["*) printf 'another: %s ' "$word" ;;
            esac
        done
        printf '\n'
    done <"$attributes/recomp_algorithm"
}

recomp_algorithms() {
    title "recomp_algorithm"
    for name in recomp_algorithm recompress; do
        echo "$name $(stat -c %a "$attributes/$name" 2>&1 | reason)"
    done
    get recompress
    get recomp_algorithm
    for text in "" zstd algo algo= algo=nonsense priority=1 "algo=zstd priority" "algo=zstd priority=0" \
        "algo=zstd priority=4" "algo=zstd priority=x" "algo=$(head -c 300 /dev/zero | tr '\0' x)"; do
        put recomp_algorithm "$text"
    done
    get recomp_algorithm
    for text in "algo=lz4hc" "algo=zstd priority=2" "priority=1 algo=zstd" "algo=lz4hc priority=1"; do
        put recomp_algorithm "$text"
        get_recomp_algorithm
    done
    put_bare recomp_algorithm "algo=zstd priority=2"
    for text in "priority=1 level=4" "algo=zstd level=5" "priority=9 level=1" "priority=1 level" \
        "algo=nonsense level=1"; do
        put algorithm_params "$text"
    done
    put recompress "type=huge"
    begin 16M
    put recomp_algorithm "algo=zstd"
    get_recomp_algorithm
    end
    get recomp_algorithm
}

# Pages of six random bits a byte: lz4 stores them raw, zstd makes three quarters of them.
letters() {
    head -c 262144 /dev/urandom | tr '\000-\377' "$(printf '%0.s0-9A-Za-z+/' 1 2 3 4)" >"$place/letters"
}

recompress_types() {
    title "recompress"
    put comp_algorithm lz4
    put recomp_algorithm "algo=lz4hc priority=1"
    put recomp_algorithm "algo=zstd priority=2"
    begin 16M
    letters
    fill letters 0
    fill random 64
    fill text 128
    fill words 192
    for text in type type= threshold=x threshold=4096 threshold=99999 max_pages=x algo= algo=nonsense \
        algo=lz4 priority= priority=x priority=0 priority=3 priority=9; do
        put recompress "$text"
    done
    flags 0 256
    put recompress "type=idle"
    flags 0 256
    put recompress "type=huge algo=lz4hc"
    flags 0 128
    put idle all
    flags 0 256
    put recompress "type=huge_idle priority=1"
    flags 0 128
    put idle all
    put recompress "type=huge_idle max_pages=64 priority=2"
    echo "tried: $(awk '$1 < 128 && $NF ~ /[rn]/' "$attributes/block_state" | wc -l)"
    put recompress "type=huge"
    flags 0 64
    flags 64 128
    put recompress "type=huge"
    flags 64 128
    check letters 0
    check random 64
    check text 128
    put recompress "threshold=3000 type=idle"
    check text 128
    check words 192
    figures compressed

    # What is written is new.
    fill letters 64
    fill random 0
    flags 0 64
    flags 64 128
    put recompress "priority=2"
    flags 0 64
    flags 64 128
    check letters 64
    check random 0
    end
}

# Pages that are written back

# put_backing DEVICE: which may be called anything.
put_backing() {
    did "backing_dev <- the device" write_text backing_dev '%s\n' "$1"
}

back() {
    get bd_stat
    # shellcheck disable=SC2046 # words are what is wanted
    set -- $(cat "$attributes/mm_stat")
    echo "orig_data_size $1, same_pages $6, huge_pages $8"
}

writeback_before_it_has_a_size() {
    title "write-back: before it has a size"
    for name in backing_dev writeback writeback_limit writeback_limit_enable bd_stat; do
        echo "$name $(stat -c %a "$attributes/$name" 2>&1 | reason)"
    done
    for name in backing_dev writeback_limit writeback_limit_enable bd_stat; do
        get "$name"
    done
    put writeback idle
    put writeback junk
    for text in 5 +7 18446744073709551615 0 -1 x ''; do
        put writeback_limit "$text"
        get writeback_limit
    done
    for text in 1 0 7 x 0; do
        put writeback_limit_enable "$text"
        get writeback_limit_enable
    done
    put bd_stat 0
    put backing_dev /dev/null
    put backing_dev /no/such/device
    get backing_dev
}

writeback_without_a_device() {
    title "write-back: without a device"
    begin 16M
    put writeback idle
    put writeback junk
    put writeback page_index=0
    put_backing "$backing"
    end
}

writeback_modes() {
    title "write-back: what goes"
    put_backing "$backing"
    echo "backing_dev: $(sed "s|^$backing\$|the device|" "$attributes/backing_dev")"
    begin 16M
    put_backing "$backing"
    for text in junk type= type=junk page_index=4096 page_index=x page_indexes=1 page_indexes=2-1 \
        page_indexes=0-4096; do
        put writeback "$text"
    done
    fill random 0
    fill text 64
    fill words 128
    back
    for text in type=huge page_index=64 'page_index=65 page_indexes=66-67' page_index=64 \
        page_index=128 page_index=4000; do
        put writeback "$text"
        back
    done
    check random 0
    check text 64
    back
}

writeback_limits() {
    title "write-back: writeback_limit"
    put idle all
    put writeback_limit_enable 1
    put writeback idle
    put writeback_limit 10
    put writeback type=idle
    get writeback_limit
    back
    put writeback_limit_enable 0
    put writeback idle
    back
    fill random2 0
    back
    put writeback huge_idle
    back
    # Who discards may look for what is there, and read.
    did "discard" blkdiscard "$device"
    echo "bd_count $(awk '{ print $1 }' "$attributes/bd_stat")"
    end
    get backing_dev
    get bd_stat
    put writeback_limit 0
}

writeback() {
    writeback_before_it_has_a_size
    writeback_without_a_device
    writeback_modes
    writeback_limits
}

make_pages
if [ $asked = recompress ]; then
    recomp_algorithms
    recompress_types
    exit
fi
if [ -n "$backing" ]; then
    writeback
    exit
fi
modes
before_it_has_a_size
algorithms
sizes
limits
resets
each_algorithm
pages
discards
odd_requests
after_it_has_a_size
a_filesystem
reset_at_the_end
past_the_limit
