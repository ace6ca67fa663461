// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What a pod of the probe does on a real GPU: it lets every GPU that it sees compute something, checks the
// result, and names the GPU as `nvidia-smi -L` does.

#include <cstdio>
#include <cuda_runtime.h>

static const int COUNT = 1 << 16;

__global__ void square(unsigned int *numbers) {
  unsigned int i = blockIdx.x * blockDim.x + threadIdx.x;
  numbers[i] = i * i;
}

static int failed(cudaError_t error, const char *what) {
  if (error == cudaSuccess) return 0;
  printf("%s: %s\n", what, cudaGetErrorString(error));
  return 1;
}

static int compute() {
  static unsigned int found[COUNT];
  unsigned int *numbers;
  if (failed(cudaMalloc(&numbers, sizeof found), "cudaMalloc")) return 1;
  square<<<COUNT / 256, 256>>>(numbers);
  if (failed(cudaMemcpy(found, numbers, sizeof found, cudaMemcpyDeviceToHost), "kernel")) return 1;
  for (unsigned int i = 0; i < COUNT; i++)
    if (found[i] != i * i) return printf("number %u is wrong\n", i), 1;
  return failed(cudaFree(numbers), "cudaFree");
}

int main() {
  int count = 0;
  if (failed(cudaGetDeviceCount(&count), "cudaGetDeviceCount")) return 1;
  for (int gpu = 0; gpu < count; gpu++) {
    cudaDeviceProp about;
    if (failed(cudaGetDeviceProperties(&about, gpu), "cudaGetDeviceProperties")) return 1;
    if (failed(cudaSetDevice(gpu), "cudaSetDevice") || compute()) return 1;
    printf("GPU %d: %s (UUID: GPU-", gpu, about.name);
    for (int i = 0; i < 16; i++)
      printf(i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", (unsigned char)about.uuid.bytes[i]);
    printf(")\n");
  }
  return 0;
}
