// The simple recurrent network of Elman (1990): h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh).
//
// Steps: one thread for each unit of each lane; the product with W_hh comes in between. Rows: one block for each lane,
// one thread for each unit, the whole sequence in one launch. Names and shapes as in reference/elman.py.
#include "common.cuh"
#include "row_weights.cuh"

__device__ __forceinline__ REAL squash(REAL a, int relu) { return relu ? (a < 0 ? REAL(0) : a) : tanh(a); }
__device__ __forceinline__ REAL slope(REAL h, int relu) { return relu ? REAL(h > 0) : 1 - h * h; }

// h (T, B, H) holds the input products, and then the states. before: the step that ran before t, or -1.
extern "C" __global__ void elman_step_forward(REAL* h, const REAL* product, const REAL* h0, const int* lengths, int t,
                                              int before, int B, int H, int relu) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, size = B * H;
  if (n >= size) return;
  REAL* at = h + (size_t)t * size + n;
  *at = ended(lengths, n / H, t) ? (before < 0 ? h0[n] : h[(size_t)before * size + n]) : squash(*at + product[n], relu);
}

// product and kept: what the step after t sends back, through W_hh and past it; both (B, H).
extern "C" __global__ void elman_step_backward(const REAL* dh, const REAL* h, const REAL* product, REAL* kept,
                                               REAL* d_xw, const int* lengths, int t, int B, int H, int relu) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, size = B * H;
  if (n >= size) return;
  size_t at = (size_t)t * size + n;
  REAL total = dh[at] + product[n] + kept[n];
  bool past = ended(lengths, n / H, t);
  d_xw[at] = past ? REAL(0) : total * slope(h[at], relu);
  kept[n] = past ? total : REAL(0);
}

#ifdef UNITS
extern "C" __global__ void __launch_bounds__(UNITS)
elman_row_forward(REAL* h, const REAL* w_hh, const REAL* h0, const int* lengths, int T, int reverse, int relu) {
  extern __shared__ REAL memory[];
  REAL* states = memory + (UNITS - KEPT) * UNITS;  // two in turn
  const int j = threadIdx.x, lane = blockIdx.x, B = gridDim.x;
  RowWeights row;
  row.load(w_hh + (size_t)j * UNITS, 1, memory);
  REAL now = h0[lane * UNITS + j];
  states[j] = now;
  __syncthreads();  // the first state is whole
  for (int n = 0; n < T; ++n) {
    int t = reverse ? T - 1 - n : n;
    REAL* at = h + ((size_t)t * B + lane) * UNITS + j;
    REAL sum = *at + row.dot(states + n % 2 * UNITS);
    if (!ended(lengths, lane, t)) now = squash(sum, relu);
    *at = now;
    states[(n + 1) % 2 * UNITS + j] = now;
    __syncthreads();  // the new state is whole, and the old one has been read
  }
}

extern "C" __global__ void __launch_bounds__(UNITS)
elman_row_backward(const REAL* dh, const REAL* dh_last, const REAL* h, const REAL* w_hh, REAL* d_xw, REAL* dh0,
                   const int* lengths, int T, int reverse, int relu) {
  extern __shared__ REAL memory[];
  REAL* sums = memory + (UNITS - KEPT) * UNITS;  // cotangents of the sums, two in turn
  const int j = threadIdx.x, lane = blockIdx.x, B = gridDim.x;
  RowWeights column;
  column.load(w_hh + j, UNITS, memory);
  REAL carry = dh_last[lane * UNITS + j];
  for (int n = T - 1; n >= 0; --n) {
    int t = reverse ? T - 1 - n : n;
    size_t at = ((size_t)t * B + lane) * UNITS + j;
    REAL total = dh[at] + carry;
    bool past = ended(lengths, lane, t);
    REAL d = past ? REAL(0) : total * slope(h[at], relu);
    d_xw[at] = d;
    sums[n % 2 * UNITS + j] = d;
    __syncthreads();  // the cotangents are whole, and those of the step after have been read
    carry = column.dot(sums + n % 2 * UNITS);
    if (past) carry = total;
  }
  dh0[lane * UNITS + j] = carry;
}
#endif
