// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The GPU of load.cu: what it is asked to do, and whether it did that.
#pragma once
#include <cuda_runtime.h>

static const int THREADS = 256;
static const int ROUNDS = 20000;
static const size_t COPIED = size_t(1) << 30;
static const int HELD = 0x5a;

struct Memory {
  double free_mib = 0, total_mib = 0;
};

static void demand(cudaError_t said, const char *call) {
  if (said != cudaSuccess) throw Refused(std::string(call) + ": " + cudaGetErrorString(said));
}
#define DEMAND(call) demand((call), #call)

// Four chains of `rounds` multiply-adds: 8 operations a round. The same on either side, bit for bit.
static __host__ __device__ float chains(unsigned seed, int rounds) {
  const float scale = 0.9999f, add = 0.0001f;
  float a = static_cast<float>(seed % 251u), b = a + 1, c = a + 2, d = a + 3;
#pragma unroll 8
  for (int i = 0; i < rounds; i++) {
    a = fmaf(a, scale, add);
    b = fmaf(b, scale, add);
    c = fmaf(c, scale, add);
    d = fmaf(d, scale, add);
  }
  return (a + b) + (c + d);
}

static __global__ void multiply_add(float *out, int rounds) {
  const unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
  out[index] = chains(index, rounds);
}

static __global__ void number(float4 *to, size_t count) {
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count;
       i += size_t(gridDim.x) * blockDim.x) {
    const float value = static_cast<float>(i % 8191);
    to[i] = make_float4(value, value + 1, value + 2, value + 3);
  }
}

static __global__ void copy(const float4 *from, float4 *to, size_t count) {
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count;
       i += size_t(gridDim.x) * blockDim.x)
    to[i] = from[i];
}

class Gpu {
 public:
  explicit Gpu(const std::string &) {
    DEMAND(cudaSetDevice(0));
    DEMAND(cudaFree(nullptr));
    DEMAND(cudaGetDeviceProperties(&about_, 0));
    for (cudaEvent_t &event : events_)
      DEMAND(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  }

  std::string uuid() const {
    std::string text = "GPU-";
    for (int i = 0; i < 16; i++) {
      char two[3];
      std::snprintf(two, sizeof two, "%02x", static_cast<unsigned char>(about_.uuid.bytes[i]));
      text += two;
      if (i == 3 || i == 5 || i == 7 || i == 9) text += '-';
    }
    return text;
  }

  Memory memory() const {
    size_t left = 0, total = 0;
    DEMAND(cudaMemGetInfo(&left, &total));
    return {left / 1048576.0, total / 1048576.0};
  }

  // Runs each kind of step once, and compares what came out with what the processor makes of it.
  void prepare(bool copies) {
    const size_t most = size_t(blocks(Step::Full)) * THREADS;
    DEMAND(cudaMalloc(&out_, most * sizeof(float)));
    for (Step step : {Step::Full, Step::Short, Step::Long, Step::Small}) {
      DEMAND(cudaMemset(out_, 0xff, most * sizeof(float)));
      launch(step, 0);
      wait(0);
      for (unsigned index : {0u, static_cast<unsigned>(blocks(step)) * THREADS - 1}) {
        float got = 0;
        DEMAND(cudaMemcpy(&got, out_ + index, sizeof got, cudaMemcpyDeviceToHost));
        if (got != chains(index, rounds(step))) throw Refused("the GPU calculates wrong");
      }
    }
    if (copies) prepare_copies();
  }

  void launch(Step step, int place) {
    if (step == Step::Copy)
      copy<<<about_.multiProcessorCount * 16, 512>>>(from_, to_, COPIED / sizeof(float4));
    else
      multiply_add<<<blocks(step), THREADS>>>(out_, rounds(step));
    DEMAND(cudaGetLastError());
    DEMAND(cudaEventRecord(events_[place]));
  }

  void wait(int place) { DEMAND(cudaEventSynchronize(events_[place])); }
  void wait_all() { DEMAND(cudaDeviceSynchronize()); }

  // Operations, or bytes read and written, of a step.
  double amount(Step step) const {
    if (step == Step::Copy) return 2.0 * COPIED;
    return 8.0 * rounds(step) * blocks(step) * THREADS;
  }

  // Takes memory and writes to it. Returns what CUDA says against it, or nothing.
  std::string take(size_t mib) {
    unsigned char *memory = nullptr;
    const cudaError_t said = cudaMalloc(&memory, mib << 20);
    if (said != cudaSuccess) {
      cudaGetLastError();
      return std::string("cudaMalloc: ") + cudaGetErrorString(said);
    }
    DEMAND(cudaMemset(memory, HELD, mib << 20));
    DEMAND(cudaDeviceSynchronize());
    taken_.push_back({memory, mib << 20});
    return "";
  }

  // Whether the first and the last byte of all that was taken are as they were written.
  bool holds() const {
    for (const Taken &each : taken_)
      for (size_t index : {size_t(0), each.bytes - 1}) {
        unsigned char got = 0;
        DEMAND(cudaMemcpy(&got, each.memory + index, 1, cudaMemcpyDeviceToHost));
        if (got != HELD) return false;
      }
    return true;
  }

 private:
  struct Taken {
    unsigned char *memory;
    size_t bytes;
  };

  int blocks(Step step) const {
    const int processors = about_.multiProcessorCount;
    if (step == Step::Small) return 1;
    return step == Step::Full ? processors * 8 : std::max(1, processors / 8);
  }

  static int rounds(Step step) {
    if (step == Step::Small) return 800;
    return step == Step::Long ? ROUNDS * 20 : ROUNDS;
  }

  void prepare_copies() {
    const size_t count = COPIED / sizeof(float4);
    DEMAND(cudaMalloc(&from_, COPIED));
    DEMAND(cudaMalloc(&to_, COPIED));
    DEMAND(cudaMemset(to_, 0xff, COPIED));
    number<<<about_.multiProcessorCount * 16, 512>>>(from_, count);
    launch(Step::Copy, 0);
    wait_all();
    for (size_t index : {size_t(0), count / 2, count - 1}) {
      float4 got = {};
      DEMAND(cudaMemcpy(&got, to_ + index, sizeof got, cudaMemcpyDeviceToHost));
      if (got.x != static_cast<float>(index % 8191) || got.w != got.x + 3)
        throw Refused("the GPU copies wrong");
    }
  }

  cudaDeviceProp about_{};
  cudaEvent_t events_[2]{};
  float *out_ = nullptr;
  float4 *from_ = nullptr, *to_ = nullptr;
  std::vector<Taken> taken_;
};
