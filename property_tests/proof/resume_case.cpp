#include "property_tests/proof/resume_case.h"

#include <nlohmann/json.hpp>
#include <ostream>

#include "model/error.h"

namespace meshparity {

std::string to_line(const ResumeCase& c) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const ResumeCase::Leg& leg : c.legs) {
    json.push_back({{"stop", leg.stop},
                    {"sharded", leg.layout == CheckpointLayout::sharded},
                    {"case", nlohmann::ordered_json::parse(to_line(leg.how))}});
  }
  return json.dump();
}

ResumeCase parse_resume_case(const std::string& line) {
  try {
    ResumeCase c;
    for (const auto& leg : nlohmann::ordered_json::parse(line)) {
      c.legs.push_back(
          {parse_case(leg.at("case").dump()), leg.at("stop"),
           leg.at("sharded") ? CheckpointLayout::sharded : CheckpointLayout::gathered});
    }
    if (!c.legs.empty()) return c;
  } catch (const nlohmann::json::exception&) {
    // Refused below.
  }
  throw UsageError("not a case: " + line, "copy the whole line that a failure prints");
}

std::string meshes_text(const ResumeCase& c) {
  std::string text;
  for (const ResumeCase::Leg& leg : c.legs) {
    text += (text.empty() ? "" : ", ") + to_string(leg.how.how.mesh) + " to " +
            std::to_string(leg.stop);
  }
  return text;
}

std::ostream& operator<<(std::ostream& out, const ResumeCase& c) { return out << to_line(c); }

}  // namespace meshparity
