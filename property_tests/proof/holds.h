#pragma once

#include <rapidcheck.h>

#include <exception>
#include <iostream>
#include <string>

#include "golden/jobs/exit_status.h"
#include "property_tests/proof/parity_properties.h"

namespace meshparity {

/// RapidCheck's check with its own number of recipes and seed. If the machine fails, nothing more
/// is tried, and its error is thrown.
template <typename Property>
bool holds(const std::string& description, const Sample& sample, Property property) {
  rc::detail::TestParams params = rc::detail::configuration().testParams;
  params.maxSuccess = static_cast<int>(sample.recipes);
  params.seed = sample.seed;
  std::exception_ptr environment;
  const auto attempt = [&] {
    if (environment) return;
    try {
      property();
    } catch (const std::exception& error) {
      if (!is_of_environment(error)) throw;
      environment = std::current_exception();
    }
  };
  const auto result = rc::detail::checkTestable(
      attempt, rc::detail::TestMetadata{description, description}, params);
  if (environment) std::rethrow_exception(environment);
  if (result.template is<rc::detail::SuccessResult>()) return true;
  std::cerr << "- " << description << "\n";
  rc::detail::printResultMessage(result, std::cerr);
  std::cerr << "\n";
  return false;
}

}  // namespace meshparity
