#include "golden/files/strict_json.h"

#include <fmt/format.h>

#include <limits>
#include <set>
#include <vector>

#include "golden/files/printable.h"
#include "model/error.h"

namespace meshparity {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kDeepest = 16;  // whoever walks through a value may use the stack for it
constexpr std::size_t kMostOrderedMembers = 1000;  // each is looked for among all before it

/// Goes through a text before anything is made of it, in n log n steps, and throws UsageError for
/// what is wrong with it.
class StrictCheck final : public nlohmann::json_sax<Json> {
 public:
  explicit StrictCheck(std::size_t most_members) : most_members_(most_members) {}

  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  bool start_object(std::size_t /*size*/) override { return enter(); }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t /*size*/) override { return enter(); }
  bool end_array() override { return leave(); }

  bool key(string_t& value) override {
    std::set<std::string>& keys = keys_.back();
    if (!keys.insert(value).second) {
      throw UsageError(fmt::format("key '{}' is repeated", printable(value)));
    }
    if (keys.size() <= most_members_) return true;
    throw UsageError(fmt::format("an object has more than {} members", most_members_));
  }

  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override {
    throw UsageError(fmt::format("it is not JSON: {}", printable(error.what(), 300)));
  }

 private:
  bool enter() {
    if (keys_.size() == kDeepest) {
      throw UsageError(fmt::format("its values are nested more than {} deep", kDeepest));
    }
    keys_.emplace_back();
    return true;
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }

  std::size_t most_members_;
  std::vector<std::set<std::string>> keys_;  // of the objects (and arrays) around
};

template <typename Parsed>
Parsed parse(std::string_view text, std::size_t most_members) {
  StrictCheck check(most_members);
  Json::sax_parse(text.begin(), text.end(), &check);
  return Parsed::parse(text.begin(), text.end());
}

template <typename Value>
const Value& member(const Value& object, const std::string& key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end()) throw UsageError(fmt::format("'{}' is missing", key));
  return *found;
}

}  // namespace

nlohmann::ordered_json parse_strict_json(std::string_view text) {
  return parse<nlohmann::ordered_json>(text, kMostOrderedMembers);
}

Json parse_sorted_json(std::string_view text) {
  return parse<Json>(text, std::numeric_limits<std::size_t>::max());
}

template <typename Value>
std::string string_member(const Value& object, const std::string& key) {
  const Value& value = member(object, key);
  if (!value.is_string()) throw UsageError(fmt::format("'{}' is not a string", key));
  return value.template get<std::string>();
}

template <typename Value>
std::uint64_t whole_member(const Value& object, const std::string& key) {
  const Value& value = member(object, key);
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
