// The gated recurrent unit in both of its forms: the reset after the product with W_hn, or before it. [Cho et al. 2014]
//
// Steps: one thread for each unit of each lane; the products with W_hh come in between. Rows: one block for each lane,
// one thread for each gate of each unit, the whole sequence in one launch. Names and shapes as in reference/gru.py;
// `inner` is W_hn h + b_hn where the reset comes after, r h where it comes before.
#include "common.cuh"
#include "row_weights.cuh"

// gates (T, B, 3H) holds the input products, and then the gates. product (B, 3H). before: the step before t, or -1.
extern "C" __global__ void gru_step_forward(REAL* gates, const REAL* product, const REAL* b_hn, REAL* h, REAL* inner,
                                            const REAL* h0, const int* lengths, int t, int before, int B, int H) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, size = B * H;
  if (n >= size) return;
  int lane = n / H, j = n % H;
  REAL* a = gates + ((size_t)t * B + lane) * 3 * H + j;
  const REAL* p = product + (size_t)lane * 3 * H + j;
  REAL r = sigmoid(a[0] + p[0]), z = sigmoid(a[H] + p[H]), within = p[2 * H] + b_hn[j];
  REAL candidate = tanh(a[2 * H] + r * within);
  a[0] = r, a[H] = z, a[2 * H] = candidate;
  inner[(size_t)t * size + n] = within;
  REAL h_before = before < 0 ? h0[n] : h[(size_t)before * size + n];
  h[(size_t)t * size + n] = ended(lengths, lane, t) ? h_before : candidate + z * (h_before - candidate);
}

// Reset before, first half: r and z, from product (B, 2H); inner is what W_hn is applied to.
extern "C" __global__ void gru_step_forward_gates(REAL* gates, const REAL* product, const REAL* h, REAL* inner,
                                                  const REAL* h0, int t, int before, int B, int H) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, size = B * H;
  if (n >= size) return;
  int lane = n / H, j = n % H;
  REAL* a = gates + ((size_t)t * B + lane) * 3 * H + j;
  const REAL* p = product + (size_t)lane * 2 * H + j;
  REAL r = sigmoid(a[0] + p[0]);
  a[0] = r;
  a[H] = sigmoid(a[H] + p[H]);
  inner[(size_t)t * size + n] = r * (before < 0 ? h0[n] : h[(size_t)before * size + n]);
}

// Reset before, second half: n and the state, from product (B, H).
extern "C" __global__ void gru_step_forward_state(REAL* gates, const REAL* product, const REAL* b_hn, REAL* h,
                                                  const REAL* h0, const int* lengths, int t, int before, int B, int H) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, size = B * H;
  if (n >= size) return;
  int lane = n / H, j = n % H;
  REAL* a = gates + ((size_t)t * B + lane) * 3 * H + j;
  REAL z = a[H], candidate = tanh(a[2 * H] + product[n] + b_hn[j]);
  a[2 * H] = candidate;
  REAL h_before = before < 0 ? h0[n] : h[(size_t)before * size + n];
  h[(size_t)t * size + n] = ended(lengths, lane, t) ? h_before : candidate + z * (h_before - candidate);
}

struct GruCotangents {
  REAL z, n;
};

// of the sums of z and n, from that of h
__device__ __forceinline__ GruCotangents gru_pull(REAL dh, REAL z, REAL n, REAL h_before, bool past) {
  if (past) return {0, 0};
  return {dh * (h_before - n) * (z * (1 - z)), dh * (1 - z) * (1 - n * n)};
}

// product and kept: what the step after t sends back to h, through W_hh and past it; both (B, H).
// through (T, B, 3H): cotangents of the products with W_hh, which for n differ from those of the sums.
extern "C" __global__ void gru_step_backward(const REAL* dh, const REAL* h, const REAL* gates, const REAL* inner,
                                             const REAL* h0, const REAL* product, REAL* kept, REAL* d_xw,
                                             REAL* through, const int* lengths, int t, int before, int B, int H) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, size = B * H;
  if (n >= size) return;
  int lane = n / H;
  size_t at = ((size_t)t * B + lane) * 3 * H + n % H, state = (size_t)t * size + n;
  REAL total = dh[state] + product[n] + kept[n], r = gates[at], z = gates[at + H];
  bool past = ended(lengths, lane, t);
  GruCotangents d = gru_pull(total, z, gates[at + 2 * H], before < 0 ? h0[n] : h[(size_t)before * size + n], past);
  d_xw[at] = through[at] = d.n * inner[state] * (r * (1 - r));
  d_xw[at + H] = through[at + H] = d.z;
  d_xw[at + 2 * H] = d.n;
  through[at + 2 * H] = d.n * r;
  kept[n] = past ? total : total * z;
}

// Reset before, first half: z and n. d_n (B, H) goes through W_hn; kept is all that reaches h here.
extern "C" __global__ void gru_step_backward_state(const REAL* dh, const REAL* h, const REAL* gates, const REAL* h0,
                                                   const REAL* product, REAL* kept, REAL* d_xw, REAL* d_n,
                                                   const int* lengths, int t, int before, int B, int H) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, size = B * H;
  if (n >= size) return;
  int lane = n / H;
  size_t at = ((size_t)t * B + lane) * 3 * H + n % H;
  REAL total = dh[(size_t)t * size + n] + product[n] + kept[n];
  REAL h_before = before < 0 ? h0[n] : h[(size_t)before * size + n];
  GruCotangents d = gru_pull(total, gates[at + H], gates[at + 2 * H], h_before, ended(lengths, lane, t));
  d_xw[at + H] = d.z;
  d_xw[at + 2 * H] = d_n[n] = d.n;
  kept[n] = total;
}

// Reset before, second half: r, from d_inner (B, H), the cotangent of r h. pair (B, 2H): of the sums of r and z.
extern "C" __global__ void gru_step_backward_gates(const REAL* h, const REAL* gates, const REAL* h0,
                                                   const REAL* d_inner, REAL* kept, REAL* d_xw, REAL* pair,
                                                   const int* lengths, int t, int before, int B, int H) {
  int n = blockIdx.x * blockDim.x + threadIdx.x, size = B * H;
  if (n >= size) return;
  int lane = n / H, j = n % H;
  size_t at = ((size_t)t * B + lane) * 3 * H + j, two = (size_t)lane * 2 * H + j;
  REAL r = gates[at], h_before = before < 0 ? h0[n] : h[(size_t)before * size + n];
  d_xw[at] = pair[two] = d_inner[n] * h_before * (r * (1 - r));
  pair[two + H] = d_xw[at + H];
  if (!ended(lengths, lane, t)) kept[n] = kept[n] * gates[at + H] + d_inner[n] * r;
}

#ifdef UNITS
extern "C" __global__ void __launch_bounds__(3 * UNITS)
gru_row_forward(REAL* gates, const REAL* w_hh, const REAL* b_hn, REAL* h, REAL* inner, const REAL* h0,
                const int* lengths, int T, int reverse) {
  extern __shared__ REAL memory[];
  REAL* state = memory + (UNITS - KEPT) * 3 * UNITS;
  REAL* opened = state + UNITS;  // r, z, and W_hn h + b_hn
  const int j = threadIdx.x, lane = blockIdx.x, B = gridDim.x;
  RowWeights row;
  row.load(w_hh + (size_t)j * UNITS, 1, memory);
  REAL bias = j >= 2 * UNITS ? b_hn[j - 2 * UNITS] : REAL(0), now = 0;
  if (j < UNITS) now = state[j] = h0[lane * UNITS + j];
  __syncthreads();  // the first state is whole
  for (int n = 0; n < T; ++n) {
    int t = reverse ? T - 1 - n : n;
    REAL* a = gates + ((size_t)t * B + lane) * 3 * UNITS;
    REAL product = row.dot(state);
    opened[j] = j < 2 * UNITS ? sigmoid(a[j] + product) : product + bias;
    __syncthreads();  // r, z and the product are there, and the state has been read
    if (j < UNITS) {
      size_t at = ((size_t)t * B + lane) * UNITS + j;
      REAL r = opened[j], z = opened[UNITS + j], within = opened[2 * UNITS + j];
      REAL candidate = tanh(a[2 * UNITS + j] + r * within);
      a[j] = r, a[UNITS + j] = z, a[2 * UNITS + j] = candidate;
      inner[at] = within;
      if (!ended(lengths, lane, t)) now = candidate + z * (now - candidate);
      state[j] = h[at] = now;
    }
    __syncthreads();  // the new state is whole, and the gates have been read
  }
}

// Reset before: the last third of the threads holds W_hn, and the state.
extern "C" __global__ void __launch_bounds__(3 * UNITS)
gru_row_forward_before(REAL* gates, const REAL* w_hh, const REAL* b_hn, REAL* h, REAL* inner, const REAL* h0,
                       const int* lengths, int T, int reverse) {
  extern __shared__ REAL memory[];
  REAL* state = memory + (UNITS - KEPT) * 3 * UNITS;
  REAL* kept_back = state + UNITS;  // r h
  REAL* z = kept_back + UNITS;
  const int j = threadIdx.x, gate = j / UNITS, unit = j % UNITS, lane = blockIdx.x, B = gridDim.x;
  RowWeights row;
  row.load(w_hh + (size_t)j * UNITS, 1, memory);
  REAL now = 0, bias = b_hn[unit];
  if (gate == 2) now = state[unit] = h0[lane * UNITS + unit];
  __syncthreads();  // the first state is whole
  for (int n = 0; n < T; ++n) {
    int t = reverse ? T - 1 - n : n;
    REAL* a = gates + ((size_t)t * B + lane) * 3 * UNITS + j;
    size_t at = ((size_t)t * B + lane) * UNITS + unit;
    if (gate < 2) *a = sigmoid(*a + row.dot(state));
    if (gate == 0) inner[at] = kept_back[unit] = *a * state[unit];
    if (gate == 1) z[unit] = *a;
    __syncthreads();  // r h and z are there, and the state has been read
    if (gate == 2) {
      REAL candidate = tanh(*a + row.dot(kept_back) + bias);
      *a = candidate;
      if (!ended(lengths, lane, t)) now = candidate + z[unit] * (now - candidate);
      state[unit] = h[at] = now;
    }
    __syncthreads();  // the new state is whole, and r h and z have been read
  }
}

extern "C" __global__ void __launch_bounds__(3 * UNITS)
gru_row_backward(const REAL* dh, const REAL* dh_last, const REAL* h, const REAL* gates, const REAL* inner,
                 const REAL* w_hh, const REAL* h0, REAL* d_xw, REAL* through, REAL* dh0, const int* lengths, int T,
                 int reverse) {
  extern __shared__ REAL memory[];
  REAL* sums = memory + (UNITS - KEPT) * 3 * UNITS;  // cotangents of the products
  REAL* parts = sums + 3 * UNITS;                    // of the state, gate by gate
  const int j = threadIdx.x, gate = j / UNITS, unit = j % UNITS, lane = blockIdx.x, B = gridDim.x;
  RowWeights column;
  column.load(w_hh + (size_t)gate * UNITS * UNITS + unit, UNITS, memory);
  REAL now = j < UNITS ? dh_last[lane * UNITS + j] : REAL(0), z = 0;
  for (int n = T - 1; n >= 0; --n) {
    int t = reverse ? T - 1 - n : n;
    bool past = ended(lengths, lane, t);
    if (j < UNITS) {
      size_t at = ((size_t)t * B + lane) * 3 * UNITS + j, state = ((size_t)t * B + lane) * UNITS + j;
      int before = reverse ? t + 1 : t - 1;
      REAL h_before = n == 0 ? h0[lane * UNITS + j] : h[((size_t)before * B + lane) * UNITS + j], r = gates[at];
      now += dh[state];
      z = gates[at + UNITS];
      GruCotangents d = gru_pull(now, z, gates[at + 2 * UNITS], h_before, past);
      d_xw[at] = through[at] = sums[j] = d.n * inner[state] * (r * (1 - r));
      d_xw[at + UNITS] = through[at + UNITS] = sums[UNITS + j] = d.z;
      d_xw[at + 2 * UNITS] = d.n;
      through[at + 2 * UNITS] = sums[2 * UNITS + j] = d.n * r;
    }
    __syncthreads();  // the cotangents of all products are there
    parts[j] = column.dot(sums + gate * UNITS);
    __syncthreads();  // all parts are there
    if (j < UNITS && !past) now = now * z + (parts[j] + parts[UNITS + j] + parts[2 * UNITS + j]);
  }
  if (j < UNITS) dh0[lane * UNITS + j] = now;
}

// Reset before: the last third of the threads holds W_hn, and the cotangent of the state.
extern "C" __global__ void __launch_bounds__(3 * UNITS)
gru_row_backward_before(const REAL* dh, const REAL* dh_last, const REAL* h, const REAL* gates, const REAL* w_hh,
                        const REAL* h0, REAL* d_xw, REAL* dh0, const int* lengths, int T, int reverse) {
  extern __shared__ REAL memory[];
  REAL* sums = memory + (UNITS - KEPT) * 3 * UNITS;  // cotangents of the sums
  REAL* parts = sums + 3 * UNITS;                    // of the state, through r and through z
  const int j = threadIdx.x, gate = j / UNITS, unit = j % UNITS, lane = blockIdx.x, B = gridDim.x;
  RowWeights column;
  column.load(w_hh + (size_t)gate * UNITS * UNITS + unit, UNITS, memory);
  REAL now = gate == 2 ? dh_last[lane * UNITS + unit] : REAL(0);
  for (int n = T - 1; n >= 0; --n) {
    int t = reverse ? T - 1 - n : n;
    bool past = ended(lengths, lane, t);
    size_t at = ((size_t)t * B + lane) * 3 * UNITS + unit, state = ((size_t)t * B + lane) * UNITS + unit;
    int before = reverse ? t + 1 : t - 1;
    REAL r = gates[at], z = gates[at + UNITS], h_before = 0, d_inner = 0;
    if (gate == 2) {
      h_before = n == 0 ? h0[lane * UNITS + unit] : h[((size_t)before * B + lane) * UNITS + unit];
      now += dh[state];
      GruCotangents d = gru_pull(now, z, gates[at + 2 * UNITS], h_before, past);
      d_xw[at + UNITS] = sums[UNITS + unit] = d.z;
      d_xw[at + 2 * UNITS] = sums[2 * UNITS + unit] = d.n;
    }
    __syncthreads();  // the cotangents of z and n are there
    if (gate == 2) {
      d_inner = column.dot(sums + 2 * UNITS);
      d_xw[at] = sums[unit] = d_inner * h_before * (r * (1 - r));
    }
    __syncthreads();  // that of r is there
    if (gate < 2) parts[j] = column.dot(sums + gate * UNITS);
    __syncthreads();  // all parts are there, and the cotangents have been read
    if (gate == 2 && !past) now = now * z + d_inner * r + (parts[unit] + parts[UNITS + unit]);
  }
  if (gate == 2) dh0[lane * UNITS + unit] = now;
}
#endif
