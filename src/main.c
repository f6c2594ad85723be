/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options and what they start: the one file that knows every room.
 */
#include <config.h>

#include <stdio.h>

int main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("%s\n", PACKAGE_STRING);
	return 0;
}
