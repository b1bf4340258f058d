#include "golden/programs/train_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "golden/files/number_text.h"
#include "golden/files/recipe_file.h"
#include "golden/programs/program.h"
#include "model/error.h"

namespace meshparity {
namespace {

constexpr const char* kTrainDescription =
    "Trains a model as a recipe says, an MLP on characters or GPT-2: on one rank, on a simulated\n"
    "world in this process, or as one rank of an mpirun job. The mesh, the transport and the\n"
    "schedule never change a bit.";

constexpr const char* kTrainFooter =
    R"(--model gpt2, here or in the recipe file, decides the defaults. Without --load, parameters
start at random. With --load they start as saved, at step 0, and what --recipe and the flags do not
say comes from the saved model's recipe; --resume goes on where a run of --checkpoints stopped, with
the bits of one that did not. With --load and --sample, --validate or --export but no --steps
flag, nothing is trained; sampling needs no --data then.

Exit status: 0 done, 1 a proof failed, 2 bad usage or input, 3 the environment failed.

  meshparity-train --data names.txt --steps 2000 --save model.safetensors
  meshparity-train --load model.safetensors --sample 10
  meshparity-train --data names.txt --mesh tp=2,pp=2 --transport sim --trace loss.trace
  mpirun -n 12 meshparity-train --data names.txt --mesh dp=2,tp=2,pp=3

  meshparity-train --model gpt2 --data text.txt --min-lr 1e-4 --warmup 100 --decay cosine \
    --weight-decay 0.1 --clip 1 --save gpt2.safetensors --validate all
  meshparity-train --load gpt2.safetensors --sample 200 --prompt "To be" --temperature 0.8
  meshparity-train --data names.txt --checkpoints run --save-every 500
  mpirun -n 4 meshparity-train --data names.txt --mesh dp=2,tp=2 --checkpoints run --resume

  meshparity-train --size 124M --data 'train_*.bin' --validation-data val.bin --batch 4 \
    --sequence 64 --validate 20)";

/// GPT-2's four sizes; all have 1024 positions.
struct NamedSize {
  std::string_view name;
  std::size_t layers;
  std::size_t heads;
  std::size_t channels;
};
constexpr std::array<NamedSize, 4> kSizes{{{"124M", 12, 12, 768},
                                           {"350M", 24, 16, 1024},
                                           {"774M", 36, 20, 1280},
                                           {"1558M", 48, 25, 1600}}};
constexpr std::size_t kPositions = 1024;

/// Every option's text as it was typed, by name: numbers are read by the project's own parsers,
/// whose errors name the value.
using Texts = std::map<std::string, std::string>;

void add_text(CLI::App& app, Texts& texts, const std::string& name, const std::string& help,
              const std::string& type, const std::string& group) {
  app.add_option("--" + name, texts[name], help)->type_name(type)->group(group);
}

/// A field's defaults, and which model has it.
std::string defaults_of(const RecipeField& field) {
  const auto of = [&](ModelKind model) { return field.text(default_recipe(model)); };
  if (field.only) return fmt::format(" ({}; default {})", name_of(*field.only), of(*field.only));
  const std::string mlp = of(ModelKind::mlp);
  const std::string gpt2 = of(ModelKind::gpt2);
  if (field.key == "model" || mlp == gpt2) return fmt::format(" (default {})", mlp);
  return fmt::format(" (default {}, gpt2: {})", mlp, gpt2);
}

void add_how_options(CLI::App& app, Texts& texts) {
  const std::string how = "How it is trained (changes no bit)";
  add_text(app, texts, "mesh", "ranks on each axis, e.g. dp=2,fsdp=2,tp=2,pp=3", "MESH", how);
  add_text(app, texts, "transport",
           "mpi or sim (a simulated world in this process); default: mpi under mpirun, otherwise\n"
           "one rank, or sim for a larger mesh",
           "NAME", how);
  add_text(app, texts, "trainer",
           "train_single, train_dp, train_fsdp, train_tp, train_pp or train_mesh; default: the\n"
           "one of the mesh's only axis, or train_mesh",
           "NAME", how);
  add_text(app, texts, "microbatches", "parts in which a batch passes (default 1)", "N", how);
  add_text(app, texts, "schedule", "of a pipeline: gpipe or 1f1b (default)", "NAME", how);
  add_text(app, texts, "reduction",
           "canonical (default), or native: the transport's own sums, whose bits differ", "NAME",
           how);
  add_text(app, texts, "deadline",
           "seconds that ranks wait for each other before they end the job (default 120); time in\n"
           "which they are suspended does not count",
           "N", how);
  add_text(app, texts, "sim-seed", "of a simulated world's scheduler (default 0)", "N", how);
}

void add_options(CLI::App& app, Texts& texts) {
  add_how_options(app, texts);
  const std::string what = "What is trained";
  add_text(app, texts, "recipe", "file of 'key = value' lines; the flags below override it", "FILE",
           what);
  add_text(app, texts, "size",
           "GPT-2 of this size: 124M, 350M, 774M or 1558M (layers, heads, channels, positions)",
           "NAME", what);
  for (const RecipeField& field : recipe_fields()) {
    const bool is_path = field.key == "data" || field.key == "validation-data";
    const auto type = is_path                                    ? "PATH"
                      : field.type == RecipeField::Type::number  ? "NUMBER"
                      : field.type == RecipeField::Type::boolean ? "BOOL"
                                                                 : "NAME";
    add_text(app, texts, std::string(field.key),
             is_path ? std::string(field.help) : std::string(field.help) + defaults_of(field), type,
             what);
  }

  const std::string files = "Results";
  add_text(app, texts, "trace", "write step, loss, gradient norm and digest as JSON lines", "FILE",
           files);
  add_text(
      app, texts, "record-tensors",
      "write step-000000.safetensors, ..., which meshparity-judge reads: the batch, the loss,\n"
      "every parameter, moment and gradient",
      "DIR", files);
  add_text(
      app, texts, "save",
      "write the trained model (safetensors; gpt2 as Hugging Face's transformers read it, with\n"
      "config.json beside)",
      "FILE", files);
  add_text(
      app, texts, "load",
      "start from a saved model: ours, GPT-2 of transformers (.safetensors) or of llm.c (.bin)",
      "FILE", files);
  add_text(app, texts, "export", "write the model as a checkpoint of llm.c (gpt2, tied)", "FILE",
           files);
  add_text(app, texts, "stop-after",
           "end training when N steps are made in all (no part of the recipe)", "N", files);
  add_text(app, texts, "sample",
           "print N sampled documents, one a line; of a text without documents, N tokens of one",
           "N", files);
  add_text(app, texts, "prompt", "what samples begin with", "TEXT", files);
  add_text(app, texts, "temperature", "samples: below 1 the likely is likelier (default 1)",
           "NUMBER", files);
  add_text(app, texts, "top-k", "samples: pick from the N likeliest tokens (default: all)", "N",
           files);
  add_text(app, texts, "validate",
           "print the mean loss over N batches of the validation part, or over all of it", "N|all",
           files);
}

/// Without --resume, which is a flag.
void add_checkpoint_options(CLI::App& app, Texts& texts) {
  const std::string group = "Stopping and going on";
  add_text(
      app, texts, "checkpoints",
      "save all that training goes on from in this folder: where it ends, and where SIGTERM or\n"
      "SIGINT ends it",
      "DIR", group);
  add_text(app, texts, "save-every", "save every N steps, too", "N", group);
  add_text(app, texts, "keep", "remove all but the newest N (default: keep all)", "N", group);
  add_text(
      app, texts, "checkpoint-layout",
      "gathered (default): one file, the same from any mesh; or sharded: a file of each rank's\n"
      "part. Either is read by any mesh",
      "NAME", group);
}

template <typename Read>
auto reading(const std::string& name, const std::string& text, Read read) {
  try {
    return read(text);
  } catch (const UsageError& e) {
    throw UsageError(fmt::format("--{}: {}", name, e.what()), e.hint());
  }
}

/// The number of an option; `absent` if it was not given.
std::uint64_t number(const CLI::App& app, const Texts& texts, const std::string& name,
                     std::uint64_t absent, std::uint64_t least,
                     std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) {
  if (app.count("--" + name) == 0) return absent;
  const std::uint64_t value = reading(name, texts.at(name), parse_whole);
  if (value < least) {
    throw UsageError(fmt::format("--{}: '{}' is too small", name, texts.at(name)),
                     fmt::format("--{} {} or more", name, least));
  }
  if (value > most) {
    throw UsageError(fmt::format("--{}: '{}' is too large", name, texts.at(name)),
                     fmt::format("--{} {} or less", name, most));
  }
  return value;
}

std::size_t choice(const std::string& name, const std::string& text,
                   const std::vector<std::string>& choices) {
  const auto found = std::find(choices.begin(), choices.end(), text);
  if (found == choices.end()) {
    throw UsageError(fmt::format("--{}: unknown value '{}'", name, text),
                     fmt::format("--{} {}", name, fmt::join(choices, " or ")));
  }
  return static_cast<std::size_t>(found - choices.begin());
}

/// Reads --trainer, once the mesh is known.
void set_trainer(TrainOptions& options, const std::string& name) {
  options.alone = name == "train_single";
  if (!options.alone) {
    options.strategy = reading("trainer", name, strategy_named);
    require_runs(*options.strategy, options.how.mesh);
    return;
  }
  if (options.fits_train_single()) return;
  throw UsageError(
      "--trainer: 'train_single' runs on one rank, with one microbatch and no transport",
      "leave out --mesh, --microbatches, --reduction and --transport, or --trainer train_mesh");
}

/// Fields that --size stands for; those with a flag of their own come later, and win.
void add_size(TrainOptions& options, const std::string& name) {
  const auto size = std::find_if(kSizes.begin(), kSizes.end(),
                                 [&](const NamedSize& known) { return known.name == name; });
  if (size == kSizes.end()) {
    throw UsageError(fmt::format("--size: GPT-2 has no size '{}'", name),
                     "--size 124M or 350M or 774M or 1558M");
  }
  const std::string place = fmt::format("--size {}: ", name);
  options.overrides.push_back({"model", "gpt2", place});
  options.overrides.push_back({"layers", std::to_string(size->layers), place});
  options.overrides.push_back({"heads", std::to_string(size->heads), place});
  options.overrides.push_back({"channels", std::to_string(size->channels), place});
  options.overrides.push_back({"positions", std::to_string(kPositions), place});
}

/// Recipe fields, each as far as it can be judged before the model is known.
void read_overrides(const CLI::App& app, const Texts& texts, TrainOptions& options) {
  if (app.count("--size") > 0) add_size(options, texts.at("size"));
  Recipe scratch;
  for (const RecipeField& field : recipe_fields()) {
    const std::string key(field.key);
    if (app.count("--" + key) == 0) continue;
    const std::string& text = texts.at(key);
    reading(key, text, [&](const std::string& value) {
      field.set(scratch, value);
      return true;
    });
    options.overrides.push_back({key, text, "--"});
  }
}

/// --sample and what goes with it, --validate.
void read_uses(const CLI::App& app, const Texts& texts, TrainOptions& options) {
  options.samples = number(app, texts, "sample", 0, 1);
  options.top_k = number(app, texts, "top-k", 0, 1);
  if (app.count("--prompt") > 0) options.prompt = texts.at("prompt");
  if (app.count("--temperature") > 0) {
    options.temperature = reading("temperature", texts.at("temperature"), parse_decimal<float>);
    if (options.temperature == 0) {
      throw UsageError("--temperature is 0", "give a positive number; --top-k 1 is the likeliest");
    }
  }
  for (const char* name : {"prompt", "temperature", "top-k"}) {
    if (app.count(std::string("--") + name) == 0 || options.samples > 0) continue;
    throw UsageError(fmt::format("--{} says how to sample, but nothing is sampled", name),
                     "add --sample N");
  }
  options.validates_all = app.count("--validate") > 0 && texts.at("validate") == "all";
  if (!options.validates_all) options.validation_batches = number(app, texts, "validate", 0, 1);
}

/// --checkpoints and what goes with it.
void read_checkpoints(const CLI::App& app, const Texts& texts, TrainOptions& options) {
  CheckpointPlan& plan = options.checkpoints;
  plan.folder = texts.at("checkpoints");
  plan.every = number(app, texts, "save-every", 0, 1);
  plan.keep = number(app, texts, "keep", 0, 1);
  if (app.count("--checkpoint-layout") > 0) {
    plan.layout = static_cast<CheckpointLayout>(
        choice("checkpoint-layout", texts.at("checkpoint-layout"), {"gathered", "sharded"}));
  }
  for (const char* name : {"save-every", "keep", "checkpoint-layout", "resume"}) {
    if (app.count(std::string("--") + name) == 0 || !plan.folder.empty()) continue;
    throw UsageError(fmt::format("--{} is about checkpoints, but no folder is named", name),
                     "add --checkpoints DIR");
  }
  if (options.resume && !options.load_path.empty()) {
    throw UsageError("--resume and --load both say where parameters come from",
                     "leave out one of them");
  }
}

}  // namespace

const SaidField* TrainOptions::override_of(std::string_view key) const {
  // A flag of its own stands after those of --size.
  const auto found = std::find_if(overrides.rbegin(), overrides.rend(),
                                  [&](const SaidField& field) { return field.key == key; });
  return found == overrides.rend() ? nullptr : &*found;
}

bool TrainOptions::fits_train_single() const {
  return how.mesh.size() == 1 && how.microbatches == 1 && how.reduction == Reduction::canonical &&
         !transport;
}

TrainOptions parse_train_options(const std::vector<std::string>& arguments) {
  CLI::App app(kTrainDescription, "meshparity-train");
  app.footer(kTrainFooter);
  app.set_version_flag("--version", std::string("meshparity-train ") + MESHPARITY_VERSION);
  Texts texts;
  add_options(app, texts);
  add_checkpoint_options(app, texts);
  TrainOptions options;
  app.add_flag("--resume", options.resume, "go on from the newest checkpoint of --checkpoints")
      ->group("Stopping and going on");
  app.add_flag("--record-boundaries", options.boundaries,
               "with --record-tensors: also what passes between the blocks")
      ->group("Results");
  app.add_flag("--quiet", options.quiet, "no progress")->group("Results");
  parse_arguments(app, arguments);

  for (const auto& [name, text] : texts) {
    if (app.count("--" + name) > 0 && text.empty()) {
      throw UsageError(fmt::format("--{} has an empty value", name), "meshparity-train --help");
    }
  }
  const auto given = [&](const std::string& name) { return app.count("--" + name) > 0; };
  if (given("mesh")) options.how.mesh = reading("mesh", texts["mesh"], parse_mesh);
  if (given("schedule")) {
    options.how.schedule = reading("schedule", texts["schedule"], parse_schedule);
  }
  if (given("reduction")) {
    const std::size_t chosen = choice("reduction", texts["reduction"], {"canonical", "native"});
    options.how.reduction = chosen == 0 ? Reduction::canonical : Reduction::native;
  }
  if (given("transport")) {
    const std::size_t chosen = choice("transport", texts["transport"], {"mpi", "sim"});
    options.transport = chosen == 0 ? Transport::mpi : Transport::sim;
  }
  options.how.microbatches = number(app, texts, "microbatches", 1, 1);
  if (given("stop-after")) options.stop_after = number(app, texts, "stop-after", 0, 1);
  options.deadline = std::chrono::seconds(number(app, texts, "deadline", 120, 1, 1'000'000'000));
  options.sim_seed = number(app, texts, "sim-seed", 0, 0);
  options.recipe_path = texts["recipe"];
  options.trace_path = texts["trace"];
  options.tensors_path = texts["record-tensors"];
  if (options.boundaries && options.tensors_path.empty()) {
    throw UsageError("--record-boundaries says what to record, but nothing is recorded",
                     "add --record-tensors DIR");
  }
  options.save_path = texts["save"];
  options.load_path = texts["load"];
  options.export_path = texts["export"];
  read_overrides(app, texts, options);
  read_uses(app, texts, options);
  read_checkpoints(app, texts, options);
  if (given("trainer")) set_trainer(options, texts["trainer"]);
  return options;
}

}  // namespace meshparity
