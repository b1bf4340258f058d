#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace meshparity {

/// Parses one JSON value, keys in the order of the text. Throws UsageError if it is no JSON or if
/// an object repeats a key.
nlohmann::ordered_json parse_strict_json(std::string_view text);

/// The member `key` of an object. Throws UsageError if it is missing or not of this type.
std::string string_member(const nlohmann::ordered_json& object, const std::string& key);
std::uint64_t whole_member(const nlohmann::ordered_json& object, const std::string& key);

}  // namespace meshparity
