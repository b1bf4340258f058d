// The kernels for one instruction set: this file is compiled once for each, with its flags, and
// MESHPARITY_ISA names the resulting table.

#include "model/numerics/kernel_table.h"
#include "model/numerics/simd_elementwise.h"
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
};

}  // namespace meshparity
