// The leaky reservoir of an echo-state network: h_t = (1 - a) h_{t-1} + a f(W h_{t-1} + W_in u_t + b). [Jaeger 2001]
//
// One cooperative launch for the whole sequence: one warp for each unit of each lane, and a barrier of the whole grid
// between steps. Names and shapes as in reference/reservoir.py.
#include "common.cuh"
#include "grid.cuh"

enum Nonlinearity { TANH, IDENTITY, RELU, SIGMOID };
enum Form { DENSE, RING, SPARSE };

__device__ __forceinline__ REAL apply(int nonlinearity, REAL a) {
  switch (nonlinearity) {
    case TANH: return tanh(a);
    case RELU: return a < 0 ? REAL(0) : a;
    case SIGMOID: return sigmoid(a);
    default: return a;
  }
}

// h (T, B, N) holds the input products, and then the states. w: (N, N), (N,), or (nnz,) with indptr and indices.
extern "C" __global__ void __launch_bounds__(256)
reservoir_run(REAL* h, int form, const REAL* w, const int* indptr, const int* indices, const REAL* h0, const REAL* leak,
              const int* lengths, unsigned* arrived, int T, int B, int N, int reverse, int nonlinearity) {
  const int lane = threadIdx.x % 32, warps = gridDim.x * (blockDim.x / 32);
  const int first = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  const size_t size = (size_t)B * N;
  const REAL* before = h0;
  for (int n = 0; n < T; ++n) {
    int t = reverse ? T - 1 - n : n;
    REAL* now = h + t * size;
    for (size_t item = first; item < size; item += warps) {
      int b = item / N, i = item % N;
      const REAL* row = before + (size_t)b * N;
      REAL sum = 0;
      if (form == DENSE) {
        for (int k = lane; k < N; k += 32) sum += w[(size_t)i * N + k] * __ldcg(row + k);
      } else if (form == SPARSE) {
        for (int k = indptr[i] + lane; k < indptr[i + 1]; k += 32) sum += w[k] * __ldcg(row + indices[k]);
      } else if (lane == 0) {
        sum = w[i] * __ldcg(row + (i == 0 ? N - 1 : i - 1));
      }
      for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
      if (lane == 0) {
        REAL old = __ldcg(row + i);
        now[item] = ended(lengths, b, t) ? old : old + leak[i] * (apply(nonlinearity, now[item] + sum) - old);
      }
    }
    grid_barrier(arrived, n + 1);
    before = now;
  }
}
