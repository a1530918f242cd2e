// What CUDA C++ text needs in order to compile with a C++ compiler. The threads are made by scheduler.cpp.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>
#include <utility>

#define CUDA_ON_CPU 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) alignas(n)

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };

namespace emulator {

struct Launch {
  dim3 grid, block;
  size_t shared;      // bytes of dynamic shared memory
  int cooperative;    // all blocks at once
  int schedule;       // 0 forward, 1 reverse, 2 shuffled
  unsigned seed;      // of the shuffling
  int silenced;       // the number of a barrier that does nothing; -1 for none
};

struct Here { uint3 thread, block; dim3 block_size, grid_size; };
extern Here here;

int run(void (*body)(void*), void* data, const Launch& launch, char* message, size_t room);
void barrier(int number, int line);
void spin();
void progress();
void* fixed_shared(int number, size_t bytes);
void* dynamic_shared();
uint64_t exchange(uint64_t value, int lane);
int lane();

// ---- what a kernel takes, as text: the launcher's arguments are checked against it

template <class T> struct Code { static constexpr const char* text = "?"; };
template <> struct Code<float> { static constexpr const char* text = "f4"; };
template <> struct Code<double> { static constexpr const char* text = "f8"; };
template <> struct Code<int> { static constexpr const char* text = "i4"; };
template <> struct Code<unsigned> { static constexpr const char* text = "u4"; };
template <> struct Code<long long> { static constexpr const char* text = "i8"; };
template <> struct Code<unsigned long long> { static constexpr const char* text = "u8"; };
template <> struct Code<bool> { static constexpr const char* text = "b1"; };

template <class A> void describe_one(char* into) {
  if (std::is_pointer<A>::value) strcat(into, "*");
  strcat(into, Code<std::remove_cv_t<std::remove_pointer_t<A>>>::text);
  strcat(into, " ");
}
template <class... A> void describe(void (*)(A...), char* into) {
  into[0] = 0;
  (describe_one<A>(into), ...);
}

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
  kernel(*(std::remove_reference_t<A>*)arguments[I]...);
}
template <class... A>
int launch(void (*kernel)(A...), void** arguments, const Launch& launch, char* message, size_t room) {
  auto body = [&] { call(kernel, arguments, std::index_sequence_for<A...>{}); };
  return run([](void* data) { (*(decltype(body)*)data)(); }, &body, launch, message, room);
}

template <class T> T from_lane(T value, int source) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  bits = exchange(bits, source);
  memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace emulator

#define threadIdx (emulator::here.thread)
#define blockIdx (emulator::here.block)
#define blockDim (emulator::here.block_size)
#define gridDim (emulator::here.grid_size)

inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcg(const T* p) { return *p; }
inline void __nanosleep(unsigned) { emulator::spin(); }
inline void __threadfence() {}
template <class T> T atomicAdd(T* p, T v) { T old = *p; *p = old + v; if (v != T(0)) emulator::progress(); return old; }
template <class T> T atomicExch(T* p, T v) { T old = *p; *p = v; emulator::progress(); return old; }
template <class T> T atomicMax(T* p, T v) { T old = *p; if (old < v) *p = v; emulator::progress(); return old; }
template <class T> T __shfl_sync(unsigned, T v, int source) { return emulator::from_lane(v, source & 31); }
template <class T> T __shfl_xor_sync(unsigned, T v, int mask) {
  return emulator::from_lane(v, emulator::lane() ^ mask);
}
template <class T> T __shfl_down_sync(unsigned, T v, int by) {
  int lane = emulator::lane();
  return emulator::from_lane(v, lane + by < 32 ? lane + by : lane);
}
