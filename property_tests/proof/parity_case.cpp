#include "property_tests/proof/parity_case.h"

#include <array>
#include <nlohmann/json.hpp>
#include <ostream>

#include "golden/files/recipe_file.h"
#include "model/error.h"

namespace meshparity {
namespace {

/// Bytes as code points below 256, so that any corpus is valid JSON.
std::string to_utf8(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      text += c;
    } else {
      text += static_cast<char>(0xC0 | (byte >> 6));
      text += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
  return text;
}

std::string from_utf8(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80 || i + 1 == text.size()) {
      bytes += text[i];
    } else {
      const auto next = static_cast<unsigned char>(text[++i]);
      bytes += static_cast<char>((byte & 0x03) << 6 | (next & 0x3F));
    }
  }
  return bytes;
}

constexpr std::array<const char*, 3> kLoans = {"either", "in place", "copied"};
constexpr std::array<const char*, 3> kTurns = {"random", "lowest rank first", "highest rank first"};

/// The place of a word in its list. Throws UsageError.
template <typename Enum>
Enum choice(const std::array<const char*, 3>& words, const std::string& word) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == word) return static_cast<Enum>(i);
  }
  throw UsageError("unknown word '" + word + "' in a case");
}

}  // namespace

std::string to_line(const ParityCase& c) {
  const nlohmann::ordered_json json = {
      {"trainer", entry_of(c.strategy).name},
      {"mesh", to_string(c.how.mesh)},
      {"schedule", to_string(c.how.schedule)},
      {"microbatches", c.how.microbatches},
      {"reduction", c.how.reduction == Reduction::canonical ? "canonical" : "native"},
      {"world",
       {{"seed", c.world.seed},
        {"max_delay", c.world.max_delay},
        {"patience", c.world.patience ? nlohmann::json(*c.world.patience) : nlohmann::json()},
        {"turns", kTurns[static_cast<std::size_t>(c.world.turns)]},
        {"loans", kLoans[static_cast<std::size_t>(c.world.loans)]}}},
      {"recipe", recipe_json(c.recipe)},
      {"corpus", to_utf8(c.corpus)}};
  return json.dump();
}

ParityCase parse_case(const std::string& line) {
  const std::string hint = "copy the whole line that a failure prints";
  try {
    const auto json = nlohmann::ordered_json::parse(line);
    ParityCase c;
    c.strategy = strategy_named(json.at("trainer").get<std::string>());
    c.how.mesh = parse_mesh(json.at("mesh").get<std::string>());
    require_runs(c.strategy, c.how.mesh);
    c.how.schedule = parse_schedule(json.at("schedule").get<std::string>());
    c.how.microbatches = json.at("microbatches");
    c.how.reduction = json.at("reduction") == "native" ? Reduction::native : Reduction::canonical;
    const auto& world = json.at("world");
    c.world.ranks = c.how.mesh.size();
    c.world.seed = world.at("seed");
    c.world.max_delay = world.at("max_delay");
    if (!world.at("patience").is_null()) c.world.patience = world.at("patience");
    c.world.turns = choice<SimOptions::Turns>(kTurns, world.at("turns"));
    c.world.loans = choice<SimOptions::Loans>(kLoans, world.at("loans"));
    c.recipe = recipe_of(json.at("recipe"));
    c.corpus = from_utf8(json.at("corpus"));
    return c;
  } catch (const nlohmann::json::exception& error) {
    throw UsageError("not a case: " + line + " (" + error.what() + ")", hint);
  } catch (const UsageError& error) {
    throw UsageError("not a case: " + line + " (" + error.what() + ")", hint);
  }
}

std::ostream& operator<<(std::ostream& out, const ParityCase& c) { return out << to_line(c); }

}  // namespace meshparity
