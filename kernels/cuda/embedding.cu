// The gradient of an embedding: rows of cotangents added up at the places that were looked up.
//
// order: the look-ups sorted by row, stable. One thread for each look-up and column; the first of each run adds the run
// up in order, so that the result has the same bits every time, which atomic additions would not give.
#include "common.cuh"

extern "C" __global__ void embedding_gradient(const REAL* dy, const long long* order, const long long* rows,
                                              REAL* d_table, int N, int D) {
  long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= (long long)N * D) return;
  int k = n / D, column = n % D;
  long long row = rows[k];
  if (k > 0 && rows[k - 1] == row) return;
  REAL total = 0;
  for (; k < N && rows[k] == row; ++k) total += dy[order[k] * D + column];
  d_table[row * D + column] = total;
}
