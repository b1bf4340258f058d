#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model/parameter.h"

/// GPT-2's parameters in files: names and shapes of Hugging Face's transformers, where
/// `h.<i>.attn.c_attn` has its columns in the order query | key | value. Inside, the model keeps
/// them head by head and calls them `h.<i>.attn.qkv`.
namespace meshparity {

/// Of weights of linear layers: all of a file in one way.
enum class WeightLayout {
  input_output,  ///< (inputs, outputs), as transformers' Conv1D and this model have them
  output_input   ///< (outputs, inputs), as PyTorch's Linear and llm.c have them
};

/// "h.0.attn.c_attn.weight" for "h.0.attn.qkv.weight"; all others are called the same.
std::string file_name_of(const std::string& parameter);

/// The name that transformers looks for: bare with a tied head, otherwise with "transformer."
/// before all names but "lm_head.weight".
std::string hugging_face_name(const std::string& parameter, bool tied);

/// True for the joined query, key and value columns.
bool is_joined(const std::string& parameter);

/// The shape that a file of this layout holds.
std::vector<std::size_t> shape_in_file(const ParameterSpec& spec, WeightLayout layout);

/// Where the elements of a parameter stand in the file's tensor.
class FileOrder {
 public:
  FileOrder(const ParameterSpec& spec, WeightLayout layout, std::size_t heads);

  /// Index in the file's tensor of the parameter's element `element`.
  std::size_t index(std::size_t element) const {
    if (same_) return element;
    const std::size_t row = element / columns_;
    const std::size_t column = split_column(element % columns_);
    return transposed_ ? column * rows_ + row : row * columns_ + column;
  }
  /// True if the file has the parameter's own order.
  bool same() const { return same_; }

 private:
  /// The column of query | key | value that holds a column of the joined ones.
  std::size_t split_column(std::size_t column) const {
    if (heads_ == 0) return column;
    const std::size_t width = columns_ / 3 / heads_;  // features of a head
    const std::size_t head = column / (3 * width);
    const std::size_t part = column / width % 3;  // query, key, value
    return part * (columns_ / 3) + head * width + column % width;
  }

  std::size_t rows_;
  std::size_t columns_;
  std::size_t heads_;  // 0: columns are not joined
  bool transposed_;
  bool same_;
};

/// A whole parameter in the file's order.
std::vector<float> in_file_order(const ParameterSpec& spec, WeightLayout layout, std::size_t heads,
                                 std::vector<float> values);

}  // namespace meshparity
