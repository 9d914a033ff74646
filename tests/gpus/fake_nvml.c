/* A libnvidia-ml.so.1 that plays a recording or a script of faults, for tests of the real FFI path.
 *
 * FAKE_NVML names a file of `key value` lines, read again whenever it changes. A key may be set for one GPU: `1.energy 15`.
 *
 *   count N            GPUs (1)                 mig N         slices on each GPU (none)
 *   name TEXT          product name             recording F   lines of `t sm mem mJ mW MiB celsius reasons tensor sm% occ% dram%`
 *   process N...       compute processes        bus N, cores N, ...
 *   init|all|CALL N    what the call returns instead of 0 (3 NotSupported, 4 NoPermission, 9 no driver, 15 lost)
 *   gpm N              0 where GPM is not there  dram nan      GPM's DRAM share
 *   hang N             the next reading blocks for N ms
 *
 * With -DOLD_DRIVER the symbols that came after driver 450 are missing.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef unsigned int u32;
typedef unsigned long long u64;
typedef u32 ret;
enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };

/* A handle points into this table: whole GPUs, then the slices of each. */
enum { MOST = 16, SLICES = 7 };
typedef struct { int gpu, slice; } *device;
static struct { int gpu, slice; } devices[MOST * (SLICES + 1)];

/* ---- the script ---- */

static char *script;
static struct timespec script_time;

static void load(void) {
    const char *path = getenv("FAKE_NVML");
    struct stat now;
    if (!path || stat(path, &now)) return;
    if (script && now.st_mtim.tv_sec == script_time.tv_sec && now.st_mtim.tv_nsec == script_time.tv_nsec) return;
    FILE *file = fopen(path, "r");
    if (!file) return;
    free(script);
    script = calloc(1, (size_t)now.st_size + 2);
    script[0] = '\n';
    if (fread(script + 1, 1, (size_t)now.st_size, file) != (size_t)now.st_size) script[1] = 0;
    fclose(file);
    script_time = now.st_mtim;
}

static const char *find(const char *key) {
    char line[80];
    snprintf(line, sizeof line, "\n%s ", key);
    const char *at = script ? strstr(script, line) : NULL;
    return at ? at + strlen(line) : NULL;
}

/* The value of `key` for one GPU, or for all; NULL where the script does not say. */
static const char *said(int gpu, const char *key) {
    char own[80];
    snprintf(own, sizeof own, "%d.%s", gpu, key);
    load();
    const char *value = find(own);
    return value ? value : find(key);
}

static double number(int gpu, const char *key, double otherwise) {
    const char *value = said(gpu, key);
    return value ? atof(value) : otherwise;
}

static void text(int gpu, const char *key, const char *otherwise, char *to, u32 size) {
    const char *value = said(gpu, key);
    if (!value) value = otherwise;
    size_t length = strcspn(value, "\n");
    if (length >= size) length = size - 1;
    memcpy(to, value, length);
    to[length] = 0;
}

/* What a call on a device returns before it does anything. */
static ret verdict(device at, const char *call) {
    int all = (int)number(at->gpu, "all", OK);
    return (ret)(all ? all : (int)number(at->gpu, call, OK));
}
#define ASK(at, call) do { ret code = verdict(at, call); if (code) return code; } while (0)

/* ---- the recording ---- */

typedef struct { double t, sm, mem, energy, power, memory, celsius, reasons, tensor, busy, occupancy, dram; } line;
static line *lines;
static int count_lines;
static double started;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void open_recording(void) {
    char path[4096];
    text(0, "recording", "", path, sizeof path);
    FILE *file = lines ? NULL : fopen(path, "r");
    if (!file) return;
    line l;
    while (fscanf(file, "%lf %lf %lf %lf %lf %lf %lf %lf %lf %lf %lf %lf", &l.t, &l.sm, &l.mem, &l.energy, &l.power, &l.memory,
                  &l.celsius, &l.reasons, &l.tensor, &l.busy, &l.occupancy, &l.dram) == 12) {
        lines = realloc(lines, sizeof l * (size_t)(count_lines + 1));
        lines[count_lines++] = l;
    }
    fclose(file);
}

/* Seconds since the first initialisation, on the recording's clock. */
static double played(void) { return lines ? lines[0].t + now() - started : now() - started; }

static const line *at(double t) {
    static const line idle = {0, 1980, 2619, 0, 120000, 1000, 34, 0, 1, 2, 3, 4};
    if (!lines) return &idle;
    int i = 0;
    while (i + 1 < count_lines && lines[i + 1].t <= t) i++;
    return &lines[i];
}

/* ---- the library ---- */

ret nvmlInit_v2(void) {
    load();
    if (started == 0) started = now();
    open_recording();
    for (int i = 0; i < MOST * (SLICES + 1); i++) {
        devices[i].gpu = i % MOST;
        devices[i].slice = i / MOST - 1;
    }
    return (ret)number(0, "init", OK);
}
ret nvmlShutdown(void) { return OK; }
ret nvmlSystemGetDriverVersion(char *to, u32 size) { text(0, "driver", "580.159.04", to, size); return OK; }
ret nvmlDeviceGetCount_v2(u32 *count) { *count = (u32)number(0, "count", 1); return OK; }
ret nvmlDeviceGetHandleByIndex_v2(u32 index, device *to) {
    if (index >= MOST) return INVALID;
    *to = (device)&devices[index];
    ASK((*to), "open");
    return OK;
}
ret nvmlDeviceGetName(device d, char *to, u32 size) {
    ASK(d, "name_call");
    text(d->gpu, "name", "NVIDIA H100 80GB HBM3", to, size);
    if (d->slice >= 0) strncat(to, " MIG 1g.10gb", size - strlen(to) - 1);
    return OK;
}
ret nvmlDeviceGetUUID(device d, char *to, u32 size) {
    ASK(d, "uuid");
    if (d->slice < 0) snprintf(to, size, "GPU-fake-%d", d->gpu);
    else snprintf(to, size, "MIG-fake-%d-%d", d->gpu, d->slice);
    return OK;
}
ret nvmlDeviceGetCudaComputeCapability(device d, int *major, int *minor) {
    ASK(d, "capability_call");
    double capability = number(d->gpu, "capability", 9.0);
    *major = (int)capability;
    *minor = (int)lround((capability - *major) * 10);
    return OK;
}
ret nvmlDeviceGetNumGpuCores(device d, u32 *cores) { ASK(d, "cores_call"); *cores = (u32)number(d->gpu, "cores", 16896); return OK; }
ret nvmlDeviceGetMemoryBusWidth(device d, u32 *bits) { ASK(d, "bus_call"); *bits = (u32)number(d->gpu, "bus", 5120); return OK; }
ret nvmlDeviceGetEnforcedPowerLimit(device d, u32 *mw) { ASK(d, "limit"); *mw = 700000; return OK; }
ret nvmlDeviceGetMaxClockInfo(device d, u32 which, u32 *mhz) { ASK(d, "max_clock"); *mhz = which == 2 ? 2619 : 1980; return OK; }
ret nvmlDeviceGetClockInfo(device d, u32 which, u32 *mhz) {
    ASK(d, "clock");
    const line *l = at(played());
    *mhz = (u32)(which == 2 ? l->mem : l->sm);
    return OK;
}
ret nvmlDeviceGetPowerUsage(device d, u32 *mw) { ASK(d, "power"); *mw = (u32)at(played())->power; return OK; }
ret nvmlDeviceGetTotalEnergyConsumption(device d, u64 *mj) {
    ASK(d, "energy");
    usleep((useconds_t)number(d->gpu, "hang", 0) * 1000);
    *mj = lines ? (u64)at(played())->energy : (u64)((now() - started) * 120000);
    return OK;
}
ret nvmlDeviceGetTemperature(device d, u32 sensor, u32 *celsius) { (void)sensor; ASK(d, "temperature"); *celsius = (u32)at(played())->celsius; return OK; }
ret nvmlDeviceGetCurrentClocksThrottleReasons(device d, u64 *reasons) { ASK(d, "reasons"); *reasons = (u64)at(played())->reasons; return OK; }
ret nvmlDeviceGetUtilizationRates(device d, u32 *rates) { ASK(d, "utilization"); rates[0] = 98; rates[1] = 40; return OK; }

#ifndef OLD_DRIVER
typedef struct { u32 version; u64 total, reserved, free, used; } memory;
ret nvmlDeviceGetMemoryInfo_v2(device d, memory *m) {
    ASK(d, "memory");
    m->total = d->slice < 0 ? 85520809984ull : 9728ull << 20;
    m->used = (u64)(at(played())->memory * 1048576);
    m->reserved = 0;
    m->free = m->total - m->used;
    return OK;
}

typedef struct { u32 pid; u64 bytes; u32 gpu_instance, compute_instance; } process;
ret nvmlDeviceGetComputeRunningProcesses_v3(device d, u32 *count, process *to) {
    ASK(d, "processes");
    const char *pids = said(d->gpu, "process");
    u32 found = 0;
    for (char *end; pids; pids = end) {
        unsigned long pid = strtoul(pids, &end, 10);
        if (end == pids || *end == 0) break;
        if (to && found < *count) to[found] = (process){(u32)pid, 1 << 30, ~0u, ~0u};
        found++;
        if (*end == '\n') break;
    }
    u32 room = *count;
    *count = found;
    return !to && found ? TOO_SMALL : to && found > room ? TOO_SMALL : OK;
}

ret nvmlDeviceGetMigMode(device d, u32 *current, u32 *pending) {
    if (d->slice >= 0) return NOT_SUPPORTED;
    *current = *pending = said(d->gpu, "mig") != NULL;
    return OK;
}
ret nvmlDeviceGetMaxMigDeviceCount(device d, u32 *count) { (void)d; *count = SLICES; return OK; }
ret nvmlDeviceGetMigDeviceHandleByIndex(device d, u32 index, device *to) {
    if (index >= (u32)number(d->gpu, "mig", 0)) return NOT_FOUND;
    *to = (device)&devices[(index + 1) * MOST + (u32)d->gpu];
    return OK;
}
typedef struct { u32 sms, unused[7]; u64 mebibytes; } attributes;
ret nvmlDeviceGetAttributes_v2(device d, attributes *a) {
    if (d->slice < 0) return NOT_SUPPORTED;
    memset(a, 0, sizeof *a);
    a->sms = 16;
    a->mebibytes = 9728;
    return OK;
}
ret nvmlDeviceGetNvLinkState(device d, u32 link, u32 *state) { (void)link; *state = (u32)number(d->gpu, "nvlink", 0); return OK; }

/* ---- GPM ---- */

typedef struct { int gpu; double t; } *sample;
typedef struct { u32 id; ret code; double value; const char *short_name, *long_name, *unit; } metric;
typedef struct { u32 version, count; sample before, after; metric metrics[210]; } request;

ret nvmlGpmQueryDeviceSupport(device d, u32 *support) { ASK(d, "gpm_call"); support[1] = (u32)number(d->gpu, "gpm", 1); return OK; }
ret nvmlGpmSampleAlloc(sample *to) { *to = calloc(1, sizeof **to); return OK; }
ret nvmlGpmSampleFree(sample s) { free(s); return OK; }
ret nvmlGpmSampleGet(device d, sample s) {
    if (d->slice >= 0) return NOT_SUPPORTED;
    ASK(d, "gpm_sample");
    s->gpu = d->gpu;
    s->t = played();
    return OK;
}

/* The integral of a share over time up to `t`: each line covers the time since the line before. */
static double integral(size_t field, double t) {
    double sum = 0;
    for (int i = 1; i < count_lines && lines[i - 1].t < t; i++) {
        double end = lines[i].t < t ? lines[i].t : t;
        sum += (end - lines[i - 1].t) * *(double *)((char *)&lines[i] + field);
    }
    return sum;
}

static double mean(sample before, sample after, size_t field, const char *key, double otherwise) {
    const char *value = said(after->gpu, key);
    if (value) return strncmp(value, "nan", 3) ? atof(value) : NAN;
    if (!lines) return otherwise;
    return (integral(field, after->t) - integral(field, before->t)) / (after->t - before->t);
}
#define MEAN(name, field, otherwise) mean(r->before, r->after, offsetof(line, field), name, otherwise)

ret nvmlGpmMetricsGet(request *r) {
    if (r->after->t - r->before->t < 0.1) { /* As the driver does: no error, and nothing in it. */
        for (u32 i = 0; i < r->count; i++) {
            r->metrics[i].short_name = "x";
            r->metrics[i].value = r->metrics[i].id == 10 ? NAN : 0;
        }
        return OK;
    }
    for (u32 i = 0; i < r->count; i++) {
        metric *m = &r->metrics[i];
        m->code = OK;
        m->short_name = m->long_name = m->unit = "x";
        switch (m->id) {
        case 10: m->value = MEAN("dram", dram, 40); break;
        case 5: m->value = MEAN("tensor", tensor, 10); break;
        case 2: m->value = MEAN("busy", busy, 80); break;
        case 3: m->value = MEAN("occupancy", occupancy, 12); break;
        case 1: m->value = 90; break;
        case 20: case 21: m->value = 100; break;
        case 60: case 61: m->value = 2000; break;
        default: m->value = 0; m->short_name = ""; break;
        }
    }
    return OK;
}
#endif
