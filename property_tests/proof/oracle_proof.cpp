#include "property_tests/proof/oracle_proof.h"

#include <algorithm>
#include <sstream>

#include "model/numerics/floating_point.h"

namespace meshparity {

bool all_within_bounds(std::span<const OracleVerdict> verdicts) {
  return std::ranges::none_of(
      verdicts, [](const OracleVerdict& v) { return v.first_difference.has_value(); });
}

std::size_t fewest_steps(std::span<const OracleVerdict> verdicts) {
  const auto judged = [](const OracleVerdict& v) { return std::min(v.steps, v.updates); };
  return verdicts.empty() ? 0 : judged(std::ranges::min(verdicts, {}, judged));
}

OracleProof::OracleProof(const std::string& golden_dir)
    : goldens_(golden_recipes(golden_dir, "")), verdicts_(goldens_.size()) {}

void OracleProof::work() {
  for (std::size_t i = next_++; i < goldens_.size(); i = next_++) {
    const GoldenRecipe& golden = goldens_[i];
    const Model model = model_of(golden.recipe, golden.corpus.vocabulary());
    verdicts_[i] = hold_to_oracle(golden.recipe, model, golden.corpus);
  }
  check_floating_point_environment();
}

std::string OracleProof::text() const {
  std::ostringstream text;
  for (std::size_t i = 0; i < goldens_.size(); ++i) {
    const OracleVerdict& verdict = verdicts_[i];
    text << "  " << goldens_[i].name << ": " << verdict.steps << " steps, worst error / bound of "
         << "blocks alone " << verdict.worst_local_ratio << " (" << verdict.worst_local_what
         << "), of updates " << verdict.worst_update_ratio << ", of " << verdict.whole_steps
         << " steps end to end ";
    if (verdict.whole_steps == 0) {
      text << "none";
    } else {
      text << verdict.worst_ratio << " (" << verdict.worst_tensor << ", step " << verdict.worst_step
           << ")";
    }
    text << "; least of all " << verdict.bluntest_ratio << " (" << verdict.bluntest_what << ")\n";
    if (verdict.first_difference) text << "  " << *verdict.first_difference << "\n";
  }
  return text.str();
}

nlohmann::ordered_json OracleProof::to_json() const {
  nlohmann::ordered_json json = {{"recipes", nlohmann::json::array()}};
  for (std::size_t i = 0; i < goldens_.size(); ++i) {
    const OracleVerdict& verdict = verdicts_[i];
    json["recipes"].push_back({{"name", goldens_[i].name},
                               {"steps", verdict.steps},
                               {"whole_steps", verdict.whole_steps},
                               {"worst_ratio", verdict.worst_ratio},
                               {"worst_local_ratio", verdict.worst_local_ratio},
                               {"worst_local_what", verdict.worst_local_what},
                               {"bluntest_ratio", verdict.bluntest_ratio},
                               {"bluntest_what", verdict.bluntest_what},
                               {"worst_update_ratio", verdict.worst_update_ratio},
                               {"worst_tensor", verdict.worst_tensor},
                               {"worst_step", verdict.worst_step}});
  }
  return json;
}

}  // namespace meshparity
