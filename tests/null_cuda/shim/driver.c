/* libcuda.so.1: what PyTorch, Triton and the agent ask the driver. It may be loaded without the rest. */
#define _GNU_SOURCE
#include "null_cuda.h"

#include <cuda.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A function of the preloaded library; NULL in a process that has only the driver. */
#define PRELOADED(type, name) ((type)dlsym(RTLD_DEFAULT, name))

static int devices(void) {
    int (*count)(void) = PRELOADED(int (*)(void), "null_cuda_devices");
    return count ? count() : 0;
}
static void *record(void) { return calloc(1, 64); }

EXPORT CUresult cuInit(unsigned flags) { return devices() ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE; }
EXPORT CUresult cuDriverGetVersion(int *version) {
    *version = CUDA_VERSION;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = "error of the null CUDA";
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGetErrorName(CUresult error, const char **text) { return cuGetErrorString(error, text); }

/* ---------------------------------------------------------------- devices and contexts */

EXPORT CUresult cuDeviceGetCount(int *count) {
    *count = devices();
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGet(CUdevice *device, int index) {
    *device = index;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetName(char *name, int size, CUdevice device) {
    strncpy(name, "NVIDIA Null H100", size);
    return CUDA_SUCCESS;
}
/* "00000003-0000-...", as in nvml.c, whose numbers are below 10. */
EXPORT CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
    int (*number)(int) = PRELOADED(int (*)(int), "null_cuda_number");
    memset(uuid, 0, sizeof *uuid);
    if (number) uuid->bytes[3] = (char)number(device);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    int (*ask)(int *, int, int) = PRELOADED(int (*)(int *, int, int), "cudaDeviceGetAttribute");
    *value = 0;
    return ask ? ask(value, attribute, device) : CUDA_SUCCESS;
}
EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    *flags = 0;
    *active = 1;
    return CUDA_SUCCESS;
}
static CUresult the_context(CUcontext *context) {
    *context = (CUcontext)1;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) { return the_context(context); }
EXPORT CUresult cuCtxGetCurrent(CUcontext *context) { return the_context(context); }
EXPORT CUresult cuCtxSetCurrent(CUcontext context) { return CUDA_SUCCESS; }
EXPORT CUresult cuCtxPushCurrent_v2(CUcontext context) { return CUDA_SUCCESS; }
EXPORT CUresult cuCtxPopCurrent_v2(CUcontext *context) { return the_context(context); }
EXPORT CUresult cuCtxGetDevice(CUdevice *device) {
    int (*ask)(int *) = PRELOADED(int (*)(int *), "cudaGetDevice");
    *device = 0;
    return ask ? ask(device) : CUDA_SUCCESS;
}
EXPORT CUresult cuCtxGetLimit(size_t *value, CUlimit limit) {
    *value = 0;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxSetLimit(CUlimit limit, size_t value) { return CUDA_SUCCESS; }
EXPORT CUresult cuCtxSynchronize(void) {
    int (*wait)(void) = PRELOADED(int (*)(void), "cudaDeviceSynchronize");
    return wait ? wait() : CUDA_SUCCESS;
}
EXPORT CUresult cuStreamSynchronize(CUstream stream) {
    int (*wait)(void *) = PRELOADED(int (*)(void *), "cudaStreamSynchronize");
    return wait ? wait(stream) : CUDA_SUCCESS;
}

/* ---------------------------------------------------------------- modules and kernels */

EXPORT CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    *module = record();
    return CUDA_SUCCESS;
}
EXPORT CUresult cuModuleLoad(CUmodule *module, const char *path) { return cuModuleLoadData(module, path); }
EXPORT CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, CUjit_option *options,
                                   void **values) {
    return cuModuleLoadData(module, image);
}
EXPORT CUresult cuModuleUnload(CUmodule module) { return CUDA_SUCCESS; }
EXPORT CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    void (*remember)(const void *, const char *) = PRELOADED(void (*)(const void *, const char *), "null_cuda_name_kernel");
    *function = record();
    if (remember) remember(*function, strdup(name));
    return CUDA_SUCCESS;
}
EXPORT CUresult cuModuleGetFunctionCount(unsigned *count, CUmodule module) {
    *count = 1;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *size, CUmodule module, const char *name) {
    *address = (CUdeviceptr)calloc(1, 4096);
    if (size) *size = 4096;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
    *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024 : attribute == CU_FUNC_ATTRIBUTE_NUM_REGS ? 32 : 0;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) { return CUDA_SUCCESS; }
EXPORT CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config) { return CUDA_SUCCESS; }
EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int size, size_t shared) {
    *blocks = 2;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuOccupancyMaxActiveClusters(int *clusters, CUfunction function, const CUlaunchConfig *config) {
    *clusters = 1;
    return CUDA_SUCCESS;
}

static CUresult launch(CUfunction function, void *stream) {
    void (*count)(const void *, void *) = PRELOADED(void (*)(const void *, void *), "null_cuda_kernel");
    if (count) count(function, stream);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                               unsigned block_y, unsigned block_z, unsigned shared, CUstream stream, void **arguments,
                               void **extra) {
    return launch(function, stream);
}
EXPORT CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                          unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                                          CUstream stream, void **arguments) {
    return launch(function, stream);
}
EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **arguments, void **extra) {
    return launch(function, config->hStream);
}

/* ---------------------------------------------------------------- memory */

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
    int (*allocate)(void **, size_t) = PRELOADED(int (*)(void **, size_t), "cudaMalloc");
    return allocate ? allocate((void **)address, size) : CUDA_ERROR_NOT_INITIALIZED;
}
EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
    int (*release)(void *) = PRELOADED(int (*)(void *), "cudaFree");
    return release ? release((void *)address) : CUDA_SUCCESS;
}
EXPORT CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr address) {
    *(uint64_t *)value = attribute == CU_POINTER_ATTRIBUTE_DEVICE_POINTER ? address : 0;
    return CUDA_SUCCESS;
}
