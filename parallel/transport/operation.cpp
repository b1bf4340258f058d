#include "parallel/transport/operation.h"

namespace meshparity {

std::string describe(const CommOperation& operation) {
  std::string text = std::string(operation.name) + " on rank " + std::to_string(operation.rank) +
                     " of group " + *operation.group;
  if (operation.peer_role != nullptr) {
    text += std::string(", ") + operation.peer_role + " rank " + std::to_string(operation.peer) +
            " (tag " + std::to_string(operation.tag) + ")";
  }
  return text + ", called at " + to_string(operation.site);
}

}  // namespace meshparity
