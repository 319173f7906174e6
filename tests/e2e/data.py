"""Pages whose size after compression is known to be small, large, or nothing at all."""

import random

PAGE = 4096

# Machine words that use all 64 bits and are no shorter word repeated, and some that are.
WORDS = (0x0123456789abcdef, 0xfedcba9876543210, 0x8000000000000001, 0xffffffff00000000,
         0x00000000ffffffff, 0xdeadbeefdeadbeef, 0x8000000000000000, 0x7fffffffffffffff,
         0x0101010101010101, 0xffffffffffffffff, 1)


def word_page(word):
    """Same-filled: one machine word, repeated."""
    return word.to_bytes(8, "little") * (PAGE // 8)


def random_page(seed):
    """Huge: no codec gets below the threshold."""
    return random.Random(seed).randbytes(PAGE)


def text_page(seed):
    """Compresses well, and is like no other seed's."""
    line = f"page {seed}: the quick brown fox jumps over the lazy dog; "
    return (line * (PAGE // len(line) + 1)).encode()[:PAGE]


def half_page(seed):
    """Compresses to a little over a quarter of a page."""
    return (random.Random(seed).randbytes(1024) + text_page(seed))[:PAGE]


def random_pages(n_pages, seed=0):
    return random.Random(seed).randbytes(n_pages * PAGE)


def text_pages(n_pages, seed=0):
    return b"".join(text_page(seed + i) for i in range(n_pages))
