// Long short-term memory with a forget gate. [Hochreiter & Schmidhuber 1997; Gers et al. 2000]
//
// Steps: one thread for each unit of each lane; the product with W_hh comes in between. Rows: one block for each lane,
// one thread for each gate of each unit, the whole sequence in one launch. Names and shapes as in reference/lstm.py.
#include "common.cuh"
#include "row_weights.cuh"

// gates (T, B, 4H) holds the input products, and then the gates. product (B, 4H). before: the step before t, or -1.
extern "C" __global__ void lstm_step_forward(REAL* gates, const REAL* product, REAL* h, REAL* c, const REAL* h0,
                                             const REAL* c0, const int* lengths, int t, int before, int B, int H) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, size = B * H;
  if (n >= size) return;
  int lane = n / H, j = n % H;
  REAL* a = gates + ((size_t)t * B + lane) * 4 * H + j;
  const REAL* p = product + (size_t)lane * 4 * H + j;
  REAL i = sigmoid(a[0] + p[0]), f = sigmoid(a[H] + p[H]);
  REAL g = tanh(a[2 * H] + p[2 * H]), o = sigmoid(a[3 * H] + p[3 * H]);
  a[0] = i, a[H] = f, a[2 * H] = g, a[3 * H] = o;
  REAL c_before = before < 0 ? c0[n] : c[(size_t)before * size + n];
  REAL c_now = f * c_before + i * g, h_now = o * tanh(c_now);
  if (ended(lengths, lane, t)) {
    c_now = c_before;
    h_now = before < 0 ? h0[n] : h[(size_t)before * size + n];
  }
  c[(size_t)t * size + n] = c_now;
  h[(size_t)t * size + n] = h_now;
}

struct LstmCotangents {
  REAL i, f, g, o, c_before;
};

// of the sums of one unit, and of the c before, from those of h and c
__device__ __forceinline__ LstmCotangents lstm_pull(REAL dh, REAL dc, const REAL* a, int H, REAL c, REAL c_before) {
  REAL i = a[0], f = a[H], g = a[2 * H], o = a[3 * H], squashed = tanh(c);
  dc += dh * o * (1 - squashed * squashed);
  return {dc * g * (i * (1 - i)), dc * c_before * (f * (1 - f)), dc * i * (1 - g * g), dh * squashed * (o * (1 - o)),
          dc * f};
}

// product and kept: what the step after t sends back to h, through W_hh and past it; carried: to c. All (B, H).
extern "C" __global__ void lstm_step_backward(const REAL* dh, const REAL* c, const REAL* gates, const REAL* c0,
                                              const REAL* product, REAL* kept, REAL* carried, REAL* d_xw,
                                              const int* lengths, int t, int before, int B, int H) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, size = B * H;
  if (n >= size) return;
  int lane = n / H;
  size_t at = ((size_t)t * B + lane) * 4 * H + n % H;
  REAL total = dh[(size_t)t * size + n] + product[n] + kept[n];
  REAL c_before = before < 0 ? c0[n] : c[(size_t)before * size + n];
  LstmCotangents d = lstm_pull(total, carried[n], gates + at, H, c[(size_t)t * size + n], c_before);
  bool past = ended(lengths, lane, t);
  d_xw[at] = past ? REAL(0) : d.i;
  d_xw[at + H] = past ? REAL(0) : d.f;
  d_xw[at + 2 * H] = past ? REAL(0) : d.g;
  d_xw[at + 3 * H] = past ? REAL(0) : d.o;
  kept[n] = past ? total : REAL(0);
  if (!past) carried[n] = d.c_before;
}

#ifdef UNITS
extern "C" __global__ void __launch_bounds__(4 * UNITS)
lstm_row_forward(REAL* gates, const REAL* w_hh, REAL* h, REAL* c, const REAL* h0, const REAL* c0, const int* lengths,
                 int T, int reverse) {
  extern __shared__ REAL memory[];
  REAL* state = memory + (UNITS - KEPT) * 4 * UNITS;
  REAL* opened = state + UNITS;  // the gates
  const int j = threadIdx.x, lane = blockIdx.x, B = gridDim.x;
  RowWeights row;
  row.load(w_hh + (size_t)j * UNITS, 1, memory);
  REAL h_now = 0, c_now = 0;
  if (j < UNITS) {
    h_now = state[j] = h0[lane * UNITS + j];
    c_now = c0[lane * UNITS + j];
  }
  __syncthreads();  // the first state is whole
  for (int n = 0; n < T; ++n) {
    int t = reverse ? T - 1 - n : n;
    REAL* a = gates + ((size_t)t * B + lane) * 4 * UNITS + j;
    REAL sum = *a + row.dot(state);
    *a = opened[j] = j / UNITS == 2 ? tanh(sum) : sigmoid(sum);
    __syncthreads();  // all gates are there, and the state has been read
    if (j < UNITS) {
      if (!ended(lengths, lane, t)) {
        c_now = opened[UNITS + j] * c_now + opened[j] * opened[2 * UNITS + j];
        h_now = opened[3 * UNITS + j] * tanh(c_now);
      }
      size_t at = ((size_t)t * B + lane) * UNITS + j;
      state[j] = h[at] = h_now;
      c[at] = c_now;
    }
    __syncthreads();  // the new state is whole, and the gates have been read
  }
}

extern "C" __global__ void __launch_bounds__(4 * UNITS)
lstm_row_backward(const REAL* dh, const REAL* dh_last, const REAL* dc_last, const REAL* c, const REAL* gates,
                  const REAL* w_hh, const REAL* c0, REAL* d_xw, REAL* dh0, REAL* dc0, const int* lengths, int T,
                  int reverse) {
  extern __shared__ REAL memory[];
  REAL* sums = memory + (UNITS - KEPT) * 4 * UNITS;  // cotangents of the sums
  REAL* parts = sums + 4 * UNITS;                    // of their products with W_hh, gate by gate
  const int j = threadIdx.x, unit = j % UNITS, gate = j / UNITS, lane = blockIdx.x, B = gridDim.x;
  RowWeights column;
  column.load(w_hh + (size_t)gate * UNITS * UNITS + unit, UNITS, memory);
  REAL dh_now = 0, dc_now = 0;
  if (j < UNITS) {
    dh_now = dh_last[lane * UNITS + j];
    dc_now = dc_last[lane * UNITS + j];
  }
  for (int n = T - 1; n >= 0; --n) {
    int t = reverse ? T - 1 - n : n;
    bool past = ended(lengths, lane, t);
    if (j < UNITS) {
      size_t at = ((size_t)t * B + lane) * 4 * UNITS + j, state = ((size_t)t * B + lane) * UNITS + j;
      int before = reverse ? t + 1 : t - 1;
      REAL c_before = n == 0 ? c0[lane * UNITS + j] : c[((size_t)before * B + lane) * UNITS + j];
      dh_now += dh[state];
      LstmCotangents d = lstm_pull(dh_now, dc_now, gates + at, UNITS, c[state], c_before);
      d_xw[at] = sums[j] = past ? REAL(0) : d.i;
      d_xw[at + UNITS] = sums[UNITS + j] = past ? REAL(0) : d.f;
      d_xw[at + 2 * UNITS] = sums[2 * UNITS + j] = past ? REAL(0) : d.g;
      d_xw[at + 3 * UNITS] = sums[3 * UNITS + j] = past ? REAL(0) : d.o;
      if (!past) dc_now = d.c_before;
    }
    __syncthreads();  // the cotangents of all sums are there
    parts[j] = column.dot(sums + gate * UNITS);
    __syncthreads();  // all parts are there
    if (j < UNITS && !past) {
      dh_now = (parts[j] + parts[UNITS + j]) + (parts[2 * UNITS + j] + parts[3 * UNITS + j]);
    }
  }
  if (j < UNITS) {
    dh0[lane * UNITS + j] = dh_now;
    dc0[lane * UNITS + j] = dc_now;
  }
}
#endif
