#include "model/numerics/transformer_kernels.h"

namespace meshparity {}  // namespace meshparity
