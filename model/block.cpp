#include "model/block.h"

namespace meshparity {

std::unique_ptr<Block> make_block(const Model& model, std::size_t index, std::size_t most_rows,
                                  FeatureGroup& group) {
  const BlockSpec& block = model.blocks[index];
  std::vector<ParameterSpec> used;
  for (const std::size_t parameter : block.uses) used.push_back(model.parameters[parameter]);
  const BlockContext context{used, most_rows, group};
  return std::visit([&](const auto& spec) { return make_block(spec, context); }, block.kind);
}

}  // namespace meshparity
