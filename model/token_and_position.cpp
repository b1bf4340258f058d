#include <stdexcept>

#include "model/block.h"

namespace meshparity {

std::unique_ptr<Block> make_block(const TokenAndPositionSpec& /*spec*/,
                                  const BlockContext& /*context*/) {
  throw std::logic_error("not yet");
}

}  // namespace meshparity
