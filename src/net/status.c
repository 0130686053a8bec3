/* status.c - the text of failures.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "net/net.h"

#include <stdarg.h>
#include <stdio.h>

bpfast_status bp_fail(bpfast_message *message, bpfast_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(message->text, sizeof message->text, format, args);
    va_end(args);
    return status;
}
