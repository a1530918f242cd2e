// What the threads of a block do together.
struct Add {
  template <class T> __device__ static T of(T a, T b) { return a + b; }
};
struct Larger {  // NaN wins, as in NumPy
  template <class T> __device__ static T of(T a, T b) { return a > b || a != a ? a : b; }
};

// Combine one value of every thread of a block, in an order that the size of the block alone decides. All threads get
// the result. The block has whole warps, at most 32.
template <class Operation, class T> __device__ T block_reduce(T value) {
  __shared__ T parts[32];
  for (int step = 16; step > 0; step /= 2) value = Operation::of(value, __shfl_xor_sync(0xffffffffu, value, step));
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();  // all parts are there
  T total = parts[0];
  for (int warp = 1; warp < blockDim.x / 32; ++warp) total = Operation::of(total, parts[warp]);
  __syncthreads();  // all have read the parts, which the next reduction overwrites
  return total;
}
