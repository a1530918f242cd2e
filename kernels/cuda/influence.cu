// One step of the influence of real-time recurrent learning: J <- D J + I. [Williams & Zipser 1989]
//
// The product runs in place: a block loads PANEL columns of one lane's J into shared memory, and writes D times them
// back. D and the slopes come from small kernels before it; what the weights do in this step alone, I, is added by one
// after it, which touches only the entries of a unit's own weights. Names and shapes as in reference/influence.py.
#include "common.cuh"

#define PANEL 32
#define ROWS 8  // of a block of PANEL x ROWS threads

// influence (B, N, P), d (B, N, N). One block for each panel of each lane.
extern "C" __global__ void __launch_bounds__(PANEL * ROWS)
influence_dense(REAL* influence, const REAL* d, int N, long long P) {
  extern __shared__ REAL panel[];  // (N, PANEL)
  const int column = threadIdx.x % PANEL, row = threadIdx.x / PANEL, lane = blockIdx.y;
  const long long p = (long long)blockIdx.x * PANEL + column;
  REAL* J = influence + (size_t)lane * N * P + p;
  const REAL* D = d + (size_t)lane * N * N;
  for (int k = row; k < N; k += ROWS) panel[k * PANEL + column] = p < P ? J[k * P] : REAL(0);
  __syncthreads();  // the panel is whole: from here on J may be overwritten
  for (int i = row; i < N; i += ROWS) {
    REAL sum = 0;
    for (int k = 0; k < N; ++k) sum += D[(size_t)i * N + k] * panel[k * PANEL + column];
    if (p < P) J[i * P] = sum;
  }
}

// on_h, on_c (B, N, P); d, d_o (B, N, N); f and through (B, N), f with `apart` numbers from lane to lane.
// on_c <- f on_c + d on_h;  on_h <- d_o on_h + through on_c.
extern "C" __global__ void __launch_bounds__(PANEL * ROWS)
influence_lstm(REAL* on_h, REAL* on_c, const REAL* d, const REAL* d_o, const REAL* f, int apart, const REAL* through,
               int N, long long P) {
  extern __shared__ REAL panel[];  // (N, PANEL)
  const int column = threadIdx.x % PANEL, row = threadIdx.x / PANEL, lane = blockIdx.y;
  const long long p = (long long)blockIdx.x * PANEL + column;
  const size_t start = (size_t)lane * N * P + p;
  for (int k = row; k < N; k += ROWS) panel[k * PANEL + column] = p < P ? on_h[start + k * P] : REAL(0);
  __syncthreads();  // the panel is whole: from here on on_h may be overwritten
  for (int i = row; i < N; i += ROWS) {
    REAL of_c = 0, of_o = 0;
    const size_t at = ((size_t)lane * N + i) * N;
    for (int k = 0; k < N; ++k) {
      of_c += d[at + k] * panel[k * PANEL + column];
      of_o += d_o[at + k] * panel[k * PANEL + column];
    }
    if (p < P) {
      REAL now = f[(size_t)lane * apart + i] * on_c[start + i * P] + of_c;
      on_c[start + i * P] = now;
      on_h[start + i * P] = of_o + through[lane * N + i] * now;
    }
  }
}

// influence (B, K, P), decay (B, K, K, H), units (P,). One thread for each parameter of each lane; K is at most 8.
extern "C" __global__ void influence_diagonal(REAL* influence, const REAL* decay, const long long* units, int K, int H,
                                              long long P) {
  const long long p = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (p >= P) return;
  const size_t lane = blockIdx.y, unit = units[p];
  REAL now[8];
  for (int k = 0; k < K; ++k) {
    now[k] = 0;
    for (int q = 0; q < K; ++q)
      now[k] += decay[((lane * K + k) * K + q) * H + unit] * influence[(lane * K + q) * P + p];
  }
  for (int k = 0; k < K; ++k) influence[(lane * K + k) * P + p] = now[k];
}

// ---- D and the slopes; one thread for each (lane, i, j)

// d (B, H, H) = slope_i w_ij
extern "C" __global__ void elman_slopes(REAL* d, const REAL* slope, const REAL* w_hh, int B, int H) {
  long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= (long long)B * H * H) return;
  d[n] = slope[n / H] * w_hh[n % ((long long)H * H)];
}

// slope_r (B, H), or (B, H, H) where the reset comes before; slope_z, slope_n (B, H). Where the reset comes before, the
// caller adds slope_r W_r to d.
extern "C" __global__ void gru_slopes(REAL* d, REAL* slope_r, REAL* slope_z, REAL* slope_n, const REAL* w_hh,
                                      const REAL* h, const REAL* gates, const REAL* inner, int B, int H,
                                      int reset_after) {
  long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= (long long)B * H * H) return;
  int j = n % H, i = n / H % H, lane = n / H / H, at = lane * H + i;
  const REAL* g = gates + (size_t)lane * 3 * H;
  size_t square = (size_t)H * H, w = (size_t)i * H + j;
  REAL z = g[H + i], candidate = g[2 * H + i];
  REAL of_n = (1 - z) * (1 - candidate * candidate), of_z = (h[at] - candidate) * z * (1 - z);
  REAL total = of_z * w_hh[square + w] + (i == j ? z : REAL(0));
  if (reset_after) {
    REAL r = g[i], of_r = of_n * inner[at] * r * (1 - r);
    total += of_r * w_hh[w] + of_n * r * w_hh[2 * square + w];
    if (j == 0) slope_r[at] = of_r;
  } else {
    REAL r = g[j], through = of_n * w_hh[2 * square + w];  // of r h, unit j
    slope_r[n] = through * (h[lane * H + j] * r * (1 - r));
    total += through * r;
  }
  d[n] = total;
  if (j == 0) slope_z[at] = of_z, slope_n[at] = of_n;
}

// d, d_o (B, H, H); through (B, H), of h by c'; slopes (4, B, H), of c' by the sums of i, f, g, and of h by that of o.
extern "C" __global__ void lstm_slopes(REAL* d, REAL* d_o, REAL* through, REAL* slopes, const REAL* w_hh, const REAL* c,
                                       const REAL* c_new, const REAL* gates, int B, int H) {
  long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= (long long)B * H * H) return;
  int j = n % H, unit = n / H % H, lane = n / H / H, at = lane * H + unit, size = B * H;
  const REAL* a = gates + (size_t)lane * 4 * H + unit;
  REAL i = a[0], f = a[H], g = a[2 * H], o = a[3 * H], squashed = tanh(c_new[at]);
  REAL of_i = g * i * (1 - i), of_f = c[at] * f * (1 - f), of_g = i * (1 - g * g), of_o = squashed * o * (1 - o);
  size_t square = (size_t)H * H, w = (size_t)unit * H + j;
  d[n] = of_i * w_hh[w] + of_f * w_hh[square + w] + of_g * w_hh[2 * square + w];
  d_o[n] = of_o * w_hh[3 * square + w];
  if (j == 0) {
    through[at] = o * (1 - squashed * squashed);
    slopes[at] = of_i, slopes[size + at] = of_f, slopes[2 * size + at] = of_g, slopes[3 * size + at] = of_o;
  }
}

// ---- what the weights do in this step alone; one thread for each (lane, unit, column of a)

// influence (B, H, 1, H, m), slope (B, H), a (B, m): J_{i0ik} += slope_i a_k
extern "C" __global__ void elman_own(REAL* influence, const REAL* slope, const REAL* a, int B, int H, int m) {
  long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= (long long)B * H * m) return;
  int k = n % m, i = n / m % H, lane = n / m / H;
  influence[(((size_t)lane * H + i) * H + i) * m + k] += slope[lane * H + i] * a[(size_t)lane * m + k];
}

// influence (B, H, 3, H, m). recurrent: the first column of h in a. One thread for each (lane, unit i, column).
extern "C" __global__ void gru_own(REAL* influence, const REAL* slope_r, const REAL* slope_z, const REAL* slope_n,
                                   const REAL* gates, const REAL* inner, const REAL* a, int recurrent, int B, int H,
                                   int m, int reset_after) {
  long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= (long long)B * H * m) return;
  int k = n % m, i = n / m % H, lane = n / m / H, at = lane * H + i;
  REAL* J = influence + ((size_t)lane * H + i) * 3 * H * m + k;
  REAL read = a[(size_t)lane * m + k], of_n = read;
  if (reset_after) {
    if (k >= recurrent) of_n *= gates[(size_t)lane * 3 * H + i];
    J[(size_t)i * m] += slope_r[at] * read;
  } else {
    if (k >= recurrent && k < recurrent + H) of_n = inner[lane * H + k - recurrent];
    for (int j = 0; j < H; ++j) J[(size_t)j * m] += slope_r[(size_t)at * H + j] * read;
  }
  J[(size_t)(H + i) * m] += slope_z[at] * read;
  J[(size_t)(2 * H + i) * m] += slope_n[at] * of_n;
}

// on_h, on_c (B, H, 4, H, m); slopes (4, B, H); through (B, H).
extern "C" __global__ void lstm_own(REAL* on_h, REAL* on_c, const REAL* through, const REAL* slopes, const REAL* a,
                                    int B, int H, int m) {
  long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= (long long)B * H * m) return;
  int k = n % m, i = n / m % H, lane = n / m / H, at = lane * H + i;
  REAL read = a[(size_t)lane * m + k];
  for (int gate = 0; gate < 4; ++gate) {
    size_t place = ((((size_t)lane * H + i) * 4 + gate) * H + i) * m + k;
    REAL own = slopes[gate * B * H + at] * read;
    if (gate < 3) on_c[place] += own;
    on_h[place] += gate < 3 ? through[at] * own : own;
  }
}
