#include <fstream>
#include <iterator>

#include "golden/files/gpt2_config.h"
#include "golden/files/little_endian.h"
#include "golden/files/llmc_checkpoint.h"
#include "golden/files/number_text.h"
#include "golden/files/recipe_file.h"
#include "golden/files/safetensors.h"
#include "golden/files/trace_file.h"
#include "golden/jobs/temporary_folder.h"
#include "property_tests/fuzz/readers.h"
#include "property_tests/golden/files/small_model.h"
#include "property_tests/golden/judge/small_recording.h"

namespace meshparity {
namespace {

/// With the prefix that transformers gives names with a head of its own.
TensorFile untied_foreign_file() { return SmallModel::gpt2(false).foreign_file(); }

}  // namespace

std::vector<std::string> safetensors_seeds() {
  TensorFile file;
  file.metadata = {{"format", "pt"}, {"\xc3\xa9\n\"", ""}};
  file.tensors.push_back({"w", {2, 3}, std::vector<float>{1, -0.0F, 2, 1e-40F, 3, 4}});
  file.tensors.push_back({"a.scalar", {}, std::vector<std::int32_t>{-7}});
  file.tensors.push_back({"empty", {0, 5}, std::vector<float>{}});
  file.tensors.push_back({"half", {2}, OtherValues{"BF16", 2, "\x01\x02\x03\x04"}});
  return {safetensors_bytes(file), safetensors_bytes({}), safetensors_bytes(untied_foreign_file())};
}

std::vector<std::string> model_seeds() {
  return {safetensors_bytes(SmallModel::mlp().file()),
          safetensors_bytes(SmallModel::gpt2(true).file()),
          safetensors_bytes(SmallModel::gpt2(false).file()), safetensors_bytes([] {
            // Nobody says the heads of a foreign model but our metadata or a config.
            TensorFile file = SmallModel::gpt2(true).file();
            for (StoredTensor& tensor : file.tensors) tensor.name = "transformer." + tensor.name;
            return file;
          }())};
}

std::vector<std::string> checkpoint_seeds() {
  const SmallModel small = SmallModel::gpt2(true);
  const TemporaryFolder folder;
  save_llmc_checkpoint(folder.file("model.bin"), small.recipe, small.specs, InitialParameters(1));
  std::ifstream file(folder.file("model.bin"), std::ios::binary);
  return {{std::istreambuf_iterator<char>(file), {}}};
}

std::vector<std::string> config_seeds() { return {config_text(SmallModel::gpt2(true).recipe, 5)}; }

std::vector<std::string> recording_seeds() {
  std::vector<std::string> seeds;
  for (const auto kind : {RecordedModel::Kind::gpt2, RecordedModel::Kind::mlp}) {
    RankRecording recording = rank_recording(small_step({.kind = kind, .max_norm = 1}), 0, 1);
    // Small files are changed faster.
    std::erase_if(recording.file.tensors, [](const StoredTensor& tensor) {
      return tensor.name.starts_with("state") || tensor.name.starts_with("grad_");
    });
    recording.file.metadata["meshparity"] = recording.header.dump();
    seeds.push_back(safetensors_bytes(recording.file));
  }
  return seeds;
}

std::vector<std::string> recipe_seeds() {
  Recipe adamw = default_recipe(ModelKind::gpt2);
  adamw.data = "a b'\"c/[x].txt";
  adamw.validation_data = "val_*.bin";
  adamw.dropout = 0.1;
  adamw.decay = LrDecay::wsd;
  adamw.warmup = 3;
  return {to_text(Recipe()), to_text(adamw),
          "\xef\xbb\xbf# ml.c's\r\ndata = \"x y.txt\"  # here\r\nlr=1e-3\r\n",
          "model = gpt2\ndata = train.bin\ntied = false\nclip = 0.125\n"
          "lr = 0.2\n"};
}

std::vector<std::string> trace_seeds() {
  Recipe recipe;
  recipe.steps = 5;
  recipe.data = "names.txt";
  Trace trace;
  trace.header = header_of(recipe, std::string(64, 'a'));
  trace.header.every = 2;
  for (const std::size_t step : {0U, 2U, 4U}) trace.steps.push_back({step, 3.25F, 1e-3, 7 * step});
  trace.end = {5, 99, false};
  Trace stopped = trace;
  stopped.header = header_of(default_recipe(ModelKind::gpt2), std::string(64, '0'));
  stopped.header.compiler = "gcc 12.2.0";
  stopped.header.date = "2026-01-01";
  stopped.header.reason = "a \"new\" rule";
  stopped.steps.resize(1);
  stopped.end = {1, 99, true};
  return {text_of(trace), text_of(stopped)};
}

std::vector<std::string> corpus_seeds() {
  const std::string text = "anna\nbob\r\n\ncarl\xff\n";
  return {"0" + text, "1" + text, "2" + text, "3" + text};
}

std::vector<std::string> token_seeds() {
  std::string bytes;
  for (const std::uint32_t word : {20240520U, 1U, 9U}) append_little_endian(bytes, word);
  bytes.resize(1024);
  for (std::uint16_t token = 0; token < 9; ++token) append_little_endian(bytes, token);
  return {bytes};
}

std::vector<std::string> number_seeds() {
  return {"0",        "18446744073709551615",   "0.1",      "1e-45",
          "4.9e-324", "1.7976931348623157e308", "0x1.8p+1", hex_text(-5e-324)};
}

std::vector<std::string> mesh_seeds() { return {"", "dp=2,fsdp=2,tp=2,pp=3", "pp=1024"}; }

std::vector<std::string> command_line_seeds() {
  return {"--data\nx.txt\n--steps\n3\n--mesh\ndp=2,tp=2\n--transport\nsim\n--quiet\n",
          "--load\nm.safetensors\n--sample\n2\n--prompt\na=b\n--temperature\n0.5\n--top-k\n3\n",
          "--size\n124M\n--data\ntrain_*.bin\n--validate\nall\n--trace=t\n--save\ns\n",
          "--recipe\nr.recipe\n--trainer\ntrain_pp\n--microbatches\n4\n--schedule\ngpipe\n",
          "--help\n",
          "--version\n"};
}

}  // namespace meshparity
