#include <string>
#include <vector>

#include "golden/files/file_io.h"
#include "golden/files/little_endian.h"
#include "model/error.h"
#include "property_tests/faults/trial.h"

namespace meshparity::faults {
namespace {

using Arguments = std::vector<std::string>;

/// Lines of pronounceable nonsense, larger than what is read at once.
std::string names() {
  std::string text;
  std::uint32_t state = 1;
  const auto draw = [&](std::uint32_t below) {
    state = state * 1664525 + 1013904223;
    return (state >> 16) % below;
  };
  while (text.size() < 150000) {
    for (std::uint32_t syllables = 1 + draw(4); syllables > 0; --syllables) {
      text += "bdfgklmnprst"[draw(12)];
      text += "aeiou"[draw(5)];
    }
    text += '\n';
  }
  return text;
}

/// llm.c's header and tokens.
std::string token_file(std::uint32_t count) {
  std::string bytes;
  for (const std::uint32_t word : {20240520U, 1U, count}) append_little_endian(bytes, word);
  bytes.resize(1024);
  for (std::uint32_t i = 0; i < count; ++i) {
    append_little_endian(bytes, static_cast<std::uint16_t>(i * i % 97));
  }
  return bytes;
}

void train(const std::filesystem::path& in, const Arguments& arguments) {
  Arguments command = {program_folder() + "/meshparity-train", "--quiet"};
  for (const std::string& argument : arguments) {
    command.push_back(argument.starts_with("IN/") ? (in / argument.substr(3)).string() : argument);
  }
  const ChildResult result = run_child(command, std::chrono::seconds(60));
  if (result.status != 0) throw EnvironmentError("no files to read: " + result.errors);
}

constexpr const char* kMlp =
    "data = names.txt\ncontext = 3\nembedding = 4\nhidden = 16\nbatch = 6\nsteps = 3\n"
    "batch-grain = 2\nfeature-grain = 2\nvocab-grain = 4\n";
constexpr const char* kGpt2 =
    "model = gpt2\ndata = names.txt\nlayers = 2\nheads = 2\nchannels = 16\npositions = 12\n"
    "batch = 4\nsteps = 2\noptimizer = adamw\ndropout = 0.1\nclip = 1\n";
constexpr const char* kTokens =
    "model = gpt2\ndata = train_*.bin\nvalidation-data = val.bin\nvocabulary = 97\nlayers = 1\n"
    "heads = 2\nchannels = 16\npositions = 8\nbatch = 4\nsteps = 2\n";
constexpr const char* kOtherConfig = "{\"model_type\": \"gpt2\", \"n_layer\": 7}\n";

}  // namespace

std::map<std::string, Workload> make_workloads(const std::filesystem::path& in) {
  const auto put = [&](const std::string& name, const std::string& text) {
    write_file((in / name).string(), text);
  };
  put("names.txt", names());
  put("mlp.recipe", kMlp);
  put("gpt2.recipe", kGpt2);
  put("tokens.recipe", kTokens);
  put("train_1.bin", token_file(900));
  put("train_2.bin", token_file(700));
  put("val.bin", token_file(300));
  const Arguments gpt2 = {"--recipe", "IN/gpt2.recipe"};
  train(in, {"--recipe", "IN/mlp.recipe", "--save", "IN/mlp.model", "--trace", "IN/mlp.trace"});
  train(in, {"--recipe", "IN/mlp.recipe", "--steps", "2", "--save", "IN/other.model"});
  train(in, {"--recipe", "IN/gpt2.recipe", "--save", "IN/model.safetensors"});

  const char* const train = "meshparity-train";
  const char* const diff = "meshparity-diff";
  const std::string old = "what stood here before\n";
  return {
      {"mlp",
       {train,
        {"--quiet", "--recipe=IN/mlp.recipe", "--mesh=dp=2,tp=2", "--transport=sim",
         "--trace=OUT/trace", "--save=OUT/model", "--sample=2", "--validate=1"},
        {{"trace", old}, {"model", old}}}},
      {"gpt2",
       {train,
        {"--quiet", "--recipe=IN/gpt2.recipe", "--trace=OUT/trace", "--save=OUT/model.safetensors",
         "--export=OUT/model.bin", "--validate=1"},
        {{"trace", old},
         {"model.safetensors", old},
         {"config.json", kOtherConfig},
         {"model.bin", old}}}},
      {"tokens",
       {train,
        {"--quiet", "--recipe=IN/tokens.recipe", "--mesh=fsdp=2", "--transport=sim",
         "--trace=OUT/trace", "--validate=all"},
        {{"trace", old}}}},
      {"load", {train, {"--load=IN/model.safetensors", "--sample=3", "--prompt=ba", "--top-k=5"}}},
      {"diff of models", {diff, {"IN/mlp.model", "IN/other.model"}}},
      {"diff of traces", {diff, {"IN/mlp.trace", "IN/mlp.trace"}}},
      {"job",
       {train,
        {"--quiet", "--recipe=IN/mlp.recipe", "--mesh=dp=2", "--trace=OUT/trace",
         "--save=OUT/model"},
        {{"trace", old}, {"model", old}},
        2}},
      {"long job",
       {train,
        {"--quiet", "--recipe=IN/mlp.recipe", "--mesh=dp=2", "--steps=20000", "--trace=OUT/trace"},
        {{"trace", old}},
        2}},
  };
}

}  // namespace meshparity::faults
