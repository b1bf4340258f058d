#pragma once

#include <cstddef>
#include <iosfwd>
#include <string>
#include <vector>

#include "golden/files/checkpoint_header.h"
#include "property_tests/proof/parity_case.h"

namespace meshparity {

/// A run that stops and goes on: does it end with the bits of one rank that never stopped?
struct ResumeCase {
  /// A stretch of it, on one mesh.
  struct Leg {
    ParityCase how;        ///< recipe and corpus are those of all legs
    std::size_t stop = 0;  ///< steps made in all where it ends
    CheckpointLayout layout = CheckpointLayout::gathered;  ///< of what it leaves
  };
  std::vector<Leg> legs;

  const Recipe& recipe() const { return legs.front().how.recipe; }
};

/// One line of JSON that `meshparity-verify --resume-case` reruns.
std::string to_line(const ResumeCase& c);
/// Throws UsageError if the line is not one.
ResumeCase parse_resume_case(const std::string& line);
/// "dp=2 to 1, tp=2,pp=2 to 3".
std::string meshes_text(const ResumeCase& c);
std::ostream& operator<<(std::ostream& out, const ResumeCase& c);

}  // namespace meshparity
