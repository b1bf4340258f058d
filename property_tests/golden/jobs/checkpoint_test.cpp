// Checkpoints that are damaged, incomplete or mixed up: what is not exactly what a run wrote is
// refused by name, or seen in the digest of what was read.

#include "golden/files/checkpoint.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <filesystem>
#include <string>

#include "golden/files/corpus_file.h"
#include "golden/files/file_io.h"
#include "golden/jobs/temporary_folder.h"
#include "golden/jobs/training_job.h"
#include "model/error.h"

namespace meshparity {
namespace {

namespace fs = std::filesystem;

Recipe small_recipe() {
  Recipe recipe;
  recipe.context = 2;
  recipe.embedding = 3;
  recipe.hidden = 6;  // context * embedding, so that two weights have one shape
  recipe.layers = 2;
  recipe.batch = 4;
  recipe.batch_grain = 1;
  recipe.steps = 5;
  recipe.optimizer = OptimizerKind::adamw;
  return recipe;
}

/// Leaves a checkpoint after each of three steps. Returns the path of the last.
std::string make_checkpoints(const std::string& folder, CheckpointLayout layout,
                             const Recipe& recipe = small_recipe()) {
  const Corpus corpus = corpus_of(recipe, "ada\ngrace\nhedy\nmary\n");
  const InitialParameters initial(recipe.seed);
  prepare_folder(folder, false);
  const CheckpointSaver saver({.folder = folder, .layout = layout, .every = 1},
                              checkpoint_header(recipe, corpus, ""));
  TrainingSinks sinks;
  sinks.saver = &saver;
  TrainingJob job{
      .recipe = recipe, .corpus = corpus, .initial = initial, .how = {}, .stop_after = 3};
  job.how.mesh = parse_mesh("fsdp=3");
  train_simulated(job, sinks, 0);
  return checkpoints_in(folder).at(2).path;
}

/// Reads all of it, as a run that goes on does; throws UsageError if anything is wrong.
void read_all(const std::string& path) {
  const Checkpoint checkpoint(path);
  const std::uint64_t digest = checkpoint.digest();
  if (digest != checkpoint.header().digest) checkpoint.refuse(digest);
}

void expect_refused(const std::string& path, const std::string& complaint) {
  try {
    read_all(path);
    ADD_FAILURE() << "read without complaint, where this was expected: " << complaint;
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find(complaint), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    EXPECT_FALSE(error.hint().empty());
  }
}

void flip_bit(const std::string& path, std::size_t byte) {
  std::string bytes = read_file(path, "test");
  bytes.at(byte) = static_cast<char>(bytes.at(byte) ^ 1);
  write_file(path, bytes);
}

void truncate(const std::string& path, std::size_t bytes) { fs::resize_file(path, bytes); }

class ShardedCheckpoint : public testing::Test {
 protected:
  std::string piece(std::size_t rank, const std::string& of = "") const {
    return (fs::path(of.empty() ? path_ : of) / piece_name(rank)).string();
  }

  TemporaryFolder folder_;
  std::string path_ = make_checkpoints(folder_.file("run"), CheckpointLayout::sharded);
  std::string earlier_ = checkpoints_in(folder_.file("run")).at(1).path;
};

/// What is converted must be what was read: a state of another digest is not written at all.
TEST_F(ShardedCheckpoint, AStateOfAnotherDigestIsNotSaved) {
  const Checkpoint from(path_);
  std::vector<Shard> shards(from.specs().begin(), from.specs().end());
  std::vector<std::array<std::vector<float>, 3>> values(shards.size());
  for (std::size_t p = 0; p < shards.size(); ++p) {
    for (const StatePart part : from.header().parts()) {
      std::vector<float>& of_part = values[p][static_cast<std::size_t>(part)];
      of_part.resize(shards[p].size());
      from.read(part, shards[p], of_part);
    }
  }
  for (const CheckpointLayout layout : {CheckpointLayout::gathered, CheckpointLayout::sharded}) {
    const std::string folder = folder_.file(layout == CheckpointLayout::gathered ? "one" : "many");
    prepare_folder(folder, false);
    const CheckpointSaver saver({.folder = folder, .layout = layout}, from.header());
    const auto save = [&] {
      std::vector<ShardView> views;
      for (std::size_t p = 0; p < shards.size(); ++p) {
        views.push_back({.shard = &shards[p],
                         .values = values[p][0],
                         .gradient = {},
                         .first_moment = values[p][1],
                         .second_moment = values[p][2]});
      }
      saver.save({.step = 3, .shards = views}, nullptr, from.header().digest);
    };
    std::swap(values[0][0].front(), values[0][0].back());
    EXPECT_THROW(save(), EnvironmentError);
    EXPECT_TRUE(fs::is_empty(folder));
    std::swap(values[0][0].front(), values[0][0].back());
    save();
    EXPECT_NO_THROW(read_all(checkpoints_in(folder).at(0).path));
  }
}

TEST_F(ShardedCheckpoint, IsRead) {
  EXPECT_NO_THROW(read_all(path_));
  EXPECT_NO_THROW(read_all(earlier_));
  const Checkpoint checkpoint(path_);
  EXPECT_EQ(checkpoint.pieces(), 3U);
  EXPECT_EQ(checkpoint.header().step, 3U);
}

TEST_F(ShardedCheckpoint, WithoutAPiece) {
  fs::remove(piece(1));
  expect_refused(path_, "rank-1.safetensors' cannot be read: No such file");
}

TEST_F(ShardedCheckpoint, WithACutPiece) {
  truncate(piece(2), fs::file_size(piece(2)) - 4);
  expect_refused(path_, "piece 'rank-2.safetensors' has");
}

TEST_F(ShardedCheckpoint, WithAPieceOfAnotherStep) {
  fs::copy_file(piece(1, earlier_), piece(1), fs::copy_options::overwrite_existing);
  expect_refused(path_, "piece 'rank-1.safetensors' is of step 2, not 3");
}

TEST_F(ShardedCheckpoint, WithAPieceOfAnotherRun) {
  Recipe other = small_recipe();
  other.seed = 77;
  const std::string theirs =
      make_checkpoints(folder_.file("other"), CheckpointLayout::sharded, other);
  fs::copy_file(piece(0, theirs), piece(0), fs::copy_options::overwrite_existing);
  expect_refused(path_, "piece 'rank-0.safetensors' is of another run");
}

TEST_F(ShardedCheckpoint, WithPiecesExchanged) {
  fs::rename(piece(0), folder_.file("aside"));
  fs::rename(piece(2), piece(0));
  fs::rename(folder_.file("aside"), piece(2));
  expect_refused(path_, "piece 'rank-0.safetensors' ");
}

TEST_F(ShardedCheckpoint, WithoutAnIndex) {
  fs::remove(fs::path(path_) / kIndexName);
  expect_refused(path_, "index.json");
}

TEST_F(ShardedCheckpoint, WithTheIndexOfAnotherStep) {
  fs::copy_file(fs::path(earlier_) / kIndexName, fs::path(path_) / kIndexName,
                fs::copy_options::overwrite_existing);
  expect_refused(path_, "is of step 3, not 2");
}

TEST_F(ShardedCheckpoint, WithAFlippedBit) {
  flip_bit(piece(1), fs::file_size(piece(1)) - 8);
  expect_refused(path_, "piece 'rank-1.safetensors' has digest ");
}

class GatheredCheckpoint : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::string path_ = make_checkpoints(folder_.file("run"), CheckpointLayout::gathered);
};

TEST_F(GatheredCheckpoint, IsRead) {
  EXPECT_NO_THROW(read_all(path_));
  EXPECT_EQ(Checkpoint(path_).header().step, 3U);
}

TEST_F(GatheredCheckpoint, CutOffOrLonger) {
  const std::string whole = read_file(path_, "test");
  truncate(path_, whole.size() - 4);
  expect_refused(path_, "is it cut off?");
  write_file(path_, whole + "more");
  expect_refused(path_, "4 bytes follow the last tensor");
  write_file(path_, "");
  expect_refused(path_, "too few for a header");
}

TEST_F(GatheredCheckpoint, WithAFlippedBit) {
  flip_bit(path_, fs::file_size(path_) - 8);
  expect_refused(path_, "is damaged: its state has digest ");
}

TEST_F(GatheredCheckpoint, WithAnotherStepInItsHeader) {
  std::string bytes = read_file(path_, "test");
  const std::string step = R"(\"step\":3)";
  const std::size_t at = bytes.find(step);
  ASSERT_NE(at, std::string::npos);
  bytes[at + step.size() - 1] = '2';
  write_file(path_, bytes);
  expect_refused(path_, "its header is damaged");
}

TEST_F(GatheredCheckpoint, WithTwoTensorsOfOneShapeExchanged) {
  TensorFile file = load_safetensors(path_);
  StoredTensor& a = file.tensors.at(1);
  StoredTensor& b = file.tensors.at(3);
  ASSERT_EQ(a.shape, b.shape) << a.name << ", " << b.name;
  std::swap(a.values, b.values);
  save_safetensors(path_, file);
  expect_refused(path_, "is damaged: its state has digest ");
  std::swap(a.values, b.values);
  std::swap(a.name, b.name);
  save_safetensors(path_, file);
  expect_refused(path_, "stands where");
}

TEST(Checkpoints, FiftyDamagedOnesAreRefused) {
  std::size_t damaged = 0;
  const bool holds = rc::check("what is not as it was written is refused", [&] {
    const TemporaryFolder folder(folder_in_memory());
    const auto layout = *rc::gen::element(CheckpointLayout::gathered, CheckpointLayout::sharded);
    const std::string path = make_checkpoints(folder.file("run"), layout);
    std::vector<std::string> files = {path};
    if (layout == CheckpointLayout::sharded) {
      files.clear();
      for (const auto& entry : fs::directory_iterator(path)) files.push_back(entry.path().string());
      std::ranges::sort(files);
    }
    const CheckpointHeader before = Checkpoint(path).header();
    const std::string file = files[*rc::gen::inRange<std::size_t>(0, files.size())];
    const std::size_t size = fs::file_size(file);
    const auto at = *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<std::size_t>(0, size));
    const auto kind = *rc::gen::inRange(0, 3);
    if (kind == 0) flip_bit(file, at);
    if (kind == 1) truncate(file, at);
    if (kind == 2) fs::remove(file);
    ++damaged;
    try {
      read_all(path);
    } catch (const UsageError& error) {
      RC_ASSERT(!std::string(error.what()).empty());
      return;
    }
    // A space may have become another one, nothing else.
    RC_ASSERT(kind == 0);
    RC_ASSERT(json_of(Checkpoint(path).header()) == json_of(before));
  });
  EXPECT_TRUE(holds);
  EXPECT_GE(damaged, 50U);
}

TEST(Checkpoints, NamesAreOrderedByNumber) {
  const TemporaryFolder folder;
  for (const char* name :
       {"step-00000009.safetensors", "step-00000010", "step-100000000.safetensors",
        "step-99999999.safetensors", "step-x", ".step-00000011.partial",
        ".step-00000012.safetensors.partial", "step-"}) {
    write_file(folder.file(name), "");
  }
  std::vector<std::size_t> steps;
  for (const StoredCheckpoint& found : checkpoints_in(folder.path().string())) {
    steps.push_back(found.step);
  }
  EXPECT_EQ(steps, (std::vector<std::size_t>{9, 10, 99999999, 100000000}));
  EXPECT_TRUE(checkpoints_in(folder.file("missing")).empty());
}

TEST(Checkpoints, AFolderThatCannotBeListedIsNotAnEmptyOne) {
  const TemporaryFolder folder;
  EXPECT_TRUE(checkpoints_in(folder.file("none")).empty());
  write_file(folder.file("file"), "");
  EXPECT_THROW(checkpoints_in(folder.file("file")), UsageError);
}

TEST(Checkpoints, OldOnesAndHalfWrittenOnesGo) {
  const TemporaryFolder folder;
  const std::string run = folder.file("run");
  make_checkpoints(run, CheckpointLayout::sharded);
  EXPECT_THROW(prepare_folder(run, false), UsageError);
  fs::create_directory(fs::path(run) / partial_name(9, CheckpointLayout::sharded));
  write_file((fs::path(run) / partial_name(8, CheckpointLayout::gathered)).string(), "half");
  write_file((fs::path(run) / ".mine").string(), "stays");
  prepare_folder(run, true);
  std::size_t names = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(run)) ++names;
  EXPECT_EQ(names, 4U);  // three checkpoints, and what is none of ours
}

}  // namespace
}  // namespace meshparity
