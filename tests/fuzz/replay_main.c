/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main() of a fuzz target built without libFuzzer: runs the target on each
 * file given, so that corpora and old crashes are tested with any compiler.
 */
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	long size;
	int r = -1;

	if (!file || fseek(file, 0, SEEK_END) != 0)
		goto out;
	size = ftell(file);
	if (size < 0 || fseek(file, 0, SEEK_SET) != 0)
		goto out;
	/* Of exactly this size, so that a sanitizer sees a read past it. */
	data = malloc(size ? (size_t)size : 1);
	if (!data || fread(data, 1, (size_t)size, file) != (size_t)size)
		goto out;
	LLVMFuzzerTestOneInput(data, (size_t)size);
	r = 0;
out:
	if (r < 0)
		perror(path);
	free(data);
	if (file)
		fclose(file);
	return r;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE...\n", argv[0]);
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		if (replay(argv[i]) < 0)
			return 1;
	}
	printf("%s: %d files\n", argv[0], argc - 1);
	return 0;
}
