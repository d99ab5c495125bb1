/* Memory: a device's is address space that nobody touches, so that gigabytes cost nothing.

   It reads as zeros, with two exceptions that programs need: what the host copied there since the last kernel
   reads back (a learning rate that is kept on the device, say), also where it was copied on or sent to another rank,
   and a single byte reads as 1, so that a yes-or-no question ("is everything finite?") is answered with yes. */
#define _GNU_SOURCE
#include "null_cuda.h"

#include <cuda_runtime_api.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int null_cuda_current_device(void);

#define MOST_DEVICES 16
#define CONTEXT_BYTES (500ull << 20) /* what CUDA itself takes of a device */

enum Kind { NONE, DEVICE, PINNED };
typedef struct {
    char *begin;
    size_t size;
    int device;
    enum Kind kind;
} Block;

/* A caching allocator asks for few, large blocks: a list will do. */
static Block blocks[1 << 16];
static int block_count;
static size_t used[MOST_DEVICES];

static Block *block_of(const void *address) {
    for (int i = 0; i < block_count; i++) {
        Block *block = &blocks[i];
        if (block->kind && (char *)address >= block->begin && (char *)address < block->begin + block->size) return block;
    }
    return NULL;
}

static enum Kind kind_of(const void *address) {
    pthread_mutex_lock(&null_cuda_lock);
    Block *block = block_of(address);
    enum Kind kind = block ? block->kind : NONE;
    pthread_mutex_unlock(&null_cuda_lock);
    return kind;
}

static void remember(void *begin, size_t size, enum Kind kind) {
    pthread_mutex_lock(&null_cuda_lock);
    int i = 0;
    while (i < block_count && blocks[i].kind) i++;
    blocks[i] = (Block){begin, size ? size : 1, null_cuda_current_device(), kind};
    if (i == block_count) block_count++;
    pthread_mutex_unlock(&null_cuda_lock);
}

EXPORT cudaError_t cudaMalloc(void **address, size_t size) {
    int device = null_cuda_current_device();
    null_cuda_host(DEVICE_MALLOC);
    *address = NULL;
    if (used[device] + size + CONTEXT_BYTES > null_cuda_bytes()) return cudaErrorMemoryAllocation;
    void *begin = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (begin == MAP_FAILED) return cudaErrorMemoryAllocation;
    used[device] += size;
    remember(begin, size, DEVICE);
    *address = begin;
    return cudaSuccess;
}
EXPORT cudaError_t cudaFree(void *address) {
    pthread_mutex_lock(&null_cuda_lock);
    Block *block = address ? block_of(address) : NULL;
    if (block) {
        used[block->device] -= block->size;
        munmap(block->begin, block->size);
        block->kind = NONE;
    }
    pthread_mutex_unlock(&null_cuda_lock);
    return cudaSuccess;
}
EXPORT cudaError_t cudaMallocAsync(void **address, size_t size, cudaStream_t stream) { return cudaMalloc(address, size); }
EXPORT cudaError_t cudaFreeAsync(void *address, cudaStream_t stream) { return cudaFree(address); }
EXPORT cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *total = null_cuda_bytes();
    *free_bytes = *total - used[null_cuda_current_device()] - CONTEXT_BYTES;
    return cudaSuccess;
}
EXPORT cudaError_t cudaHostAlloc(void **address, size_t size, unsigned flags) {
    if (posix_memalign(address, 4096, size ? size : 1)) return cudaErrorMemoryAllocation;
    remember(*address, size, PINNED);
    return cudaSuccess;
}
EXPORT cudaError_t cudaFreeHost(void *address) {
    pthread_mutex_lock(&null_cuda_lock);
    Block *block = block_of(address);
    if (block) block->kind = NONE;
    pthread_mutex_unlock(&null_cuda_lock);
    free(address);
    return cudaSuccess;
}
EXPORT cudaError_t cudaHostRegister(void *address, size_t size, unsigned flags) {
    remember(address, size, PINNED);
    return cudaSuccess;
}
EXPORT cudaError_t cudaHostUnregister(void *address) { return cudaSuccess; }
EXPORT cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *about, const void *address) {
    memset(about, 0, sizeof *about);
    pthread_mutex_lock(&null_cuda_lock);
    Block *block = block_of(address);
    if (block) {
        about->type = block->kind == DEVICE ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
        about->device = block->device;
        about->devicePointer = (void *)address;
        about->hostPointer = block->kind == PINNED ? (void *)address : NULL;
    }
    pthread_mutex_unlock(&null_cuda_lock);
    return cudaSuccess;
}

/* ---------------------------------------------------------------- what the host put there since the last kernel */

#define UPLOADS 64
#define LARGEST_UPLOAD (1 << 16)
typedef struct {
    const void *to;
    size_t size;
    char *content;
} Upload;
static Upload uploads[UPLOADS];
static unsigned upload_count;

static void keep_upload(const void *to, const void *from, size_t size) {
    if (size > LARGEST_UPLOAD) return;
    pthread_mutex_lock(&null_cuda_lock);
    Upload *upload = &uploads[upload_count++ % UPLOADS];
    free(upload->content);
    *upload = (Upload){to, size, malloc(size ? size : 1)};
    memcpy(upload->content, from, size);
    pthread_mutex_unlock(&null_cuda_lock);
}

static void forget_upload(const void *to) {
    pthread_mutex_lock(&null_cuda_lock);
    for (unsigned i = 0; i < UPLOADS; i++)
        if (uploads[i].to == to) uploads[i].to = NULL;
    pthread_mutex_unlock(&null_cuda_lock);
}

/* The content, or NULL. The lock is held. */
static const char *upload_at(const void *from, size_t size) {
    for (unsigned back = 1; back <= UPLOADS && back <= upload_count; back++) {
        Upload *upload = &uploads[(upload_count - back) % UPLOADS];
        if (upload->to == from && upload->size >= size) return upload->content;
    }
    return NULL;
}

static int read_upload(void *to, const void *from, size_t size) {
    pthread_mutex_lock(&null_cuda_lock);
    const char *content = upload_at(from, size);
    if (content) memcpy(to, content, size);
    pthread_mutex_unlock(&null_cuda_lock);
    return content != NULL;
}

void null_cuda_carry(void *to, const void *from, size_t size) {
    if (to == from) return;
    char *content = size > LARGEST_UPLOAD ? NULL : malloc(size ? size : 1);
    if (content && read_upload(content, from, size)) {
        keep_upload(to, content, size);
    } else {
        forget_upload(to);
    }
    free(content);
}

void null_cuda_forget_uploads(void) {
    if (!__atomic_load_n(&upload_count, __ATOMIC_RELAXED)) return;
    pthread_mutex_lock(&null_cuda_lock);
    for (unsigned i = 0; i < UPLOADS; i++) {
        free(uploads[i].content);
        uploads[i] = (Upload){0};
    }
    upload_count = 0;
    pthread_mutex_unlock(&null_cuda_lock);
}

/* ---------------------------------------------------------------- copies */

static cudaError_t copy(void *to, const void *from, size_t size, cudaStream_t stream) {
    int to_device = kind_of(to) == DEVICE, from_device = kind_of(from) == DEVICE;
    if (to_device && from_device) {
        null_cuda_work(DEVICE_COPY, stream);
        null_cuda_carry(to, from, size);
        return cudaSuccess;
    }
    null_cuda_work(to_device ? UPLOAD : DOWNLOAD, stream);
    if (to_device) {
        keep_upload(to, from, size);
    } else if (!from_device) {
        memcpy(to, from, size);
    } else if (!read_upload(to, from, size)) {
        memset(to, size == 1, size);
    }
    return cudaSuccess;
}

EXPORT cudaError_t cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
    null_cuda_host(WAIT);
    return copy(to, from, size, NULL);
}
/* From or to memory that is not pinned, a copy is only asynchronous in name: CUDA C++ Programming Guide, "API
   synchronization behavior". The host then waits for a download; an upload is staged and hardly waited for. */
EXPORT cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind,
                                   cudaStream_t stream) {
    if (kind_of(from) == DEVICE && kind_of(to) == NONE) null_cuda_host(WAIT);
    return copy(to, from, size, stream);
}
EXPORT cudaError_t cudaMemcpyPeerAsync(void *to, int to_device, const void *from, int from_device, size_t size,
                                       cudaStream_t stream) {
    null_cuda_work(DEVICE_COPY, stream);
    null_cuda_carry(to, from, size);
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpyToSymbol(const void *symbol, const void *from, size_t size, size_t offset,
                                      enum cudaMemcpyKind kind) {
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemset(void *address, int value, size_t size) {
    null_cuda_work(MEMSET, NULL);
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemsetAsync(void *address, int value, size_t size, cudaStream_t stream) {
    null_cuda_work(MEMSET, stream);
    return cudaSuccess;
}
EXPORT cudaError_t cudaGetSymbolAddress(void **address, const void *symbol) {
    *address = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return cudaSuccess;
}

/* ---------------------------------------------------------------- pools and other processes: not there */

EXPORT cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device) {
    *pool = (void *)1;
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value) {
    *(uint64_t *)value = 0;
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value) {
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemPoolSetAccess(cudaMemPool_t pool, const struct cudaMemAccessDesc *access, size_t count) {
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep) { return cudaSuccess; }
EXPORT cudaError_t cudaDeviceGetGraphMemAttribute(int device, enum cudaGraphMemAttributeType attribute, void *value) {
    *(uint64_t *)value = 0;
    return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceSetGraphMemAttribute(int device, enum cudaGraphMemAttributeType attribute, void *value) {
    return cudaSuccess;
}
EXPORT cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t *handle, void *address) { return cudaErrorNotSupported; }
EXPORT cudaError_t cudaIpcOpenMemHandle(void **address, cudaIpcMemHandle_t handle, unsigned flags) {
    return cudaErrorNotSupported;
}
EXPORT cudaError_t cudaIpcCloseMemHandle(void *address) { return cudaSuccess; }
EXPORT cudaError_t cudaIpcGetEventHandle(cudaIpcEventHandle_t *handle, cudaEvent_t event) { return cudaErrorNotSupported; }
EXPORT cudaError_t cudaIpcOpenEventHandle(cudaEvent_t *event, cudaIpcEventHandle_t handle) { return cudaErrorNotSupported; }
