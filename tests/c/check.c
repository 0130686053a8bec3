/* check.c - guarded memory, counts and reports of the kernel checks.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "check.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATTERN = 0xC5, BEFORE = 128, REPORTED = 4, NUMBERS = 8, MOST_KERNELS = 64 };

static struct {
    unsigned char *base, *end; /* accessible */
    unsigned char *at;         /* placed; NULL when nothing is */
    size_t bytes, slack;
} rooms[ROOMS];

static struct {
    const char *row, *dtype, *mode, *kernel, *detail;
    size_t count, numbers[NUMBERS];
} now;

static size_t done, wrong;
static struct {
    const char *kernel;
    size_t times;
} reported[MOST_KERNELS];

/* ---- reports ---- */

void subject_is(const char *row, const char *dtype, bool flushed)
{
    now.row = row;
    now.dtype = dtype;
    now.mode = flushed ? "" : " (denormals kept)";
}

void kernel_is(const char *name, const char *detail)
{
    now.kernel = name;
    now.detail = detail;
    now.count = 0;
}

void begin(size_t count, const size_t *numbers)
{
    now.count = count < NUMBERS ? count : NUMBERS;
    for (size_t i = 0; i < now.count; ++i) now.numbers[i] = numbers[i];
}

static void print_where(void)
{
    printf("FAIL %s %s%s %s [%s =", now.row, now.dtype, now.mode, now.kernel, now.detail);
    for (size_t i = 0; i < now.count; ++i) printf(" %zu", now.numbers[i]);
    printf("] ");
}

void passed(void) { ++done; }

/* The first few of each kernel are worth reading. */
static bool worth_reporting(void)
{
    size_t i = 0;
    while (i < MOST_KERNELS && reported[i].kernel && strcmp(reported[i].kernel, now.kernel) != 0)
        ++i;
    if (i == MOST_KERNELS) return false;
    reported[i].kernel = now.kernel;
    return ++reported[i].times <= REPORTED;
}

void failed(const char *format, ...)
{
    va_list args;
    ++done;
    ++wrong;
    if (!worth_reporting()) return;
    print_where();
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void verdict(bool ok, const char *what)
{
    if (ok)
        passed();
    else
        failed("%s", what);
}

size_t checks_done(void) { return done; }
size_t checks_failed(void) { return wrong; }

/* Not async-signal-safe, but the process ends here anyway. */
static void on_fault(int signal_number)
{
    print_where();
    printf("signal %d: memory outside the stated shapes, or an unknown instruction\n",
           signal_number);
    fflush(stdout);
    _exit(2);
}

/* ---- rooms ---- */

void rooms_open(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t bytes = bp_round_up(ROOM_BYTES, page);
    const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    for (size_t i = 0; i < ROOMS; ++i) {
        unsigned char *all = mmap(NULL, bytes + 2 * page, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (all == MAP_FAILED || mprotect(all, page, PROT_NONE) != 0 ||
            mprotect(all + page + bytes, page, PROT_NONE) != 0) {
            perror("kernel_check: guard pages");
            exit(3);
        }
        rooms[i].base = all + page;
        rooms[i].end = all + page + bytes;
    }
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; ++i) signal(faults[i], on_fault);
}

void *place(size_t room, size_t bytes, size_t slack)
{
    unsigned char *at = rooms[room].end - slack - bytes;
    if (bytes + slack + BEFORE > (size_t)(rooms[room].end - rooms[room].base)) {
        fprintf(stderr, "kernel_check: %zu bytes do not fit ROOM_BYTES\n", bytes);
        exit(3);
    }
    memset(at - BEFORE, PATTERN, BEFORE);
    memset(at + bytes, PATTERN, slack);
    rooms[room].at = at;
    rooms[room].bytes = bytes;
    rooms[room].slack = slack;
    return at;
}

/* Every byte is the pattern when the first is, and each equals its neighbour. */
static bool holds_pattern(const unsigned char *p, size_t bytes)
{
    return bytes == 0 || (p[0] == PATTERN && memcmp(p, p + 1, bytes - 1) == 0);
}

void rooms_intact(void)
{
    for (size_t i = 0; i < ROOMS; ++i) {
        const unsigned char *at = rooms[i].at;
        if (!at) continue;
        if (!holds_pattern(at - BEFORE, BEFORE)) failed("wrote before the memory in room %zu", i);
        if (!holds_pattern(at + rooms[i].bytes, rooms[i].slack))
            failed("wrote past the memory in room %zu", i);
    }
    passed();
}

/* ---- random data: SplitMix64 (Steele, Lea & Flood 2014) ---- */

static uint64_t state;

void random_seed(uint64_t seed) { state = seed; }

uint64_t random_bits(void)
{
    uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

double random_unit(void) { return (double)(random_bits() >> 11) * 0x1p-53; }

double random_normal(void)
{
    double total = -6;
    for (int i = 0; i < 12; ++i) total += random_unit();
    return total;
}
