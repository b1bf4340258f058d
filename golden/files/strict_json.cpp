#include "golden/files/strict_json.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "golden/files/printable.h"
#include "model/error.h"

namespace meshparity {
namespace {

constexpr int kDeepest = 16;  // whoever walks through a value may use the stack for it

template <typename Json>
Json parse(std::string_view text) {
  using Event = typename Json::parse_event_t;
  std::vector<std::set<std::string>> keys;
  const auto on_event = [&](int depth, Event event, Json& value) {
    if (depth > kDeepest) {
      throw UsageError(fmt::format("its values are nested more than {} deep", kDeepest));
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key) {
      const auto& key = value.template get_ref<const std::string&>();
      if (!keys.back().insert(key).second) {
        throw UsageError(fmt::format("key '{}' is repeated", printable(key)));
      }
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), on_event);
  } catch (const typename Json::exception& e) {
    throw UsageError(fmt::format("it is not JSON: {}", printable(e.what(), 300)));
  }
}

template <typename Json>
const Json& member(const Json& object, const std::string& key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end()) throw UsageError(fmt::format("'{}' is missing", key));
  return *found;
}

}  // namespace

nlohmann::ordered_json parse_strict_json(std::string_view text) {
  return parse<nlohmann::ordered_json>(text);
}

nlohmann::json parse_sorted_json(std::string_view text) { return parse<nlohmann::json>(text); }

template <typename Json>
std::string string_member(const Json& object, const std::string& key) {
  const Json& value = member(object, key);
  if (!value.is_string()) throw UsageError(fmt::format("'{}' is not a string", key));
  return value.template get<std::string>();
}

template <typename Json>
std::uint64_t whole_member(const Json& object, const std::string& key) {
  const Json& value = member(object, key);
  if (!value.is_number_unsigned()) {
    throw UsageError(fmt::format("'{}' is not a whole number", key));
  }
  return value.template get<std::uint64_t>();
}

template std::string string_member(const nlohmann::ordered_json&, const std::string&);
template std::string string_member(const nlohmann::json&, const std::string&);
template std::uint64_t whole_member(const nlohmann::ordered_json&, const std::string&);
template std::uint64_t whole_member(const nlohmann::json&, const std::string&);

}  // namespace meshparity
