#include "ci/benchmarks/peers.h"

#ifdef MESHPARITY_BENCH_OPENBLAS
#include <cblas.h>
#endif
#ifdef MESHPARITY_BENCH_ONEDNN
#include <oneapi/dnnl/dnnl.hpp>
#endif
#ifdef MESHPARITY_BENCH_LIBXSMM
#include <libxsmm.h>
#endif

namespace meshparity::bench {
namespace {

/// Floats from one stored row to the next.
[[maybe_unused]] std::size_t left_stride(const Operands& o) {
  return o.left_transposed ? o.rows : o.terms;
}
[[maybe_unused]] std::size_t right_stride(const Operands& o) {
  return o.right_transposed ? o.terms : o.columns;
}

#ifdef MESHPARITY_BENCH_OPENBLAS
void add_openblas(const Operands& o, std::vector<Peer>& peers) {
  const auto flag = [](bool transposed) { return transposed ? CblasTrans : CblasNoTrans; };
  const auto size = [](std::size_t value) { return static_cast<blasint>(value); };
  peers.push_back({"OpenBLAS", [=] {
                     cblas_sgemm(CblasRowMajor, flag(o.left_transposed), flag(o.right_transposed),
                                 size(o.rows), size(o.columns), size(o.terms), 1.0F, o.left,
                                 size(left_stride(o)), o.right, size(right_stride(o)), 0.0F,
                                 o.output, size(o.columns));
                   }});
}
#endif

#ifdef MESHPARITY_BENCH_ONEDNN
dnnl::memory memory_of(const dnnl::engine& engine, std::size_t rows, std::size_t columns,
                       bool transposed, const float* values) {
  const auto r = static_cast<dnnl::memory::dim>(rows);
  const auto c = static_cast<dnnl::memory::dim>(columns);
  const dnnl::memory::dims strides =
      transposed ? dnnl::memory::dims{1, r} : dnnl::memory::dims{c, 1};
  const dnnl::memory::desc layout({r, c}, dnnl::memory::data_type::f32, strides);
  // The library takes inputs as void*, too, and leaves them alone.
  return {layout, engine, const_cast<float*>(values)};
}

/// Its two ways: the BLAS call, and a primitive made once.
void add_onednn(const Operands& o, std::vector<Peer>& peers) {
  const auto flag = [](bool transposed) { return transposed ? 'T' : 'N'; };
  const auto size = [](std::size_t value) { return static_cast<dnnl_dim_t>(value); };
  peers.push_back({"oneDNN sgemm", [=] {
                     dnnl_sgemm(flag(o.left_transposed), flag(o.right_transposed), size(o.rows),
                                size(o.columns), size(o.terms), 1.0F, o.left, size(left_stride(o)),
                                o.right, size(right_stride(o)), 0.0F, o.output, size(o.columns));
                   }});
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const dnnl::stream stream(engine);
  const auto left = memory_of(engine, o.rows, o.terms, o.left_transposed, o.left);
  const auto right = memory_of(engine, o.terms, o.columns, o.right_transposed, o.right);
  const auto output = memory_of(engine, o.rows, o.columns, false, o.output);
  const dnnl::matmul::primitive_desc plan({left.get_desc(), right.get_desc(), output.get_desc()},
                                          engine);
  const dnnl::matmul product(plan);
  const std::unordered_map<int, dnnl::memory> arguments = {
      {DNNL_ARG_SRC, left}, {DNNL_ARG_WEIGHTS, right}, {DNNL_ARG_DST, output}};
  peers.push_back({"oneDNN matmul", [=] { product.execute(stream, arguments); }});
}
#endif

#ifdef MESHPARITY_BENCH_LIBXSMM
/// Column-major, so it computes output^T = right^T left^T. Products for which it has no kernel are
/// left out: it would hand them on to BLAS, which is measured already.
void add_libxsmm(const Operands& o, std::vector<Peer>& peers) {
  const auto size = [](std::size_t value) { return static_cast<libxsmm_blasint>(value); };
  const libxsmm_blasint lda = size(right_stride(o));
  const libxsmm_blasint ldb = size(left_stride(o));
  const libxsmm_blasint ldc = size(o.columns);
  const float alpha = 1.0F;
  const float beta = 0.0F;
  const int flags = (o.right_transposed ? LIBXSMM_GEMM_FLAG_TRANS_A : LIBXSMM_GEMM_FLAG_NONE) |
                    (o.left_transposed ? LIBXSMM_GEMM_FLAG_TRANS_B : LIBXSMM_GEMM_FLAG_NONE);
  const libxsmm_smmfunction kernel =
      libxsmm_smmdispatch(size(o.columns), size(o.rows), size(o.terms), &lda, &ldb, &ldc, &alpha,
                          &beta, &flags, nullptr);
  if (kernel == nullptr) return;
  peers.push_back({"libxsmm", [=] { kernel(o.right, o.left, o.output); }});
}
#endif

}  // namespace

std::vector<Peer> peers_for([[maybe_unused]] const Operands& operands) {
  std::vector<Peer> peers;
#ifdef MESHPARITY_BENCH_OPENBLAS
  add_openblas(operands, peers);
#endif
#ifdef MESHPARITY_BENCH_ONEDNN
  add_onednn(operands, peers);
#endif
#ifdef MESHPARITY_BENCH_LIBXSMM
  add_libxsmm(operands, peers);
#endif
  return peers;
}

}  // namespace meshparity::bench
