// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Stands in for the GPU of load.cu where there is none, to debug what is around it. A step sleeps
// while it holds a lock that all processes of the folder share; memory is a number in a file. What
// comes out of it says nothing about any GPU.
#pragma once
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

struct Memory {
  double free_mib = 0, total_mib = 0;
};

static const double TOTAL = 81079, CONTEXT = 500;

class Gpu {
 public:
  explicit Gpu(const std::string &folder) : folder_(folder == "now" ? "/tmp" : folder) {
    lock_ = open((folder_ + "/no-gpu.lock").c_str(), O_CREAT | O_RDWR, 0666);
    if (!book(CONTEXT)) throw Refused("cudaFree(nullptr): out of memory");
  }
  ~Gpu() { book(-taken_); }

  std::string uuid() const { return "GPU-00000000-0000-0000-0000-000000000000"; }
  Memory memory() const { return {TOTAL - used(), TOTAL}; }
  void prepare(bool copies) {
    if (copies) book(2048);
  }
  void launch(Step step, int) {
    const double millis = step == Step::Small ? 0.01 : step == Step::Short ? 0.1 : 0.7;
    flock(lock_, LOCK_EX);
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(millis));
    flock(lock_, LOCK_UN);
  }
  void wait(int) {}
  void wait_all() {}
  double amount(Step) const { return 1e9; }
  std::string take(size_t mib) {
    return book(static_cast<double>(mib)) ? "" : "cudaMalloc: out of memory";
  }
  bool holds() const { return true; }

 private:
  double used() const {
    double number = 0;
    std::ifstream(folder_ + "/no-gpu.memory") >> number;
    return number;
  }
  bool book(double mib) {
    flock(lock_, LOCK_EX);
    const double sum = used() + mib;
    if (sum <= TOTAL) {
      std::ofstream(folder_ + "/no-gpu.memory") << sum;
      taken_ += mib;
    }
    flock(lock_, LOCK_UN);
    return sum <= TOTAL;
  }

  std::string folder_;
  int lock_ = -1;
  double taken_ = 0;
};
