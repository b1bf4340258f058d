#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>

#include "golden/files/recording_folder.h"
#include "golden/jobs/temporary_folder.h"
#include "model/error.h"
#include "property_tests/golden/judge/small_recording.h"

namespace meshparity {

/// A folder for recordings, right ones and spoiled ones.
class RecordingFolder : public testing::Test {
 protected:
  std::string folder() const { return temporary_.file("recording"); }
  std::string step_file(const std::string& rank = "0000") const {
    return folder() + "/step-000000.rank-" + rank + ".safetensors";
  }
  void TearDown() override { std::filesystem::remove_all(folder()); }

  /// What is said about a recording of one rank that was spoiled.
  std::string refusal(const std::function<void(RankRecording&)>& spoil,
                      const SmallOptions& options = {}) {
    std::filesystem::remove_all(folder());
    RankRecording recording = rank_recording(small_step(options), 0, 1);
    spoil(recording);
    write_recording(folder(), recording);
    return refusal_of_folder();
  }
  /// The same of two ranks.
  std::string refusal_of_two(const std::function<void(RankRecording&, RankRecording&)>& spoil) {
    std::filesystem::remove_all(folder());
    RankRecording a = rank_recording(two_parts_, 0, 2);
    RankRecording b = rank_recording(two_parts_, 1, 2);
    spoil(a, b);
    write_recording(folder(), a);
    write_recording(folder(), b);
    return refusal_of_folder();
  }
  std::string refusal_of_folder() const {
    try {
      read_recorded_step(folder(), recorded_steps(folder()).front());
    } catch (const UsageError& e) {
      EXPECT_NE(e.hint(), "") << e.what();
      return e.what();
    }
    return "";
  }
  static void expect_said(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << "'" << text << "' lacks '" << part << "'";
  }

  const RecordedStep two_parts_ = small_step({.parts = 2});

 private:
  TemporaryFolder temporary_;
};

}  // namespace meshparity
