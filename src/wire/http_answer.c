/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of our own.  All end the connection and say so, but for the 502, whose
 * bytes are older than this program and are compared by its clients.
 */
#include <config.h>

#include "wire/http_forward.h"

#include <assert.h>

/* The longest answer, and what goes around a reason. */
enum { ANSWER_MAX = 512 };

#define ANSWER(status, fields, length, text)                                                       \
	SLICE_LITERAL("HTTP/1.1 " status "\r\nContent-Type: text/plain\r\nConnection: close\r\n"   \
		      fields "Content-Length: " length "\r\n\r\n" text)

static struct slice answer_whole(unsigned status)
{
	switch (status) {
	case 400:
		return ANSWER("400 Bad Request", "", "25", "The request is malformed\n");
	case 403:
		return ANSWER("403 Forbidden", "", "20", "This is not for you\n");
	case 405:
		return ANSWER("405 Method Not Allowed", "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n", "27", "CONNECT is not served here\n");
	case 408:
		return ANSWER("408 Request Timeout", "", "35", "The request did not arrive in time\n");
	case 421:
		return ANSWER("421 Misdirected Request", "", "28", "No such host is served here\n");
	case 431:
		return ANSWER("431 Request Header Fields Too Large", "", "37", "The head of the request is too large\n");
	case 501:
		return ANSWER("501 Not Implemented", "", "38", "The transfer coding is not known here\n");
	case 503:
		return ANSWER("503 Service Unavailable", "", "35", "There is no capacity at the moment\n");
	case 504:
		return ANSWER("504 Gateway Timeout", "", "35", "The service did not answer in time\n");
	case 505:
		return ANSWER("505 HTTP Version Not Supported", "", "43", "Only HTTP/1.0 and HTTP/1.1 are spoken here\n");
	default:
		break;
	}
	return SLICE_LITERAL("HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\n"
			     "Content-Length: 19\r\n\r\nService unavailable");
}

struct slice http_answer(unsigned status, bool to_head)
{
	struct slice whole = answer_whole(status);
	const char *end;

	if (!to_head)
		return whole;
	end = memmem(whole.ptr, whole.len, "\r\n\r\n", 4);
	return slice_of(whole.ptr, (size_t)(end - whole.ptr) + 4);
}

size_t http_answer_max(struct slice reason)
{
	return ANSWER_MAX + reason.len;
}

static size_t append(char *out, size_t at, struct slice s)
{
	memcpy(out + at, s.ptr, s.len);
	return at + s.len;
}

size_t http_answer_write(unsigned status, bool to_head, struct slice reason, char *out)
{
	struct slice a = http_answer(status, to_head), close = SLICE_LITERAL("Connection: close\r\n");
	const char *end;
	size_t n;

	assert(a.len + close.len + 32 <= ANSWER_MAX);
	if (reason.len == 0)
		return append(out, 0, a);
	/* Behind the status line. */
	end = memchr(a.ptr, '\n', a.len);
	n = append(out, 0, slice_of(a.ptr, (size_t)(end - a.ptr) + 1));
	a = slice_of(a.ptr + n, a.len - n);
	if (!memmem(a.ptr, a.len, close.ptr, close.len))
		n = append(out, n, close);
	n = append(out, n, SLICE_LITERAL("X-Teeproxy-Reason: "));
	for (size_t i = 0; i < reason.len; i++)
		out[n++] = reason.ptr[i] >= ' ' && reason.ptr[i] <= '~' ? reason.ptr[i] : '?';
	n = append(out, n, SLICE_LITERAL("\r\n"));
	return append(out, n, a);
}
