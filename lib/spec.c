/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "spec.h"

#include <errno.h>
#include <string.h>

#define SWAP_PRIORITY 100 /* above the swap of most systems */

/* hot_add and hot_remove are files of .control, zramfs is the daemon there and in a configuration,
 * where defaults is what disks are that do not say. */
static const char *const reserved_names[] = { "hot_add", "hot_remove", "zramfs", "defaults" };

void zr_disk_spec_init(struct zr_disk_spec *spec, uint64_t ram_bytes)
{
	unsigned int i;

	*spec = (struct zr_disk_spec){ .ram_bytes = ram_bytes,
				       .attrs.mode = 0600,
				       .attrs.swap_priority = SWAP_PRIORITY,
				       .attrs.compressed_writeback = 1,
				       .attrs.writeback_batch_size =
					       ZR_WRITEBACK_BATCH_SIZE_DEFAULT,
				       .attrs.writeback_at = ZR_WRITEBACK_AT_DEFAULT };
	for (i = 0; i < ZR_CODEC_NUMBERS; ++i)
		spec->attrs.codecs[i] = (struct zr_codec_params){ ZR_ALGORITHM_LZ4,
								  ZR_CODEC_LEVEL_DEFAULT };
}

void zr_daemon_spec_init(struct zr_daemon_spec *spec, uint64_t ram_bytes)
{
	*spec = (struct zr_daemon_spec){ .ram_bytes = ram_bytes,
					 .watchdog_s = ZR_WATCHDOG_DEFAULT,
					 .poll_us = ZR_POLL_US_DEFAULT,
					 .policy_cpu = ZR_POLICY_CPU_DEFAULT,
					 .uring_depth = ZR_URING_DEPTH_DEFAULT };
}

static bool is_reserved(const char *name)
{
	unsigned int i;

	for (i = 0; i < ZR_ARRAY_SIZE(reserved_names); ++i) {
		if (strcmp(name, reserved_names[i]) == 0)
			return true;
	}
	return false;
}

int zr_disk_name_check(const char *name, const char **whyp)
{
	const unsigned char *at;

	*whyp = NULL;
	if (*name == 0)
		*whyp = "a name must not be empty";
	else if (*name == '.')
		*whyp = "a name must not begin with a dot";
	else if (strlen(name) > ZR_NAME_MAX)
		*whyp = "a name has at most 63 bytes";
	else if (is_reserved(name))
		*whyp = "this name has another meaning in .control or in a configuration";

	for (at = (const unsigned char *)name; *at && !*whyp; ++at) {
		if (*at == '/')
			*whyp = "a name has no slash";
		else if (*at < ' ' || *at == 0x7f ||
			 (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0))
			*whyp = "a name has no control characters";
	}
	return *whyp ? -EINVAL : 0;
}
