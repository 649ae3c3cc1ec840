/* A stand-in for libnvidia-ml.so.1, with the struct layouts of nvml.h written out here.
 *
 * What it answers stands in the text file that NINESIGHT_NVML_STANDIN names, read again at every
 * look at a device:
 *
 *     driver VERSION
 *     gpu UTIL_PERCENT MEMORY_TOTAL MEMORY_USED POWER_MW ENERGY_MJ CELSIUS CLOCK_MHZ REASONS LOST NAME...
 *     process GPU PID MEMORY UTIL_PERCENT TIMESTAMP_US
 *     unsupported FUNCTION            (or field:ID)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned int u32;
typedef unsigned long long u64;
typedef u32 nvmlReturn_t;
typedef struct nvmlDevice_st *nvmlDevice_t;

enum {
    OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT = 7,
    DRIVER_NOT_LOADED = 9, LOST = 15, VERSION_MISMATCH = 25
};

typedef struct { u32 gpu, memory; } nvmlUtilization_t;
typedef struct { u64 total, free, used; } nvmlMemory_t;
typedef struct { u32 version; u64 total, reserved, free, used; } nvmlMemory_v2_t;
typedef union { double d; u32 u; unsigned long ul; u64 ull; long long sll; } nvmlValue_t;
typedef struct {
    u32 fieldId, scopeId;
    long long timestamp, latencyUsec;
    u32 valueType;
    nvmlReturn_t nvmlReturn;
    nvmlValue_t value;
} nvmlFieldValue_t;
typedef struct { u32 version; u32 sensorType; int temperature; } nvmlTemperature_t;
typedef struct { u32 pid; u64 usedGpuMemory; u32 gpuInstanceId, computeInstanceId; } nvmlProcessInfo_v2_t;
typedef struct { u32 pid; u64 timeStamp; u32 smUtil, memUtil, encUtil, decUtil; } nvmlProcessUtilizationSample_t;

typedef struct {
    u32 utilization, power_mw, celsius, clock_mhz, lost;
    u64 memory_total, memory_used, energy_mj, reasons;
    char name[96];
} Gpu;
typedef struct { u32 gpu, pid, utilization; u64 memory, at_us; } Process;

static char driver[80];
static Gpu gpus[64];
static Process processes[256];
static char unsupported[32][80];
static u32 gpu_count, process_count, unsupported_count;

static int load(void) {
    const char *path = getenv("NINESIGHT_NVML_STANDIN");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[512];
    if (!file) return 0;
    gpu_count = process_count = unsupported_count = 0;
    while (fgets(line, sizeof line, file)) {
        Gpu g = {0};
        Process p = {0};
        if (sscanf(line, "driver %79s", driver) == 1) continue;
        if (gpu_count < 64 &&
            sscanf(line, "gpu %u %llu %llu %u %llu %u %u %llu %u %95[^\n]", &g.utilization, &g.memory_total,
                   &g.memory_used, &g.power_mw, &g.energy_mj, &g.celsius, &g.clock_mhz, &g.reasons, &g.lost,
                   g.name) == 10)
            gpus[gpu_count++] = g;
        else if (process_count < 256 && sscanf(line, "process %u %u %llu %u %llu", &p.gpu, &p.pid, &p.memory,
                                               &p.utilization, &p.at_us) == 5)
            processes[process_count++] = p;
        else if (unsupported_count < 32 && sscanf(line, "unsupported %79s", unsupported[unsupported_count]) == 1)
            unsupported_count++;
    }
    fclose(file);
    return 1;
}

static int lacks(const char *name) {
    for (u32 i = 0; i < unsupported_count; i++)
        if (!strcmp(unsupported[i], name)) return 1;
    return 0;
}

/* Device handles are pointers nobody follows: index + 1. */
static nvmlReturn_t find(nvmlDevice_t device, const char *function, Gpu **gpu) {
    size_t place = (size_t)device;
    if (!load() || place < 1 || place > gpu_count) return INVALID;
    *gpu = &gpus[place - 1];
    if ((*gpu)->lost) return LOST;
    return lacks(function) ? NOT_SUPPORTED : OK;
}

#define DEVICE(gpu)                                             \
    Gpu *gpu;                                                   \
    do {                                                        \
        nvmlReturn_t code = find(device, __func__, &gpu);       \
        if (code != OK) return code;                            \
    } while (0)

static nvmlReturn_t text(char *out, u32 size, const char *from) {
    if (strlen(from) + 1 > size) return INSUFFICIENT;
    strcpy(out, from);
    return OK;
}

nvmlReturn_t nvmlInitWithFlags(u32 flags) { (void)flags; return load() ? OK : DRIVER_NOT_LOADED; }
nvmlReturn_t nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(nvmlReturn_t code) { return code == LOST ? "GPU is lost" : "stand-in error"; }
nvmlReturn_t nvmlSystemGetDriverVersion(char *out, u32 size) { return text(out, size, driver); }
nvmlReturn_t nvmlDeviceGetCount_v2(u32 *out) { *out = gpu_count; return OK; }

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(u32 index, nvmlDevice_t *out) {
    if (index >= gpu_count) return INVALID;
    *out = (nvmlDevice_t)(size_t)(index + 1);
    return OK;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *out, u32 size) {
    DEVICE(gpu);
    return text(out, size, gpu->name);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *out, u32 size) {
    char uuid[64];
    snprintf(uuid, sizeof uuid, "GPU-simulated-%04zu", (size_t)device - 1);
    return text(out, size, uuid);
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *out) {
    DEVICE(gpu);
    out->gpu = gpu->utilization;
    out->memory = gpu->utilization / 2;
    return OK;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *out) {
    DEVICE(gpu);
    out->total = gpu->memory_total;
    out->used = gpu->memory_used;
    out->free = out->total - out->used;
    return OK;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *out) {
    DEVICE(gpu);
    if (out->version != (sizeof(nvmlMemory_v2_t) | (2u << 24))) return VERSION_MISMATCH;
    out->total = gpu->memory_total;
    out->used = gpu->memory_used;
    out->reserved = 0;
    out->free = out->total - out->used;
    return OK;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, u32 *out) { DEVICE(gpu); *out = gpu->power_mw; return OK; }

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, u64 *out) {
    DEVICE(gpu);
    *out = gpu->energy_mj;
    return OK;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values) {
    DEVICE(gpu);
    for (int i = 0; i < count; i++) {
        nvmlFieldValue_t *value = &values[i];
        char name[32];
        snprintf(name, sizeof name, "field:%u", value->fieldId);
        value->nvmlReturn = lacks(name) ? NOT_SUPPORTED : OK;
        value->valueType = 3;
        switch (value->fieldId) {
        case 186: value->valueType = 1; value->value.u = gpu->power_mw; break;
        case 83: value->value.ull = gpu->energy_mj; break;
        case 197: case 198: value->value.ull = gpu->energy_mj * 1000; break;
        case 3: case 4: value->value.ull = 0; break;
        default: value->nvmlReturn = NOT_SUPPORTED;
        }
    }
    return OK;
}

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *out) {
    DEVICE(gpu);
    if (out->version != (sizeof(nvmlTemperature_t) | (1u << 24))) return VERSION_MISMATCH;
    out->temperature = (int)gpu->celsius;
    return OK;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, u32 kind, u32 *out) {
    DEVICE(gpu);
    *out = kind == 2 ? 2619 : gpu->clock_mhz;
    return OK;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device, u64 *out) {
    DEVICE(gpu);
    *out = gpu->reasons;
    return OK;
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, u32 kind, u32 counter, u64 *out) {
    DEVICE(gpu);
    (void)kind; (void)counter;
    *out = 0;
    return OK;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, u32 *count, nvmlProcessInfo_v2_t *out) {
    DEVICE(gpu);
    u32 room = *count, found = 0, index = (u32)((size_t)device - 1);
    for (u32 i = 0; i < process_count; i++) {
        if (processes[i].gpu != index) continue;
        if (out && found < room) {
            out[found].pid = processes[i].pid;
            out[found].usedGpuMemory = processes[i].memory;
            out[found].gpuInstanceId = out[found].computeInstanceId = 0xFFFFFFFFu;
        }
        found++;
    }
    *count = found;
    return found > room || (found && !out) ? INSUFFICIENT : OK;
}

nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *out, u32 *count,
                                             u64 since_us) {
    DEVICE(gpu);
    u32 room = *count, found = 0, index = (u32)((size_t)device - 1);
    for (u32 i = 0; i < process_count; i++) {
        if (processes[i].gpu != index || !processes[i].utilization || processes[i].at_us <= since_us) continue;
        if (out && found < room) {
            memset(&out[found], 0, sizeof out[found]);
            out[found].pid = processes[i].pid;
            out[found].timeStamp = processes[i].at_us;
            out[found].smUtil = processes[i].utilization;
        }
        found++;
    }
    *count = found;
    if (!found) return NOT_FOUND;
    return found > room || !out ? INSUFFICIENT : OK;
}
