/* arena.c - memory: sizes are summed and checked first, then one aligned, zeroed allocation.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#define _GNU_SOURCE
#include "net.h"

#include <stdatomic.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

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

/* Large arenas are aligned to huge pages and ask for them: a training step walks all weights, and
 * with 4 KB pages the translations alone would miss. calloc returns fresh pages unwritten. */
enum { BP_HUGE_PAGE = 2 * 1024 * 1024 };

/* Stands before the first byte. */
typedef struct {
    void *base; /* what to free */
    size_t size;
} header;

static header *header_of(void *arena) { return (header *)arena - 1; }

/* For tests: this many allocations of the calling thread until one fails; 0: none is made to. */
static _Thread_local size_t fails_in;

size_t bpfast_fail_allocation(size_t nth)
{
    const size_t left = fails_in;
    fails_in = nth;
    return left;
}

void *bp_arena_new(size_t size)
{
    if (fails_in > 0 && --fails_in == 0) return NULL;
    const size_t align = size >= BP_HUGE_PAGE ? BP_HUGE_PAGE : BP_ALIGN;
    if (size > PTRDIFF_MAX - 2 * (size_t)BP_HUGE_PAGE) return NULL;
    const size_t bytes = bp_round_up(bp_max(size, 1), BP_ALIGN) + align + sizeof(header);
    char *base = calloc(bytes, 1);
    if (!base) return NULL;
    const uintptr_t first = (uintptr_t)base + sizeof(header);
    char *arena = base + ((first + align - 1) / align * align - (uintptr_t)base);
#if defined(MADV_HUGEPAGE)
    if (align == BP_HUGE_PAGE) madvise(arena, size / align * align, MADV_HUGEPAGE); /* a wish */
#endif
    *header_of(arena) = (header){base, size};
    return arena;
}

void bp_arena_free(void *arena)
{
    if (arena) free(header_of(arena)->base);
}

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

bpfast_status bp_arena_borrow(bp_spare *spare, void **out, const bp_layout *layout,
                              const char *what, bpfast_message *message)
{
    *out = atomic_exchange(spare, NULL);
    if (*out && !layout->overflow && header_of(*out)->size >= layout->size) return BPFAST_OK;
    bp_arena_free(*out);
    return bp_arena_try(out, layout, what, message);
}

void bp_arena_return(bp_spare *spare, void *arena) { bp_arena_free(atomic_exchange(spare, arena)); }
