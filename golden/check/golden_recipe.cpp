#include "golden/check/golden_recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "golden/files/corpus_file.h"
#include "golden/files/file_io.h"
#include "golden/files/recipe_file.h"
#include "model/error.h"

namespace meshparity {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExtension = ".recipe";
constexpr std::size_t kRecordedSteps = 100;

std::vector<std::string> recipe_names(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::path file : read_folder(folder.string())) {
    if (file.extension() == kExtension) names.push_back(file.stem().string());
  }
  if (names.empty()) {
    throw UsageError(fmt::format("'{}' holds no recipe", folder.string()),
                     "--golden-dir DIR: the project's golden folder");
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::vector<GoldenRecipe> golden_recipes(const std::string& golden_dir, const std::string& only) {
  const fs::path folder(golden_dir);
  const std::vector<std::string> names = recipe_names(folder / "recipes");
  if (!only.empty() && std::find(names.begin(), names.end(), only) == names.end()) {
    throw UsageError(fmt::format("no recipe is called '{}'", only),
                     fmt::format("--recipe {}", fmt::join(names, " or ")));
  }
  std::vector<GoldenRecipe> goldens;
  for (std::size_t number = 0; number < names.size(); ++number) {
    const std::string& name = names[number];
    if (!only.empty() && name != only) continue;
    const std::string path = (folder / "recipes" / (name + kExtension)).string();
    Recipe recipe;
    apply_recipe_file(recipe, path);
    auto [corpus, hash] = read_corpus(recipe);
    validate(recipe, corpus.vocabulary());
    goldens.push_back({name, number, path, (folder / "traces" / (name + ".trace")).string(), recipe,
                       std::move(corpus), std::move(hash)});
  }
  return goldens;
}

std::size_t golden_interval(std::size_t steps) {
  return std::max<std::size_t>(1, steps / kRecordedSteps);
}

Trace traced(const GoldenRecipe& golden, std::size_t steps, std::size_t every,
             const std::function<void(TrainingJob, const TrainingSinks&)>& train) {
  TraceHeader header = golden.header();
  header.every = every;
  const InitialParameters initial(golden.recipe.seed);
  return traced(header, [&](const TrainingSinks& sinks) {
    train({.recipe = golden.recipe,
           .corpus = golden.corpus,
           .initial = initial,
           .how = {},
           .stop_after = steps},
          sinks);
  });
}

}  // namespace meshparity
