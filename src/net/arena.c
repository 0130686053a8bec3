/* arena.c - memory: sizes are summed and checked first, then one aligned, zeroed allocation.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "net.h"

#include <stdlib.h>
#include <string.h>

size_t bp_layout_add(bp_layout *layout, size_t count, size_t itemsize)
{
    const size_t offset = layout->size;
    size_t bytes, end;
    if (__builtin_mul_overflow(count, itemsize, &bytes) ||
        __builtin_add_overflow(bytes, BP_ALIGN - 1, &bytes) ||
        __builtin_add_overflow(offset, bytes / BP_ALIGN * BP_ALIGN, &end) || end > PTRDIFF_MAX) {
        layout->overflow = true;
        return 0;
    }
    layout->size = end;
    return offset;
}

void *bp_arena_new(size_t size)
{
    const size_t bytes = bp_round_up(bp_max(size, 1), BP_ALIGN);
    void *arena = size <= PTRDIFF_MAX - BP_ALIGN ? aligned_alloc(BP_ALIGN, bytes) : NULL;
    if (arena) memset(arena, 0, bytes);
    return arena;
}

void bp_arena_free(void *arena) { free(arena); }

bpfast_status bp_arena_try(void **out, const bp_layout *layout, const char *what,
                           bpfast_message *message)
{
    *out = NULL;
    if (layout->overflow)
        return bp_fail(message, BPFAST_NO_MEMORY, "%s needs more bytes than can be addressed",
                       what);
    *out = bp_arena_new(layout->size);
    if (!*out)
        return bp_fail(message, BPFAST_NO_MEMORY, "cannot allocate %zu bytes for %s", layout->size,
                       what);
    return BPFAST_OK;
}
