#include "property_tests/fuzz/readers.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "golden/files/corpus_file.h"
#include "golden/files/number_text.h"
#include "golden/files/plain_text.h"
#include "golden/files/recipe_file.h"
#include "golden/files/recording_folder.h"
#include "golden/files/safetensors.h"
#include "golden/files/trace_file.h"
#include "golden/jobs/temporary_folder.h"
#include "golden/jobs/training_job.h"
#include "golden/programs/program.h"
#include "golden/programs/train_inputs.h"
#include "golden/programs/train_options.h"
#include "model/error.h"
#include "parallel/mesh.h"
#include "property_tests/golden/files/small_model.h"

namespace meshparity {
namespace {

void require_same(bool same, const char* what) {
  if (!same) throw std::logic_error(std::string(what) + " changes when it is written and read");
}

/// A file with these bytes, and other files beside it that stay.
class ReadFile {
 public:
  std::string path(const std::string& name) const { return folder_.file(name); }
  std::string folder() const { return folder_.path().string(); }
  /// Unlike results, it need not survive a crash.
  std::string write(const std::string& name, std::string_view bytes) const {
    std::ofstream file(path(name), std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path(name);
  }

 private:
  TemporaryFolder folder_;
};

void read_safetensors(std::string_view bytes) {
  const std::string written = safetensors_bytes(parse_safetensors(bytes, "file"));
  require_same(safetensors_bytes(parse_safetensors(written, "file")) == written, "a tensor file");
}

/// As meshparity-train --load does, up to the first sample.
void load(const std::string& path, const std::vector<SaidField>& overrides) {
  TrainOptions options;
  options.load_path = path;
  options.samples = 1;
  options.overrides = overrides;
  const TrainInputs inputs = read_train_inputs(options);
  for (const ParameterSpec& spec : parameters_of(inputs.recipe, *inputs.corpus)) {
    std::vector<float> values(spec.size());
    inputs.model->fill(Shard(spec), values);
  }
}

/// Of ours, which knows its vocabulary, or of another program, with a text.
void load_with_or_without_text(const ReadFile& file, const std::string& path) {
  try {
    load(path, {});
  } catch (const UsageError&) {
    load(path, {{"data", file.path("text"), "--"}, {"form", "lines", "--"}});
  }
}

/// Files of the same model: its text, and itself as another program would have written it.
const ReadFile& model_files() {
  static const ReadFile files;
  [[maybe_unused]] static const bool once = [] {
    files.write("text", "abc\nba\r\n\xff");
    const TensorFile foreign = SmallModel::gpt2(true).foreign_file();
    std::filesystem::create_directory(files.path("foreign"));
    files.write("foreign/model.safetensors", safetensors_bytes(foreign));
    return true;
  }();
  return files;
}

void read_model(std::string_view bytes) {
  load_with_or_without_text(model_files(), model_files().write("model.safetensors", bytes));
}

void read_checkpoint(std::string_view bytes) {
  const std::string path = model_files().write("model.bin", bytes);
  load(path,
       {{"data", model_files().path("text"), "--"}, {"form", "lines", "--"}, {"heads", "2", "--"}});
}

void read_config(std::string_view bytes) {
  model_files().write("foreign/config.json", bytes);
  load(model_files().path("foreign/model.safetensors"),
       {{"data", model_files().path("text"), "--"}, {"form", "lines", "--"}});
}

void read_recording(std::string_view bytes) {
  static const ReadFile files;
  files.write("step-000000.safetensors", bytes);
  (void)read_recorded_step(files.folder(), recorded_steps(files.folder()).front());
}

void read_recipe(std::string_view bytes) {
  Recipe recipe;
  apply_recipe_text(recipe, std::string(plain_text(bytes, TextKind::lines, "recipe", "file")),
                    "file");
  Recipe again;
  apply_recipe_text(again, to_text(recipe), "again");
  require_same(again == recipe, "a recipe");
  require_same(recipe_of(recipe_json(recipe)) == recipe, "a recipe as JSON");
  validate(recipe, 27);
  (void)least_bytes(recipe, 27, 1);
}

void read_trace(std::string_view bytes) {
  const Trace trace = parse_trace(std::string(bytes), "file");
  const std::string written = text_of(trace);
  const Trace again = parse_trace(written, "again");
  require_same(text_of(again) == written && !compare_traces(trace, again), "a trace");
}

/// The first and the last sample of both parts.
void take_samples(const Corpus& corpus) {
  std::vector<Token> tokens(corpus.context());
  std::vector<Token> targets(corpus.positions());
  for (const auto split : {Corpus::Split::training, Corpus::Split::validation}) {
    const std::size_t samples = corpus.samples(split);
    if (samples == 0) continue;
    corpus.sample(split, 0, tokens, targets);
    corpus.sample(split, samples - 1, tokens, targets);
    for (const Token token : tokens) {
      if (token != 0 || !corpus.has_boundary()) (void)corpus.text_of(token);
    }
  }
}

/// The first byte says as what the others are read.
void read_text_corpus(std::string_view bytes) {
  static const ReadFile file;
  const auto kind = bytes.empty() ? 0U : static_cast<unsigned char>(bytes.front()) % 4U;
  Recipe recipe = default_recipe(kind == 0 ? ModelKind::mlp : ModelKind::gpt2);
  recipe.positions = 3;
  recipe.form = kind < 2 ? DataForm::lines : DataForm::text;
  recipe.all_bytes = kind == 3;
  recipe.data = file.write("text", bytes.substr(std::min<std::size_t>(1, bytes.size())));
  take_samples(read_corpus(recipe).first);
}

void read_tokens(std::string_view bytes) {
  static const ReadFile file;
  Recipe recipe = default_recipe(ModelKind::gpt2);
  recipe.positions = 3;
  recipe.batch = 1;
  recipe.form = DataForm::tokens;
  recipe.data = file.write("tokens.bin", bytes);
  take_samples(read_corpus(recipe).first);
}

/// As each kind of number there is; refused if it is none of them.
void read_number(std::string_view text) {
  std::size_t refusals = 0;
  const auto read_as = [&](auto parse, auto write) {
    try {
      const auto value = parse(text);
      const auto again = parse(write(value));
      require_same(again == value && std::signbit(static_cast<double>(again)) ==
                                         std::signbit(static_cast<double>(value)),
                   "a number");
    } catch (const UsageError&) {
      if (++refusals == 4) throw;
    }
  };
  read_as(parse_whole, [](std::uint64_t value) { return std::to_string(value); });
  read_as(parse_decimal<float>, [](float value) { return decimal_text(value); });
  read_as(parse_decimal<double>, [](double value) { return decimal_text(value); });
  read_as(parse_hex, hex_text);
}

void read_mesh(std::string_view text) {
  const Mesh mesh = parse_mesh(text);
  require_same(parse_mesh(to_string(mesh)) == mesh, "a mesh");
}

/// A word a line.
void read_command_line(std::string_view bytes) {
  std::vector<std::string> words;
  std::istringstream lines{std::string(bytes)};
  for (std::string word; std::getline(lines, word);) words.push_back(word);
  try {
    (void)parse_train_options(words);
  } catch (const PrintAndExit&) {
  }
}

}  // namespace

const std::vector<Reader>& readers() {
  static const std::vector<Reader> all = {
      {"safetensors", read_safetensors, safetensors_seeds},
      {"model", read_model, model_seeds},
      {"checkpoint", read_checkpoint, checkpoint_seeds},
      {"config", read_config, config_seeds},
      {"recipe", read_recipe, recipe_seeds},
      {"recording", read_recording, recording_seeds},
      {"trace", read_trace, trace_seeds},
      {"corpus", read_text_corpus, corpus_seeds},
      {"tokens", read_tokens, token_seeds},
      {"number", read_number, number_seeds},
      {"mesh", read_mesh, mesh_seeds},
      {"command_line", read_command_line, command_line_seeds},
  };
  return all;
}

bool accepts(const Reader& reader, std::string_view bytes) {
  try {
    reader.read(bytes);
    return true;
  } catch (const UsageError&) {
    const ErrorReport report = describe_error(std::current_exception());
    const bool plain = std::ranges::none_of(report.text, [](char byte) {
      return byte != '\n' && static_cast<unsigned char>(byte) < 0x20;
    });
    if (!plain || report.text.size() > 10'000) {
      throw std::logic_error("an error that does not fit a terminal");
    }
    return false;
  }
}

}  // namespace meshparity
