// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A stand-in for nvidia-smi: `nvidia-smi -L` as the real one prints it, of the GPUs that NVML tells of.

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef int (*get_count)(unsigned int *);
typedef int (*get_handle)(unsigned int, void **);
typedef int (*get_text)(void *, char *, unsigned int);

static void *must(void *library, const char *name) {
  void *found = library ? dlsym(library, name) : NULL;
  if (!found) fprintf(stderr, "nvidia-smi: %s\n", dlerror());
  return found;
}

int main(int argc, char **argv) {
  if (argc != 2 || strcmp(argv[1], "-L")) {
    fprintf(stderr, "nvidia-smi: the stand-in knows only -L\n");
    return 2;
  }
  void *nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  int (*init)(void) = (int (*)(void))must(nvml, "nvmlInit_v2");
  get_count how_many = (get_count)must(nvml, "nvmlDeviceGetCount_v2");
  get_handle handle = (get_handle)must(nvml, "nvmlDeviceGetHandleByIndex_v2");
  get_text name = (get_text)must(nvml, "nvmlDeviceGetName"), uuid = (get_text)must(nvml, "nvmlDeviceGetUUID");
  if (!init || !how_many || !handle || !name || !uuid) return 1;
  int code = init();
  unsigned int count = 0;
  if (code || how_many(&count) || !count) {
    printf("No devices found.\n");
    return code ? 9 : 6;
  }
  for (unsigned int i = 0; i < count; i++) {
    void *gpu;
    char model[96], id[96];
    if (handle(i, &gpu) || name(gpu, model, sizeof model) || uuid(gpu, id, sizeof id)) return 1;
    printf("GPU %u: %s (UUID: %s)\n", i, model, id);
  }
  return 0;
}
