/* tables.c - what the tables of activations, losses, rules and element types say, by index.
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "kernels.h"

#include <string.h>

enum saved { NOTHING, OUTPUT, INPUT };

static const struct {
    const char *name;
    enum saved saved;
} activations[] = {
#define BP_ACTIVATION(name, saved) {#name, saved},
#include "activations.inc"
#undef BP_ACTIVATION
};

static const struct {
    const char *name;
    size_t fused;
    bool labels;
} losses[] = {
#define BP_LOSS(name, fused, labels) {#name, BP_ACT_##fused, labels},
#include "losses.inc"
#undef BP_LOSS
};

static const struct {
    const char *name;
    size_t slots;
    const char *slot_names;
} rules[] = {
#define BP_OPTIMIZER(name, slots, slot_names) {#name, slots, slot_names},
#include "optimizers.inc"
#undef BP_OPTIMIZER
};

static const char *const sources[] = {
#define BP_SOURCE(name, ctype, mid, value) #name,
#include "sources.inc"
#undef BP_SOURCE
};

const char *bp_activation_name(size_t index)
{
    return index < BP_N_ACTIVATIONS ? activations[index].name : NULL;
}

bool bp_activation_keeps_input(size_t index) { return activations[index].saved == INPUT; }

const char *bp_loss_name(size_t index) { return index < BP_N_LOSSES ? losses[index].name : NULL; }

size_t bp_loss_fused_activation(size_t index) { return losses[index].fused; }

bool bp_loss_takes_labels(size_t index) { return losses[index].labels; }

const char *bp_rule_name(size_t index)
{
    return index < BP_N_OPTIMIZERS ? rules[index].name : NULL;
}

size_t bp_rule_slots(size_t index) { return rules[index].slots; }

const char *bp_rule_slot_names(size_t index) { return rules[index].slot_names; }

const char *bp_source_name(size_t index) { return index < BP_N_SOURCES ? sources[index] : NULL; }

size_t bp_find_name(const char *(*names)(size_t), const char *name)
{
    size_t i = 0;
    while (names(i) && strcmp(names(i), name) != 0) ++i;
    return i;
}
