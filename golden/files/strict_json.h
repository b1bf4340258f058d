#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace meshparity {

/// Parses one JSON value, keys in the order of the text. Throws UsageError if it is no JSON, is
/// nested more than 16 deep, or if an object repeats a key or has more than 1000.
nlohmann::ordered_json parse_strict_json(std::string_view text);

/// The same with keys in their own order: also for objects of many members, in n log n steps.
nlohmann::json parse_sorted_json(std::string_view text);

/// The member `key` of an object (either kind of JSON value). Throws UsageError if it is missing or
/// not of this type.
template <typename Value>
std::string string_member(const Value& object, const std::string& key);
template <typename Value>
std::uint64_t whole_member(const Value& object, const std::string& key);

}  // namespace meshparity
