// What the kernels share. REAL is float or double; the compiler is told which.
#ifndef REAL
#define REAL float
#endif

// exact to a few ulp in the middle, and cannot overflow
__device__ __forceinline__ REAL sigmoid(REAL x) { return REAL(0.5) * tanh(REAL(0.5) * x) + REAL(0.5); }

// whether a lane of the batch is past its end; without lengths none ever is
__device__ __forceinline__ bool ended(const int* lengths, int lane, int t) {
  return lengths != nullptr && lengths[lane] <= t;
}
