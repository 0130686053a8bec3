# c_bpfast.pxd - bpfast.h for Cython: the same declarations, nothing more.
# SPDX-License-Identifier: BSD-3-Clause

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "stdbool.h":
    ctypedef bint c_bool "bool"

cdef extern from "bpfast.h" nogil:
    ctypedef enum bpfast_status:
        BPFAST_OK
        BPFAST_BAD_ARGUMENT
        BPFAST_NO_MEMORY
        BPFAST_NOT_FINITE
        BPFAST_BAD_INPUT

    ctypedef struct bpfast_message:
        char text[256]

    ctypedef struct bpfast_net:
        pass

    ctypedef struct bpfast_run:
        pass
    const char* bpfast_activation_name(size_t index) noexcept
    const char* bpfast_loss_name(size_t index) noexcept
    const char* bpfast_optimizer_rule_name(size_t index) noexcept
    const char* bpfast_source_name(size_t index) noexcept
    const char* bpfast_isa_name(size_t index) noexcept
    c_bool bpfast_isa_supported(size_t index) noexcept
    const char* bpfast_isa_default() noexcept

    ctypedef struct bpfast_threads:
        size_t threads, cpus, openmp, thread_limit, affinity, cores, quota
        const char *reason
        const char *cpus_reason
        c_bool has_openmp
    bpfast_threads bpfast_thread_limits() noexcept
    size_t bpfast_cpu_cores(const char *root, size_t cpus) noexcept
    size_t bpfast_cpu_quota(const char *root) noexcept

    ctypedef struct bpfast_array:
        const void *data
        ptrdiff_t row_stride, col_stride
        size_t source
        size_t cols
        const int64_t *starts
        const void *columns
        c_bool wide

    ctypedef struct bpfast_data:
        size_t rows
        bpfast_array x
        bpfast_array y
        const int64_t *labels
        const double *weights
    size_t bpfast_find_bad_row(const bpfast_array *x, size_t rows, size_t itemsize) noexcept
    bpfast_status bpfast_find_bad_columns(
        const bpfast_array *x, size_t rows, size_t *bad, bpfast_message *message
    ) noexcept
    size_t bpfast_find_bad_label(const int64_t *labels, size_t rows, size_t classes) noexcept

    ctypedef struct bpfast_shape:
        size_t height, width, channels

    ctypedef struct bpfast_layer:
        const char *kind
        size_t inputs[2]
        size_t n_inputs, shares
        c_bool tied
        size_t units
        const char *activation
        c_bool use_kernel, use_bias, trainable, non_negative
        double rate, epsilon, momentum
        size_t first, count
        bpfast_shape shape
        size_t window[2]
        size_t stride[2]
        size_t dilation[2]
        size_t outside_y[2]
        size_t outside_x[2]
        size_t groups
        double l1, l2, bias_l1, bias_l2
        double max_norm, lr_scale

    bpfast_status bpfast_net_new(
        bpfast_net **out, const bpfast_layer *layers, size_t n_layers, bpfast_shape input,
        size_t itemsize, const char *isa, uint64_t seed, bpfast_message *message
    ) noexcept
    void bpfast_net_free(bpfast_net *net) noexcept

    ctypedef struct bpfast_net_info:
        void *parameters, *gradients, *buffers
        size_t n_parameters, n_buffers
        size_t inputs, outputs, itemsize, n_state
        const char *isa
    bpfast_net_info bpfast_net_describe(const bpfast_net *net) noexcept

    ctypedef struct bpfast_tensor:
        size_t layer, offset, rows, cols
        c_bool is_bias
    c_bool bpfast_net_tensor(const bpfast_net *net, size_t index, bpfast_tensor *out) noexcept

    ctypedef struct bpfast_buffer:
        size_t layer, offset, size, part
    c_bool bpfast_net_buffer(const bpfast_net *net, size_t index, bpfast_buffer *out) noexcept

    ctypedef struct bpfast_counters:
        uint64_t seed, step, epoch
    bpfast_counters bpfast_net_counters(const bpfast_net *net) noexcept
    void bpfast_net_set_trainable(bpfast_net *net, size_t layer, c_bool trainable) noexcept
    void bpfast_net_set_lr_scale(bpfast_net *net, size_t layer, double scale) noexcept
    void bpfast_net_set_counters(bpfast_net *net, bpfast_counters counters) noexcept

    bpfast_status bpfast_net_standardize(
        bpfast_net *net, const bpfast_array *x, size_t rows, bpfast_message *message
    ) noexcept

    ctypedef struct bpfast_optimizer:
        size_t rule
        double learning_rate
        double momentum, beta_1, beta_2, epsilon, weight_decay, rho
        double eta_minus, eta_plus, step_min, step_max
        c_bool bias_correction
        double clip_norm, clip_value

    bpfast_status bpfast_net_set_optimizer(
        bpfast_net *net, const bpfast_optimizer *optimizer, c_bool anew, bpfast_message *message
    ) noexcept
    void bpfast_net_reset_optimizer(bpfast_net *net) noexcept
    size_t bpfast_optimizer_slots(size_t rule) noexcept
    const char* bpfast_optimizer_slot_names(size_t rule) noexcept
    c_bool bpfast_net_read_state(const bpfast_net *net, size_t slot, void *out) noexcept
    c_bool bpfast_net_write_state(bpfast_net *net, size_t slot, const void *values) noexcept

    bpfast_status bpfast_net_set_average(
        bpfast_net *net, double decay, uint64_t start, bpfast_message *message
    ) noexcept
    void bpfast_net_drop_average(bpfast_net *net) noexcept
    c_bool bpfast_net_read_average(const bpfast_net *net, void *out) noexcept
    c_bool bpfast_net_write_average(bpfast_net *net, const void *values) noexcept

    ctypedef struct bpfast_objective:
        const char *loss
        double parameter
        const double *each
        c_bool labels
        c_bool accuracy, errors, residuals

    ctypedef struct bpfast_config:
        bpfast_data train, validation
        bpfast_objective objective
        size_t batch_size
        size_t accumulate
        size_t threads
        c_bool exact_threads
        c_bool shuffle
        c_bool sweep
        c_bool ignore_faults
        c_bool check_inputs
        double decay
        double planned_epochs

    bpfast_status bpfast_run_new(
        bpfast_run **out, bpfast_net *net, const bpfast_config *config, bpfast_message *message
    ) noexcept
    void bpfast_run_free(bpfast_run *run) noexcept
    size_t bpfast_run_threads(const bpfast_run *run) noexcept

    c_bool bpfast_net_memory(
        const bpfast_net *net, size_t batch_size, size_t rows, size_t slots, size_t *persist,
        size_t *state, size_t *work
    ) noexcept

    ctypedef struct bpfast_scores:
        double loss_sum, weight_sum
        double correct, squared, absolute

    ctypedef struct bpfast_cursor:
        size_t batch
        bpfast_scores scores
        const double *residuals

    void bpfast_run_begin_epoch(
        bpfast_run *run, const double *rates, size_t n_rates, const bpfast_cursor *cursor
    ) noexcept

    bpfast_status bpfast_run_steps(
        bpfast_run *run, size_t max_steps, double seconds, c_bool *finished
    ) noexcept
    void bpfast_run_watch(bpfast_run *run, void *before) noexcept
    c_bool bpfast_run_watched(const bpfast_run *run) noexcept
    void bpfast_run_unpack(bpfast_run *run) noexcept
    bpfast_cursor bpfast_run_cursor(const bpfast_run *run) noexcept

    bpfast_status bpfast_run_end_epoch(
        bpfast_run *run, double *penalty, bpfast_scores *validation
    ) noexcept
    const double* bpfast_run_residuals(const bpfast_run *run, c_bool validation) noexcept
    void bpfast_run_restore(bpfast_run *run) noexcept

    ctypedef struct bpfast_fault:
        size_t layer, batch, row
    bpfast_fault bpfast_run_fault(const bpfast_run *run) noexcept

    void bpfast_run_forward(
        bpfast_run *run, const bpfast_array *x, size_t rows, size_t part, void *out
    ) noexcept

    void bpfast_run_backward(
        bpfast_run *run, const bpfast_array *dy, c_bool accumulate, void *dx
    ) noexcept

    bpfast_status bpfast_run_loss(
        bpfast_run *run, const bpfast_data *batch, double *loss, double *penalty
    ) noexcept
    void bpfast_run_apply(bpfast_run *run, double rate) noexcept

    bpfast_status bpfast_predict(
        const bpfast_net *net, const bpfast_array *x, size_t rows, void *out, size_t threads,
        c_bool exact_threads, bpfast_message *message
    ) noexcept

    bpfast_status bpfast_evaluate(
        const bpfast_net *net, const bpfast_data *data, const bpfast_objective *objective,
        size_t threads, bpfast_scores *scores, double *residuals, bpfast_message *message
    ) noexcept
    double bpfast_penalty(const bpfast_net *net) noexcept

    bpfast_status bpfast_loss_value(
        const bpfast_data *data, const bpfast_array *output, const bpfast_objective *objective,
        size_t itemsize, double *value, void *gradient, bpfast_message *message
    ) noexcept

    c_bool bpfast_activate(
        const char *activation, void *values, size_t rows, size_t cols, size_t itemsize
    ) noexcept

    ctypedef struct bpfast_part:
        const void *x
        const void *before
        size_t n
        int64_t *counts
        double *edges
        double mean, std, norm, min, max, change

    void bpfast_summarize(
        bpfast_part *parts, size_t n_parts, size_t itemsize, size_t bins, size_t threads,
        c_bool exact_threads
    ) noexcept

    ctypedef struct bpfast_outputs:
        size_t layer
        double low, high
        size_t units, outputs
        double mean, std
        size_t silent, lows, highs

    bpfast_status bpfast_look(
        const bpfast_net *net, const bpfast_array *x, size_t rows, size_t threads,
        c_bool exact_threads, bpfast_outputs *layers, size_t n_layers, bpfast_message *message
    ) noexcept

    ctypedef struct bpfast_piece:
        const char *what
        size_t layer
        double flops
        double elements
        const char *activation
    size_t bpfast_run_piece_count(const bpfast_run *run) noexcept
    bpfast_piece bpfast_run_piece(const bpfast_run *run, size_t index) noexcept
    bpfast_status bpfast_run_profile(
        bpfast_run *run, size_t max_steps, double *seconds, size_t *team
    ) noexcept

    ctypedef enum bpfast_kernel:
        BPFAST_KERNEL_PRODUCT
        BPFAST_KERNEL_GRADIENT
        BPFAST_KERNEL_ACTIVATION
        BPFAST_KERNEL_DERIVATIVE
        BPFAST_KERNEL_UPDATE
    bpfast_status bpfast_net_kernel_seconds(
        const bpfast_net *net, bpfast_kernel kernel, size_t layer, double *seconds,
        bpfast_message *message
    ) noexcept

    bpfast_status bpfast_net_plan_line(
        const bpfast_net *net, size_t batch_size, size_t index, char *text, size_t size,
        bpfast_message *message
    ) noexcept
    size_t bpfast_fail_allocation(size_t nth) noexcept

    double bpfast_cos(double x) noexcept

    void bpfast_permutation(
        int64_t *out, size_t n, uint64_t seed, uint32_t stream, uint64_t step
    ) noexcept

    void bpfast_fill_random(
        void *out, size_t n, size_t itemsize, int kind, double a, double b, uint64_t seed,
        uint32_t stream
    ) noexcept

    c_bool bpfast_fill_orthogonal(
        void *out, size_t rows, size_t cols, size_t itemsize, double gain, uint64_t seed,
        uint32_t stream
    ) noexcept
