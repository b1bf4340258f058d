#include "golden/files/strict_json.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "model/error.h"

namespace meshparity {
namespace {

using Json = nlohmann::ordered_json;

const Json& member(const Json& object, const std::string& key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end()) throw UsageError(fmt::format("'{}' is missing", key));
  return *found;
}

}  // namespace

Json parse_strict_json(std::string_view text) {
  std::vector<std::set<std::string>> keys;
  const auto on_event = [&](int /*depth*/, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
      throw UsageError(fmt::format("key '{}' is repeated", value.get<std::string>()));
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), on_event);
  } catch (const Json::exception& e) {
    throw UsageError(fmt::format("it is not JSON: {}", e.what()));
  }
}

std::string string_member(const Json& object, const std::string& key) {
  const Json& value = member(object, key);
  if (!value.is_string()) throw UsageError(fmt::format("'{}' is not a string", key));
  return value.get<std::string>();
}

std::uint64_t whole_member(const Json& object, const std::string& key) {
  const Json& value = member(object, key);
  if (!value.is_number_unsigned()) {
    throw UsageError(fmt::format("'{}' is not a whole number", key));
  }
  return value.get<std::uint64_t>();
}

}  // namespace meshparity
