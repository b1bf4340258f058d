#include "golden/files/trace_file.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <sstream>

#include "golden/files/file_io.h"
#include "golden/files/number_text.h"
#include "golden/files/recipe_file.h"
#include "golden/files/strict_json.h"
#include "model/error.h"
#include "oracle/compare.h"

namespace meshparity {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kTraceVersion = 1;

/// A float for people: six digits.
double rounded_for_reading(float loss) { return std::stod(fmt::format("{:.6g}", loss)); }

void require_keys(const Json& object, std::initializer_list<std::string_view> known) {
  if (!object.is_object()) throw UsageError("it is not a JSON object");
  for (const auto& item : object.items()) {
    if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
      throw UsageError(fmt::format("unknown key '{}'", item.key()));
    }
  }
}

std::string optional_string(const Json& object, const std::string& key) {
  return object.contains(key) ? string_member(object, key) : "";
}

TraceHeader parse_header(const Json& json) {
  require_keys(json, {"meshparity_trace", "contract", "every", "reduction", "loaded", "continues",
                      "recipe", "corpus_sha256", "compiler", "date", "reason"});
  const std::uint64_t version = whole_member(json, "meshparity_trace");
  if (version != kTraceVersion) {
    throw UsageError(fmt::format("trace version {} is not the known {}", version, kTraceVersion));
  }
  TraceHeader header;
  header.contract = whole_member(json, "contract");
  if (json.contains("every")) header.every = whole_member(json, "every");
  if (header.every == 0) throw UsageError("'every' is 0");
  if (json.contains("reduction")) {
    const std::string reduction = string_member(json, "reduction");
    if (reduction != "native") throw UsageError(fmt::format("unknown reduction '{}'", reduction));
    header.native = true;
  }
  header.loaded = json.contains("loaded");
  if (header.loaded && json["loaded"] != true) throw UsageError("'loaded' is not true");
  if (json.contains("continues")) {
    const Json& before = json["continues"];
    require_keys(before, {"step", "digest"});
    header.continues = {whole_member(before, "step"),
                        parse_digest(string_member(before, "digest"))};
  }
  if (!json.contains("recipe")) throw UsageError("'recipe' is missing");
  header.recipe = recipe_of(json["recipe"]);
  header.corpus_sha256 = string_member(json, "corpus_sha256");
  const bool is_hex =
      header.corpus_sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (header.corpus_sha256.size() != 64 || !is_hex) {
    throw UsageError(fmt::format("corpus_sha256 '{}' is not 64 hex digits", header.corpus_sha256));
  }
  header.compiler = optional_string(json, "compiler");
  header.date = optional_string(json, "date");
  header.reason = optional_string(json, "reason");
  return header;
}

TraceStep parse_step(const Json& json) {
  require_keys(json, {"step", "loss", "loss_decimal", "grad_norm", "digest"});
  TraceStep step;
  step.step = whole_member(json, "step");
  const std::string loss = string_member(json, "loss");
  const double exact = parse_hex(loss);
  step.loss = static_cast<float>(exact);
  if (static_cast<double>(step.loss) != exact) {
    throw UsageError(fmt::format("loss '{}' is not a binary32", loss));
  }
  const auto decimal = json.find("loss_decimal");
  if (decimal == json.end() || !decimal->is_number() ||
      decimal->get<double>() != rounded_for_reading(step.loss)) {
    throw UsageError(fmt::format("loss_decimal is not {}", rounded_for_reading(step.loss)));
  }
  step.gradient_norm = parse_hex(string_member(json, "grad_norm"));
  step.digest = parse_digest(string_member(json, "digest"));
  return step;
}

TraceEnd parse_end(const Json& json) {
  const bool stopped = json.contains("stopped");
  if (stopped && json["stopped"] != true) throw UsageError("'stopped' is not true");
  require_keys(json, {"end", "digest", "stopped"});
  return {whole_member(json, "end"), parse_digest(string_member(json, "digest")), stopped};
}

/// The step that must follow `previous` in a trace, `steps` if none.
std::size_t next_recorded(std::optional<std::size_t> previous, const TraceHeader& header) {
  const std::size_t steps = header.recipe.steps;
  if (!previous) return std::min(header.first_step(), steps);
  if (*previous + 1 >= steps) return steps;
  const std::size_t left = steps - 1 - *previous;
  return *previous + std::min(left, header.every - *previous % header.every);
}

/// Adds what a line after the header says. Returns true at the end line.
bool parse_line(Trace& trace, const Json& json) {
  const auto previous =
      trace.steps.empty() ? std::optional<std::size_t>() : std::optional(trace.steps.back().step);
  const std::size_t expected = next_recorded(previous, trace.header);
  const bool at_end = expected == trace.header.recipe.steps;
  if (json.is_object() && json.contains("end")) {
    trace.end = parse_end(json);
    if (trace.end.stopped) {
      const std::size_t first = previous ? *previous + 1 : trace.header.first_step();
      const bool follows = trace.end.steps >= first && trace.end.steps <= expected && !at_end;
      if (follows && (previous || trace.header.continues)) return true;
      throw UsageError(fmt::format("it stopped after {} steps, where step {} should be",
                                   trace.end.steps, first));
    }
    if (!at_end) throw UsageError(fmt::format("the trace ends where step {} should be", expected));
    if (trace.end.steps != trace.header.recipe.steps) {
      throw UsageError(fmt::format("it ends after {} steps, the recipe has {}", trace.end.steps,
                                   trace.header.recipe.steps));
    }
    return true;
  }
  const TraceStep step = parse_step(json);
  if (at_end) throw UsageError(fmt::format("step {} is beyond the recipe's steps", step.step));
  if (step.step != expected) {
    throw UsageError(fmt::format("step {} stands where step {} should be", step.step, expected));
  }
  trace.steps.push_back(step);
  return false;
}

std::string float_text(double value) { return fmt::format("{} ({:.9g})", hex_text(value), value); }

std::optional<TraceDifference> compare_headers(const TraceHeader& left, const TraceHeader& right,
                                               bool with_steps) {
  const auto differ = [](std::string field, std::string a, std::string b) {
    return TraceDifference{"header", std::move(field), std::move(a), std::move(b), ""};
  };
  if (left.contract != right.contract) {
    return differ("contract", std::to_string(left.contract), std::to_string(right.contract));
  }
  for (const RecipeField& field : recipe_fields()) {
    if (field.key == "steps" && !with_steps) continue;
    const std::string a = field.text(left.recipe);
    const std::string b = field.text(right.recipe);
    if (a != b) return differ("recipe." + std::string(field.key), a, b);
  }
  if (left.corpus_sha256 != right.corpus_sha256) {
    return differ("corpus_sha256", left.corpus_sha256, right.corpus_sha256);
  }
  const auto reduction = [](bool native) { return native ? "native" : "canonical"; };
  if (left.native != right.native) {
    return differ("reduction", reduction(left.native), reduction(right.native));
  }
  const auto initial = [](bool loaded) { return loaded ? "loaded" : "drawn"; };
  if (left.loaded != right.loaded) {
    return differ("initial parameters", initial(left.loaded), initial(right.loaded));
  }
  return std::nullopt;
}

std::optional<TraceDifference> compare_steps(const TraceStep& left, const TraceStep& right) {
  const std::string where = fmt::format("step {}", left.step);
  // Parameters are from before this step, the loss follows from them, the gradient from the loss.
  if (left.digest != right.digest) {
    return TraceDifference{where, "digest", digest_text(left.digest), digest_text(right.digest),
                           ""};
  }
  if (!same_float(left.loss, right.loss)) {
    return TraceDifference{where, "loss", float_text(static_cast<double>(left.loss)),
                           float_text(static_cast<double>(right.loss)),
                           fmt::format("{} ULP", ulp_distance(left.loss, right.loss))};
  }
  if (left.gradient_norm != right.gradient_norm) {
    return TraceDifference{where, "grad_norm", float_text(left.gradient_norm),
                           float_text(right.gradient_norm), ""};
  }
  return std::nullopt;
}

/// Compares the steps that both record.
std::optional<TraceDifference> compare_common_steps(const Trace& left, const Trace& right) {
  auto a = left.steps.begin();
  auto b = right.steps.begin();
  while (a != left.steps.end() && b != right.steps.end()) {
    if (a->step < b->step) {
      ++a;
    } else if (b->step < a->step) {
      ++b;
    } else {
      if (auto difference = compare_steps(*a, *b)) return difference;
      ++a;
      ++b;
    }
  }
  return std::nullopt;
}

std::optional<TraceDifference> compare_digests(const std::string& where, std::uint64_t left,
                                               std::uint64_t right) {
  if (left == right) return std::nullopt;
  return TraceDifference{where, "digest", digest_text(left), digest_text(right), ""};
}

}  // namespace

TraceHeader header_of(const Recipe& recipe, const std::string& corpus_sha256) {
  TraceHeader header;
  header.contract = contract_of(recipe.model);
  header.recipe = recipe;
  for (std::string* path : {&header.recipe.data, &header.recipe.validation_data}) {
    *path = std::filesystem::path(*path).filename().string();
  }
  header.corpus_sha256 = corpus_sha256;
  return header;
}

bool is_recorded(std::size_t step, std::size_t every, std::size_t steps) {
  return step % every == 0 || step + 1 == steps;
}

std::string line_of(const TraceHeader& header) {
  Json json = Json::object();
  json["meshparity_trace"] = kTraceVersion;
  json["contract"] = header.contract;
  if (header.every != 1) json["every"] = header.every;
  if (header.native) json["reduction"] = "native";
  if (header.loaded) json["loaded"] = true;
  if (header.continues) {
    json["continues"] = {{"step", header.continues->step},
                         {"digest", digest_text(header.continues->digest)}};
  }
  json["recipe"] = recipe_json(header.recipe);
  json["corpus_sha256"] = header.corpus_sha256;
  if (!header.compiler.empty()) json["compiler"] = header.compiler;
  if (!header.date.empty()) json["date"] = header.date;
  if (!header.reason.empty()) json["reason"] = header.reason;
  // A file name may hold any bytes; those that are no UTF-8 are replaced.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string line_of(const TraceStep& step) {
  Json json = Json::object();
  json["step"] = step.step;
  json["loss"] = hex_text(static_cast<double>(step.loss));
  json["loss_decimal"] = rounded_for_reading(step.loss);
  json["grad_norm"] = hex_text(step.gradient_norm);
  json["digest"] = digest_text(step.digest);
  return json.dump() + "\n";
}

std::string line_of(const TraceEnd& end) {
  Json json = Json::object();
  json["end"] = end.steps;
  json["digest"] = digest_text(end.digest);
  if (end.stopped) json["stopped"] = true;
  return json.dump() + "\n";
}

std::string text_of(const Trace& trace) {
  std::string text = line_of(trace.header);
  for (const TraceStep& step : trace.steps) text += line_of(step);
  return text + line_of(trace.end);
}

Trace parse_trace(const std::string& text, const std::string& name) {
  Trace trace;
  bool ended = false;
  std::istringstream lines(text);
  lines.exceptions(std::ios::badbit);  // or a failed allocation would look like the end
  std::string line;
  std::size_t number = 0;
  const std::string hint = "give a trace written by meshparity-train --trace";
  while (std::getline(lines, line)) {
    ++number;
    try {
      if (ended) throw UsageError("text follows the end of the trace");
      const Json json = parse_strict_json(line);
      if (number == 1) {
        trace.header = parse_header(json);
      } else {
        ended = parse_line(trace, json);
      }
    } catch (const UsageError& e) {
      throw UsageError(fmt::format("{}:{}: {}", name, number, e.what()), hint);
    }
  }
  if (!ended || !text.ends_with('\n')) {
    throw UsageError(
        fmt::format("{}:{}: the trace is cut off: its last line is missing", name, number + 1),
        hint);
  }
  return trace;
}

Trace load_trace(const std::string& path) { return parse_trace(read_file(path, "trace"), path); }

std::string to_string(const TraceDifference& difference) {
  const std::string apart =
      difference.distance.empty() ? "" : fmt::format(", {} apart", difference.distance);
  return fmt::format("{}, {}: {} against {}{}", difference.where, difference.field, difference.left,
                     difference.right, apart);
}

std::optional<TraceDifference> compare_traces(const Trace& left, const Trace& right) {
  if (auto difference = compare_headers(left.header, right.header, true)) return difference;
  const std::size_t begin = left.header.first_step();
  const std::size_t other_begin = right.header.first_step();
  if (begin != other_begin) {
    return TraceDifference{"header", "first step", std::to_string(begin),
                           std::to_string(other_begin), ""};
  }
  if (auto difference = compare_common_steps(left, right)) return difference;
  return compare_digests("end", left.end.digest, right.end.digest);
}

Trace joined(std::span<const Trace> parts) {
  Trace whole = parts.front();
  for (const Trace& part : parts.subspan(1)) {
    const auto refuse = [&](const std::string& why) {
      throw UsageError(
          fmt::format("the traces do not join after {} steps: {}", whole.end.steps, why),
          "give the traces of one run in order, each going on where the last stopped");
    };
    if (const auto difference = compare_headers(whole.header, part.header, true)) {
      refuse(to_string(*difference));
    }
    if (!part.header.continues) refuse("the next one begins at step 0");
    const TraceOrigin& seam = *part.header.continues;
    if (seam.step != whole.end.steps)
      refuse(fmt::format("the next one goes on from {}", seam.step));
    if (seam.digest != whole.end.digest) {
      refuse(fmt::format("there the digest is {}, and the next one goes on from {}",
                         digest_text(whole.end.digest), digest_text(seam.digest)));
    }
    whole.steps.insert(whole.steps.end(), part.steps.begin(), part.steps.end());
    whole.end = part.end;
  }
  return whole;
}

std::optional<TraceDifference> compare_prefix(const Trace& whole, const Trace& part) {
  if (auto difference = compare_headers(whole.header, part.header, false)) return difference;
  if (auto difference = compare_common_steps(whole, part)) return difference;
  if (part.end.steps == whole.end.steps) {
    return compare_digests("end", whole.end.digest, part.end.digest);
  }
  for (const TraceStep& step : whole.steps) {
    if (step.step == part.end.steps) {
      return compare_digests(fmt::format("step {}", step.step), step.digest, part.end.digest);
    }
  }
  return std::nullopt;
}

}  // namespace meshparity
