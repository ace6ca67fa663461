// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A stand-in for libnvidia-ml.so.1: the calls that NVIDIA's device plugin, GPU feature discovery and the
// generation of CDI specs make, answered from a text file. A GPU counts only where its device node exists,
// as with the driver: a container sees the GPUs that it was given. No MIG, no NVLink.
//
// The file is lib/firmware/nvidia/VERSION/gsp_standin.bin beside this library's usr/lib/x86_64-linux-gnu,
// where CDI takes it into containers together with the library. Its lines:
//   driver VERSION                               of the driver
//   cuda NUMBER                                  1000 x major + 10 x minor
//   gpu UUID MINOR MIB MAJOR MINOR NAME...       a GPU: device node, memory, compute capability
//   xid MINOR NUMBER                             appended while it runs: an Xid event of that GPU

#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#define MAX_GPUS 16
#define LINE 256

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, TIMEOUT = 10, DRIVER_NOT_LOADED = 9 };
enum { TOPOLOGY_SYSTEM = 50 };
static const unsigned long long XID_CRITICAL = 0x8;
static const unsigned int NO_INSTANCE = 0xFFFFFFFF;

typedef struct {
  char uuid[80], name[96];
  unsigned int minor, major_cc, minor_cc;
  unsigned long long mib;
} gpu;

typedef struct {
  char bus_id_legacy[16];
  unsigned int domain, bus, device, device_id, subsystem_id;
  char bus_id[32];
} pci_info;

typedef struct { unsigned long long total, free, used; } memory;

typedef struct {
  gpu *device;
  unsigned long long type, data;
  unsigned int gpu_instance, compute_instance;
} event;

typedef struct { int seen; unsigned int minors[MAX_GPUS], count; } event_set;

static gpu gpus[MAX_GPUS];
static unsigned int count;
static char driver[80] = "0.0";
static int cuda;

// description opens the file, which lies four folders up from this library.
static FILE *description(void) {
  Dl_info self;
  char library[PATH_MAX], path[PATH_MAX + LINE];
  if (!dladdr((void *)description, &self) || !realpath(self.dli_fname, library)) return NULL;
  const char *version = strstr(library, ".so.");
  char root[PATH_MAX];
  strcpy(root, library);
  for (int up = 0; up < 4; up++) {
    char *slash = strrchr(root, '/');
    if (!slash) return NULL;
    *slash = 0;
  }
  if (!version) return NULL;
  snprintf(path, sizeof path, "%s/lib/firmware/nvidia/%s/gsp_standin.bin", root, version + 4);
  return fopen(path, "r");
}

static int present(unsigned int minor) {
  char node[32];
  snprintf(node, sizeof node, "/dev/nvidia%u", minor);
  return access(node, F_OK) == 0;
}

static void read_line(const char *line) {
  gpu g;
  int at = 0;
  memset(&g, 0, sizeof g);
  if (sscanf(line, "driver %79s", driver) == 1 || sscanf(line, "cuda %d", &cuda) == 1) return;
  if (sscanf(line, "gpu %79s %u %llu %u %u %n", g.uuid, &g.minor, &g.mib, &g.major_cc, &g.minor_cc, &at) < 5 || !at) return;
  snprintf(g.name, sizeof g.name, "%s", line + at);
  g.name[strcspn(g.name, "\n")] = 0;
  if (count < MAX_GPUS && present(g.minor)) gpus[count++] = g;
}

API int nvmlInit_v2(void) {
  FILE *file = description();
  char line[LINE];
  if (!file) return DRIVER_NOT_LOADED;
  count = 0;
  while (fgets(line, sizeof line, file)) read_line(line);
  fclose(file);
  return SUCCESS;
}

API int nvmlInit(void) { return nvmlInit_v2(); }
API int nvmlInitWithFlags(unsigned int flags) { return (void)flags, nvmlInit_v2(); }
API int nvmlShutdown(void) { return SUCCESS; }

API const char *nvmlErrorString(int code) {
  switch (code) {
    case SUCCESS: return "The operation was successful";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded: the stand-in finds no gsp_standin.bin";
    case TIMEOUT: return "Timeout";
  }
  return "Unknown Error";
}

static int text(char *to, unsigned int size, const char *from) {
  if (!to) return INVALID_ARGUMENT;
  if (strlen(from) + 1 > size) return INSUFFICIENT_SIZE;
  strcpy(to, from);
  return SUCCESS;
}

API int nvmlSystemGetDriverVersion(char *to, unsigned int size) { return text(to, size, driver); }
API int nvmlSystemGetNVMLVersion(char *to, unsigned int size) { return text(to, size, driver); }
API int nvmlSystemGetCudaDriverVersion(int *to) { return *to = cuda, SUCCESS; }
API int nvmlSystemGetCudaDriverVersion_v2(int *to) { return *to = cuda, SUCCESS; }

API int nvmlDeviceGetCount_v2(unsigned int *to) { return *to = count, SUCCESS; }
API int nvmlDeviceGetHandleByIndex_v2(unsigned int index, gpu **to) {
  if (index >= count) return INVALID_ARGUMENT;
  return *to = &gpus[index], SUCCESS;
}
API int nvmlDeviceGetHandleByUUID(const char *uuid, gpu **to) {
  for (unsigned int i = 0; i < count; i++)
    if (!strcmp(gpus[i].uuid, uuid)) return *to = &gpus[i], SUCCESS;
  return NOT_FOUND;
}

API int nvmlDeviceGetName(gpu *g, char *to, unsigned int size) { return text(to, size, g->name); }
API int nvmlDeviceGetUUID(gpu *g, char *to, unsigned int size) { return text(to, size, g->uuid); }
API int nvmlDeviceGetMinorNumber(gpu *g, unsigned int *to) { return *to = g->minor, SUCCESS; }
API int nvmlDeviceGetIndex(gpu *g, unsigned int *to) { return *to = (unsigned int)(g - gpus), SUCCESS; }
API int nvmlDeviceGetCudaComputeCapability(gpu *g, int *major, int *minor) {
  *major = (int)g->major_cc;
  *minor = (int)g->minor_cc;
  return SUCCESS;
}
API int nvmlDeviceGetMemoryInfo(gpu *g, memory *to) {
  to->total = to->free = g->mib << 20;
  to->used = 0;
  return SUCCESS;
}

// A bus of its own for each GPU, in a domain that no machine has.
API int nvmlDeviceGetPciInfo_v3(gpu *g, pci_info *to) {
  memset(to, 0, sizeof *to);
  to->domain = 0xdead;
  to->bus = g->minor + 1;
  to->device_id = 0x233010de;
  snprintf(to->bus_id_legacy, sizeof to->bus_id_legacy, "%04X:%02X:00.0", to->domain, to->bus & 0xff);
  snprintf(to->bus_id, sizeof to->bus_id, "%08X:%02X:00.0", to->domain, to->bus & 0xff);
  return SUCCESS;
}

API int nvmlDeviceGetMigMode(gpu *g, unsigned int *current, unsigned int *pending) {
  return (void)g, (void)current, (void)pending, NOT_SUPPORTED;
}
API int nvmlDeviceIsMigDeviceHandle(gpu *g, unsigned int *to) { return (void)g, *to = 0, SUCCESS; }
API int nvmlDeviceGetMaxMigDeviceCount(gpu *g, unsigned int *to) { return (void)g, *to = 0, SUCCESS; }

API int nvmlDeviceGetTopologyCommonAncestor(gpu *a, gpu *b, int *to) {
  return (void)a, (void)b, *to = TOPOLOGY_SYSTEM, SUCCESS;
}
API int nvmlDeviceGetNvLinkState(gpu *g, unsigned int link, int *to) { return (void)g, (void)link, (void)to, NOT_SUPPORTED; }

// xids counts the lines that tell of Xid errors; the one after `skip` of them is read.
static int xids(int skip, unsigned int *minor, unsigned long long *number) {
  FILE *file = description();
  char line[LINE];
  int found = 0;
  if (!file) return 0;
  while (fgets(line, sizeof line, file)) {
    unsigned int m;
    unsigned long long n;
    if (sscanf(line, "xid %u %llu", &m, &n) == 2 && found++ == skip && minor) *minor = m, *number = n;
  }
  fclose(file);
  return found;
}

API int nvmlEventSetCreate(event_set **to) {
  *to = calloc(1, sizeof **to);
  if (!*to) return INVALID_ARGUMENT;
  (*to)->seen = xids(-1, NULL, NULL); // what was before is over
  return SUCCESS;
}
API int nvmlEventSetFree(event_set *set) { return free(set), SUCCESS; }
API int nvmlDeviceGetSupportedEventTypes(gpu *g, unsigned long long *to) { return (void)g, *to = XID_CRITICAL, SUCCESS; }
API int nvmlDeviceRegisterEvents(gpu *g, unsigned long long types, event_set *set) {
  if ((types & XID_CRITICAL) && set->count < MAX_GPUS) set->minors[set->count++] = g->minor;
  return SUCCESS;
}

static gpu *registered(const event_set *set, unsigned int minor) {
  for (unsigned int i = 0; i < set->count; i++)
    for (unsigned int j = 0; j < count; j++)
      if (set->minors[i] == minor && gpus[j].minor == minor) return &gpus[j];
  return NULL;
}

API int nvmlEventSetWait_v2(event_set *set, event *to, unsigned int milliseconds) {
  const struct timespec poll = {0, 100 * 1000 * 1000};
  for (unsigned int waited = 0; waited <= milliseconds; waited += 100) {
    unsigned int minor = 0;
    unsigned long long number = 0;
    if (xids(set->seen, &minor, &number) > set->seen) {
      gpu *device = registered(set, minor);
      set->seen++;
      if (!device) continue;
      *to = (event){device, XID_CRITICAL, number, NO_INSTANCE, NO_INSTANCE};
      return SUCCESS;
    }
    nanosleep(&poll, NULL);
  }
  return TIMEOUT;
}
