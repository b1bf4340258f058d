#pragma once

#include <cstddef>
#include <string>

#include "parallel/transport/call_site.h"

namespace meshparity {

/// One communication operation of a process, for messages to people.
struct CommOperation {
  const char* name = "";
  const std::string* group = nullptr;  // its name
  std::size_t rank = 0;                // in the group
  CallSite site;
  const char* peer_role = nullptr;  // "to", "from"; null in an operation of the whole group
  std::size_t peer = 0;
  int tag = 0;
};

/// "recv on rank 0 of group pp, from rank 1 (tag 3), called at parallel/train_pp.cpp:88 (train_pp)"
std::string describe(const CommOperation& operation);

}  // namespace meshparity
