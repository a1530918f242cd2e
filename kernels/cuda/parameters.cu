// All parameters of a model in one launch: optimiser steps, and the norm of all gradients.
//
// A table says where the arrays begin: one row for each role (values, gradients, ...), one column for each array. sizes:
// of each array. starts: the first block of each array, and the number of blocks; each block serves CHUNK entries.
#include "common.cuh"
#include "block.cuh"

#define CHUNK 1024

struct Place {
  int array;
  long long first, last;
};

__device__ __forceinline__ Place place_of(const long long* sizes, const int* starts, int arrays) {
  int low = 0, high = arrays - 1;
  while (low < high) {  // the last array that starts at this block or before it
    int middle = (low + high + 1) / 2;
    if (starts[middle] <= (int)blockIdx.x) low = middle; else high = middle - 1;
  }
  long long first = (long long)((int)blockIdx.x - starts[low]) * CHUNK;
  return {low, first, min(first + CHUNK, sizes[low])};
}

__device__ __forceinline__ REAL* in_table(const long long* table, int arrays, int role, int array) {
  return (REAL*)table[(size_t)role * arrays + array];
}

// Roles: values, gradients, buffers, new values, new buffers. started (arrays,): whether a buffer holds something.
extern "C" __global__ void sgd_step(const long long* table, const long long* sizes, const int* starts, int arrays,
                                    const int* started, REAL lr, REAL momentum, REAL rest, REAL weight_decay,
                                    int nesterov) {
  Place place = place_of(sizes, starts, arrays);
  const REAL* values = in_table(table, arrays, 0, place.array);
  const REAL* gradients = in_table(table, arrays, 1, place.array);
  const REAL* buffers = in_table(table, arrays, 2, place.array);
  REAL* new_values = in_table(table, arrays, 3, place.array);
  REAL* new_buffers = in_table(table, arrays, 4, place.array);
  for (long long n = place.first + threadIdx.x; n < place.last; n += blockDim.x) {
    REAL w = values[n], g = gradients[n] + weight_decay * w;
    if (momentum != 0) {
      REAL b = started[place.array] ? momentum * buffers[n] + rest * g : g;
      new_buffers[n] = b;
      g = nesterov ? g + momentum * b : b;
    }
    new_values[n] = w - lr * g;
  }
}

// Roles: values, gradients, means, squares, and the new of values, means, squares.
// shrink: what decoupled decay multiplies by. scales, roots (arrays,): lr / (1 - β₁ᵗ) and √(1 - β₂ᵗ).
extern "C" __global__ void adam_step(const long long* table, const long long* sizes, const int* starts, int arrays,
                                     const REAL* scales, const REAL* roots, REAL beta1, REAL rest1, REAL beta2,
                                     REAL rest2, REAL eps, REAL weight_decay, REAL shrink) {
  Place place = place_of(sizes, starts, arrays);
  const REAL* values = in_table(table, arrays, 0, place.array);
  const REAL* gradients = in_table(table, arrays, 1, place.array);
  const REAL* means = in_table(table, arrays, 2, place.array);
  const REAL* squares = in_table(table, arrays, 3, place.array);
  REAL* new_values = in_table(table, arrays, 4, place.array);
  REAL* new_means = in_table(table, arrays, 5, place.array);
  REAL* new_squares = in_table(table, arrays, 6, place.array);
  const REAL scale = scales[place.array], root = roots[place.array];
  for (long long n = place.first + threadIdx.x; n < place.last; n += blockDim.x) {
    REAL w = values[n] * shrink, g = gradients[n] + weight_decay * values[n];
    REAL m = beta1 * means[n] + rest1 * g, v = beta2 * squares[n] + rest2 * (g * g);
    new_means[n] = m;
    new_squares[n] = v;
    new_values[n] = w - scale * (m / (sqrt(v) / root + eps));
  }
}

// For thread 0 of each block: combine one number of each. The last block to come does it, in the order of the blocks, so
// that the result does not depend on which that is; there it is true, and mine becomes the result.
template <class Operation> __device__ bool over_blocks(double& mine, double* parts, unsigned* finished) {
  parts[blockIdx.x] = mine;
  __threadfence();
  if (atomicAdd(finished, 1u) != gridDim.x - 1) return false;
  __threadfence();
  mine = __ldcg(parts);
  for (unsigned block = 1; block < gridDim.x; ++block) mine = Operation::of(mine, __ldcg(parts + block));
  return true;
}

// unit[0]: the largest entry by magnitude if the squares are to be measured in it, 1 where it is 0 or not finite.
extern "C" __global__ void norm_unit(const long long* table, const long long* sizes, const int* starts, int arrays,
                                     double* parts, unsigned* finished, double* unit) {
  Place place = place_of(sizes, starts, arrays);
  const REAL* values = in_table(table, arrays, 0, place.array);
  double largest = 0;
  for (long long n = place.first + threadIdx.x; n < place.last; n += blockDim.x)
    largest = Larger::of(largest, (double)(values[n] < 0 ? -values[n] : values[n]));
  largest = block_reduce<Larger>(largest);
  if (threadIdx.x == 0 && over_blocks<Larger>(largest, parts, finished)) {
    unit[0] = largest > 0 && largest <= 1.7976931348623157e308 ? largest : 1.0;
  }
}

extern "C" __global__ void norm_total(const long long* table, const long long* sizes, const int* starts, int arrays,
                                      double* parts, unsigned* finished, const double* unit, double* norm) {
  Place place = place_of(sizes, starts, arrays);
  const REAL* values = in_table(table, arrays, 0, place.array);
  const double size = unit[0];
  double total = 0;
  for (long long n = place.first + threadIdx.x; n < place.last; n += blockDim.x) {
    double share = (double)values[n] / size;
    total += share * share;
  }
  total = block_reduce<Add>(total);
  if (threadIdx.x == 0 && over_blocks<Add>(total, parts, finished)) norm[0] = size * sqrt(total);
}
