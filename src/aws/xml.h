/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XML that AWS STS answers with, and no more of XML than that.
 *
 * Elements, attributes (passed over), text, the five named entities, numbers of characters
 * below 128.  No DTD, no CDATA, no processing instruction but the declaration at the start: a
 * document with one of them is not one of AWS's, and refused whole.  So is one that does not
 * nest.  Bounded in depth and in the length of names and texts.
 *
 * Pure: no state, no allocation.
 */
#ifndef AWS_XML_H
#define AWS_XML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

enum { XML_DEPTH_MAX = 16, XML_PATH_MAX = 512, XML_TEXT_MAX = 32768 };

/* One element that is looked for. */
struct xml_field {
	const char *path;	/* "ErrorResponse/Error/Code" */
	char *value;		/* room for size bytes; the text, with a NUL, entities decoded */
	size_t size;
	bool found;
};

/*
 * Reads text whole and fills the fields.  False where it is not well-formed in the sense
 * above, or a field is there twice, has elements inside, or does not fit; values are undefined then.
 */
bool xml_read(struct slice text, struct xml_field *fields, size_t n);

#endif
