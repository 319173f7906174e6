#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Check: what must hold, checked
 *
 * ZR_ASSERT is for corrupt internal state, which is a bug and not an error. It costs nothing in a
 * release build (debug_level 0); at level 2 whole structures are walked and freed memory is
 * poisoned.
 *
 * Ownership: none.
 * Locking:   none.
 * Errors:    a failed assertion aborts, after naming itself on standard error.
 * Cost:      nothing at level 0.
 */

#ifndef ZR_DEBUG_LEVEL
#define ZR_DEBUG_LEVEL 0
#endif

#if ZR_DEBUG_LEVEL >= 1
#define ZR_ASSERT(condition) \
	((condition) ? (void)0 : zr_assert_failed(#condition, __FILE__, __LINE__))
#else
/* Not sizeof: clang takes what is only measured for unused. */
#define ZR_ASSERT(condition) ((void)(0 && (condition)))
#endif

/* True where a build walks whole structures: if (ZR_PARANOID) thing_validate(thing); */
#define ZR_PARANOID (ZR_DEBUG_LEVEL >= 2)

/* Is a sanitizer in it? They have more address space than anybody can lock, and touch memory of their
 * own at any time. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ZR_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define ZR_SANITIZED 1
#endif
#endif
#ifndef ZR_SANITIZED
#define ZR_SANITIZED 0
#endif

#define ZR_POISON_FRESH 0xAA
#define ZR_POISON_FREED 0x55

_Noreturn void zr_assert_failed(const char *condition, const char *file, int line);
