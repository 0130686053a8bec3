/* race_check.c - the library's threads at work, for ThreadSanitizer to watch: `nox -s tsan`.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *   race_check clean   train and predict on 1 to 4 threads: no report, the same bits from all
 *   race_check race    two threads add to one number without asking: there has to be a report
 *
 * Exit code: 0, 1 for wrong bits or a failed call, 2 for wrong use; the sanitizer has its own.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpfast.h"
#include "prim/prim.h"

enum { ROWS = 500, INPUTS = 40, HIDDEN = 96, OUTPUTS = 10, BATCH = 64, MOST_THREADS = 4 };

static double inputs[ROWS * INPUTS];
static int64_t labels[ROWS];

static void demand(bool condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "race_check: %s\n", what);
    exit(1);
}

static bpfast_array matrix(const void *data, size_t cols)
{
    return (bpfast_array){.data = data,
                          .row_stride = (ptrdiff_t)(cols * sizeof(double)),
                          .col_stride = sizeof(double),
                          .source = 1,
                          .cols = cols};
}

static size_t row_of(const char *(*name)(size_t), const char *wanted)
{
    size_t i = 0;
    while (name(i) && strcmp(name(i), wanted) != 0) ++i;
    demand(name(i) != NULL, wanted);
    return i;
}

static void make_data(void)
{
    demand(row_of(bpfast_source_name, "float64") == 1, "float64 is not source 1");
    bpfast_fill_random(inputs, ROWS * INPUTS, 8, 1, 0.0, 1.0, 1, 2);
    for (size_t i = 0; i < ROWS; ++i) labels[i] = (int64_t)(i * 7 % OUTPUTS);
}

/* One of the ways in which a step shares its work out. */
typedef struct {
    const char *rule;
    double weight_dropout, clip_norm;
    bool sweep;
} variant;

static const variant variants[] = {
    {"adam", 0.0, 0.0, false}, /* gradients fused with updates */
    {"adam", 0.3, 0.0, false}, /* masked weights */
    {"sgd", 0.0, 1.0, false},  /* the norm of all gradients first */
    {"sgd", 0.0, 0.0, true},   /* gradients to memory, then updates */
};
enum { VARIANTS = sizeof variants / sizeof *variants };

static bpfast_layer dense(size_t input, size_t units, const char *activation, double weight_dropout)
{
    return (bpfast_layer){.kind = "dense",
                          .inputs = {input},
                          .n_inputs = 1,
                          .units = units,
                          .activation = activation,
                          .use_bias = true,
                          .trainable = true,
                          .rate = weight_dropout,
                          .l2 = 1e-3};
}

static bpfast_layer shared(bpfast_layer layer, size_t with)
{
    layer.shares = with + 1;
    return layer;
}

static bpfast_net *new_net(const variant *v)
{
    /* a layer beside its shortcut, which also shares its weights with the next one */
    const bpfast_layer layers[] = {
        dense(0, HIDDEN, "relu", v->weight_dropout),
        {.kind = "dropout", .inputs = {1}, .n_inputs = 1, .rate = 0.2, .trainable = true},
        dense(2, HIDDEN, "tanh", 0.0),
        {.kind = "add", .inputs = {2, 3}, .n_inputs = 2, .trainable = true},
        shared(dense(4, HIDDEN, "tanh", 0.0), 2),
        dense(5, OUTPUTS, "identity", 0.0)};
    bpfast_message message;
    bpfast_net *net;
    demand(bpfast_net_new(&net, layers, sizeof layers / sizeof *layers,
                          (bpfast_shape){1, 1, INPUTS}, 4, NULL, 3, &message) == BPFAST_OK,
           "no network");
    const bpfast_net_info info = bpfast_net_describe(net);
    bpfast_fill_random(info.parameters, info.n_parameters, 4, 1, 0.0, 0.1, 4, 2);
    const bpfast_optimizer optimizer = {.rule = row_of(bpfast_optimizer_rule_name, v->rule),
                                        .learning_rate = 0.01,
                                        .beta_1 = 0.9,
                                        .beta_2 = 0.999,
                                        .epsilon = 1e-8,
                                        .bias_correction = true,
                                        .clip_norm = v->clip_norm};
    demand(bpfast_net_set_optimizer(net, &optimizer, false, &message) == BPFAST_OK, "no optimizer");
    return net;
}

static bpfast_data rows_from(size_t first, size_t rows)
{
    return (bpfast_data){
        .rows = rows, .x = matrix(inputs + first * INPUTS, INPUTS), .labels = labels + first};
}

static void fit(bpfast_net *net, const variant *v, size_t threads, bool exact)
{
    const bpfast_config config = {
        .train = rows_from(0, 400),
        .validation = rows_from(400, 100),
        .objective = {.loss = "cross_entropy", .labels = true, .accuracy = true},
        .batch_size = BATCH,
        .threads = threads,
        .exact_threads = exact,
        .shuffle = true,
        .sweep = v->sweep,
        .check_inputs = true,
        .planned_epochs = 1e9};
    const double rate = 0.01;
    bpfast_message message;
    bpfast_run *run;
    demand(bpfast_run_new(&run, net, &config, &message) == BPFAST_OK, "no run");
    for (size_t epoch = 0; epoch < 3; ++epoch) {
        const bpfast_cursor start = {0};
        bpfast_scores scores;
        double penalty;
        bool finished = false;
        bpfast_run_begin_epoch(run, &rate, 1, &start);
        while (!finished) /* several chunks: teams start and end */
            demand(bpfast_run_steps(run, 3, 1.0, &finished) == BPFAST_OK, "a step failed");
        demand(bpfast_run_end_epoch(run, &penalty, &scores) == BPFAST_OK, "an epoch failed");
        demand(isfinite(scores.loss_sum), "no finite loss");
    }
    bpfast_run_free(run);
}

static void predict(const bpfast_net *net, size_t threads, bool exact, float *out)
{
    const bpfast_array x = matrix(inputs, INPUTS);
    bpfast_message message;
    demand(bpfast_predict(net, &x, ROWS, out, threads, exact, &message) == BPFAST_OK, "no output");
}

/* ---- callers at the same time: one trains its own network, others predict on a common one ---- */

typedef struct {
    const variant *v;
    const bpfast_net *shared; /* predict on it; NULL: train */
    const float *expected;
} caller;

static void *call(void *arg)
{
    const caller *c = arg;
    float *out = malloc(ROWS * OUTPUTS * sizeof *out);
    if (!c->shared) {
        bpfast_net *net = new_net(c->v);
        fit(net, c->v, MOST_THREADS, false); /* within the budget */
        predict(net, 1, true, out);
        bpfast_net_free(net);
        demand(memcmp(out, c->expected, ROWS * OUTPUTS * sizeof *out) == 0, "bits of a fit");
    }
    for (size_t i = 0; c->shared && i < 20; ++i) {
        predict(c->shared, 1 + i % MOST_THREADS, i % 2 == 0, out);
        demand(memcmp(out, c->expected, ROWS * OUTPUTS * sizeof *out) == 0, "bits of predict");
    }
    free(out);
    return NULL;
}

static void together(const variant *v, const bpfast_net *net, const float *expected)
{
    caller callers[MOST_THREADS];
    pthread_t threads[MOST_THREADS];
    for (size_t i = 0; i < MOST_THREADS; ++i) {
        callers[i] = (caller){v, i == 0 ? NULL : net, expected};
        demand(pthread_create(&threads[i], NULL, call, &callers[i]) == 0, "no thread");
    }
    for (size_t i = 0; i < MOST_THREADS; ++i) pthread_join(threads[i], NULL);
}

static void run_clean(void)
{
    static float expected[ROWS * OUTPUTS], out[ROWS * OUTPUTS];
    make_data();
    for (size_t i = 0; i < VARIANTS; ++i) {
        for (size_t threads = 1; threads <= MOST_THREADS; ++threads) {
            bpfast_net *net = new_net(&variants[i]);
            fit(net, &variants[i], threads, true);
            predict(net, threads, true, threads == 1 ? expected : out);
            demand(threads == 1 || memcmp(out, expected, sizeof out) == 0, "bits of threads");
            if (threads == MOST_THREADS) together(&variants[i], net, expected);
            bpfast_net_free(net);
        }
        printf("variant %zu: 1 to %d threads, and %d callers\n", i, MOST_THREADS, MOST_THREADS);
    }
}

/* ---- the planted race ---- */

static void add_one(void *arg, bp_team *team, size_t id)
{
    long *sum = arg;
    for (int i = 0; i < 1000; ++i) *(volatile long *)sum += 1;
    bp_team_wait(team, id);
}

int main(int argc, char **argv)
{
    const char *mode = argc == 2 ? argv[1] : "";
    if (strcmp(mode, "clean") == 0) {
        run_clean();
        return 0;
    }
    if (strcmp(mode, "race") == 0) {
        long sum = 0;
        demand(bp_team_run(2, true, add_one, &sum) == 2, "no team of two");
        printf("%ld of 2000\n", sum);
        return 0;
    }
    fprintf(stderr, "usage: race_check clean|race\n");
    return 2;
}
