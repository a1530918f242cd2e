// A barrier for all blocks of a cooperative launch, whose blocks all run at the same time.
//
// arrived counts blocks, over the whole launch; it is zero at first. generation: how many barriers there have been,
// this one included. What was written before it can be read after it with __ldcg, which passes the cache of one
// multiprocessor by: that cache may hold what was there before.
__device__ void grid_barrier(unsigned* arrived, unsigned generation) {
  __syncthreads();  // all threads of this block have written
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(arrived, 1u);
    while (atomicAdd(arrived, 0u) < generation * gridDim.x) __nanosleep(32);
    __threadfence();
  }
  __syncthreads();  // all other blocks have arrived
}
