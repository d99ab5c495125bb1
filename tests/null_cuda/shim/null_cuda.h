/* What the parts of the null CUDA share: counters, and what a stream, an event and a graph are here. */
#ifndef NULL_CUDA_H
#define NULL_CUDA_H

#include <pthread.h>
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))

/* The order is that of FIELDS in counts.py. */
enum Counter {
    KERNEL,        /* kernels, of CUDA C++ and of Triton */
    GEMM,          /* matrix products of cuBLAS */
    CUDNN,         /* convolutions and normalisations of cuDNN */
    COLLECTIVE,    /* NCCL */
    MEMSET,
    DEVICE_COPY,   /* device to device */
    UPLOAD,        /* host to device */
    DOWNLOAD,      /* device to host */
    WAIT,          /* the host waited: for a stream, an event, the device, or in a blocking copy */
    DEVICE_MALLOC,
    GRAPH_LAUNCH,  /* one call of the host */
    GRAPH_NODE,    /* nodes of the graphs that were launched, each counted singly; also counted by its kind */
    HOST_LAUNCH,   /* calls of the host that put work on the device; a launched graph is one */
    COUNTERS
};

typedef struct Graph {
    long nodes[COUNTERS];
    int ended;  /* the capture is over; streams that had joined it work again */
    int broken; /* something that cannot be captured was asked for: there will be no graph */
} Graph;

typedef struct Stream {
    Graph *joined; /* the capture that it belongs or belonged to, or NULL */
} Stream;

typedef struct Event {
    Graph *joined; /* that of the stream that recorded it last */
} Event;

/* A handle of cuBLAS or cuDNN holds the stream that its calls go to. */
typedef struct Handle {
    void *stream;
} Handle;

extern pthread_mutex_t null_cuda_lock;

/* Count work that is put on a stream: recorded if the stream is capturing, done otherwise. */
void null_cuda_work(enum Counter kind, void *stream);
/* Count what only the host does. */
void null_cuda_host(enum Counter kind);
/* The stream behind a handle; NULL and the two handles of default streams never capture. */
Stream *null_cuda_stream(void *handle);
/* What work on a stream is recorded into, or NULL. */
Graph *null_cuda_capture_of(void *handle);
/* Whether any stream is capturing, so that waiting for the whole device is an error. */
int null_cuda_capturing(void);
/* Device memory reads as zeros again: a kernel may have overwritten what the host put there. */
void null_cuda_forget_uploads(void);
/* Device memory at `to` reads from now on as that at `from` does. */
void null_cuda_carry(void *to, const void *from, size_t size);

int null_cuda_devices(void);
unsigned long long null_cuda_bytes(void);

#endif
