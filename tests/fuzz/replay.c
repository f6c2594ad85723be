/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds files to a fuzz target without libFuzzer: what `make check` runs over
 * corpus/ and regress/.  Arguments are files or folders; prints one TAP line for each
 * argument, which only a crash keeps from being `ok`.
 */
#include <config.h>

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

static unsigned replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	static char buf[1 << 20];
	char *exact;
	size_t n;

	if (!f)
		return 0;
	n = fread(buf, 1, sizeof(buf), f);
	fclose(f);
	exact = fuzz_copy(buf, n);
	LLVMFuzzerTestOneInput((const uint8_t *)exact, n);
	free(exact);
	return 1;
}

static unsigned replay_folder(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char file[4096];
	unsigned n = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		n += replay_file(file);
	}
	closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	printf("1..%d\n", argc - 1);
	for (int i = 1; i < argc; i++) {
		struct stat st;
		unsigned n = 0;

		if (stat(argv[i], &st) == 0)
			n = S_ISDIR(st.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i]);
		printf("ok %d - %s: %u inputs replayed\n", i, argv[i], n);
	}
	return 0;
}
