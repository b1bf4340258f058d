#include "golden/files/gpt2_names.h"

#include <string_view>

namespace meshparity {
namespace {

constexpr std::string_view kJoined = ".attn.qkv.";
constexpr std::string_view kJoinedInFiles = ".attn.c_attn.";

/// True for what multiplies activations: embeddings and the head are (vocabulary, channels)
/// everywhere.
bool is_linear_weight(const ParameterSpec& spec) {
  const std::string& name = spec.name;
  return !spec.is_vector && name.starts_with("h.") &&
         (name.find(".attn.") != std::string::npos || name.find(".mlp.") != std::string::npos);
}

bool is_transposed(const ParameterSpec& spec, WeightLayout layout) {
  return layout == WeightLayout::output_input && is_linear_weight(spec);
}

}  // namespace

std::string file_name_of(const std::string& parameter) {
  std::string name = parameter;
  const std::size_t at = name.find(kJoined);
  if (at != std::string::npos) name.replace(at, kJoined.size(), kJoinedInFiles);
  return name;
}

std::string hugging_face_name(const std::string& parameter, bool tied) {
  const bool bare = tied || parameter == "lm_head.weight";
  return (bare ? "" : "transformer.") + file_name_of(parameter);
}

bool is_joined(const std::string& parameter) {
  return parameter.find(kJoined) != std::string::npos;
}

std::vector<std::size_t> shape_in_file(const ParameterSpec& spec, WeightLayout layout) {
  if (spec.is_vector) return {spec.columns};
  if (is_transposed(spec, layout)) return {spec.columns, spec.rows};
  return {spec.rows, spec.columns};
}

FileOrder::FileOrder(const ParameterSpec& spec, WeightLayout layout, std::size_t heads)
    : rows_(spec.rows),
      columns_(spec.columns),
      heads_(is_joined(spec.name) ? heads : 0),
      transposed_(is_transposed(spec, layout)),
      same_(heads_ == 0 && !transposed_) {}

std::vector<float> in_file_order(const ParameterSpec& spec, WeightLayout layout, std::size_t heads,
                                 std::vector<float> values) {
  const FileOrder order(spec, layout, heads);
  if (order.same()) return values;
  std::vector<float> ordered(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) ordered[order.index(i)] = values[i];
  return ordered;
}

}  // namespace meshparity
