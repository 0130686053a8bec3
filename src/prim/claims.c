/* claims.c - parts of a phase of work, shared out among threads, and taken over from late ones.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Two threads with equal shares end together only on two CPUs of equal speed, and a CPU that shares its
 * core with a stranger is a third slower for some milliseconds. So each thread takes its own parts one
 * by one, from the first on, then those that others have not begun. What is its own stays the same from
 * step to step, since it is in its caches. No sum is split, so who did what shows in no result.
 */
#include "prim.h"

#include <stdatomic.h>

/* In one word, so that both are read at once: the last of the parts, and the next one to take. */
static uint64_t word(size_t next, size_t last) { return (uint64_t)last << 32 | (uint64_t)next; }

/* No other thread takes a part before this: a phase ends when all are taken, and so it finds none. */
bp_claimer bp_claim_open(bp_claim *claims, size_t size, size_t id, size_t first, size_t last)
{
    if (size > 1) atomic_store_explicit(&claims[id].at, word(first, last), memory_order_release);
    return (bp_claimer){.claims = claims, .size = size, .id = id, .next = first, .last = last};
}

bool bp_claim_next(bp_claimer *c, size_t *part)
{
    if (c->size == 1) {
        *part = c->next++;
        return *part < c->last;
    }
    for (; c->of < c->size; ++c->of) {
        bp_claim *claim = &c->claims[(c->id + c->of) % c->size];
        uint64_t at = atomic_load_explicit(&claim->at, memory_order_acquire);
        if ((uint32_t)at >= at >> 32) continue;
        at = atomic_fetch_add_explicit(&claim->at, 1, memory_order_acq_rel);
        *part = (uint32_t)at;
        if ((uint32_t)at < at >> 32) return true;
    }
    return false;
}
