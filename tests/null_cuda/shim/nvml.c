/* libnvidia-ml.so.1: GPUs as NVIDIA's management library tells of them, all of them, whatever is visible to CUDA.

   NULL_CUDA_DEVICES says how many there are, NULL_CUDA_OTHERS what other processes hold, as
   "device:pid:bytes,...", or "@FILE", which has that and may change. */
#include "null_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Types and numbers of nvml.h, which is not among the headers of the CUDA wheels. */
typedef int Status; /* 0 success, 3 not supported, 6 not found, 7 insufficient size */
typedef struct {
    int index;
} *Device;
typedef struct {
    unsigned long long total, free, used;
} Memory;
typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} Memory2;
typedef struct {
    unsigned gpu, memory;
} Utilisation;
typedef struct {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
} Process;

static int all[16];

static unsigned count(void) {
    const char *value = getenv("NULL_CUDA_DEVICES");
    return value && *value ? (unsigned)atoi(value) : 1;
}
static unsigned long long total_bytes(void) {
    const char *value = getenv("NULL_CUDA_BYTES");
    return value && *value ? strtoull(value, NULL, 10) : 85000000000ull;
}

/* What others hold of a device: fills `processes` up to `room`, returns how many there are. */
static unsigned others(int device, Process *processes, unsigned room, unsigned long long *bytes) {
    unsigned found = 0;
    char content[4096];
    const char *entry = getenv("NULL_CUDA_OTHERS");
    if (entry && *entry == '@') {
        FILE *file = fopen(entry + 1, "r");
        size_t length = file ? fread(content, 1, sizeof content - 1, file) : 0;
        if (file) fclose(file);
        content[length] = 0;
        entry = content;
    }
    for (; entry && *entry; entry += strcspn(entry, ","), entry += *entry == ',') {
        int on;
        unsigned pid;
        unsigned long long used;
        if (sscanf(entry, "%d:%u:%llu", &on, &pid, &used) != 3 || on != device) continue;
        if (processes && found < room) processes[found] = (Process){pid, used, 0xFFFFFFFFu, 0xFFFFFFFFu};
        if (bytes) *bytes += used;
        found++;
    }
    return found;
}

EXPORT Status nvmlInit_v2(void) { return 0; }
EXPORT Status nvmlInitWithFlags(unsigned flags) { return 0; }
EXPORT Status nvmlShutdown(void) { return 0; }
EXPORT const char *nvmlErrorString(Status status) { return status == 6 ? "Not Found" : "Not Supported"; }
EXPORT Status nvmlSystemGetDriverVersion(char *text, unsigned size) {
    snprintf(text, size, "580.00");
    return 0;
}
EXPORT Status nvmlDeviceGetCount_v2(unsigned *devices) {
    *devices = count();
    return 0;
}
EXPORT Status nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
    if (index >= count()) return 6;
    all[index] = (int)index;
    *device = (Device)&all[index];
    return 0;
}
EXPORT Status nvmlDeviceGetUUID(Device device, char *text, unsigned size) {
    snprintf(text, size, "GPU-%08d-0000-0000-0000-000000000000", device->index);
    return 0;
}
EXPORT Status nvmlDeviceGetHandleByUUID(const char *uuid, Device *device) {
    int index = -1;
    if (sscanf(uuid, "GPU-%8d-", &index) != 1 && sscanf(uuid, "MIG-%8d-", &index) != 1) return 6;
    return nvmlDeviceGetHandleByIndex_v2((unsigned)index, device);
}
/* PCI bus ids are those of runtime.c. */
EXPORT Status nvmlDeviceGetHandleByPciBusId_v2(const char *id, Device *device) {
    unsigned bus;
    if (sscanf(id, "%*x:%x:", &bus) != 1 || bus == 0) return 6;
    return nvmlDeviceGetHandleByIndex_v2(bus - 1, device);
}
EXPORT Status nvmlDeviceGetIndex(Device device, unsigned *index) {
    *index = (unsigned)device->index;
    return 0;
}
EXPORT Status nvmlDeviceGetName(Device device, char *text, unsigned size) {
    snprintf(text, size, "NVIDIA Null H100");
    return 0;
}
EXPORT Status nvmlDeviceGetMemoryInfo(Device device, Memory *memory) {
    unsigned long long used = 0;
    others(device->index, NULL, 0, &used);
    *memory = (Memory){total_bytes(), total_bytes() - used, used};
    return 0;
}
EXPORT Status nvmlDeviceGetMemoryInfo_v2(Device device, Memory2 *memory) {
    unsigned long long used = 0;
    others(device->index, NULL, 0, &used);
    *memory = (Memory2){memory->version, total_bytes(), 0, total_bytes() - used, used};
    return 0;
}
EXPORT Status nvmlDeviceGetUtilizationRates(Device device, Utilisation *rates) {
    *rates = others(device->index, NULL, 0, NULL) ? (Utilisation){90, 50} : (Utilisation){0, 0};
    return 0;
}
EXPORT Status nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *room, Process *processes) {
    unsigned found = others(device->index, processes, *room, NULL), had = *room;
    *room = found;
    return found > had ? 7 : 0;
}
/* The first version of the function tells less of each process. */
typedef struct {
    unsigned pid;
    unsigned long long used;
} OldProcess;
EXPORT Status nvmlDeviceGetComputeRunningProcesses(Device device, unsigned *room, OldProcess *processes) {
    Process found[64];
    unsigned all_of_them = others(device->index, found, 64, NULL), had = *room;
    *room = all_of_them;
    if (all_of_them > had) return 7;
    for (unsigned i = 0; i < all_of_them; i++) processes[i] = (OldProcess){found[i].pid, found[i].used};
    return 0;
}
EXPORT Status nvmlDeviceGetPowerUsage(Device device, unsigned *milliwatts) {
    *milliwatts = 70000;
    return 0;
}
EXPORT Status nvmlDeviceGetTemperature(Device device, int sensor, unsigned *celsius) {
    *celsius = 30;
    return 0;
}
EXPORT Status nvmlDeviceGetTemperatureV(Device device, void *temperature) { return 3; }
EXPORT Status nvmlDeviceGetMaxMigDeviceCount(Device device, unsigned *most) {
    *most = 0;
    return 0;
}
EXPORT Status nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = 13000;
    return 0;
}
EXPORT Status nvmlDeviceGetNvLinkRemoteDeviceType(Device device, unsigned link, int *type) { return 3; }
EXPORT Status nvmlDeviceGetNvLinkRemotePciInfo_v2(Device device, unsigned link, void *info) { return 3; }
EXPORT Status nvmlDeviceGetGpuFabricInfoV(Device device, void *info) { return 3; }
EXPORT Status nvmlDeviceGetP2PStatus(Device device, Device peer, int capability, int *status) {
    *status = 1; /* chipset not supported */
    return 0;
}
EXPORT Status nvmlDeviceGetMigMode(Device device, unsigned *now, unsigned *pending) { return 3; }
