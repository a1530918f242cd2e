// Softmax cross-entropy and layer normalisation: one block for each row, which it reads with all its threads.
// Names and shapes as in reference/cross_entropy.py and reference/layer_norm.py.
#include "common.cuh"
#include "block.cuh"

// slopes (N, C): of the loss by the logits, softmax less one at the target.
extern "C" __global__ void softmax_cross_entropy(const REAL* logits, const long long* targets, REAL* loss, REAL* slopes,
                                                 int C) {
  const size_t start = (size_t)blockIdx.x * C;
  const int target = (int)targets[blockIdx.x];
  REAL largest = logits[start];
  for (int k = threadIdx.x; k < C; k += blockDim.x) largest = Larger::of(largest, logits[start + k]);
  largest = block_reduce<Larger>(largest);
  REAL total = 0;
  for (int k = threadIdx.x; k < C; k += blockDim.x) total += slopes[start + k] = exp(logits[start + k] - largest);
  total = block_reduce<Add>(total);
  for (int k = threadIdx.x; k < C; k += blockDim.x) {
    slopes[start + k] = slopes[start + k] / total - (k == target ? REAL(1) : REAL(0));
  }
  if (threadIdx.x == 0) loss[blockIdx.x] = log(total) - (logits[start + target] - largest);
}

// y (N, D), scale (N, 1)
extern "C" __global__ void layer_norm_forward(const REAL* x, REAL eps, REAL* y, REAL* scale, int D) {
  const size_t start = (size_t)blockIdx.x * D;
  REAL total = 0;
  for (int k = threadIdx.x; k < D; k += blockDim.x) total += x[start + k];
  const REAL mean = block_reduce<Add>(total) / D;
  total = 0;
  for (int k = threadIdx.x; k < D; k += blockDim.x) total += (x[start + k] - mean) * (x[start + k] - mean);
  const REAL factor = 1 / sqrt(block_reduce<Add>(total) / D + eps);
  for (int k = threadIdx.x; k < D; k += blockDim.x) y[start + k] = (x[start + k] - mean) * factor;
  if (threadIdx.x == 0) scale[blockIdx.x] = factor;
}

extern "C" __global__ void layer_norm_backward(const REAL* dy, const REAL* y, const REAL* scale, REAL* dx, int D) {
  const size_t start = (size_t)blockIdx.x * D;
  REAL level = 0, along = 0;
  for (int k = threadIdx.x; k < D; k += blockDim.x) {
    level += dy[start + k];
    along += dy[start + k] * y[start + k];
  }
  level = block_reduce<Add>(level) / D;
  along = block_reduce<Add>(along) / D;
  for (int k = threadIdx.x; k < D; k += blockDim.x) {
    dx[start + k] = scale[blockIdx.x] * (dy[start + k] - level - y[start + k] * along);
  }
}
