/* The step loop of simlib.continuous by hand in C: one GPU, first come, first served, prompts in chunks, memory in blocks.
 *
 * A yardstick for the benchmark, built for it alone. The newest sequences lose their memory and are computed again;
 * steps that nothing changes are taken in closed form. It leaves the same times, totals and histogram of gaps as the
 * compiled loop, to the last bit, and knows nothing of routers, policies, caches, controllers or several GPUs.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const double *arrival_s;
    const int64_t *prompt, *output;
    int64_t requests, seats, blocks, bits, watermark, budget, whole;
    double a_s, b_s, c_s, d_s, busy_s;
    double *start_s, *first_s, *last_s;
    int64_t *gaps, *heap, *growth; /* growth: sequences that need a block, by decode step modulo a block */
    int32_t *before, *after, *done, *joined;
    int64_t steps, decodes, prefill, context, preemptions, recomputed, peak;
} Run;

enum { GAP_BITS = 9, GAP_LOW = -20, GAP_SHIFT = 52 - GAP_BITS, GAP_BINS = 32 << GAP_BITS };
static const int64_t GAP_FIRST = (int64_t)(1022 + GAP_LOW) << GAP_BITS;

static int64_t bits_of(double x) {
    int64_t bits;
    memcpy(&bits, &x, 8);
    return bits;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t bin(int64_t place) { return least(most(place - GAP_FIRST, 0), GAP_BINS - 1); }

static void add_gaps(double gap_s, double slope_s, int64_t count, int64_t weight, int64_t *gaps) {
    int64_t first = bin(bits_of(gap_s) >> GAP_SHIFT);
    if (slope_s == 0.0 || bin(bits_of(gap_s + slope_s * (double)(count - 1)) >> GAP_SHIFT) == first) {
        gaps[first] += count * weight;
        return;
    }
    while (count > 0) {
        int64_t place = bits_of(gap_s) >> GAP_SHIFT, next = (place + 1) << GAP_SHIFT;
        double end_s;
        memcpy(&end_s, &next, 8);
        double inside = (end_s - gap_s) / slope_s + 1.0;
        int64_t here = (double)count < inside ? count : (int64_t)inside;
        gaps[bin(place)] += here * weight;
        gap_s += (double)here * slope_s;
        count -= here;
    }
}

static void push(int64_t *heap, int64_t place, int64_t value) {
    while (place > 0 && heap[(place - 1) >> 1] > value) {
        heap[place] = heap[(place - 1) >> 1];
        place = (place - 1) >> 1;
    }
    heap[place] = value;
}

static void take(int64_t *heap, int64_t size, int64_t place) {
    int64_t value = heap[size - 1], child;
    while (place > 0 && heap[(place - 1) >> 1] > value) {
        heap[place] = heap[(place - 1) >> 1];
        place = (place - 1) >> 1;
    }
    for (child = 2 * place + 1; child < size - 1; child = 2 * place + 1) {
        child += heap[child + 1] < heap[child];
        if (heap[child] >= value) break;
        heap[place] = heap[child];
        place = child;
    }
    heap[place] = value;
}

static double span_s(double step_s, double slope_s, int64_t steps) {
    return (double)steps * step_s + slope_s * (double)(steps * (steps - 1) / 2);
}

/* The largest number of steps, up to `limit`, that take less than a time. */
static int64_t within(double time_s, double step_s, double slope_s, int64_t limit) {
    if (span_s(step_s, slope_s, limit) < time_s) return limit;
    double linear_s = step_s - 0.5 * slope_s;
    double root = 2.0 * time_s / (linear_s + sqrt(linear_s * linear_s + 2.0 * slope_s * time_s));
    int64_t steps = root < (double)limit ? (int64_t)root : limit;
    while (steps > 0 && span_s(step_s, slope_s, steps) >= time_s) steps--;
    while (steps < limit && span_s(step_s, slope_s, steps + 1) < time_s) steps++;
    return steps;
}

static void unlink_(Run *r, int64_t request, int64_t *newest) {
    int32_t before = r->before[request], after = r->after[request];
    if (before >= 0) r->after[before] = after;
    if (after >= 0) r->before[after] = before;
    else *newest = before;
}

void serve(Run *r) {
    const int64_t block = (int64_t)1 << r->bits, mask = block - 1, n = r->requests;
#define BLOCKS(tokens) (((tokens) + mask) >> r->bits)
    int64_t arrived = 0, head = 0, step = 0, decoding = 0, offsets = 0, seats = 0, used = 0;
    int64_t newest = -1, resumed = -1, partial = -1, computed = 0, due_seats = 0, due_blocks = 0;
    int idle = 1;
    double now_s = 0.0;
    for (;;) {
        if (arrived < n && (idle || r->arrival_s[arrived] <= now_s)) {
            if (idle) now_s = r->arrival_s[arrived];
            idle = 0;
            arrived++;
            continue;
        }
        if (idle) return;
        seats -= due_seats, used -= due_blocks, due_seats = due_blocks = 0;

        int64_t lost = 0, need;
        while ((need = r->growth[step & mask]) > r->blocks - used) { /* the newest gives up its memory */
            int64_t request = newest, tokens = computed;
            if (request == partial) partial = -1;
            else {
                int64_t place = 0;
                while ((r->heap[place] & 0xffffffff) != request) place++;
                r->done[request] = (int32_t)(r->output[request] - ((r->heap[place] >> 32) - step));
                take(r->heap, decoding, place);
                tokens = r->prompt[request] + r->done[request] - 1;
                decoding--, offsets -= tokens - step, r->growth[(step - tokens) & mask]--;
                r->last_s[request] = now_s;
            }
            used -= BLOCKS(tokens), seats--, lost++, r->recomputed += tokens;
            unlink_(r, request, &newest);
            r->after[request] = (int32_t)resumed, resumed = request;
        }
        used += need;
        int64_t decodes = decoding, budget = r->budget - decodes, joins = 0, chunks = 0, prefill = 0, late = 0;
        int64_t context = decodes > 0 ? offsets + decodes * (step + 1) : 0;
        int admits = lost == 0;
        while (budget > 0) {
            int64_t request, from, tokens, total, more;
            if (partial >= 0) {
                request = partial, from = computed, total = r->prompt[request] + r->done[request];
                tokens = least(total - from, budget);
                more = BLOCKS(from + tokens) - BLOCKS(from);
                if (more > r->blocks - used) {
                    used -= BLOCKS(from), seats--, lost++, r->recomputed += from;
                    unlink_(r, request, &newest);
                    r->after[request] = (int32_t)resumed, resumed = request, partial = -1;
                    break;
                }
            } else {
                if (!admits || seats == r->seats || (resumed < 0 && head == arrived)) break;
                request = resumed >= 0 ? resumed : head, from = 0, total = r->prompt[request] + r->done[request];
                tokens = least(total, budget), more = BLOCKS(tokens);
                if ((r->whole ? BLOCKS(total) : more) + (seats > 0 ? r->watermark : 0) > r->blocks - used) break;
                if (resumed >= 0) resumed = r->after[request];
                else r->start_s[request] = now_s, head++;
                r->after[request] = -1, r->before[request] = (int32_t)newest;
                if (newest >= 0) r->after[newest] = (int32_t)request;
                newest = request, seats++;
            }
            used += more, budget -= tokens;
            if (tokens == 1 && r->done[request] > 0 && from + 1 == total) late++, context += total;
            else prefill += tokens, chunks++;
            if (from + tokens < total) {
                partial = request, computed = from + tokens;
                break;
            }
            r->joined[joins++] = (int32_t)request, partial = -1;
        }
        r->preemptions += lost;
        if (decodes + late + chunks == 0) {
            idle = lost == 0 || arrived < n;
            continue;
        }

        int64_t priced = decodes + late, steps = 1;
        double slope_s = 0.0;
        double step_s = r->a_s + r->b_s * (double)priced + r->c_s * (double)prefill + r->d_s * (double)context + 0.0;
        if (chunks == 0 && joins == 0 && lost == 0) { /* steps that nothing changes */
            double until_s = arrived < n ? r->arrival_s[arrived] : INFINITY;
            if ((resumed >= 0 || head < arrived)) until_s = INFINITY; /* full, or whoever is first does not fit */
            slope_s = r->d_s * (double)decodes;
            int64_t limit = (r->heap[0] >> 32) - step;
            if (limit > 1) {
                int64_t free_blocks = r->blocks - used;
                if (decodes * ((limit >> r->bits) + 1) > free_blocks) {
                    int64_t cycles = free_blocks / decodes, lasts = 1 + cycles * block;
                    free_blocks -= cycles * decodes;
                    while (lasts < limit && (need = r->growth[(step + lasts) & mask]) <= free_blocks)
                        free_blocks -= need, lasts++;
                    limit = least(lasts, limit);
                }
                steps = now_s >= until_s ? 1 : limit > 1 ? 1 + within(until_s - now_s, step_s, slope_s, limit - 1) : limit;
                used += decodes * ((steps - 1) >> r->bits);
                for (int64_t i = 0; i < ((steps - 1) & mask); i++) used += r->growth[(step + 1 + i) & mask];
            }
        }
        double total_s = span_s(step_s, slope_s, steps), end_s = now_s + total_s;
        r->peak = most(r->peak, used), r->steps += steps, r->busy_s += total_s;
        r->decodes += steps * priced, r->prefill += prefill;
        r->context += steps * context + decodes * (steps * (steps - 1) / 2);
        if (decodes > 0) add_gaps(step_s, slope_s, steps, decodes, r->gaps), step += steps;
        while (decoding > 0 && r->heap[0] >> 32 == step) {
            int64_t request = r->heap[0] & 0xffffffff, total = r->prompt[request] + r->output[request] - 1;
            take(r->heap, decoding--, 0);
            offsets -= total - step, r->growth[(step - total) & mask]--;
            unlink_(r, request, &newest);
            r->last_s[request] = end_s;
            due_seats++, due_blocks += BLOCKS(total);
        }
        for (int64_t i = 0; i < joins; i++) {
            int64_t request = r->joined[i], total = r->prompt[request] + r->done[request];
            int64_t left = r->output[request] - r->done[request] - 1;
            if (r->done[request] == 0) r->first_s[request] = end_s;
            else add_gaps(end_s - r->last_s[request], 0.0, 1, 1, r->gaps);
            r->last_s[request] = end_s;
            if (left <= 0) {
                unlink_(r, request, &newest);
                due_seats++, due_blocks += BLOCKS(total);
                continue;
            }
            push(r->heap, decoding++, (step + left) << 32 | request);
            offsets += total - step, r->growth[(step - total) & mask]++;
        }
        now_s = end_s;
    }
}
