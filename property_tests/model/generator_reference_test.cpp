// Sampling and validation against a transcription of their own: which tokens a model sees, which
// random number picks the next one, which samples a validation loss is the mean of. Logits are the
// oracle's literal ones; softmax and sums are in binary64 here.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "model/generator.h"
#include "model/numerics/functions.h"
#include "model/numerics/philox.h"
#include "oracle/reference_trainer.h"

namespace meshparity {
namespace {

/// Fourteen documents; the last of their 68 rows, and the last two of them, are for validation.
constexpr const char* kText =
    "anna\nbob\ncleo\n\nda\neve\nfred\ngwen\nhanna\nida\njon\nkurt\nlea\nmoritz\n";

/// A model that knows how to be asked one thing: the probabilities behind some tokens.
class Transcription {
 public:
  Transcription(const Recipe& recipe, const Model& model) : recipe_(recipe), model_(model) {
    const InitialParameters initial(recipe.seed);
    for (const ParameterSpec& spec : model.parameters) {
      std::vector<float>& values = values_[spec.name];
      values.resize(spec.size());
      initial.fill(Shard(spec), values);
    }
    for (std::string line, rest = kText; !rest.empty();) {
      const std::size_t end = rest.find('\n');
      documents_.push_back(rest.substr(0, end));
      rest.erase(0, end + 1);
      for (const char byte : documents_.back()) {
        if (bytes_.find(byte) == std::string::npos) bytes_ += byte;
      }
    }
    std::ranges::sort(bytes_);
  }

  Token token_of(char byte) const { return static_cast<Token>(bytes_.find(byte)) + 1; }

  /// Softmax of the logits of the last row, behind the last tokens of `text`.
  std::vector<double> probabilities_after(std::vector<Token> text) const {
    const bool is_mlp = recipe_.model == ModelKind::mlp;
    const std::size_t most = is_mlp ? recipe_.context : positions_of(recipe_);
    if (text.size() > most) text.erase(text.begin(), text.end() - static_cast<long>(most));
    MicroBatch batch;
    batch.seed = recipe_.seed;
    batch.slots = {0, 1};
    batch.training = false;
    batch.leaves.positions = is_mlp ? 1 : text.size();
    batch.tokens = text;
    const std::vector<Token> targets(batch.leaves.positions, 0);
    batch.targets = targets;
    const Recording::Step step =
        reference_step(model_, values_, batch,
                       {portable_exp, portable_log, portable_gelu, portable_gelu_derivative});
    const std::vector<float>& logits = step.boundary_values.back();
    std::vector<double> weights(logits.end() - static_cast<long>(bytes_.size() + 1), logits.end());
    const double largest = std::ranges::max(weights);
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - largest);
    for (double& weight : weights) weight /= sum;
    return weights;
  }

  /// Text `index` of at most so many tokens.
  std::string sample(std::uint64_t index, std::size_t most) const {
    std::vector<Token> text(recipe_.model == ModelKind::mlp ? recipe_.context : 1, 0);
    std::string bytes;
    for (std::size_t position = 0; position < most; ++position) {
      constexpr auto kSampling = static_cast<Stream>(3);
      const double draw = unit_float(random_bits(recipe_.seed, kSampling, index, position));
      const std::vector<double> probabilities = probabilities_after(text);
      std::size_t token = 0;
      for (double below = probabilities[0]; below <= draw; below += probabilities[token]) ++token;
      if (token == 0) break;
      text.push_back(static_cast<Token>(token));
      bytes += bytes_[token - 1];
    }
    return bytes;
  }

  /// What a sample of the corpus adds to a loss: -log of each target's probability.
  struct Losses {
    double sum = 0;
    std::size_t targets = 0;
  };
  /// Of what stands at `at` in a document (at its end, the boundary) behind all before it.
  Losses of_target(const std::string& document, std::size_t at) const {
    std::vector<Token> text(recipe_.model == ModelKind::mlp ? recipe_.context : 1, 0);
    for (std::size_t i = 0; i < at; ++i) text.push_back(token_of(document[i]));
    const Token target = at == document.size() ? 0 : token_of(document[at]);
    return {-std::log(probabilities_after(text)[static_cast<std::size_t>(target)]), 1};
  }
  /// Of every sample: of the MLP a row, of GPT-2 a document, cut where its sequence ends.
  std::vector<Losses> of_every_sample() const {
    std::vector<Losses> samples;
    for (const std::string& document : documents_) {
      const std::size_t targets = document.size() + 1;
      if (recipe_.model == ModelKind::mlp) {
        for (std::size_t at = 0; at < targets; ++at) samples.push_back(of_target(document, at));
        continue;
      }
      Losses& all = samples.emplace_back();
      for (std::size_t at = 0; at < std::min(targets, positions_of(recipe_)); ++at) {
        const Losses one = of_target(document, at);
        all.sum += one.sum;
        all.targets += one.targets;
      }
    }
    return samples;
  }

 private:
  const Recipe& recipe_;
  const Model& model_;
  FloatTensors values_;
  std::vector<std::string> documents_;
  std::string bytes_;  // in byte order: those of tokens 1, 2, ...
};

Recipe smallest_mlp() {
  Recipe recipe;
  recipe.context = 3;
  recipe.embedding = 2;
  recipe.hidden = 5;
  recipe.batch = 3;
  recipe.batch_grain = recipe.feature_grain = recipe.vocab_grain = 2;
  recipe.init_scale = 8;
  recipe.seed = 11;
  return recipe;
}

Recipe small_gpt2() {
  Recipe recipe = default_recipe(ModelKind::gpt2);
  recipe.form = DataForm::lines;
  recipe.layers = 2;
  recipe.heads = 2;
  recipe.channels = 6;
  recipe.positions = 5;
  recipe.batch = 3;
  recipe.dropout = 0.5;  // of training alone
  recipe.init_scale = 8;
  recipe.seed = 12;
  return recipe;
}

/// A generator, and what should come out of it.
struct Asked {
  explicit Asked(const Recipe& its_recipe)
      : recipe(its_recipe),
        corpus(recipe.model == ModelKind::mlp ? Corpus(kText, recipe.context)
                                              : Corpus::documents(kText, positions_of(recipe))),
        model(model_of(recipe, corpus.vocabulary())),
        generator(recipe, model, corpus, InitialParameters(recipe.seed)),
        transcription(recipe, model) {}

  Recipe recipe;
  Corpus corpus;
  Model model;
  Generator generator;
  Transcription transcription;
};

class GeneratorReference : public testing::TestWithParam<ModelKind> {
 protected:
  Asked asked_{GetParam() == ModelKind::mlp ? smallest_mlp() : small_gpt2()};
};

TEST_P(GeneratorReference, SamplesAreTheTranscriptions) {
  constexpr std::size_t kMost = 9;  // longer than what the models see
  std::size_t longest = 0;
  for (std::uint64_t index = 0; index < 30; ++index) {
    const std::string text = asked_.generator.sample(index, {.most = kMost});
    EXPECT_EQ(text, asked_.transcription.sample(index, kMost)) << "text " << index;
    longest = std::max(longest, text.size());
  }
  EXPECT_EQ(longest, kMost);
}

/// Binary32's softmax, log and sums are off by a few units in the last place.
constexpr double kRelative = 1e-5;

TEST_P(GeneratorReference, ALossOverBatchesIsTheMeanOfTheValidationSamplesDrawn) {
  const auto samples = asked_.transcription.of_every_sample();
  const std::size_t validation = asked_.corpus.samples(Corpus::Split::validation);
  ASSERT_EQ(validation, (samples.size() + 9) / 10);
  ASSERT_GE(validation, 2U);
  constexpr std::size_t kBatches = 4;
  Transcription::Losses sum;
  for (std::uint64_t batch = 0; batch < kBatches; ++batch) {
    for (std::uint64_t slot = 0; slot < asked_.recipe.batch; ++slot) {
      constexpr auto kBatch = static_cast<Stream>(2);
      const std::uint64_t bits = random_bits(asked_.recipe.seed, kBatch, batch, slot);
      const auto& drawn = samples[samples.size() - validation + (bits * validation >> 32)];
      sum.sum += drawn.sum;
      sum.targets += drawn.targets;
    }
  }
  const double expected = sum.sum / static_cast<double>(sum.targets);
  EXPECT_NEAR(asked_.generator.validate(kBatches), expected, expected * kRelative);
}

TEST_P(GeneratorReference, ALossOverAllIsTheMeanOfTheWholeValidationPart) {
  const auto samples = asked_.transcription.of_every_sample();
  Transcription::Losses sum;
  for (std::size_t i = samples.size() - (samples.size() + 9) / 10; i < samples.size(); ++i) {
    sum.sum += samples[i].sum;
    sum.targets += samples[i].targets;
  }
  const Generator::Validation all = asked_.generator.validate_all();
  EXPECT_EQ(all.targets, sum.targets);
  const double expected = sum.sum / static_cast<double>(sum.targets);
  EXPECT_NEAR(all.loss, expected, expected * kRelative);
}

INSTANTIATE_TEST_SUITE_P(BothModels, GeneratorReference,
                         testing::Values(ModelKind::mlp, ModelKind::gpt2),
                         [](const testing::TestParamInfo<ModelKind>& instance) {
                           return std::string(name_of(instance.param));
                         });

}  // namespace
}  // namespace meshparity
