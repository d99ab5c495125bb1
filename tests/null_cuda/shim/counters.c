/* Counters of launches, copies and waits, and how often each kernel was launched. */
#include "null_cuda.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

EXPORT long null_cuda_counts[COUNTERS];
pthread_mutex_t null_cuda_lock = PTHREAD_MUTEX_INITIALIZER;

static void add(long *counter, long amount) { __atomic_fetch_add(counter, amount, __ATOMIC_RELAXED); }

void null_cuda_work(enum Counter kind, void *stream) {
    Graph *graph = null_cuda_capture_of(stream);
    if (graph) {
        add(&graph->nodes[kind], 1);
        return;
    }
    add(&null_cuda_counts[kind], 1);
    add(&null_cuda_counts[HOST_LAUNCH], 1);
}

void null_cuda_host(enum Counter kind) { add(&null_cuda_counts[kind], 1); }

void null_cuda_launch_graph(Graph *graph) {
    add(&null_cuda_counts[GRAPH_LAUNCH], 1);
    add(&null_cuda_counts[HOST_LAUNCH], 1);
    for (int kind = 0; kind < COUNTERS; kind++) {
        add(&null_cuda_counts[kind], graph->nodes[kind]);
        add(&null_cuda_counts[GRAPH_NODE], graph->nodes[kind]);
    }
}

/* Kernels by name: a hash table with open addressing, by the address of the host's stub or, of Triton's, of the
   driver's function. */
typedef struct {
    const void *stub;
    const char *name;
    long launches;
} Kernel;

#define SLOTS (1u << 20) /* PyTorch registers some 100,000 kernels */
static Kernel kernels[SLOTS];

static Kernel *kernel_of(const void *stub) {
    uint32_t slot = (uint32_t)(((uintptr_t)stub >> 3) * 11400714819323198485ull >> 44);
    while (kernels[slot].stub && kernels[slot].stub != stub) slot = (slot + 1) & (SLOTS - 1);
    return &kernels[slot];
}

EXPORT void null_cuda_name_kernel(const void *stub, const char *name) {
    pthread_mutex_lock(&null_cuda_lock);
    Kernel *kernel = kernel_of(stub);
    kernel->stub = stub;
    kernel->name = name;
    pthread_mutex_unlock(&null_cuda_lock);
}

EXPORT void null_cuda_kernel(const void *stub, void *stream) {
    null_cuda_forget_uploads();
    null_cuda_work(KERNEL, stream);
    Kernel *kernel = kernel_of(stub);
    if (kernel->stub) add(&kernel->launches, 1);
}

/* Write "launches name" lines; a kernel that is captured counts when it is recorded. */
EXPORT int null_cuda_write_kernels(const char *path) {
    FILE *file = fopen(path, "w");
    if (!file) return 1;
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        if (kernels[slot].launches) fprintf(file, "%ld %s\n", kernels[slot].launches, kernels[slot].name);
    return fclose(file) != 0;
}

static unsigned long long number(const char *variable, unsigned long long otherwise) {
    const char *value = getenv(variable);
    return value && *value ? strtoull(value, NULL, 10) : otherwise;
}

unsigned long long null_cuda_bytes(void) { return number("NULL_CUDA_BYTES", 85000000000ull); }

/* Whether an entry of CUDA_VISIBLE_DEVICES names device `index`: by number, or by a UUID or its beginning.
   The UUIDs are those of nvml.c. */
static int names_device(const char *entry, size_t length, int index) {
    char number_[16], gpu[64], mig[64];
    snprintf(number_, sizeof number_, "%d", index);
    snprintf(gpu, sizeof gpu, "GPU-%08d-0000-0000-0000-000000000000", index);
    snprintf(mig, sizeof mig, "MIG-%08d-0000-0000-0000-000000000000", index);
    if (length == strlen(number_) && !strncmp(entry, number_, length)) return 1;
    return length > 4 && (!strncmp(entry, gpu, length) || !strncmp(entry, mig, length));
}

/* The devices that a process sees: of CUDA_VISIBLE_DEVICES those before the first that does not exist. Writes the
   number of each to `numbers`, which has room for 16, unless it is NULL. */
static int visible(int *numbers) {
    int all = (int)number("NULL_CUDA_DEVICES", 1), seen = 0;
    const char *entry = getenv("CUDA_VISIBLE_DEVICES");
    if (!entry) {
        for (int index = 0; numbers && index < all; index++) numbers[index] = index;
        return all;
    }
    while (*entry) {
        size_t length = strcspn(entry, ",");
        int found = -1;
        for (int index = 0; index < all; index++)
            if (names_device(entry, length, index)) found = index;
        if (found < 0) break;
        if (numbers) numbers[seen] = found;
        seen++;
        entry += length + (entry[length] == ',');
    }
    return seen;
}

EXPORT int null_cuda_devices(void) { return visible(NULL); }

/* The number among all devices of the one that the process counts as `index`. */
EXPORT int null_cuda_number(int index) {
    int numbers[16] = {0};
    return index < visible(numbers) ? numbers[index] : -1;
}
