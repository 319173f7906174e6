/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "options.h"

#include <stddef.h>

void options_rest(const struct options *options, char *rest[OPTIONS_REST_MAX])
{
	unsigned int n = 0;

	rest[n++] = (char *)options->mountpoint;
	if (options->config_path) {
		rest[n++] = (char *)"-c";
		rest[n++] = (char *)options->config_path;
	}
	if (options->foreground)
		rest[n++] = (char *)"-f";
	if (options->debug)
		rest[n++] = (char *)"-d";
	if (options->fuse_options) {
		rest[n++] = (char *)"-o";
		rest[n++] = (char *)options->fuse_options;
	}
	rest[n] = NULL;
}
