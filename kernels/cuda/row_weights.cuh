// The recurrent weights of one thread in kernels that keep them on the chip for a whole sequence: UNITS numbers, of
// which the first KEPT lie in registers, the others in shared memory, interleaved so that a warp reads without conflict.
#ifdef UNITS
#define IN_REGISTERS (KEPT > 0 ? KEPT : 1)

struct RowWeights {
  REAL near[IN_REGISTERS];
  REAL* far;  // of this thread; blockDim.x apart

  __device__ __forceinline__ void load(const REAL* weights, int apart, REAL* shared) {
    far = shared + threadIdx.x;
#pragma unroll
    for (int k = 0; k < KEPT; ++k) near[k] = weights[(size_t)k * apart];
    for (int k = KEPT; k < UNITS; ++k) far[(k - KEPT) * blockDim.x] = weights[(size_t)k * apart];
  }

  // The product with a vector in shared memory, which all threads of a warp read at the same place.
  __device__ __forceinline__ REAL dot(const REAL* x) const {
    REAL sums[4] = {0, 0, 0, 0};
#pragma unroll
    for (int k = 0; k < KEPT; ++k) sums[k % 4] += near[k] * x[k];
#pragma unroll 8
    for (int k = KEPT; k < UNITS; ++k) sums[k % 4] += far[(k - KEPT) * blockDim.x] * x[k];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
};
#endif
