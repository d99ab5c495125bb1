/* cuDNN, its functions and its graphs: calls are counted, nothing is computed. */
#include "null_cuda.h"

#include <cudnn_graph.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *record(void) { return calloc(1, 64); }

/* ---------------------------------------------------------------- cuDNN: functions */

EXPORT cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
    *handle = record();
    return 0;
}
EXPORT cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return 0; }
EXPORT cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    ((Handle *)handle)->stream = stream;
    return 0;
}
EXPORT cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t *stream) {
    *stream = ((Handle *)handle)->stream;
    return 0;
}

#define COMPUTES(name)                           \
    EXPORT int name(Handle *handle) {            \
        null_cuda_forget_uploads();              \
        null_cuda_work(CUDNN, handle->stream);   \
        return 0;                                \
    }
COMPUTES(cudnnConvolutionForward)
COMPUTES(cudnnConvolutionBackwardData)
COMPUTES(cudnnConvolutionBackwardFilter)
COMPUTES(cudnnConvolutionBiasActivationForward)
COMPUTES(cudnnBatchNormalizationForwardTrainingEx)
COMPUTES(cudnnBatchNormalizationBackwardEx)
COMPUTES(cudnnBatchNormalizationForwardInference)
COMPUTES(cudnnPoolingForward)

EXPORT int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(void *handle, int mode, int operation, void *x,
                                                                    void *z, void *y, void *bias, void *activation,
                                                                    size_t *size) {
    *size = 0;
    return 0;
}
EXPORT int cudnnGetBatchNormalizationBackwardExWorkspaceSize(void *handle, int mode, int operation, void *x, void *y,
                                                             void *dy, void *dz, void *dx, void *bias, void *activation,
                                                             size_t *size) {
    *size = 0;
    return 0;
}
EXPORT int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void *handle, int mode, int operation, void *activation,
                                                                void *x, size_t *size) {
    *size = 0;
    return 0;
}

/* cudnnConvolution*AlgoPerf_t: all three have this shape. */
typedef struct {
    int algorithm, status;
    float time;
    size_t memory;
    int deterministic, math, reserved[3];
} Algorithm;

static int one_algorithm(int *got, Algorithm *results) {
    *results = (Algorithm){.algorithm = 1, .time = 1, .deterministic = 1};
    *got = 1;
    return 0;
}
#define CHOOSES(name)                                                                                             \
    EXPORT int cudnnGet##name##Algorithm_v7(void *handle, void *a, void *b, void *c, void *d, int wanted, int *got, \
                                            Algorithm *results) {                                                 \
        return one_algorithm(got, results);                                                                       \
    }                                                                                                             \
    EXPORT int cudnnFind##name##AlgorithmEx(void *handle, void *a, const void *b, void *c, const void *d, void *e, \
                                            void *f, void *g, int wanted, int *got, Algorithm *results,           \
                                            void *workspace, size_t size) {                                       \
        return one_algorithm(got, results);                                                                       \
    }                                                                                                             \
    EXPORT int cudnnGet##name##WorkspaceSize(void *handle, void *a, void *b, void *c, void *d, int algorithm,      \
                                             size_t *size) {                                                      \
        *size = 1 << 20;                                                                                          \
        return 0;                                                                                                 \
    }
CHOOSES(ConvolutionForward)
CHOOSES(ConvolutionBackwardData)
CHOOSES(ConvolutionBackwardFilter)

/* ---------------------------------------------------------------- cuDNN: graphs (its backend API) */

EXPORT cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *created) {
    *created = record();
    return 0;
}
EXPORT cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
    free(descriptor);
    return 0;
}
EXPORT cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) { return 0; }
EXPORT cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    return 0;
}
/* One engine that needs 1 MiB and has no notes against it. */
EXPORT cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor, cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t wanted, int64_t *got,
                                              void *values) {
    int64_t count = 1;
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
        count = name == CUDNN_ATTR_ENGINEHEUR_RESULTS || name == CUDNN_ATTR_ENGINECFG_ENGINE;
    } else if (type == CUDNN_TYPE_NUMERICAL_NOTE || type == CUDNN_TYPE_BEHAVIOR_NOTE) {
        count = 0;
    } else if (values && wanted > 0) {
        int size = type == CUDNN_TYPE_INT32 || type == CUDNN_TYPE_FLOAT ? 4 : type == CUDNN_TYPE_BOOLEAN ? 1 : 8;
        memset(values, 0, size);
        if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) *(int64_t *)values = 1 << 20;
    }
    if (got) *got = count;
    return 0;
}
EXPORT cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                         cudnnBackendDescriptor_t variant) {
    null_cuda_forget_uploads();
    null_cuda_work(CUDNN, ((Handle *)handle)->stream);
    return 0;
}
