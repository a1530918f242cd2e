// Runs the threads of a CUDA launch on one CPU thread: a fiber (ucontext) for each.
//
// A fiber runs until it waits. Then the first that can run, in the order of the schedule, runs next: the first thread
// (forward), the last (reverse), or one drawn at random whenever it becomes runnable (shuffled). So under one schedule
// or another each thread runs far ahead of each other one, as far as the barriers let it.
#include "cuda_on_cpu.h"

#include <stdio.h>
#include <ucontext.h>

#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

namespace emulator {

constexpr size_t STACK = 64 * 1024;
constexpr int RUBBISH = 0xff;  // NaN in every floating type

Here here;

namespace {

enum State { RUNNABLE, SPINNING, AT_BARRIER, AT_EXCHANGE, DONE };

struct Block {
  std::vector<char> dynamic;
  std::map<std::pair<int, size_t>, std::vector<char>> fixed;
  int waiting = 0, number = -1, line = 0;
};

struct Warp {
  uint64_t slots[2][32];
  int members = 0, waiting = 0;
};

struct Fiber {
  ucontext_t context;
  State state = RUNNABLE;
  int block = 0, thread = 0;
  unsigned rank = 0, exchanges = 0;
  unsigned long tick = 0;  // what `events` was when it last looked
  uint3 thread_index, block_index;
};

struct Machine {
  Launch launch;
  int threads = 0, warps = 0, first_block = 0;
  std::vector<Fiber> fibers;
  std::vector<Block> blocks;
  std::vector<Warp> warp;
  std::set<std::pair<unsigned, int>> ready, spinners;
  std::mt19937 random;
  ucontext_t home;
  int current = 0;
  unsigned long events = 0;
  bool mixed = false;
  int mixed_lines[2];
  void (*body)(void*);
  void* data;
};

Machine* machine;
std::vector<std::unique_ptr<char[]>> stacks;  // kept between launches

Fiber& me() { return machine->fibers[machine->current]; }
Block& my_block() { return machine->blocks[me().block]; }
Warp& my_warp() { return machine->warp[me().block * machine->warps + me().thread / 32]; }

void make_ready(int index) {
  Machine& m = *machine;
  Fiber& fiber = m.fibers[index];
  fiber.state = RUNNABLE;
  unsigned forward = (unsigned)index;
  fiber.rank = m.launch.schedule == 0 ? forward : m.launch.schedule == 1 ? ~forward : m.random();
  m.ready.insert({fiber.rank, index});
}

void wait(State state) {
  me().state = state;
  Fiber& self = me();
  swapcontext(&self.context, &machine->home);
}

void enter() {
  machine->body(machine->data);
  me().state = DONE;
  swapcontext(&me().context, &machine->home);
}

int pick() {
  Machine& m = *machine;
  for (auto& spinner : m.spinners) {  // one that has seen all that happened cannot go on
    if (!m.ready.empty() && m.ready.begin()->first < spinner.first) break;
    if (m.fibers[spinner.second].tick < m.events) return spinner.second;
  }
  return m.ready.empty() ? -1 : m.ready.begin()->second;
}

bool run_all() {
  Machine& m = *machine;
  for (int index; (index = pick()) >= 0;) {
    Fiber& fiber = m.fibers[index];
    m.ready.erase({fiber.rank, index});
    m.spinners.erase({fiber.rank, index});
    m.current = index;
    here.thread = fiber.thread_index;
    here.block = fiber.block_index;
    swapcontext(&m.home, &fiber.context);
    if (fiber.state == SPINNING) {
      fiber.tick = m.events;
      m.spinners.insert({fiber.rank, index});
    } else {
      ++m.events;
    }
    if (m.mixed) return false;
  }
  for (auto& fiber : m.fibers)
    if (fiber.state != DONE) return false;
  return true;
}

void explain(char* message, size_t room) {
  Machine& m = *machine;
  if (m.mixed) {
    snprintf(message, room, "threads of one block wait at different barriers, in lines %d and %d", m.mixed_lines[0],
             m.mixed_lines[1]);
    return;
  }
  int counts[5] = {0, 0, 0, 0, 0}, line = 0;
  for (auto& fiber : m.fibers) {
    ++counts[fiber.state];
    if (fiber.state == AT_BARRIER) line = m.blocks[fiber.block].line;
  }
  snprintf(message, room,
           "deadlock: %d threads wait at a barrier (line %d), %d at a shuffle and %d for another block, and %d have "
           "returned",
           counts[AT_BARRIER], line, counts[AT_EXCHANGE], counts[SPINNING], counts[DONE]);
}

void prepare(int id, int slot) {
  Machine& m = *machine;
  const dim3 &g = m.launch.grid, &b = m.launch.block;
  m.blocks[slot].dynamic.assign(m.launch.shared + 64, (char)RUBBISH);
  for (int t = 0; t < m.threads; ++t) {
    int index = slot * m.threads + t;
    Fiber& fiber = m.fibers[index];
    fiber.block = slot;
    fiber.thread = t;
    fiber.exchanges = 0;
    fiber.block_index = {id % g.x, id / g.x % g.y, id / (g.x * g.y)};
    fiber.thread_index = {t % b.x, t / b.x % b.y, t / (b.x * b.y)};
    m.warp[slot * m.warps + t / 32].members++;
    if ((int)stacks.size() <= index) stacks.emplace_back(new char[STACK]);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks[index].get();
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
    make_ready(index);
  }
}

char* aligned(std::vector<char>& memory) { return (char*)(((uintptr_t)memory.data() + 63) & ~(uintptr_t)63); }

}  // namespace

int run(void (*body)(void*), void* data, const Launch& launch, char* message, size_t room) {
  Machine m;
  machine = &m;
  m.launch = launch;
  m.body = body;
  m.data = data;
  m.random.seed(launch.seed);
  m.threads = launch.block.x * launch.block.y * launch.block.z;
  m.warps = (m.threads + 31) / 32;
  here.block_size = launch.block;
  here.grid_size = launch.grid;
  int count = launch.grid.x * launch.grid.y * launch.grid.z;
  int together = launch.cooperative ? count : 1;
  std::vector<int> order(count);
  for (int i = 0; i < count; ++i) order[i] = launch.schedule == 1 ? count - 1 - i : i;
  if (launch.schedule == 2)
    for (int i = count - 1; i > 0; --i) std::swap(order[i], order[m.random() % (i + 1)]);
  m.fibers.resize((size_t)together * m.threads);
  bool finished = true;
  for (int first = 0; first < count && finished; first += together) {
    m.blocks.assign(together, Block());
    m.warp.assign((size_t)together * m.warps, Warp());
    for (int slot = 0; slot < together; ++slot) prepare(launch.cooperative ? slot : order[first + slot], slot);
    finished = run_all();
  }
  if (!finished) explain(message, room);
  machine = nullptr;
  return finished ? 0 : 1;
}

void barrier(int number, int line) {
  Machine& m = *machine;
  if (number == m.launch.silenced) return;
  Block& block = my_block();
  if (block.waiting && block.number != number) {
    m.mixed = true;
    m.mixed_lines[0] = block.line;
    m.mixed_lines[1] = line;
  }
  block.number = number;
  block.line = line;
  if (++block.waiting == m.threads) {
    block.waiting = 0;
    int first = me().block * m.threads;
    for (int i = first; i < first + m.threads; ++i)
      if (i != m.current) make_ready(i);
    make_ready(m.current);
    Fiber& self = me();
    swapcontext(&self.context, &m.home);
  } else {
    wait(AT_BARRIER);
  }
}

void spin() { wait(SPINNING); }
void progress() { ++machine->events; }
int lane() { return me().thread % 32; }

uint64_t exchange(uint64_t value, int source) {
  Machine& m = *machine;
  Warp& warp = my_warp();
  Fiber& self = me();
  uint64_t* slots = warp.slots[self.exchanges++ & 1];  // two in turn: one still being read is not written
  slots[self.thread % 32] = value;
  if (++warp.waiting == warp.members) {
    warp.waiting = 0;
    int first = m.current - self.thread % 32;
    for (int i = first; i < first + warp.members; ++i)
      if (i != m.current) make_ready(i);
    make_ready(m.current);
    swapcontext(&self.context, &m.home);
  } else {
    wait(AT_EXCHANGE);
  }
  return source < warp.members ? slots[source] : ~(uint64_t)0;  // of a lane that is not there: rubbish
}

void* dynamic_shared() { return aligned(my_block().dynamic); }

void* fixed_shared(int number, size_t bytes) {
  auto& memory = my_block().fixed[{number, bytes}];
  if (memory.empty()) memory.assign(bytes + 64, (char)RUBBISH);
  return aligned(memory);
}

}  // namespace emulator
