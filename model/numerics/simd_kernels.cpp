// The kernels for one instruction set: this file is compiled once for each, with its flags, and
// MESHPARITY_ISA names the resulting table.

#include "model/numerics/kernel_table.h"
#include "model/numerics/simd_attention.h"
#include "model/numerics/simd_attention_backward.h"
#include "model/numerics/simd_dropout.h"
#include "model/numerics/simd_elementwise.h"
#include "model/numerics/simd_layer_norm.h"
#include "model/numerics/simd_optimizer.h"
#include "model/numerics/simd_product.h"

#define MESHPARITY_JOIN(a, b) a##b
#define MESHPARITY_TABLE_OF(isa) MESHPARITY_JOIN(kernel_table_, isa)

namespace meshparity {

extern const KernelTable MESHPARITY_TABLE_OF(MESHPARITY_ISA);
constexpr KernelTable MESHPARITY_TABLE_OF(MESHPARITY_ISA) = {
    .product = product,
    .product_scratch = product_scratch,
    .finish = finish_rows,
    .relu_backward = relu_backward,
    .add = add,
    .add_rows = add_rows,
    .gather_rows = gather_rows,
    .scatter_add_rows = scatter_add_rows,
    .row_sum = row_sum,
    .softmax = softmax,
    .scale = scale,
    .sgd_update = sgd_update,
    .digest = digest,
    .layer_norm = layer_norm,
    .layer_norm_again = layer_norm_again,
    .layer_norm_backward = layer_norm_backward,
    .add_layer_norm_gain = add_layer_norm_gain,
    .gelu = gelu,
    .gelu_backward = gelu_backward,
    .apply_dropout = apply_dropout,
    .attention = attention,
    .attention_backward = attention_backward,
    .attention_scratch = attention_scratch,
    .adamw_update = adamw_update,
    .largest = largest_or_nan,
    .powers_of_rows = powers_of_rows,
};

}  // namespace meshparity
