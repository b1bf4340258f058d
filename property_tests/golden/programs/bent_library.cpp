// A library that changes how its process computes, as one does that was linked with -ffast-math: to
// be preloaded. BENT_LIBRARY says when: when it is `loaded`, or `later`, when the program asks what
// time it is.

#include <sys/syscall.h>
#include <unistd.h>

#include <cfenv>
#include <cstdlib>
#include <ctime>
#include <string_view>

namespace {

bool bends(std::string_view when) {
  const char* const wanted = std::getenv("BENT_LIBRARY");
  return wanted != nullptr && wanted == when;
}

[[gnu::constructor]] void loaded() {
  if (bends("loaded")) std::fesetround(FE_UPWARD);
}

}  // namespace

// Instead of the C library's.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  if (bends("later")) std::fesetround(FE_UPWARD);
  return static_cast<int>(::syscall(SYS_clock_gettime, clock, time));
}
