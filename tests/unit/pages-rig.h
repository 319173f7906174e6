#pragma once

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What tests of pages share: an engine and one entry of a directory in plain memory, pages with no
 * disk around them. One a test.
 */

#include "faults.h"
#include "pages-parts.h"
#include "rig.h"

static struct zr_engine engine;
static struct zr_entry entry;
static struct zr_pages pages;
static struct zr_ctx *ctx;

static inline void set_up(void)
{
	unsigned int i;

	memset(&engine, 0, sizeof(engine));
	memset(&entry, 0, sizeof(entry));
	memset(&pages, 0, sizeof(pages));
	engine.arena = (struct zr_arena)ZR_ARENA_NULL;
	CHECK(zr_arena_create(&engine.arena, RIG_STORE_BYTES) == 0);
	CHECK(zr_engine_init(&engine) == 0);
	/* The superblock, in which reading would give it memory. */
	CHECK(zr_arena_populate(&engine.arena, 0, zr_system_whole(ZR_DIRECTORY_START)) == 0);
	zr_pages_init(&pages, &engine, &entry, 1);
	for (i = 0; i < ZR_CODEC_NUMBERS; ++i)
		pages.codecs[i].level = ZR_CODEC_LEVEL_DEFAULT;
	CHECK(zr_ctx_new(&ctx) == 0);
}

static inline int64_t used_bytes(void)
{
	zr_pages_validate(&pages);
	CHECK(zr_pool_validate(&engine.pool) == (uint64_t)pages.xused_bytes);
	return pages.xused_bytes;
}

/* Nothing may be left. */
static inline void tear_down(void)
{
	zr_pages_retire(&pages, zr_pages_unhook(&pages));
	CHECK(used_bytes() == 0);
	zr_pool_trim(&engine.pool, 0);
	CHECK(zr_pool_usage(&engine.pool).span_bytes == 0);
	ctx = zr_ctx_free(ctx);
	zr_pages_deinit(&pages);
	zr_engine_deinit(&engine);
	zr_arena_deinit(&engine.arena);
}

static inline int64_t gauge(enum zr_gauge which)
{
	struct zr_tally tally;

	zr_pages_tally(&pages, &tally);
	return tally.gauge[which];
}

static inline void check_page(uint64_t page_no, const void *want)
{
	uint8_t page[ZR_PAGE_SIZE];

	memset(page, 0x5a, sizeof(page));
	CHECK(zr_page_read(&pages, ctx, page_no, page) == 0);
	CHECK(memcmp(page, want, sizeof(page)) == 0);
}

static inline void write_word(uint64_t page_no, uint64_t word)
{
	uint8_t page[ZR_PAGE_SIZE];

	zr_fill_page(page, word);
	CHECK(zr_page_write(&pages, ctx, page_no, page) == 0);
	CHECK(zr_page_is_data(&pages, page_no));
	check_page(page_no, page);
}

/* A death: the same engine and pages, derived anew from the slots. */
static inline void derive_again(void)
{
	zr_pages_deinit(&pages);
	zr_pool_deinit(&engine.pool);
	memset(&engine.pool, 0, sizeof(engine.pool));
	CHECK(zr_pool_init(&engine.pool, &engine.arena) == 0);
	zr_pages_init(&pages, &engine, &entry, 1);
	CHECK(zr_pool_derive_begin(&engine.pool) == 0);
	CHECK(zr_pages_derive(&pages) == 0);
	zr_pool_derive_end(&engine.pool);
}
