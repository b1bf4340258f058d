#pragma once

#include <string>
#include <vector>

#include "ci/report/results.h"

namespace meshparity::report {

struct Table {
  std::vector<std::string> headers;
  std::vector<std::vector<std::string>> rows;  // as many cells each as headers
};

/// One part of the report, ready to be written in any format.
struct Section {
  std::string title;
  std::string summary;      // one sentence
  Table table;              // no headers: nothing but the summary
  bool failed = false;      // something is not as it should be
  bool unverified = false;  // nothing differs, but something was not run, not read or not judged
  bool brief = false;       // on a terminal the summary is enough

  /// "FAILED", "UNVERIFIED" or nothing.
  const char* verdict() const { return failed ? "FAILED" : unverified ? "UNVERIFIED" : ""; }
};

/// The report's parts in reading order. A part named in `required` ("parity", ...) is unverified
/// when its results are missing; one whose file is damaged always is. Parts that a non-empty `only`
/// does not name are left out.
std::vector<Section> sections_of(const Results& results, const std::vector<std::string>& required,
                                 const std::vector<std::string>& only);

/// One section for each part of ci/bench. A bar that is not met fails the verb that measured it,
/// not the report: it says nothing against the proof.
std::vector<Section> bench_sections(const std::vector<BenchRow>& rows);

/// How meshparity-report ends: 1 if a section failed, 4 if one is unverified, otherwise 0.
int status_of(const std::vector<Section>& sections);

/// "2045 random simulated cases and 64 under Open MPI, all bit-equal", or what failed or is
/// unverified.
std::string headline(const Results& results, const std::vector<Section>& sections);

}  // namespace meshparity::report
