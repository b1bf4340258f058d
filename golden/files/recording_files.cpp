#include "golden/files/recording_files.h"

#include <filesystem>

#include "golden/files/file_io.h"
#include "golden/files/number_text.h"

namespace meshparity {
namespace {

RankFile open_rank(const std::string& path, std::size_t step) {
  ReadableFile file(path, "recording");
  return about_file(path, [&] {
    TensorIndex index = index_safetensors(file);
    const auto text = index.metadata.find("meshparity");
    if (text == index.metadata.end()) {
      throw UsageError("its metadata has no 'meshparity', so it is no recording");
    }
    RecordingHeader header = parse_recording_header(text->second);
    if (header.step.number != step) {
      throw UsageError(fmt::format("it says step {}, its name step {}", header.step.number, step));
    }
    return RankFile{std::move(file), std::move(index), std::move(header)};
  });
}

}  // namespace

std::vector<StepFile> step_files(const std::string& folder) {
  std::vector<StepFile> files;
  for (const std::string& name : read_folder(folder)) {
    if (!name.starts_with("step-") || !name.ends_with(".safetensors")) continue;
    const std::string number = name.substr(5, name.find('.') - 5);
    try {
      files.push_back({parse_whole(number), (std::filesystem::path(folder) / name).string()});
    } catch (const UsageError& e) {
      throw UsageError(fmt::format("'{}' in '{}' is no step's file: {}", printable(name),
                                   printable(folder), e.what()),
                       "name it step-000000.safetensors or step-000000.rank-0000.safetensors");
    }
  }
  return files;
}

std::list<RankFile> open_recorded_step(const std::string& folder, std::size_t step) {
  std::list<RankFile> ranks;
  for (const StepFile& entry : step_files(folder)) {
    if (entry.step == step) ranks.push_back(open_rank(entry.path, step));
  }
  if (ranks.empty()) {
    throw UsageError(fmt::format("'{}' holds no step {}", printable(folder), step),
                     "choose one of the steps that were recorded");
  }
  ranks.sort([](const RankFile& a, const RankFile& b) { return a.header.rank < b.header.rank; });
  const RecordingHeader& first = ranks.front().header;
  std::size_t i = 0;
  for (const RankFile& rank : ranks) {
    about_file(rank.file.path(), [&] {
      if (rank.header.run != first.run) {
        throw UsageError(fmt::format("it says of the run what rank {} does not: {}", first.rank,
                                     printable(rank.header.run, 400)));
      }
      if (rank.header.rank != i) {
        const bool twice = rank.header.rank < i;
        throw UsageError(fmt::format("rank {} of {} has {}", twice ? rank.header.rank : i,
                                     first.step.ranks, twice ? "two files" : "no file"));
      }
    });
    ++i;
  }
  if (ranks.size() != first.step.ranks) {
    throw UsageError(fmt::format("step {} in '{}' was recorded by {} ranks, but there are {} files",
                                 step, printable(folder), first.step.ranks, ranks.size()),
                     kRecordingHint);
  }
  return ranks;
}

}  // namespace meshparity
