// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Work for a shared GPU, phase by phase, together with others.
//
//   load NAME FOLDER PHASE...      a phase is MODE@OFFSET+SECONDS, such as saturating@0+2.5
//   load NAME now PHASE...         the same without waiting for others
//
// It opens the GPU, writes FOLDER/ready-NAME, waits until FOLDER/start holds a time (seconds since
// 1970) and runs each phase OFFSET seconds after it. All pods run WARM seconds before and COOL
// seconds after what is measured, so that nobody is measured beside pods that are not at work yet
// or any more. One line of JSON for each phase; status 3 when the GPU refused something.
//
// | mode        | a step is                                     | steps are       | unit   |
// |-------------|-----------------------------------------------|-----------------|--------|
// | saturating  | fp32 FMA on all multiprocessors, some 0.7 ms  | kept queued     | FLOP   |
// | memory      | a copy of 1 GiB, read and written             | kept queued     | bytes  |
// | short_steps | fp32 FMA on an eighth of them, some 0.1 ms    | waited for      | steps  |
// | long_steps  | the same, 20 times longer                     | waited for      | steps  |
// | bursty      | as saturating, then 18 ms of nothing          | waited for      | steps  |
// | small       | fp32 FMA in one block, some 10 us             | waited for      | steps  |
// | idle        | nothing                                       |                 |        |
// | take:GIB    | takes so much memory, and keeps it            | once            | MiB    |
// | fill        | takes memory until it is refused              | once            | MiB    |
// | verify      | as saturating, and reads what it took         | waited for      | steps  |
//
// Build: nvcc -O3 -arch=sm_90 -cudart static -o load load.cu
// To debug what is around it, without a GPU: g++ -std=c++17 -O2 -DNO_GPU -x c++ -static -o load load.cu
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

enum class Step { Full, Short, Long, Small, Copy, None };

// The GPU has said no, in the words of CUDA.
struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

#ifdef NO_GPU
#include "no_gpu.h"
#else
#include "gpu.cuh"
#endif

static const double WARM = 0.3, COOL = 0.2;
static const double PATIENCE = 120;  // for the others
static const auto REST = std::chrono::milliseconds(18);

struct Phase {
  std::string mode;
  double offset = 0, seconds = 0;
};

struct Mode {
  Step step;
  bool queued, rests;
  const char *unit;
};

struct Measured {
  double late = 0, seconds = 0, rate = 0;
  long steps = 0;
  std::vector<double> micros;  // of each step that was waited for
  const char *unit = "";
  std::string error;
};

static double now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(since).count();
}

static void sleep_until(double when) {
  const double left = when - now();
  if (left > 0) std::this_thread::sleep_for(std::chrono::duration<double>(left));
}

static Phase read_phase(const std::string &text) {
  const size_t at = text.find('@'), plus = text.rfind('+');
  if (at == std::string::npos || plus == std::string::npos || plus < at)
    throw std::invalid_argument("a phase is MODE@OFFSET+SECONDS, not " + text);
  return {text.substr(0, at), std::stod(text.substr(at + 1, plus - at - 1)),
          std::stod(text.substr(plus + 1))};
}

static Mode read_mode(const std::string &name) {
  if (name == "saturating") return {Step::Full, true, false, "FLOP"};
  if (name == "memory") return {Step::Copy, true, false, "bytes"};
  if (name == "short_steps") return {Step::Short, false, false, "steps"};
  if (name == "long_steps") return {Step::Long, false, false, "steps"};
  if (name == "bursty") return {Step::Full, false, true, "steps"};
  if (name == "small") return {Step::Small, false, false, "steps"};
  if (name == "verify") return {Step::Full, false, false, "steps"};
  return {Step::None, false, false, ""};
}

// Steps from WARM before what is measured until COOL after it; counts those that ended within.
static Measured work(Gpu &gpu, const Mode &mode, const Phase &phase, double start, bool verify) {
  Measured found;
  found.unit = mode.unit;
  const double begin = start + phase.offset + WARM, end = begin + phase.seconds;
  double first = 0, last = 0, looked = 0;
  for (long turn = 0;; turn++) {
    const double launched = now();
    if (launched >= end + COOL) break;
    const int place = mode.queued ? turn % 2 : 0;
    if (mode.queued && turn >= 2) gpu.wait(place);
    const double ended = now();  // of the step before the last, where they are queued
    gpu.launch(mode.step, place);
    if (!mode.queued) gpu.wait(place);
    const double done = mode.queued ? ended : now();
    const bool counts = mode.queued ? turn >= 2 && done >= begin : launched >= begin;
    if (counts && done <= end) {
      if (!found.steps++) first = mode.queued ? done : launched;
      last = done;
      if (!mode.queued) found.micros.push_back((done - launched) * 1e6);
    }
    if (mode.rests) std::this_thread::sleep_for(REST);
    if (verify && done - looked > 0.5) {
      looked = done;
      if (!gpu.holds()) throw Refused("what was written into the memory is not there any more");
    }
  }
  gpu.wait_all();
  // The first step of a queue only tells when to begin
  const long counted = mode.queued ? found.steps - 1 : found.steps;
  found.seconds = last - first;
  const double one = std::strcmp(mode.unit, "steps") ? gpu.amount(mode.step) : 1;
  if (found.seconds > 0) found.rate = counted * one / found.seconds;
  return found;
}

// Takes memory in steps of 1 GiB, and in smaller ones down to 2 MiB where it goes for all of it.
static Measured take(Gpu &gpu, double mib, bool all, double until) {
  Measured found;
  found.unit = "MiB";
  for (double piece = 1024; piece >= 2 && found.rate < mib; piece /= 4) {
    while (found.rate < mib) {
      const double want = std::min(piece, mib - found.rate);
      const std::string said = gpu.take(static_cast<size_t>(want));
      if (!said.empty()) {
        found.error = said;
        break;
      }
      found.rate += want;
      found.steps++;
    }
    if (!all) break;
  }
  sleep_until(until);
  return found;
}

static Measured run(Gpu &gpu, const Phase &phase, double start) {
  const double begin = start + phase.offset, until = begin + WARM + phase.seconds + COOL;
  sleep_until(begin);
  const double late = now() - begin;
  Measured found;
  if (phase.mode.rfind("take:", 0) == 0)
    found = take(gpu, 1024 * std::stod(phase.mode.substr(5)), false, until);
  else if (phase.mode == "fill")
    found = take(gpu, 1e9, true, until);
  else if (phase.mode == "idle")
    sleep_until(until);
  else {
    const Mode mode = read_mode(phase.mode);
    if (mode.step == Step::None) throw std::invalid_argument("no mode " + phase.mode);
    found = work(gpu, mode, phase, start, phase.mode == "verify");
  }
  found.late = late;
  return found;
}

static double percentile(const std::vector<double> &sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(part * sorted.size()))];
}

// Within double quotes of JSON; what CUDA says is plain text.
static std::string plain(std::string text) {
  for (char &letter : text)
    if (letter == '"' || letter == '\\' || letter < ' ') letter = '\'';
  return text;
}

static void tell(const std::string &name, const std::string &load, const std::string &uuid,
                 Memory memory, double taken, Measured &found) {
  std::sort(found.micros.begin(), found.micros.end());
  std::printf(
      "{\"pod\":\"%s\",\"load\":\"%s\",\"uuid\":\"%s\",\"late\":%.4f,\"seconds\":%.4f,"
      "\"steps\":%ld,\"rate\":%.6g,\"unit\":\"%s\",\"p50\":%.1f,\"p95\":%.1f,\"p99\":%.1f,"
      "\"longest\":%.1f,\"free_mib\":%.0f,\"total_mib\":%.0f,\"taken_mib\":%.0f,\"error\":\"%s\"}\n",
      name.c_str(), load.c_str(), uuid.c_str(), found.late, found.seconds, found.steps, found.rate,
      found.unit, percentile(found.micros, .5), percentile(found.micros, .95),
      percentile(found.micros, .99), found.micros.empty() ? 0 : found.micros.back(),
      memory.free_mib, memory.total_mib, taken, plain(found.error).c_str());
  std::fflush(stdout);
}

static bool needs(const std::vector<Phase> &phases, const char *mode) {
  return std::any_of(phases.begin(), phases.end(),
                     [&](const Phase &phase) { return phase.mode == mode; });
}

// Tells the others that this one is ready, and waits for the time at which all begin.
static double wait_for_start(const std::string &folder, const std::string &name) {
  if (folder == "now") return now();
  std::ofstream(folder + "/ready-" + name) << "ready\n";
  for (const double until = now() + PATIENCE; now() < until;) {
    double start = 0;
    if (std::ifstream(folder + "/start") >> start && start > 0) return start;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  throw std::runtime_error("nobody said when to begin");
}

static int serve(const std::string &name, const std::string &folder,
                 const std::vector<Phase> &phases, std::string &doing, std::string &uuid) {
  Gpu gpu(folder);
  uuid = gpu.uuid();
  gpu.prepare(needs(phases, "memory"));
  const double start = wait_for_start(folder, name);
  double taken = 0;
  bool refused = false;
  for (const Phase &phase : phases) {
    doing = phase.mode;
    sleep_until(start + phase.offset);
    const Memory before = gpu.memory();
    Measured found = run(gpu, phase, start);
    if (!std::strcmp(found.unit, "MiB")) taken += found.rate;
    refused = refused || !found.error.empty();
    tell(name, phase.mode, uuid, before, taken, found);
  }
  return refused ? 3 : 0;
}

int main(int count, char **words) {
  std::string name = count > 1 ? words[1] : "", doing = "open", uuid;
  try {
    if (count < 4) throw std::invalid_argument("load NAME FOLDER PHASE...");
    std::vector<Phase> phases;
    for (int place = 3; place < count; place++) phases.push_back(read_phase(words[place]));
    return serve(name, words[2], phases, doing, uuid);
  } catch (const std::invalid_argument &error) {
    std::fprintf(stderr, "load: %s\n", error.what());
    return 2;
  } catch (const std::exception &error) {
    Measured nothing;
    nothing.error = error.what();
    tell(name, doing, uuid, Memory{}, 0, nothing);
    return 3;
  }
}
