// Preloaded into a program (LD_PRELOAD), so that one of its calls to the system goes wrong.
// MESHPARITY_FAULT says which and how; calls are counted from the beginning of main, from 1:
//
//   read:3:EIO         the third read fails; also open, write, flush (fsync), rename, allocate
//                      (malloc and its like), map (mmap), file (any of those five on files)
//   allocate:3+:ENOMEM the third and all after it
//   read:3:short       it returns half of what was asked for, as the system may
//   read:3:altered     it returns other bytes, and write:3:altered writes none but says it did: no
//                      program can notice, so whoever looks for wrong results must
//   file:3:SIGKILL     the process gets a signal instead of the call
//   space:4096         the disk is full once this many bytes are written to files
//   slow:20            each call on files takes so many milliseconds more
//   after:50:SIGTERM   a signal comes after so many milliseconds
//   after:50:SIGSTOP:2 and is followed by SIGCONT after two seconds
//
// MESHPARITY_FAULT_RANK: only this rank of an mpirun job. MESHPARITY_FAULT_COUNTS: a file that
// gets the number of calls of each kind when the program ends.

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

// What glibc calls its own allocator by, for replacements such as these.
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* block, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
}

namespace {

enum Call { kAllocate, kMap, kOpen, kRead, kWrite, kFlush, kRename, kFile, kCalls };
constexpr std::array<std::string_view, kCalls> kCallNames = {"allocate", "map",   "open",   "read",
                                                             "write",    "flush", "rename", "file"};

struct Word {
  std::string_view name;
  int number;
};
constexpr std::array<Word, 7> kErrors = {{{"EIO", EIO},
                                          {"EINTR", EINTR},
                                          {"ENOSPC", ENOSPC},
                                          {"ENOMEM", ENOMEM},
                                          {"EMFILE", EMFILE},
                                          {"EDQUOT", EDQUOT},
                                          {"EACCES", EACCES}}};
constexpr std::array<Word, 6> kSignals = {{{"SIGKILL", SIGKILL},
                                           {"SIGTERM", SIGTERM},
                                           {"SIGINT", SIGINT},
                                           {"SIGHUP", SIGHUP},
                                           {"SIGXFSZ", SIGXFSZ},
                                           {"SIGSTOP", SIGSTOP}}};

enum class How { nothing, error, shortened, altered, signal };

/// What MESHPARITY_FAULT says.
struct Fault {
  Call call = kCalls;
  std::uint64_t first = 0;
  bool and_after = false;
  How how = How::nothing;
  int number = 0;  // errno or signal
  long space = -1;
  long slow_ms = 0;
  long after_ms = -1;
  long stopped_s = 0;
};

bool armed = false;  // main has begun
Fault fault;
std::array<std::atomic<std::uint64_t>, kCalls> counts;
std::atomic<long> written{0};

template <std::size_t size>
int number_of(const std::array<Word, size>& words, std::string_view name) {
  const auto found = std::ranges::find(words, name, &Word::name);
  return found == words.end() ? 0 : found->number;
}

/// Takes the text up to the next colon off `text`.
std::string_view next_word(std::string_view& text) {
  const std::size_t end = std::min(text.find(':'), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

long number_in(std::string_view word) { return std::strtol(word.data(), nullptr, 10); }

[[noreturn]] void refuse(std::string_view text) {
  std::fprintf(stderr, "MESHPARITY_FAULT: '%.*s'?\n", static_cast<int>(text.size()), text.data());
  std::_Exit(9);
}

Fault parsed(std::string_view text) {
  const std::string_view whole = text;
  Fault f;
  const std::string_view kind = next_word(text);
  const std::string_view place = next_word(text);
  const std::string_view what = next_word(text);
  if (kind == "space") {
    f.space = number_in(place);
  } else if (kind == "slow") {
    f.slow_ms = number_in(place);
  } else if (kind == "after") {
    f.after_ms = number_in(place);
    f.number = number_of(kSignals, what);
    f.stopped_s = number_in(text);
    if (f.number == 0) refuse(whole);
  } else {
    const auto call = std::ranges::find(kCallNames, kind);
    f.number = what.starts_with("SIG") ? number_of(kSignals, what) : number_of(kErrors, what);
    f.how = what == "short"           ? How::shortened
            : what == "altered"       ? How::altered
            : what.starts_with("SIG") ? How::signal
                                      : How::error;
    if (call == kCallNames.end() || (f.number == 0 && f.how >= How::signal)) refuse(whole);
    if (f.number == 0 && f.how == How::error) refuse(whole);
    f.call = static_cast<Call>(call - kCallNames.begin());
    f.first = static_cast<std::uint64_t>(number_in(place));
    f.and_after = place.ends_with('+');
  }
  return f;
}

void sleep_ms(long ms) { ::usleep(static_cast<useconds_t>(1000 * ms)); }

/// Counts a call. What is to become of it?
How count(Call call) {
  if (!armed) return How::nothing;
  const bool of_files = call != kAllocate && call != kMap;
  const std::uint64_t number = ++counts[call];
  const std::uint64_t of_all = of_files ? ++counts[kFile] : 0;
  if (of_files && fault.slow_ms > 0) sleep_ms(fault.slow_ms);
  if (fault.call != call && (fault.call != kFile || !of_files)) return How::nothing;
  const std::uint64_t reached = fault.call == kFile ? of_all : number;
  if (reached != fault.first && (!fault.and_after || reached < fault.first)) return How::nothing;
  if (fault.how == How::signal) ::kill(::getpid(), fault.number);
  return fault.how;
}

/// True if the call fails, with errno set.
bool fails(Call call) {
  if (count(call) != How::error) return false;
  errno = fault.number;
  return true;
}

template <typename Function>
Function* next(const char* name, Function* /*same_type*/) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

/// Sends the signal from a process of its own, so that it comes whatever this one does.
void start_sender() {
  const pid_t target = ::getpid();
  if (::fork() != 0) return;
  for (int file = 0; file < 1024; ++file) ::close(file);  // who waits for their end must not wait
  const auto send = [target](int signal) {
    if (::getppid() == target) ::kill(target, signal);
  };
  sleep_ms(fault.after_ms);
  send(fault.number);
  if (fault.number == SIGSTOP) {
    ::sleep(static_cast<unsigned>(fault.stopped_s));
    send(SIGCONT);
  }
  std::_Exit(0);
}

using Main = int(int, char**, char**);
Main* real_main = nullptr;

int main_with_fault(int argc, char** argv, char** environment) {
  const char* const text = std::getenv("MESHPARITY_FAULT");
  const char* const rank = std::getenv("MESHPARITY_FAULT_RANK");
  const char* const own = std::getenv("OMPI_COMM_WORLD_RANK");
  const bool meant = rank == nullptr || (own != nullptr && std::strcmp(rank, own) == 0);
  if (text != nullptr && meant) fault = parsed(text);
  if (fault.after_ms >= 0) start_sender();
  armed = true;
  return real_main(argc, argv, environment);
}

[[gnu::destructor]] void write_counts() {
  armed = false;
  const char* const path = std::getenv("MESHPARITY_FAULT_COUNTS");
  std::FILE* const file = path == nullptr ? nullptr : std::fopen(path, "w");
  if (file == nullptr) return;
  for (const auto& number : counts) {
    std::fprintf(file, "%llu\n", static_cast<unsigned long long>(number.load()));
  }
  std::fclose(file);
}

bool is_file(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

}  // namespace

extern "C" {

int __libc_start_main(Main* program, int argc, char** argv, void (*init)(), void (*fini)(),
                      void (*loader_fini)(), void* stack) {
  real_main = program;
  const auto start = next("__libc_start_main", &__libc_start_main);
  return start(main_with_fault, argc, argv, init, fini, loader_fini, stack);
}

void* malloc(std::size_t bytes) { return fails(kAllocate) ? nullptr : __libc_malloc(bytes); }

void* calloc(std::size_t items, std::size_t bytes) {
  return fails(kAllocate) ? nullptr : __libc_calloc(items, bytes);
}

void* realloc(void* block, std::size_t bytes) {
  return fails(kAllocate) ? nullptr : __libc_realloc(block, bytes);
}

void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  return fails(kAllocate) ? nullptr : __libc_memalign(alignment, bytes);
}

int posix_memalign(void** block, std::size_t alignment, std::size_t bytes) {
  *block = fails(kAllocate) ? nullptr : __libc_memalign(alignment, bytes);
  return *block == nullptr ? ENOMEM : 0;
}

void* mmap(void* address, std::size_t bytes, int protection, int flags, int file, off_t offset) {
  static const auto real = next("mmap", &mmap);
  return fails(kMap) ? MAP_FAILED : real(address, bytes, protection, flags, file, offset);
}

int open(const char* path, int flags, ...) {
  static const auto real = next("open", &open);
  std::va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return fails(kOpen) ? -1 : real(path, flags, mode);
}

ssize_t read(int file, void* to, std::size_t bytes) {
  static const auto real = next("read", &read);
  switch (count(kRead)) {
    case How::error:
      errno = fault.number;
      return -1;
    case How::altered: {
      const ssize_t done = real(file, to, bytes);
      if (done > 0) static_cast<char*>(to)[0] ^= 1;
      return done;
    }
    case How::shortened:
      return real(file, to, (bytes + 1) / 2);
    default:
      return real(file, to, bytes);
  }
}

ssize_t write(int file, const void* from, std::size_t bytes) {
  static const auto real = next("write", &write);
  const How how = count(kWrite);
  if (how == How::error) {
    errno = fault.number;
    return -1;
  }
  if (how == How::shortened) bytes = (bytes + 1) / 2;
  if (how == How::altered) return static_cast<ssize_t>(bytes);
  if (fault.space >= 0 && armed && is_file(file)) {
    const long room = std::max(0L, fault.space - written.load());
    if (room == 0 && bytes > 0) {
      errno = ENOSPC;
      return -1;
    }
    bytes = std::min(bytes, static_cast<std::size_t>(room));
  }
  const ssize_t done = real(file, from, bytes);
  if (done > 0 && is_file(file)) written += done;
  return done;
}

int fsync(int file) {
  static const auto real = next("fsync", &fsync);
  return fails(kFlush) ? -1 : real(file);
}

int rename(const char* from, const char* to) {
  static const auto real = next("rename", &rename);
  return fails(kRename) ? -1 : real(from, to);
}

}  // extern "C"
