/* The event loop of simlib.engine by hand in C: one queue, static or dynamic batches (the original's rules).
 *
 * A yardstick for the benchmark, built for it alone. It reads the same columns and leaves the same results as the
 * compiled loop, to the last bit (benchmarks/engine.py checks that), without first-class functions or array views.
 */
#include <math.h>
#include <stdint.h>

typedef struct {
    const double *arrival_s;
    const int64_t *prompt, *output;
    int64_t requests, gpus;
    double alpha, beta, gamma, floor_s;
    double *start_s, *service_s, *max_prompt, *sum_prompt, *notes; /* notes: 7 a batch; static batches leave none */
    int64_t *size, *gpu, *batch_of;
} Run;

typedef struct {
    double low, high, b_mem, tau, size, prompt, output;
} Controller;

static double least(double a, double b) { return a < b ? a : b; }
static double most(double a, double b) { return a > b ? a : b; }

enum { B_MIN = 1, B_MAX = 128, CANDIDATES = 64 };

static int64_t target(Controller *c, double d_sla, double planned_tokens, double *note) {
    double branch = 0.0;
    c->b_mem = least(most(floor(planned_tokens / (c->prompt + c->output)), B_MIN), B_MAX);
    if (c->tau != 0.0) {
        double size = (double)(int64_t)c->size;
        branch = 3.0;
        if (c->tau > d_sla + 0.05) {
            branch = 1.0;
            c->high = least(c->high, size);
            c->low = most(c->low, (double)(int64_t)(0.8 * c->size));
        } else if (c->tau < d_sla - 0.05) {
            branch = 2.0;
            c->low = most(c->low, size);
            c->high = least(c->high + (double)(int64_t)(0.2 * c->size), B_MAX);
        } else {
            double width = most(1.0, (double)(int64_t)(0.1 * (c->high - c->low)));
            c->low = most(size - width, 1.0);
            c->high = least(size + width, B_MAX);
        }
        c->low = least(most(c->low, B_MIN), B_MAX);
        c->high = least(most(c->high, B_MIN), B_MAX);
        c->low = least(c->low, c->high);
    }
    double b_sla = least(most((double)(int64_t)((c->low + c->high) / 2.0), B_MIN), B_MAX);
    note[0] = c->b_mem, note[1] = b_sla, note[2] = c->low, note[3] = c->high;
    note[4] = c->tau, note[5] = c->size, note[6] = branch;
    return (int64_t)least(least(c->b_mem, b_sla), CANDIDATES);
}

/* batch_size > 0: static batches; 0: dynamic ones under d_sla. Returns the number of batches. */
int64_t serve(Run *r, int64_t batch_size, double d_sla, double planned_tokens, double capacity_tokens) {
    double end_s[64];
    struct { double size, prompt, output, service_s; } running[64];
    Controller c = {B_MIN, B_MAX, B_MAX, 0.0, 1.0, 300.0, 200.0};
    int64_t arrived = 0, taken = 0, started = 0;
    for (int64_t g = 0; g < r->gpus; g++) end_s[g] = INFINITY;
    for (;;) {
        double now_s = INFINITY;
        int idle = 0;
        for (int64_t g = 0; g < r->gpus; g++) {
            now_s = least(now_s, end_s[g]);
            idle |= end_s[g] == INFINITY;
        }
        if (idle && arrived < r->requests) now_s = least(now_s, r->arrival_s[arrived]);
        if (now_s == INFINITY) return started;
        for (int64_t g = 0; g < r->gpus; g++)
            if (end_s[g] <= now_s) {
                end_s[g] = INFINITY;
                if (batch_size == 0) {
                    c.tau += 0.2 * (running[g].service_s - c.tau);
                    c.prompt += 0.2 * (running[g].prompt / running[g].size - c.prompt);
                    c.output += 0.2 * (running[g].output / running[g].size - c.output);
                    c.size += 0.2 * (running[g].size - c.size);
                }
            }
        while (arrived < r->requests && r->arrival_s[arrived] <= now_s) arrived++;
        for (int64_t g = 0; g < r->gpus && arrived > taken; g++) {
            if (end_s[g] != INFINITY) continue;
            int64_t limit = batch_size ? batch_size : target(&c, d_sla, planned_tokens, r->notes + 7 * started);
            int64_t last = taken + limit < arrived ? taken + limit : arrived;
            int64_t first = taken, longest = 0, longest_prompt = 0, prompts = 0, outputs = 0;
            for (; taken < last; taken++) {
                int64_t total = r->prompt[taken] + r->output[taken];
                if ((double)(prompts + outputs + total) > capacity_tokens) break;
                prompts += r->prompt[taken];
                longest_prompt = r->prompt[taken] > longest_prompt ? r->prompt[taken] : longest_prompt;
                outputs += r->output[taken];
                longest = total > longest ? total : longest;
                r->batch_of[taken] = started;
            }
            double size = (double)(taken - first);
            double company = 1.0 + r->gamma * (size - 1.0) / size;
            double service_s = most(r->floor_s, r->alpha + r->beta * (double)longest * company);
            running[g].size = size, running[g].prompt = (double)prompts, running[g].output = (double)outputs;
            running[g].service_s = service_s;
            end_s[g] = now_s + service_s;
            r->start_s[started] = now_s;
            r->service_s[started] = service_s;
            r->size[started] = taken - first;
            r->gpu[started] = g;
            r->max_prompt[started] = (double)longest_prompt;
            r->sum_prompt[started] = (double)prompts;
            started++;
        }
    }
}
