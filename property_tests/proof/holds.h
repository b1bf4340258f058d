#pragma once

#include <rapidcheck.h>

#include <iostream>
#include <string>

#include "property_tests/proof/parity_properties.h"

namespace meshparity {

/// RapidCheck's check with its own number of recipes and seed.
template <typename Property>
bool holds(const std::string& description, const Sample& sample, Property property) {
  rc::detail::TestParams params = rc::detail::configuration().testParams;
  params.maxSuccess = static_cast<int>(sample.recipes);
  params.seed = sample.seed;
  const auto result = rc::detail::checkTestable(
      property, rc::detail::TestMetadata{description, description}, params);
  if (result.template is<rc::detail::SuccessResult>()) return true;
  std::cerr << "- " << description << "\n";
  rc::detail::printResultMessage(result, std::cerr);
  std::cerr << "\n";
  return false;
}

}  // namespace meshparity
