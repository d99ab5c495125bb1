/* cuBLAS and NCCL: calls are counted, nothing is computed.

   Only arguments that are written to matter, so most functions have no prototypes and the libraries' headers, whose
   prototypes these do not match, are not included. */
#include "null_cuda.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *record(void) { return calloc(1, 64); }

#define DOES_NOTHING(name) \
    EXPORT int name() { return 0; }
#define MAKES_A_RECORD(name)          \
    EXPORT int name(void **created) { \
        *created = record();          \
        return 0;                     \
    }

/* ---------------------------------------------------------------- the runtime's graphs, but for capture */

DOES_NOTHING(cudaGraphNodeGetDependencies)
DOES_NOTHING(cudaGraphAddNode)
DOES_NOTHING(cudaGraphConditionalHandleCreate)

/* ---------------------------------------------------------------- cuBLAS */

MAKES_A_RECORD(cublasCreate_v2)
DOES_NOTHING(cublasDestroy_v2)
EXPORT int cublasSetStream_v2(Handle *handle, void *stream) {
    handle->stream = stream;
    return 0;
}
DOES_NOTHING(cublasSetWorkspace_v2)
EXPORT int cublasGetMathMode(void *handle, int *mode) {
    *mode = 0;
    return 0;
}
DOES_NOTHING(cublasSetMathMode)
EXPORT int cublasGetPointerMode_v2(void *handle, int *mode) {
    *mode = 0;
    return 0;
}
DOES_NOTHING(cublasSetPointerMode_v2)
DOES_NOTHING(cublasSetSmCountTarget)

#define PRODUCT(name)                       \
    EXPORT int name(Handle *handle) {       \
        null_cuda_forget_uploads();         \
        null_cuda_work(GEMM, handle->stream); \
        return 0;                           \
    }
PRODUCT(cublasGemmEx)
PRODUCT(cublasGemmStridedBatchedEx)
PRODUCT(cublasSgemm_v2)
PRODUCT(cublasDgemm_v2)
PRODUCT(cublasSgemmStridedBatched)
PRODUCT(cublasDgemmStridedBatched)
PRODUCT(cublasSgemmEx)
PRODUCT(cublasSgemv_v2)
PRODUCT(cublasDgemv_v2)

EXPORT int cublasLtMatmul(void *handle, void *description, void *alpha, void *a, void *a_layout, void *b, void *b_layout,
                          void *beta, void *c, void *c_layout, void *d, void *d_layout, void *algorithm, void *workspace,
                          size_t workspace_size, void *stream) {
    null_cuda_forget_uploads();
    null_cuda_work(GEMM, stream);
    return 0;
}
MAKES_A_RECORD(cublasLtMatmulDescCreate)
DOES_NOTHING(cublasLtMatmulDescDestroy)
DOES_NOTHING(cublasLtMatmulDescSetAttribute)
MAKES_A_RECORD(cublasLtMatmulPreferenceCreate)
DOES_NOTHING(cublasLtMatmulPreferenceDestroy)
DOES_NOTHING(cublasLtMatmulPreferenceSetAttribute)
MAKES_A_RECORD(cublasLtMatrixLayoutCreate)
DOES_NOTHING(cublasLtMatrixLayoutDestroy)
DOES_NOTHING(cublasLtMatrixLayoutSetAttribute)
EXPORT size_t cublasLtGetVersion(void) { return 130100; }
EXPORT int cublasLtMatmulAlgoGetHeuristic(void *handle, void *description, void *a, void *b, void *c, void *d,
                                          void *preference, int wanted, void *results, int *got) {
    memset(results, 0, 88); /* one cublasLtMatmulHeuristicResult_t */
    *got = 1;
    return 0;
}

/* ---------------------------------------------------------------- NCCL: every rank by itself */

typedef struct {
    int ranks, rank;
} Communicator;
typedef struct {
    char bytes[128];
} UniqueId;

EXPORT int ncclGetUniqueId(UniqueId *id) {
    memset(id, 7, sizeof *id);
    return 0;
}
EXPORT int ncclCommGetUniqueId(void *communicator, UniqueId *id) { return ncclGetUniqueId(id); }
EXPORT int ncclCommInitRank(Communicator **created, int ranks, UniqueId id, int rank) {
    *created = record();
    **created = (Communicator){ranks, rank};
    return 0;
}
EXPORT int ncclCommInitRankConfig(Communicator **created, int ranks, UniqueId id, int rank, void *config) {
    return ncclCommInitRank(created, ranks, id, rank);
}
EXPORT int ncclCommInitRankScalable(Communicator **created, int ranks, int rank, int ids, UniqueId *id, void *config) {
    return ncclCommInitRank(created, ranks, *id, rank);
}
EXPORT int ncclCommSplit(Communicator *communicator, int colour, int key, Communicator **created, void *config) {
    *created = communicator;
    return 0;
}
EXPORT int ncclCommCount(Communicator *communicator, int *count) {
    *count = communicator->ranks;
    return 0;
}
EXPORT int ncclCommUserRank(Communicator *communicator, int *rank) {
    *rank = communicator->rank;
    return 0;
}
EXPORT int ncclCommGetAsyncError(void *communicator, int *error) {
    *error = 0;
    return 0;
}
EXPORT int ncclGetVersion(int *version) {
    *version = 23007;
    return 0;
}
EXPORT const char *ncclGetErrorString(int error) { return "error of the null CUDA"; }
EXPORT const char *ncclGetLastError(void *communicator) { return ""; }

/* Ranks do not meet. They run the same program with the same numbers, so a rank hands itself what it would get. */
static int collect(void *stream) {
    null_cuda_work(COLLECTIVE, stream);
    return 0;
}

static size_t bytes_of(int type) { /* ncclDataType_t */
    switch (type) {
        case 2: case 3: case 7: return 4; /* int32, uint32, float32 */
        case 4: case 5: case 8: return 8; /* int64, uint64, float64 */
        case 6: case 9: return 2;         /* float16, bfloat16 */
        default: return 1;                /* int8, uint8, float8 */
    }
}

EXPORT int ncclBroadcast(void *from, void *to, size_t count, int type, int root, Communicator *communicator,
                         void *stream) {
    null_cuda_carry(to, from, count * bytes_of(type));
    return collect(stream);
}
EXPORT int ncclBcast(void *buffer, size_t count, int type, int root, Communicator *communicator, void *stream) {
    return collect(stream);
}
EXPORT int ncclAllGather(void *from, void *to, size_t count, int type, Communicator *communicator, void *stream) {
    size_t size = count * bytes_of(type);
    for (int rank = 0; rank < communicator->ranks; rank++) null_cuda_carry((char *)to + rank * size, from, size);
    return collect(stream);
}

/* A sum is computed, and nothing is computed here. */
#define REDUCES(name, ...)            \
    EXPORT int name(__VA_ARGS__) {    \
        null_cuda_forget_uploads();   \
        return collect(stream);       \
    }
REDUCES(ncclAllReduce, void *from, void *to, size_t count, int type, int operation, void *communicator, void *stream)
REDUCES(ncclReduce, void *from, void *to, size_t count, int type, int operation, int root, void *communicator, void *stream)
REDUCES(ncclReduceScatter, void *from, void *to, size_t count, int type, int operation, void *communicator, void *stream)

DOES_NOTHING(ncclAlltoAll)
DOES_NOTHING(ncclCommAbort)
DOES_NOTHING(ncclCommDeregister)
DOES_NOTHING(ncclCommDestroy)
DOES_NOTHING(ncclCommFinalize)
DOES_NOTHING(ncclCommMemStats)
DOES_NOTHING(ncclCommRegister)
DOES_NOTHING(ncclCommResume)
DOES_NOTHING(ncclCommRevoke)
DOES_NOTHING(ncclCommSuspend)
DOES_NOTHING(ncclCommWindowDeregister)
DOES_NOTHING(ncclCommWindowRegister)
DOES_NOTHING(ncclGather)
DOES_NOTHING(ncclGroupEnd)
DOES_NOTHING(ncclGroupSimulateEnd)
DOES_NOTHING(ncclGroupStart)
DOES_NOTHING(ncclRecv)
DOES_NOTHING(ncclRedOpCreatePreMulSum)
DOES_NOTHING(ncclRedOpDestroy)
DOES_NOTHING(ncclSend)
